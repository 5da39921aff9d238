"""Paired tests and Holm's correction: as scipy has them, as worked by hand, and as they must behave."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from hepar.errors import BadInput
from hepar.study.statistics import holm, paired_test, smallest_possible_p

SCORES = np.random.default_rng(7).beta(5, 3, 30)


def pair(count: int, shift: float = 0.05, seed: int = 0):
    rng = np.random.default_rng(seed)
    second = rng.random(count)
    return second + shift + rng.normal(0, 0.1, count), second


@pytest.mark.parametrize("count", [2, 5, 8, 20, 50, 51, 120])
def test_wilcoxon_is_scipys(count):
    first, second = pair(count)
    method = "exact" if count <= 50 else "asymptotic"
    assert paired_test(first, second).wilcoxon_p == pytest.approx(
        stats.wilcoxon(first, second, method=method, correction=False).pvalue
    )


def test_wilcoxon_with_ties_and_zeros_is_the_exact_one_over_all_signs():
    difference = np.array([0.1, 0.1, -0.1, 0.2, 0.3, 0.3, 0.0, 0.4, 0.2, 0.0])
    exact = stats.wilcoxon(difference[difference != 0], method=stats.PermutationMethod(n_resamples=10_000))
    assert paired_test(difference, np.zeros(10)).wilcoxon_p == pytest.approx(exact.pvalue)


@pytest.mark.parametrize("count", [2, 6, 12])
def test_the_permutation_test_of_few_pairs_is_exact(count):
    first, second = pair(count, shift=0.08)
    scipys = stats.permutation_test(
        (first, second), lambda a, b: np.mean(a - b), permutation_type="samples", n_resamples=np.inf
    )
    assert paired_test(first, second).permutation_p == pytest.approx(scipys.pvalue)


def test_the_permutation_test_of_many_pairs_is_near_the_exact_one():
    first, second = pair(16, shift=0.06)
    scipys = stats.permutation_test(
        (first, second), lambda a, b: np.mean(a - b), permutation_type="samples", n_resamples=np.inf
    )
    assert paired_test(first, second).permutation_p == pytest.approx(scipys.pvalue, abs=0.02)


def test_a_random_permutation_p_is_never_zero():
    assert paired_test(np.arange(1.0, 41.0), np.zeros(40)).permutation_p == 1 / 10_001


def test_effects_have_their_closed_forms():
    # Differences 1, 2, 3, -4: mean .5, variance 29/3; signed ranks 1 + 2 + 3 - 4 of 10.
    found = paired_test([1, 2, 3, 0], [0, 0, 0, 4])
    assert found.mean_difference == pytest.approx(0.5)
    assert found.effect_dz == pytest.approx(0.5 / math.sqrt(29 / 3))
    assert found.rank_biserial == pytest.approx(0.2)
    assert paired_test([2, 3, 5], [1, 1, 1]).rank_biserial == 1
    assert paired_test([1, 1, 1], [2, 3, 5]).rank_biserial == -1


def test_methods_that_never_differ_have_p_1_and_no_effect():
    found = paired_test(SCORES, SCORES)
    assert (found.wilcoxon_p, found.permutation_p, found.effect_dz, found.rank_biserial) == (1, 1, 0, 0)
    assert (found.interval.low, found.interval.high) == (0, 0)


def test_a_constant_difference_has_no_finite_effect_size():
    found = paired_test(SCORES + 0.1, SCORES)
    assert math.isnan(found.effect_dz)
    assert found.rank_biserial == 1
    assert found.mean_difference == pytest.approx(0.1)


def test_rounding_in_the_last_bit_breaks_no_tie_and_makes_no_difference():
    assert 0.8 - 0.7 != 0.9 - 0.8  # the trap
    found = paired_test([0.8, 0.9, 0.1 + 0.2, 0.1], [0.7, 0.8, 0.3, 0.2])
    # One zero; three tied sizes, two of them positive: 1 of 3.
    assert found.rank_biserial == pytest.approx(1 / 3)


def test_only_cases_with_both_values_count():
    first, second = [0.9, math.nan, 0.8, 0.7], [0.5, 0.4, math.nan, 0.6]
    found = paired_test(first, second)
    assert (found.cases, found.patients) == (2, 2)
    assert found.mean_difference == pytest.approx(0.25)


def test_a_patient_weighs_the_same_however_often_scanned():
    found = paired_test([1, 1, 1, 0], [0, 0, 0, 3], ["p", "p", "p", "q"])
    assert (found.cases, found.patients) == (4, 2)
    assert found.mean_difference == pytest.approx(-1)
    assert paired_test([1, 1, 1, 0], [0, 0, 0, 3]).mean_difference == pytest.approx(0)


def test_with_fewer_than_two_pairs_nothing_is_tested():
    one, none = paired_test([0.9], [0.5]), paired_test([math.nan], [0.5])
    assert one.mean_difference == pytest.approx(0.4)
    assert math.isnan(none.mean_difference)
    for found in (one, none):
        numbers = (found.wilcoxon_p, found.permutation_p, found.effect_dz, found.rank_biserial, found.interval.low)
        assert np.isnan(numbers).all()
    assert (one.cases, none.cases) == (1, 0)


@pytest.mark.parametrize("count", range(2, 9))
def test_the_smallest_possible_p_is_that_of_differences_all_on_one_side(count):
    found = paired_test(np.arange(1.0, count + 1), np.zeros(count))
    assert found.wilcoxon_p == pytest.approx(smallest_possible_p(count))
    assert found.permutation_p == pytest.approx(smallest_possible_p(count))
    assert (smallest_possible_p(count) < 0.05) == (count >= 6)


def test_without_a_pair_the_smallest_possible_p_is_1():
    assert smallest_possible_p(0) == smallest_possible_p(1) == 1


def test_values_that_cannot_be_paired_are_refused():
    with pytest.raises(BadInput, match=r"\(2,\) and \(1,\)"):
        paired_test([1, 2], [1])
    with pytest.raises(BadInput, match="give NaN where a figure is not defined"):
        paired_test([1, math.inf], [1, 1])


values_of_two = st.integers(2, 14).flatmap(lambda n: arrays(np.float64, (2, n), elements=st.floats(0, 1, width=32)))


@settings(deadline=None, max_examples=60)
@given(values_of_two)
def test_swapping_the_methods_turns_signs_and_keeps_p(values):
    here, there = paired_test(*values), paired_test(*values[::-1])
    assert here.wilcoxon_p == pytest.approx(there.wilcoxon_p)
    assert here.permutation_p == pytest.approx(there.permutation_p)
    assert here.mean_difference == pytest.approx(-there.mean_difference, abs=1e-12)
    assert here.rank_biserial == pytest.approx(-there.rank_biserial)
    assert here.effect_dz == pytest.approx(-there.effect_dz, nan_ok=True, rel=1e-6, abs=1e-9)


@settings(deadline=None, max_examples=60)
@given(values_of_two.filter(lambda v: v.shape[1] <= 12), st.randoms(use_true_random=False))
def test_p_does_not_depend_on_the_order_of_cases_or_the_unit(values, random):
    order = list(range(values.shape[1]))
    random.shuffle(order)
    here, there = paired_test(*values), paired_test(*(1000 * values[:, order]))
    assert here.permutation_p == pytest.approx(there.permutation_p)
    assert here.wilcoxon_p == pytest.approx(there.wilcoxon_p)


@settings(deadline=None, max_examples=60)
@given(values_of_two)
def test_no_p_is_below_the_smallest_possible_one(values):
    found = paired_test(*values)
    least = smallest_possible_p(found.patients) if found.patients <= 12 else 1 / 10_001
    assert least * (1 - 1e-9) <= found.permutation_p <= 1
    assert smallest_possible_p(found.patients) * (1 - 1e-9) <= found.wilcoxon_p <= 1


# Holm


def test_holm_by_hand():
    # Sorted .01, .02, .03, .04 times 4, 3, 2, 1: .04, .06, .06, .04 -> the running maximum.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.6, 0.5]) == pytest.approx([1.0, 1.0])


def test_a_test_that_was_not_possible_does_not_count_in_the_family():
    assert holm([0.04, math.nan, 0.01]) == pytest.approx([0.04, math.nan, 0.02], nan_ok=True)
    assert holm([]).shape == (0,)
    with pytest.raises(BadInput, match="outside 0 to 1"):
        holm([0.1, 1.2])


@given(st.lists(st.one_of(st.just(math.nan), st.floats(0, 1)), max_size=12))
def test_holm_keeps_the_order_never_helps_and_stays_a_probability(given_p):
    raw, adjusted = np.array(given_p), holm(given_p)
    known = ~np.isnan(raw)
    assert (np.isnan(adjusted) == ~known).all()
    assert (adjusted[known] >= raw[known]).all()
    assert (adjusted[known] <= 1).all()
    order = np.argsort(raw[known], kind="stable")
    assert (np.diff(adjusted[known][order]) >= 0).all()
