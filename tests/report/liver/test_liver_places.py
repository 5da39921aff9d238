"""Where a lesion lies: millimetres to the surface, the lobe, whether the scan cuts it off."""

from __future__ import annotations

import numpy as np
import pytest

from hepar.geometry import Geometry
from hepar.report.liver.places import places_of
from hepar.volume import LIVER, TUMOUR, LabelMap

GRID = Geometry.from_spacing((20, 60, 60), (4.0, 1.0, 2.0))


def labelled(*tumours: tuple[slice, slice, slice]) -> LabelMap:
    labels = np.zeros(GRID.shape, np.uint8)
    labels[2:18, 10:50, 10:50] = LIVER
    for place in tumours:
        labels[place] = TUMOUR
    return LabelMap(labels, GRID)


def test_distances_are_in_mm_to_the_nearest_surface_whichever_way():
    # 6 voxels of 1 mm from the front, 8 voxels of 2 mm from the right, 4 slices of 4 mm from below.
    (one,) = places_of(labelled(np.s_[6:8, 16:18, 18:20]))
    assert one.surface_mm == 6.0
    (one,) = places_of(labelled(np.s_[6:8, 30:32, 12:14]))
    assert one.surface_mm == 4.0
    (one,) = places_of(labelled(np.s_[3:4, 28:32, 26:34]))
    assert one.surface_mm == 4.0


def test_a_tumour_at_the_surface_reaches_it():
    (one,) = places_of(labelled(np.s_[8:10, 10:14, 20:24]))
    assert (one.surface_mm, one.touches_border) == (0.0, False)


def test_the_scans_own_edge_is_no_surface_of_the_liver_and_cuts_a_tumour_off():
    labels = np.zeros(GRID.shape, np.uint8)
    labels[0:18, 10:50, 10:50] = LIVER
    labels[0:2, 29:31, 29:31] = TUMOUR
    (one,) = places_of(LabelMap(labels, GRID))
    assert one.touches_border and one.surface_mm > 10


def test_a_liver_that_fills_the_scan_has_no_surface():
    labels = np.full(GRID.shape, LIVER, np.uint8)
    labels[8:10, 20:24, 20:24] = TUMOUR
    (one,) = places_of(LabelMap(labels, GRID))
    assert np.isnan(one.surface_mm)


def test_lobes_are_the_patients_whatever_the_arrays_axes():
    plain = labelled(np.s_[8:10, 40:44, 12:16], np.s_[8:12, 12:16, 40:46])
    assert {one.number: one.lobe for one in places_of(plain)} == {1: "left", 2: "right"}
    mirrored = np.ascontiguousarray(plain.labels[:, :, ::-1])
    affine = GRID.affine @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, 59], [0, 0, 0, 1]], dtype=float)
    again = LabelMap(mirrored, Geometry(GRID.shape, affine))
    assert {one.number: one.lobe for one in places_of(again)} == {1: "left", 2: "right"}


def test_a_tumour_on_both_sides_of_the_plane_is_in_both_lobes():
    (one,) = places_of(labelled(np.s_[8:10, 20:40, 18:42]))
    assert one.lobe == "both"


def test_without_tumours_there_are_no_places():
    assert places_of(labelled()) == []


@pytest.mark.parametrize("count", [1, 4])
def test_places_bear_the_numbers_of_the_table(count):
    """1 is the largest."""
    spots = [np.s_[4 + 3 * k : 5 + 3 * k, 20 : 22 + 2 * k, 20:24] for k in range(count)]
    assert [one.number for one in places_of(labelled(*spots))] == list(range(1, count + 1))
