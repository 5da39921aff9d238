"""FROC by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepar.errors import BadInput
from hepar.geometry import Geometry
from hepar.metrics.froc import RATES, FrocCase, froc, lesion_confidences
from hepar.metrics.lesions import find_lesions
from hepar.volume import LabelMap


def case(found: str, true_lesions: int, confidences: list[float] | None = None) -> FrocCase:
    """Found lesions as a word, from the surest down: "+" a hit, "-" a false positive."""
    sure = confidences or [1 - k / 100 for k in range(len(found))]
    return FrocCase(np.array(sure, float), np.array([mark == "+" for mark in found], bool), true_lesions)


CASES = st.lists(
    st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=6).map(
        lambda found: FrocCase(
            np.array([c / 5 for c, _ in found]), np.array([h for _, h in found], bool), 1 + sum(h for _, h in found)
        )
    ),
    min_size=1,
    max_size=4,
)


def test_the_curve_steps_down_from_the_strictest_threshold():
    curve = froc([case("+-+", 3, [0.9, 0.8, 0.7])])
    assert curve.thresholds.tolist() == [math.inf, 0.9, 0.8, 0.7]
    assert curve.false_positives_per_scan.tolist() == [0, 0, 1, 1]
    assert curve.sensitivity == pytest.approx([0, 1 / 3, 1 / 3, 2 / 3])


def test_false_positives_are_shared_out_over_all_scans_even_healthy_ones():
    curve = froc([case("+", 1), case("-", 0), case("", 0), case("", 1)])
    assert curve.false_positives_per_scan[-1] == 1 / 4
    assert curve.sensitivity[-1] == 1 / 2


def test_lesions_of_one_confidence_pass_together():
    curve = froc([case("+-", 1, [0.5, 0.5])])
    assert curve.thresholds.tolist() == [math.inf, 0.5]
    assert curve.sensitivity_at(0.5) == 0
    assert curve.sensitivity_at(1) == 1


def test_between_two_thresholds_nothing_is_interpolated():
    curve = froc([case("+--+", 2)])
    assert [curve.sensitivity_at(rate) for rate in (0, 1, 1.9, 2, 100)] == [0.5, 0.5, 0.5, 1, 1]


def test_the_mean_is_over_seven_rates():
    """Half the lesions cost nothing, the other half two false positives a scan: 4 rates of 1/2, 3 of 1."""
    assert RATES == (0.125, 0.25, 0.5, 1, 2, 4, 8)
    assert froc([case("+--+", 2)]).mean_sensitivity == pytest.approx((4 * 0.5 + 3 * 1) / 7)
    assert froc([case("++", 2)]).mean_sensitivity == 1
    assert froc([case("", 2)]).mean_sensitivity == 0


def test_without_true_lesions_sensitivity_is_not_defined_but_false_positives_are():
    curve = froc([case("--", 0)])
    assert math.isnan(curve.mean_sensitivity)
    assert curve.false_positives_per_scan.tolist() == [0, 1, 2]


@settings(max_examples=100, deadline=None)
@given(CASES)
def test_every_point_counts_what_passes_its_threshold(cases):
    curve = froc(cases)
    lesions = sum(c.true_lesions for c in cases)
    for t, rate, sensitivity in zip(curve.thresholds, curve.false_positives_per_scan, curve.sensitivity, strict=True):
        passed = [c.confidences >= t for c in cases]
        assert rate == pytest.approx(sum((p & ~c.hits).sum() for p, c in zip(passed, cases, strict=True)) / len(cases))
        assert sensitivity == pytest.approx(
            sum((p & c.hits).sum() for p, c in zip(passed, cases, strict=True)) / lesions
        )
    assert (np.diff(curve.sensitivity) >= 0).all()
    assert (np.diff(curve.false_positives_per_scan) >= 0).all()


@settings(max_examples=100, deadline=None)
@given(CASES, st.sampled_from(RATES))
def test_the_sensitivity_at_a_rate_is_the_best_of_the_points_that_are_allowed(cases, rate):
    curve = froc(cases)
    allowed = curve.false_positives_per_scan <= rate
    assert curve.sensitivity_at(rate) == curve.sensitivity[allowed].max()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: froc([]), "no case"),
        (lambda: case("++", 1), "2 hits of 1 true lesions"),
        (lambda: case("+", 1, [math.nan]), "not a finite number"),
        (lambda: case("+", 1, [0.5, 0.4]), r"\(2,\).*\(1,\)"),
        (lambda: FrocCase(np.array([0.5]), np.array([1]), 1), "int64; expected a mask"),
    ],
)
def test_what_makes_no_curve_is_refused(make, message):
    with pytest.raises(BadInput, match=message):
        make()


def test_a_lesions_confidence_is_its_mean_probability():
    labels = np.zeros((3, 4, 9), np.uint8)
    labels[1, 1, 2:4] = 2
    labels[1, 2, 6] = 2
    probability = np.full(labels.shape, 0.01)
    probability[1, 1, 2:4] = (0.6, 0.8)
    probability[1, 2, 6] = 0.9
    grid = Geometry.from_spacing(labels.shape, (5, 1, 1))
    found = find_lesions(LabelMap(labels, grid))
    assert lesion_confidences(found, probability) == pytest.approx([0.7, 0.9])
    assert lesion_confidences(found, probability.astype(np.float32)) == pytest.approx([0.7, 0.9])
    assert lesion_confidences(find_lesions(LabelMap(labels * 0, grid)), probability).shape == (0,)
    with pytest.raises(BadInput, match=r"\(2, 4, 9\).*\(3, 4, 9\)"):
        lesion_confidences(found, probability[1:])
