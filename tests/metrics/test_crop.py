"""The box around what is labelled."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hepar.metrics.crop import NOTHING, box_of, cropped, places_of, shared_box, within
from hepar.volume import LabelMap

MAPS = arrays(np.uint8, st.just((3, 4, 5)), elements=st.integers(0, 2))


@settings(max_examples=50, deadline=None)
@given(MAPS)
def test_the_box_is_the_smallest_that_holds_every_label(labels):
    box = box_of(labels)
    assert np.count_nonzero(labels[box]) == np.count_nonzero(labels)
    for axis in range(3 * labels.any()):
        inside = np.moveaxis(labels[box], axis, 0)
        assert inside[0].any()
        assert inside[-1].any()


def test_the_box_of_several_holds_all_of_them_and_of_none_is_empty():
    one, other = np.zeros((2, 4, 5, 6), bool)
    assert box_of(one, other) == NOTHING
    one[1, 2, 3] = True
    assert box_of(one, other) == (slice(1, 2), slice(2, 3), slice(3, 4))
    other[3, 0, 5] = True
    assert box_of(one, other) == (slice(1, 4), slice(0, 3), slice(3, 6))
    assert box_of(np.zeros((0, 0, 0), bool)) == NOTHING


def test_the_array_may_lie_in_memory_in_any_order():
    labels = np.zeros((4, 5, 6), np.uint8)
    labels[1, 2:4, 3] = 2
    assert box_of(labels.transpose(2, 0, 1)[::-1]) == (slice(2, 3), slice(1, 2), slice(2, 4))


def test_a_crop_stays_where_it_was_in_the_patient(oblique_grid):
    labels = np.zeros(oblique_grid.shape, np.uint8)
    labels[4:6, 2, 7] = 1
    small = cropped(LabelMap(labels, oblique_grid), box_of(labels))
    assert small.labels.tolist() == [[[1]], [[1]]]
    assert small.geometry.position_mm((1, 0, 0)) == pytest.approx(oblique_grid.position_mm((5, 2, 7)))
    assert cropped(LabelMap(labels * 0, oblique_grid), NOTHING).labels.tolist() == [[[0]]]


def test_boxes_nest_and_meet():
    outer = (slice(10, 20), slice(0, 5), slice(3, 9))
    inner = (slice(1, 2), slice(0, 5), slice(2, 3))
    assert within(outer, inner) == (slice(11, 12), slice(0, 5), slice(5, 6))
    assert shared_box(outer, (slice(15, 30), slice(4, 9), slice(0, 4))) == (slice(15, 20), slice(4, 5), slice(3, 4))
    assert shared_box(outer, (slice(20, 30), slice(4, 9), slice(0, 4))) == NOTHING


def test_places_are_those_of_argwhere():
    mask = np.random.default_rng(0).random((4, 5, 6)) > 0.7
    assert np.array_equal(places_of(mask), np.argwhere(mask))
    assert places_of(np.zeros((2, 3, 4), bool)).shape == (0, 3)
