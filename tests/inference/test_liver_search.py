"""Where the liver is looked for: every few mm, on coarse pixels, and never too narrow."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepar.geometry import Geometry
from hepar.inference import Pipeline, SlabSegmenter
from hepar.inference.neighbours import Neighbours
from hepar.inference.two_pass import (
    LEFT_TIP_MM,
    SEARCH_MM,
    TwoPassSegmenter,
    box_around,
    box_on_scan,
    largest,
    spread_rows,
)
from hepar.preprocess import InPlaneGrid, Window
from hepar.volume import Volume


def bright_is_liver(batch: np.ndarray) -> np.ndarray:
    grey = batch[:, batch.shape[1] // 2]
    return np.stack([100 - grey, grey - 100, grey - 220], axis=1).astype(np.float32) / 10


COARSE, FINE = (Pipeline((Window(0, 255),), InPlaneGrid(pixel_mm=mm, multiple=8)) for mm in (2.0, 1.0))
FIRST = SlabSegmenter(bright_is_liver, COARSE, "first", slab=4)
SECOND = TwoPassSegmenter(bright_is_liver, FINE, "both", first=FIRST, margin_mm=10)
Triple = tuple[float, float, float]


def ball(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], radius_mm: float, value: int = 150
) -> Volume:
    """A bright ball in the middle of an empty scan."""
    grid = Geometry.from_spacing(shape, spacing)
    z, y, x = (((np.arange(n) - (n - 1) / 2) * s) ** 2 for n, s in zip(shape, spacing, strict=True))
    inside = z[:, None, None] + y[:, None] + x < radius_mm**2
    return Volume(np.where(inside, value, 0).astype(np.int16), grid)


@settings(max_examples=25, deadline=None)
@given(st.floats(0.5, 6.0), st.floats(0.6, 2.5), st.floats(15.0, 30.0))
def test_the_search_loses_nothing_of_what_a_full_first_pass_finds(z_mm, pixel_mm, radius):
    shape = (max(3, round(90 / z_mm)), round(90 / pixel_mm), round(80 / pixel_mm))
    ct = ball(shape, (z_mm, pixel_mm, pixel_mm), radius)
    full = box_around(FIRST.segment(ct).liver, ct.geometry, 0.0)
    found = SECOND.searched(ct)
    assert full is not None
    assert found is not None
    for wide, tight in zip(found, full, strict=True):
        assert wide.start <= tight.start
        assert wide.stop >= tight.stop


def test_the_box_leaves_out_what_is_far_from_the_liver():
    box = SECOND.searched(ball((60, 120, 120), (3.0, 1.0, 1.0), 20.0))
    assert box is not None
    sizes = [side.stop - side.start for side in box]
    # 40 mm of ball, 10 mm of margin on each side, one step of the search along z.
    assert 60 <= sizes[1] <= 64
    assert abs(sizes[2] - sizes[1] - LEFT_TIP_MM) <= 1
    assert sizes[0] <= (60 + 2 * (SEARCH_MM + 3)) / 3 + 1


@pytest.mark.parametrize("flips", [(), (2,), (0, 1, 2)])
def test_it_reaches_further_to_the_patients_left_however_the_scan_is_stored(flips):
    axial = ball((40, 120, 160), (3.0, 1.0, 1.0), 20.0)
    box = SECOND.searched(axial.with_values(axial.values))
    affine = axial.geometry.affine.copy()
    for axis in flips:
        affine[:, 3] += affine[:, axis] * (axial.geometry.shape[axis] - 1)
        affine[:, axis] *= -1
    stored = Volume(np.flip(axial.values, flips), Geometry(axial.geometry.shape, affine))
    assert SECOND.searched(stored.axial()) == box
    assert box is not None
    middle = (axial.geometry.shape[2] - 1) / 2
    right, left = middle - box[2].start, box[2].stop - 1 - middle
    assert left - right == pytest.approx(LEFT_TIP_MM, abs=2)


def test_an_island_does_not_widen_the_box():
    ct = ball((60, 120, 120), (3.0, 1.0, 1.0), 20.0)
    alone = SECOND.searched(ct)
    values = ct.values.copy()
    values[2:6, 2:8, 2:8] = 150
    assert SECOND.searched(ct.with_values(values)) == alone


def test_an_empty_scan_has_no_box_and_no_labels():
    ct = ball((20, 40, 40), (3.0, 1.0, 1.0), 20.0, value=0)
    assert SECOND.searched(ct) is None
    assert not SECOND.segment(ct).labels.any()


def test_outside_the_box_all_is_background_and_inside_it_is_the_second_passs():
    ct = ball((40, 100, 100), (3.0, 1.0, 1.0), 25.0)
    found = SECOND.segment(ct).labels
    assert np.array_equal(found > 0, ct.values > 100)


@pytest.mark.parametrize("slab", [1, 3, 16])
def test_slabs_of_any_size_give_the_same_box_and_labels(slab):
    ct = ball((47, 90, 90), (1.1, 1.3, 1.3), 22.0)
    other = replace(SECOND, slab=slab, first=replace(FIRST, slab=slab))
    assert other.searched(ct) == SECOND.searched(ct)
    assert np.array_equal(other.segment(ct).labels, SECOND.segment(ct).labels)


def test_few_slices_are_looked_at():
    counted = []

    def counting(batch: np.ndarray) -> np.ndarray:
        counted.append(len(batch))
        return bright_is_liver(batch)

    ct = ball((100, 40, 40), (0.5, 2.0, 2.0), 15.0)
    replace(SECOND, first=replace(FIRST, predict=counting)).searched(ct)
    assert sum(counted) <= 12


@given(st.integers(1, 200), st.floats(0.3, 12.0), st.floats(1.0, 10.0))
def test_rows_are_no_further_apart_than_asked_and_hold_both_ends(count, z_mm, every):
    rows = spread_rows(Geometry.from_spacing((count, 4, 4), (z_mm, 1.0, 1.0)), every)
    assert (rows[0], rows[-1]) == (0, count - 1)
    steps = np.diff(rows)
    assert (steps * z_mm <= max(every, z_mm) + 1e-3).all()
    assert (steps >= 1).all()


def test_sampled_labels_are_those_of_the_whole_stack_on_the_networks_pixels():
    seen_by = Pipeline((Window(0, 255),), InPlaneGrid(pixel_mm=1.0, multiple=8), neighbours=Neighbours(3, 2.0))
    one = SlabSegmenter(bright_is_liver, seen_by, "one", slab=4)
    ct = ball((30, 40, 48), (2.0, 1.0, 1.0), 14.0)
    rows = np.array([0, 7, 14, 15, 29])
    assert np.array_equal(one.sampled(ct, rows), one.segment(ct).labels[rows])


def test_only_the_largest_part_counts():
    mask = np.zeros((4, 6, 6), bool)
    mask[0, 0, 0] = mask[2:, 2:5, 2:5] = True
    assert largest(mask).sum() == 18
    assert not largest(np.zeros((2, 2, 2), bool)).any()


def test_a_box_at_the_scans_edge_stays_in_the_scan():
    grid = Geometry.from_spacing((10, 20, 30), (5.0, 1.0, 1.0))
    box = box_on_scan(np.ones((4, 10, 15), bool), np.array([0, 3, 6, 9]), grid, 20.0)
    assert box == (slice(0, 10), slice(0, 20), slice(0, 30))
