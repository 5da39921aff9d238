"""Overlap of two masks in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hepar.errors import BadInput
from hepar.metrics.overlap import Counts, counts, dice, iou, relative_volume_difference, voe

MASKS = arrays(bool, st.just((3, 4, 5)))
MEASURES = [dice, iou, voe, relative_volume_difference]


def bar(start: int, stop: int) -> np.ndarray:
    mask = np.zeros((1, 1, 20), bool)
    mask[..., start:stop] = True
    return mask


def test_identical_masks_score_1_and_disjoint_masks_0():
    assert dice(bar(2, 8), bar(2, 8)) == iou(bar(2, 8), bar(2, 8)) == 1
    assert dice(bar(2, 8), bar(8, 12)) == iou(bar(2, 8), bar(8, 12)) == 0
    assert (voe(bar(2, 8), bar(2, 8)), voe(bar(2, 8), bar(8, 12))) == (0, 1)


def test_dice_is_twice_the_shared_part_over_both():
    assert dice(bar(0, 10), bar(5, 11)) == pytest.approx(2 * 5 / (10 + 6))


def test_iou_is_the_shared_part_over_what_either_covers():
    assert counts(bar(0, 10), bar(5, 11)) == Counts(truth=10, found=6, both=5)
    assert counts(bar(0, 10), bar(5, 11)).either == 11
    assert iou(bar(0, 10), bar(5, 11)) == pytest.approx(5 / 11)
    assert voe(bar(0, 10), bar(5, 11)) == pytest.approx(6 / 11)


@pytest.mark.parametrize(("found", "expected"), [(15, 0.5), (10, 0), (5, -0.5), (0, -1)])
def test_too_much_found_is_a_difference_above_0(found, expected):
    assert relative_volume_difference(bar(0, 10), bar(0, found)) == pytest.approx(expected)


def test_where_something_lies_does_not_matter_to_the_volume_difference():
    assert relative_volume_difference(bar(0, 8), bar(10, 18)) == 0


def test_empty_masks_follow_the_rule():
    nothing, something = bar(0, 0), bar(0, 1)
    assert all(math.isnan(measure(nothing, nothing)) for measure in MEASURES)
    assert [measure(something, nothing) for measure in MEASURES] == [0, 0, 1, -1]
    assert [measure(nothing, something) for measure in MEASURES[:3]] == [0, 0, 1]
    assert math.isnan(relative_volume_difference(nothing, something))


def test_a_mask_without_any_voxel_is_empty():
    assert counts(np.zeros((0, 4, 5), bool), np.zeros((0, 4, 5), bool)) == Counts(0, 0, 0)


@given(MASKS.filter(np.any), MASKS)
@settings(max_examples=50, deadline=None)
def test_dice_is_symmetric_and_1_only_for_equal_masks(one, other):
    assert dice(one, other) == dice(other, one)
    assert 0 <= dice(one, other) <= 1
    assert (dice(one, other) == 1) == np.array_equal(one, other)


@given(MASKS.filter(np.any), MASKS)
@settings(max_examples=50, deadline=None)
def test_measures_of_one_count_agree_with_each_other(one, other):
    both = counts(one, other)
    assert both == Counts(int(one.sum()), int(other.sum()), int((one & other).sum()))
    assert both.either == (one | other).sum()
    assert both.dice == pytest.approx(2 * both.iou / (1 + both.iou))
    assert both.voe == 1 - both.iou


def test_masks_of_two_grids_are_not_compared():
    with pytest.raises(BadInput, match=r"shape \(1, 1, 20\) and \(1, 1, 19\)"):
        counts(bar(0, 3), bar(0, 3)[..., 1:])
