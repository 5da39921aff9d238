"""Cleaning removes islands, fills holes and drops specks, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from hepar.errors import BadInput
from hepar.geometry import Geometry
from hepar.postprocess import DropSmallTumours, FillLiverHoles, KeepLargestLiver
from hepar.volume import LIVER, TUMOUR, LabelMap

# 5 x 2 x 1 mm: one voxel is 0.01 mL.
GRID = Geometry.from_spacing((6, 20, 24), (5, 2, 1))
STEPS = [KeepLargestLiver(), FillLiverHoles(), DropSmallTumours(0.05)]


def liver() -> np.ndarray:
    labels = np.zeros(GRID.shape, np.uint8)
    labels[1:5, 3:13, 4:16] = LIVER
    return labels


def clean(step, labels: np.ndarray) -> np.ndarray:
    before = labels.copy()
    found = LabelMap(labels, GRID)
    after = step(found)
    assert np.array_equal(found.labels, before), "a step changed its input"
    assert after.geometry.same_grid(GRID)
    assert after.labels.dtype == np.uint8
    return after.labels


@pytest.mark.parametrize("step", STEPS)
def test_a_clean_liver_stays_as_it_is(step):
    labels = liver()
    labels[2:4, 5:9, 6:10] = TUMOUR
    assert np.array_equal(clean(step, labels), labels)


@pytest.mark.parametrize("step", STEPS)
def test_an_empty_map_stays_empty(step):
    assert not clean(step, np.zeros(GRID.shape, np.uint8)).any()


def test_islands_go_with_the_tumour_in_them():
    labels = liver()
    labels[2, 5, 6] = TUMOUR
    expected = labels.copy()
    # One island before the liver in array order and one behind it.
    labels[0, 0:2, 20:23] = labels[5, 16:18, 20:23] = LIVER
    labels[5, 16, 21] = TUMOUR
    assert np.array_equal(clean(KeepLargestLiver(), labels), expected)


def test_tumour_joins_two_parts_of_a_liver():
    labels = liver()
    labels[:, :, 9:11][labels[:, :, 9:11] == LIVER] = TUMOUR
    assert np.array_equal(clean(KeepLargestLiver(), labels), labels)


def test_voxels_that_touch_by_an_edge_are_not_connected():
    labels = liver()
    labels[5, 13, 5] = LIVER
    assert np.array_equal(clean(KeepLargestLiver(), labels), liver())


def test_holes_become_liver_and_tumour_stays_tumour():
    labels = liver()
    labels[2, 5:8, 6:9] = TUMOUR
    expected = labels.copy()
    labels[2, 6, 7] = 0
    labels[3, 8, 12] = 0
    expected[2, 6, 7] = expected[3, 8, 12] = LIVER
    assert np.array_equal(clean(FillLiverHoles(), labels), expected)


def test_a_bay_is_no_hole():
    labels = liver()
    labels[2, 3:8, 8] = 0
    assert np.array_equal(clean(FillLiverHoles(), labels), labels)


def test_holes_are_seen_slice_by_slice():
    """A vessel that runs through the liver from top to bottom is a hole in each slice."""
    labels = liver()
    labels[:, 6, 8] = 0
    assert np.array_equal(clean(FillLiverHoles(), labels), liver())


def test_specks_below_the_limit_become_liver_and_the_rest_stays():
    labels = liver()
    labels[2, 4, 5:9] = TUMOUR
    labels[3, 8, 6:11] = TUMOUR
    expected = liver()
    expected[3, 8, 6:11] = TUMOUR
    assert np.array_equal(clean(DropSmallTumours(0.05), labels), expected)
    assert np.array_equal(clean(DropSmallTumours(0), labels), labels)
    assert np.array_equal(clean(DropSmallTumours(1), labels), liver())


def test_the_limit_is_a_volume_and_not_a_number_of_voxels():
    labels = liver()
    labels[2, 4, 5:9] = TUMOUR
    coarse = LabelMap(labels, Geometry.from_spacing(GRID.shape, (10, 4, 2)))
    assert np.array_equal(DropSmallTumours(0.05)(coarse).labels, labels)


@pytest.mark.parametrize("min_ml", [-1, float("nan"), float("inf")])
def test_an_impossible_limit_is_refused(min_ml):
    with pytest.raises(BadInput, match="0 mL or more"):
        DropSmallTumours(min_ml)
