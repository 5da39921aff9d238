"""Straightening as arithmetic: whole shifts lose nothing, halves are means, the way back is the nearest pixel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepar.geometry import Geometry
from hepar.io.series.findings import NotHounsfield, RescaleMade
from hepar.io.series.hounsfield import hounsfield_finding, looks_like
from hepar.io.series.slices import Slice, Tags
from hepar.io.series.stack import stacked
from hepar.io.series.straighten import AIR_HU, Straightening, straightening

ROW, COLUMN = np.array([1.0, 0, 0]), np.array([0, 1.0, 0])


def slices(heights, shifts=None, size=(6, 7), tags=None) -> list[Slice]:
    """Axial slices with pixels of 2 x 1 mm, displaced by `shifts` (mm along rows, columns)."""
    moved = np.zeros((len(heights), 2)) if shifts is None else np.asarray(shifts, float)
    pixel, orientation = np.array([2.0, 1.0]), np.concatenate([ROW, COLUMN])
    return [
        Slice(
            f"{k}", (), "1", 1, *size, pixel, COLUMN * a + ROW * b + [0, 0, z], orientation, 1.0, 0.0, 1.0,
            tags or Tags(modality="CT"),
        )
        for k, (z, (a, b)) in enumerate(zip(heights, moved, strict=True))
    ]  # fmt: skip


def way_of(heights, shifts=None, step=None, **options) -> Straightening:
    stack = stacked(slices(heights, shifts, **options))
    return straightening(stack, step or stack.usual_gap_mm, tilted=shifts is not None)


def voxels(seed: int, shape) -> np.ndarray:
    return np.random.default_rng(seed).integers(-900, 900, shape).astype(np.int16)


@given(st.integers(2, 8), st.integers(-3, 3), st.integers(-3, 3), st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_a_tilt_of_whole_pixels_moves_every_voxel_and_changes_none(count, rows, columns, seed):
    shifts = [(2.0 * rows * k, 1.0 * columns * k) for k in range(count)]
    way, values = way_of(3.0 * np.arange(count), shifts), voxels(seed, (count, 6, 7))
    straight = way.apply(values)
    assert straight.dtype == np.int16 and straight.shape == way.grid.shape
    for k, r, c in [(0, 0, 0), (count - 1, 5, 6), (count // 2, 2, 3)]:
        place = np.array([shifts[k][1] + c, shifts[k][0] + 2.0 * r, 3.0 * k])
        index = np.rint(way.grid.index_of(place)).astype(int)
        assert way.grid.position_mm(index) == pytest.approx(place, abs=1e-6)
        assert straight[tuple(index)] == values[k, r, c]
    assert np.count_nonzero(straight != AIR_HU) == values.size


@given(st.integers(2, 8), st.floats(-4, 4), st.floats(-4, 4), st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_labels_make_the_round_trip_of_any_tilt_within_half_a_pixel(count, down_mm, across_mm, seed):
    shifts = [(down_mm * k, across_mm * k) for k in range(count)]
    way = way_of(3.0 * np.arange(count), shifts)
    labels = np.random.default_rng(seed).integers(0, 3, way.grid.shape).astype(np.uint8)
    back = way.back(labels)
    assert back.shape == (count, 6, 7)
    for k, r, c in [(0, 5, 0), (count - 1, 0, 6), (count // 2, 3, 3)]:
        exact = way.grid.index_of(np.array([shifts[k][1] + c, shifts[k][0] + 2.0 * r, 3.0 * k]))
        near = labels[k, int(np.floor(exact[1])) : int(np.floor(exact[1])) + 2]
        near = near[:, int(np.floor(exact[2])) : int(np.floor(exact[2])) + 2]
        assert back[k, r, c] in near
        nearest = tuple(np.rint(np.round(exact, 9)).astype(int))
        if (np.abs(exact - np.floor(exact) - 0.5) > 1e-6).all():
            assert back[k, r, c] == labels[nearest]


def test_half_a_pixel_is_the_mean_of_two():
    values = voxels(1, (2, 6, 7))
    straight = way_of([0, 3], [(0, 0), (1.0, 0)]).apply(values)
    assert straight.shape == (2, 7, 7)
    assert np.array_equal(straight[0, :6], values[0]) and (straight[0, 6] == AIR_HU).all()
    means = (values[1, :-1].astype(float) + values[1, 1:]) / 2
    assert np.abs(straight[1, 1:6] - means).max() <= 0.5


def test_floats_stay_floats():
    values = voxels(1, (3, 6, 7)).astype(np.float32) + np.float32(0.25)
    straight = way_of([0, 3, 6], [(0, 0), (0.5, 0), (1.0, 0)]).apply(values)
    assert straight.dtype == np.float32
    assert np.array_equal(straight[0, :6], values[0])


@given(st.sets(st.integers(1, 10), max_size=4), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_slices_that_are_there_stay_as_they_are_around_those_that_are_made(missing, seed):
    there = [k for k in range(12) if k not in missing]
    way, values = way_of(2.5 * np.array(there), step=2.5), voxels(seed, (len(there), 6, 7))
    straight = way.apply(values)
    assert way.grid.shape == (12, 6, 7)
    assert np.array_equal(straight[there], values)
    assert np.array_equal(way.back(straight.astype(np.uint8)), values.astype(np.uint8))
    for k in missing:
        low, high = max(j for j in there if j < k), min(j for j in there if j > k)
        share = (k - low) / (high - low)
        mixed = (1 - share) * values[there.index(low)] + share * values[there.index(high)]
        assert np.abs(straight[k] - mixed).max() <= 0.5


def test_uneven_heights_are_linear_in_height():
    heights = [0.0, 2.0, 3.1, 5.0, 8.0]
    ramp = np.stack([np.full((6, 7), 100 * z, np.float32) for z in heights])
    way = way_of(heights, step=1.0)
    straight = way.apply(ramp)
    assert straight[:, 2, 3] == pytest.approx(100 * np.arange(9), abs=1e-3)
    assert way.grid.position_mm((8, 0, 0)) == pytest.approx((0, 0, 8))


def test_a_lone_slice_and_a_straight_stack_keep_their_grid():
    (one,) = slices([4.0])
    alone = straightening(stacked([one]), 5.0, tilted=False)
    assert alone.grid.same_grid(Geometry.from_spacing((1, 6, 7), (5, 2, 1), (4, 0, 0)))
    straight = way_of([0, 3, 6])
    assert straight.grid.same_grid(Geometry.from_spacing((3, 6, 7), (3, 2, 1)))
    values = voxels(0, (3, 6, 7))
    assert np.array_equal(straight.apply(values), values)


# Hounsfield units by their values


def body(air: int, tissue: int) -> np.ndarray:
    values = np.random.default_rng(0).normal(tissue, 30, (10, 40, 40))
    values[:, :, :14] = np.random.default_rng(1).normal(air, 15, (10, 40, 14))
    return values.astype(np.int16)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (body(-1000, 45), "hounsfield"),
        (body(24, 1069), "stored"),
        (np.clip(body(-1000, 45), -40, 160), "unclear"),
        (body(0, 400), "unclear"),
        (np.zeros((4, 5, 6), np.int16), "unclear"),
        (np.linspace(0, 4000, 6000).reshape(6, 25, 40).astype(np.int16), "unclear"),
    ],
    ids=["CT", "CT without rescale", "windowed", "MR-like", "nothing", "all values alike"],
)
def test_numbers_are_judged_by_air_and_soft_tissue(values, kind):
    assert looks_like(values) == kind


@pytest.mark.parametrize(
    ("values", "tags", "found"),
    [
        (body(-1000, 45), Tags(modality="CT"), None),
        (body(-1000, 45), Tags(modality="CT", rescaled=False), RescaleMade(0)),
        (body(24, 1069), Tags(modality="CT", rescaled=False), RescaleMade(-1024)),
        (body(24, 1069), Tags(modality="CT"), NotHounsfield),
        (body(0, 400), Tags(modality="CT"), None),
        (body(0, 400), Tags(modality="CT", rescaled=False), NotHounsfield),
        (body(0, 400), Tags(modality=""), NotHounsfield),
        (body(0, 400), Tags(modality="", rescale_type="HU"), None),
        (body(-1000, 45), Tags(modality=""), None),
    ],
)
def test_values_are_asked_where_headers_are_silent_or_wrong(values, tags, found):
    judged = hounsfield_finding(values, tuple(slices([0, 1], tags=tags)))
    if isinstance(found, type):
        assert isinstance(judged, found) and judged.weight == "error"
    else:
        assert judged == found
