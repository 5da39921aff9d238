"""Reliability and expected calibration error in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hepar.errors import BadInput, GeometryMismatch
from hepar.geometry import Geometry
from hepar.metrics.calibration import liver_region, reliability
from hepar.volume import LabelMap

PROBABILITIES = arrays(np.float64, st.just((2, 3, 4)), elements=st.floats(0, 1))
MASKS = arrays(bool, st.just((2, 3, 4)))
few = settings(max_examples=50, deadline=None)


def says(probability: float, there: int, of: int, bins: int = 15):
    return reliability(np.full(of, probability), np.arange(of) < there, bins)


@pytest.mark.parametrize(("probability", "there"), [(0.0, 0), (0.25, 25), (0.5, 50), (1.0, 100)])
def test_who_is_right_as_often_as_said_has_no_error(probability, there):
    assert says(probability, there, 100).ece == pytest.approx(0)


def test_the_error_is_how_far_what_was_said_is_from_what_was():
    assert says(0.9, 60, 100).ece == pytest.approx(0.3)
    assert says(0.3, 60, 100).ece == pytest.approx(0.3)
    assert says(1.0, 0, 100).ece == 1


def test_bins_weigh_as_many_voxels_as_they_hold():
    both = says(0.9, 60, 100) + says(0.2, 60, 300)
    assert both.ece == pytest.approx((100 * 0.3 + 300 * 0.0) / 400)
    assert both.voxels.sum() == 400


def test_errors_in_one_bin_cancel_and_in_two_bins_do_not():
    """The bins' width is part of the definition: .82 and .98 are right nine times of ten together."""
    pair = np.repeat([0.82, 0.98], 50), np.arange(100) < 90
    assert reliability(*pair, bins=1).ece == pytest.approx(0)
    assert reliability(*pair, bins=15).ece == pytest.approx(0.5 * (1 - 0.82) + 0.5 * (0.98 - 0.8))


def test_a_bin_holds_its_upper_end_and_the_first_one_0():
    borders = reliability(np.array([0, 0.25, 0.26, 0.5, 0.75, 1.0]), np.zeros(6, bool), bins=4)
    assert borders.voxels.tolist() == [2, 2, 1, 1]


def test_the_curve_has_a_point_per_bin_and_none_where_nothing_was_said():
    curve = (says(0.1, 1, 4, bins=2) + says(0.3, 3, 4, bins=2)).curve()
    assert curve.confidence[0] == pytest.approx(0.2)
    assert curve.frequency[0] == 0.5
    assert curve.voxels.tolist() == [8, 0]
    assert math.isnan(curve.confidence[1])
    assert math.isnan(curve.frequency[1])


@few
@given(PROBABILITIES, MASKS, st.integers(1, 20))
def test_two_scans_added_are_one_scan_of_all_their_voxels(probability, outcome, bins):
    whole = reliability(probability, outcome, bins)
    halves = reliability(probability[:1], outcome[:1], bins) + reliability(probability[1:], outcome[1:], bins)
    assert halves.voxels.tolist() == whole.voxels.tolist()
    assert halves.outcome.tolist() == whole.outcome.tolist()
    assert halves.confidence == pytest.approx(whole.confidence)
    assert 0 <= whole.ece <= 1


@few
@given(PROBABILITIES, MASKS)
def test_the_error_is_that_of_the_definition_written_out(probability, outcome):
    expected = 0.0
    for m in range(15):
        # Compared as `reliability` rounds: p * 15 decides, not p against m / 15.
        inside = (np.ceil(probability * 15) == m + 1) | ((m == 0) & (probability == 0))
        if inside.any():
            expected += inside.mean() * abs(outcome[inside].mean() - probability[inside].mean())
    assert reliability(probability, outcome).ece == pytest.approx(expected)


def test_without_a_voxel_the_error_is_not_defined():
    assert math.isnan(reliability(np.zeros((0, 2, 2)), np.zeros((0, 2, 2), bool)).ece)


def test_single_precision_is_enough():
    assert reliability(np.full((2, 2, 2), 0.5, np.float32), np.ones((2, 2, 2), bool)).ece == 0.5


@pytest.mark.parametrize(
    ("probability", "outcome", "bins", "message"),
    [
        (np.array([0.5, math.nan]), np.zeros(2, bool), 15, "no number"),
        (np.array([0.5, 1.01]), np.zeros(2, bool), 15, "0.5 to 1.01.*softmax"),
        (np.array([-0.1, 1.0]), np.zeros(2, bool), 15, "-0.1 to 1"),
        (np.zeros(3), np.zeros(2, bool), 15, r"\(3,\).*\(2,\)"),
        (np.zeros(2), np.zeros(2), 15, "float64; expected a mask"),
        (np.zeros(2, int), np.zeros(2, bool), 15, "int64; expected floats"),
        (np.zeros(2), np.zeros(2, bool), 0, "0 bins"),
    ],
)
def test_what_is_no_probability_of_a_mask_is_refused(probability, outcome, bins, message):
    with pytest.raises(BadInput, match=message):
        reliability(probability, outcome, bins)


def test_reliabilities_of_other_bins_are_not_added():
    with pytest.raises(BadInput, match="15 and 10 bins"):
        says(0.5, 1, 2) + says(0.5, 1, 2, bins=10)


def label_map(spans: list[tuple[int, int]]) -> LabelMap:
    labels = np.zeros((1, 1, 20), np.uint8)
    for label, (start, stop) in enumerate(spans, start=1):
        labels[..., start:stop] = label
    return LabelMap(labels, Geometry.from_spacing(labels.shape, (5, 1, 1)))


def test_the_region_holds_both_livers_with_their_tumours():
    region = liver_region(label_map([(4, 8), (7, 9)]), label_map([(3, 6)]))
    assert region == (slice(0, 1), slice(0, 1), slice(3, 9))
    nothing = liver_region(label_map([]), label_map([]))
    assert np.zeros((1, 1, 20))[nothing].size == 0
    elsewhere = Geometry.from_spacing((1, 1, 20), (5, 1, 1), (0, 0, 3))
    with pytest.raises(GeometryMismatch):
        liver_region(label_map([]), LabelMap(np.zeros((1, 1, 20), np.uint8), elsewhere))


def test_background_swamps_the_error_so_the_region_matters():
    """The same wrong liver in a crop and in a scan ten times as large."""
    truth = np.zeros(1000, bool)
    said = np.zeros(1000)
    said[:100] = 0.9
    assert reliability(said[:100], truth[:100]).ece == pytest.approx(0.9)
    assert reliability(said, truth).ece == pytest.approx(0.09)
