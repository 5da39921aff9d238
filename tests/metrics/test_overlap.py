"""Dice in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hepar.metrics import dice

MASKS = arrays(bool, st.just((3, 4, 5)))


def bar(start: int, stop: int) -> np.ndarray:
    mask = np.zeros((1, 1, 20), bool)
    mask[..., start:stop] = True
    return mask


def test_identical_masks_score_1_and_disjoint_masks_0():
    assert dice(bar(2, 8), bar(2, 8)) == 1
    assert dice(bar(2, 8), bar(8, 12)) == 0


def test_dice_is_twice_the_shared_part_over_both():
    assert dice(bar(0, 10), bar(5, 11)) == pytest.approx(2 * 5 / (10 + 6))


def test_empty_masks_follow_the_rule():
    assert math.isnan(dice(bar(0, 0), bar(0, 0)))
    assert dice(bar(0, 0), bar(0, 1)) == 0
    assert dice(bar(0, 1), bar(0, 0)) == 0


@given(MASKS.filter(np.any), MASKS)
@settings(max_examples=50, deadline=None)
def test_dice_is_symmetric_and_1_only_for_equal_masks(one, other):
    assert dice(one, other) == dice(other, one)
    assert 0 <= dice(one, other) <= 1
    assert (dice(one, other) == 1) == np.array_equal(one, other)
