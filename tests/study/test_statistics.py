"""Intervals, ranks and agreement: as scipy has them, as worked by hand, and as they must behave."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from hepar.errors import BadInput
from hepar.study.statistics import bland_altman, bootstrap_interval, rank_stability

RNG = np.random.default_rng(7)
SCORES = RNG.beta(5, 3, 30)


def mean_interval(values, **how):
    return bootstrap_interval(values, np.ones(len(values)), **how)


# Intervals


def test_the_interval_of_a_mean_is_scipys_percentile_bootstrap():
    ours = mean_interval(SCORES, draws=20_000)
    scipys = stats.bootstrap(
        (SCORES,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((scipys.low, scipys.high), abs=2e-3)


@pytest.mark.parametrize("finish", ["ratio", "root", "max"])
def test_the_matrix_product_gives_what_a_loop_over_resamples_gives(finish):
    tops, bottoms = RNG.random(12), RNG.integers(0, 3, 12).astype(float)
    tops[bottoms == 0] = 0
    patients = np.repeat(["a", "b", "c", "d", "e", "f"], 2)
    by_patient = tops.reshape(6, 2), bottoms.reshape(6, 2)
    counts = np.random.default_rng(3).multinomial(6, np.full(6, 1 / 6), size=500)
    values = []
    for row in counts:
        drawn = np.repeat(np.arange(6), row)
        top, bottom = (side[drawn].ravel() for side in by_patient)
        if not bottom.any():
            continue
        ratio = top.sum() / bottom.sum()
        most = (top[bottom > 0] / bottom[bottom > 0]).max()
        values.append({"ratio": ratio, "root": math.sqrt(ratio), "max": most}[finish])
    found = bootstrap_interval(tops, bottoms, finish, patients, draws=500, seed=3)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(values, (0.025, 0.975))))


def test_the_interval_covers_the_true_mean_in_about_95_of_100_cohorts():
    rng = np.random.default_rng(11)
    covered = 0
    for _ in range(300):
        found = mean_interval(rng.normal(0.7, 0.1, 40), draws=500)
        covered += found.low <= 0.7 <= found.high
    # A percentile interval over 40 patients covers a little less than 95 %.
    assert 0.89 <= covered / 300 <= 0.98


def test_scans_of_one_patient_are_drawn_together_and_widen_the_interval():
    patient_means = RNG.normal(0, 1, 20)
    scans = np.repeat(patient_means, 5)
    alone, together = mean_interval(scans), mean_interval(scans, patients=np.repeat(np.arange(20), 5).tolist())
    assert together.high - together.low > 2 * (alone.high - alone.low) * 0.9
    once = mean_interval(patient_means)
    assert (together.low, together.high) == pytest.approx((once.low, once.high))


def test_cases_that_do_not_count_are_drawn_too_but_weigh_nothing():
    tops, bottoms = np.array([0.2, 0.4, 0.9, 0.0]), np.array([1.0, 1.0, 1.0, 0.0])
    found = bootstrap_interval(tops, bottoms)
    assert 0.2 <= found.low < found.high <= 0.9
    assert bootstrap_interval(tops, bottoms) != bootstrap_interval(tops[:3], bottoms[:3])


def test_fewer_than_two_patients_that_count_have_no_interval():
    for tops, bottoms, patients in (
        ([], [], None),
        ([0.5], [1], None),
        ([0.5, 0], [1, 0], None),
        ([0.5, 0.7], [1, 1], ["p", "p"]),
        ([0.5, 0.7, 0], [1, 1, 0], ["p", "p", "q"]),
    ):
        found = bootstrap_interval(tops, bottoms, patients=patients)
        assert math.isnan(found.low)
        assert math.isnan(found.high)


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    assert mean_interval(SCORES) == mean_interval(SCORES)
    assert mean_interval(SCORES) != mean_interval(SCORES, seed=1)


def test_terms_that_cannot_be_resampled_are_refused():
    with pytest.raises(BadInput, match=r"shape \(2,\) and denominators of \(1,\)"):
        bootstrap_interval([1, 2], [1])
    with pytest.raises(BadInput, match="give 0 and 0 for a case that does not count"):
        bootstrap_interval([1, math.nan], [1, 1])
    with pytest.raises(BadInput, match="found 1 patients for 2 cases"):
        bootstrap_interval([1, 2], [1, 1], patients=["a"])
    with pytest.raises(BadInput, match="found 0 draws"):
        bootstrap_interval([1, 2], [1, 1], draws=0)


finite = st.floats(-100, 100, allow_subnormal=False)


@settings(deadline=None, max_examples=50)
@given(arrays(np.float64, st.integers(2, 20), elements=finite))
def test_the_interval_of_a_mean_lies_within_the_values(values):
    found = mean_interval(values, draws=200)
    slack = 1e-9
    assert values.min() - slack <= found.low <= found.high <= values.max() + slack


@settings(deadline=None, max_examples=30)
@given(arrays(np.float64, st.integers(6, 20), elements=finite))
def test_the_middle_of_the_draws_is_near_the_value(values):
    found = mean_interval(values, draws=500)
    assert found.low - 1e-9 <= values.mean() <= found.high + 1e-9


# Ranks


def test_a_method_that_is_always_better_always_ranks_first():
    values = np.stack([SCORES, SCORES + 0.1, SCORES - 0.1])
    found = rank_stability(values, higher_is_better=True)
    assert found.mean_ranks.tolist() == found.ranks.tolist() == [2, 1, 3]
    assert found.first_share.tolist() == [0, 1, 0]
    assert found.rank_shares.tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1]]
    assert found.kendall_tau == 1
    assert rank_stability(values, higher_is_better=False).ranks.tolist() == [2, 3, 1]


def test_equal_methods_share_their_ranks():
    found = rank_stability(np.stack([SCORES, SCORES, SCORES - 1]), higher_is_better=True)
    assert found.mean_ranks.tolist() == [1.5, 1.5, 3]
    assert found.first_share.tolist() == [0.5, 0.5, 0]
    assert math.isnan(rank_stability(np.stack([SCORES, SCORES]), True).kendall_tau)


def test_a_resample_in_which_all_tie_agrees_with_nothing():
    # The methods differ in one of two cases, which three of four resamples hold.
    assert rank_stability([[1, 0], [0, 0]], True).kendall_tau == pytest.approx(0.75, abs=0.04)


def test_shares_and_tau_are_those_of_a_loop_over_resamples():
    values = np.random.default_rng(5).normal(0, 1, (4, 15)) + np.array([[0], [0.1], [0.3], [0.35]])
    values[3] = values[2]  # a tie in every resample
    found = rank_stability(values, True, draws=300, seed=9)
    counts = np.random.default_rng(9).multinomial(15, np.full(15, 1 / 15), size=300)
    here = values.mean(axis=1)
    ranks = np.array([stats.rankdata(-np.round(np.average(values, axis=1, weights=row), 9)) for row in counts])
    taus = [stats.kendalltau(stats.rankdata(-np.round(here, 9)), row).statistic for row in ranks]
    assert found.mean_ranks == pytest.approx(ranks.mean(axis=0))
    assert found.kendall_tau == pytest.approx(np.mean(taus))
    assert found.rank_shares.sum(axis=0) == pytest.approx(np.ones(4))
    assert found.rank_shares.sum(axis=1) == pytest.approx(np.ones(4))


def test_only_cases_where_every_method_is_defined_are_ranked():
    values = np.array([[0.5, 0.6, math.nan, 0.1], [0.4, 0.5, 0.9, math.nan]])
    found = rank_stability(values, True)
    assert found.cases == 2
    assert found.first_share.tolist() == [1, 0]


def test_patients_are_drawn_whole_for_ranks_too():
    # One patient with ten scans speaks for the second method, nine with one each for the first.
    values = np.array([[0.0] * 10 + [1.0] * 9, [0.5] * 10 + [0.5] * 9])
    patients = ["often"] * 10 + list("abcdefghi")
    alone, whole = rank_stability(values, False), rank_stability(values, False, patients)
    assert whole.first_share[0] == pytest.approx(1 - 1 / math.e, abs=0.1)
    assert abs(alone.first_share[0] - whole.first_share[0]) > 0.02


def test_ranks_need_two_methods_on_the_same_cases_and_say_so():
    with pytest.raises(BadInput, match=r"found 1 method\(s\); ranks need at least two methods on the same cases"):
        rank_stability([SCORES], True)
    with pytest.raises(BadInput, match="no case where all 2 methods have a value"):
        rank_stability([[0.5, math.nan], [math.nan, 0.5]], True)
    with pytest.raises(BadInput, match=r"array of shape \(30,\)"):
        rank_stability(SCORES, True)


# Agreement


def test_bland_altman_by_hand():
    found = bland_altman([10, 20, 30], [11, 22, 36])
    assert found.difference.tolist() == [1, 2, 6]
    assert found.mean.tolist() == [10.5, 21, 33]
    assert found.bias == 3
    deviation = math.sqrt(7)
    assert (found.lower, found.upper) == pytest.approx((3 - 1.96 * deviation, 3 + 1.96 * deviation))
    # Student's t with two degrees of freedom: 4.3027.
    assert found.bias_interval.high == pytest.approx(3 + 4.302653 * deviation / math.sqrt(3))
    assert found.bias_interval.low == pytest.approx(3 - 4.302653 * deviation / math.sqrt(3))


def test_the_interval_of_the_bias_is_scipys():
    found = bland_altman(np.zeros(30), SCORES)
    scipys = stats.ttest_1samp(SCORES, 0).confidence_interval()
    assert (found.bias_interval.low, found.bias_interval.high) == pytest.approx((scipys.low, scipys.high))


def test_pairs_without_both_values_are_left_out_and_one_pair_has_no_limits():
    found = bland_altman([1, math.nan, 3], [2, 2, math.nan])
    assert found.bias == 1
    assert len(found.difference) == 1
    assert np.isnan([found.lower, found.upper, found.bias_interval.low]).all()
    assert math.isnan(bland_altman([], []).bias)
    with pytest.raises(BadInput, match="expected pairs"):
        bland_altman([1, 2], [1])
