"""Long and short axis of a lesion: closed forms, the same in every turn, ends that lie where they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepar.geometry import Geometry
from hepar.metrics.diameter import AxialAxes, axial_axes, axial_diameters_mm

GRID = Geometry.from_spacing((4, 60, 60), (5.0, 0.8, 0.8))


def ellipse(semi_mm: tuple[float, float], degrees: float = 0.0, grid: Geometry = GRID, z: int = 1) -> np.ndarray:
    mask = np.zeros(grid.shape, bool)
    _, y, x = np.meshgrid(*map(np.arange, grid.shape), indexing="ij")
    _, y_mm, x_mm = grid.spacing_mm
    dy, dx = (y - 30) * y_mm, (x - 30) * x_mm
    turn = np.deg2rad(degrees)
    along, across = dx * np.cos(turn) + dy * np.sin(turn), dy * np.cos(turn) - dx * np.sin(turn)
    mask[z] = ((along / semi_mm[0]) ** 2 + (across / semi_mm[1]) ** 2 <= 1)[z]
    return mask


def ends_mm(ends, grid: Geometry = GRID) -> float:
    (a, b), (c, d) = ends
    return float(np.hypot((c - a) * grid.spacing_mm[1], (d - b) * grid.spacing_mm[2]))


@pytest.mark.parametrize("degrees", [0, 17, 45, 80, 133])
@pytest.mark.parametrize("semi_mm", [(18.0, 9.0), (15.0, 12.0), (20.0, 4.0)])
def test_an_ellipse_measures_its_axes(semi_mm, degrees):
    axes = axial_axes(ellipse(semi_mm, degrees), GRID)
    assert axes.long_mm == pytest.approx(2 * semi_mm[0], abs=1.2)
    assert axes.short_mm == pytest.approx(2 * semi_mm[1], abs=1.6)


def test_pixels_that_are_not_square_are_measured_in_millimetres():
    grid = Geometry.from_spacing((2, 60, 60), (5.0, 1.2, 0.5))
    axes = axial_axes(ellipse((12.0, 8.0), 30, grid), grid)
    assert axes.long_mm == pytest.approx(24, abs=1.2)
    assert axes.short_mm == pytest.approx(16, abs=1.6)


def test_one_voxel_measures_its_sides():
    grid = Geometry.from_spacing((3, 5, 5), (5.0, 2.0, 1.5))
    mask = np.zeros(grid.shape, bool)
    mask[2, 3, 1] = True
    axes = axial_axes(mask, grid)
    assert (axes.slice, axes.long_mm, axes.short_mm) == (2, pytest.approx(2.0), pytest.approx(1.5))
    assert sorted(axes.long_ends) == [pytest.approx((2.5, 1.0)), pytest.approx((3.5, 1.0))]
    assert sorted(axes.short_ends) == [pytest.approx((3.0, 0.5)), pytest.approx((3.0, 1.5))]


def test_a_bar_is_as_long_as_its_voxels_and_as_wide_as_one():
    mask = np.zeros(GRID.shape, bool)
    mask[1, 20, 10:21] = True
    axes = axial_axes(mask, GRID)
    assert axes.long_mm == pytest.approx(11 * 0.8)
    assert axes.short_mm == pytest.approx(0.8)


def test_an_l_is_bridged_as_calipers_do():
    mask = np.zeros(GRID.shape, bool)
    mask[1, 10:31, 10:13] = mask[1, 28:31, 10:31] = True
    axes = axial_axes(mask, GRID)
    # Along the outer corners of both legs; across from the inner corner's hull, three voxels of leg included.
    assert axes.long_mm == pytest.approx(0.8 * np.hypot(20, 20), rel=0.06)
    assert axes.short_mm == pytest.approx(0.8 * 23 / np.sqrt(2), abs=0.1)


def test_the_slice_is_that_of_the_longest_diameter_and_the_first_of_equals():
    mask = ellipse((8, 6), z=0) | ellipse((14, 3), z=2) | ellipse((9, 9), z=3)
    assert axial_axes(mask, GRID).slice == 2
    assert axial_axes(ellipse((9, 6), z=1) | ellipse((9, 6), z=2), GRID).slice == 1


def test_slices_are_never_measured_across():
    tall = np.zeros(GRID.shape, bool)
    tall[:, 30, 30] = True
    assert axial_axes(tall, GRID).long_mm == pytest.approx(0.8)


masks = st.integers(0, 2**32 - 1).map(
    lambda seed: np.random.default_rng(seed).random((2, 9, 11)) < np.random.default_rng(seed + 1).uniform(0.02, 0.9)
)
pixels = st.tuples(st.floats(0.3, 4.0), st.floats(0.3, 4.0))


def axes_of(mask: np.ndarray, pixel_mm: tuple[float, float]) -> tuple[AxialAxes, Geometry]:
    grid = Geometry.from_spacing(mask.shape, (3.0, *pixel_mm))
    return axial_axes(mask, grid), grid


@settings(deadline=None)
@given(masks.filter(np.any), pixels)
def test_ends_lie_as_far_apart_as_said_and_at_a_right_angle(mask, pixel_mm):
    axes, grid = axes_of(mask, pixel_mm)
    assert ends_mm(axes.long_ends, grid) == pytest.approx(axes.long_mm, abs=1e-6)
    assert ends_mm(axes.short_ends, grid) == pytest.approx(axes.short_mm, abs=1e-6)
    (a, b), (c, d) = (np.array(ends) * pixel_mm for ends in (axes.long_ends, axes.short_ends))
    assert (b - a) @ (d - c) == pytest.approx(0, abs=1e-6 * axes.long_mm * max(axes.short_mm, 1))
    assert 0 < axes.short_mm <= axes.long_mm + 1e-9


@settings(deadline=None)
@given(masks.filter(np.any), pixels)
def test_the_long_axis_is_the_diameter_that_scores_use(mask, pixel_mm):
    axes, grid = axes_of(mask, pixel_mm)
    index = np.nonzero(mask)
    (diameter,) = axial_diameters_mm(np.ones(len(index[0]), np.int32), index, grid)
    assert axes.long_mm == pytest.approx(float(diameter), abs=1e-6)


@settings(deadline=None)
@given(masks.filter(np.any), pixels)
def test_a_mirrored_lesion_is_as_long_and_as_wide(mask, pixel_mm):
    axes, _ = axes_of(mask, pixel_mm)
    mirrored, _ = axes_of(np.ascontiguousarray(mask[:, ::-1]), pixel_mm)
    assert mirrored.long_mm == pytest.approx(axes.long_mm)
    # Of several diameters of one length either may be taken, and each has its own perpendicular.
    if _has_one_longest(mask, pixel_mm):
        assert mirrored.short_mm == pytest.approx(axes.short_mm)


def _has_one_longest(mask: np.ndarray, pixel_mm: tuple[float, float]) -> bool:
    lengths = []
    for part in mask:
        y, x = np.nonzero(part)
        sides = [(0, 0.5), (0, -0.5), (0.5, 0), (-0.5, 0)]
        places = np.concatenate([np.stack([y + dy, x + dx], axis=1) for dy, dx in sides]) * pixel_mm
        apart = np.linalg.norm(places[:, None] - places[None], axis=-1)
        lengths += apart[np.triu_indices(len(apart), 1)].tolist()
    first, second, *_ = *sorted(lengths, reverse=True), -1.0
    return first - second > 1e-6
