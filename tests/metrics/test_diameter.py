"""The longest axial diameter in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import pdist

from hepar.geometry import Geometry
from hepar.metrics.diameter import SIDES, axial_diameters_mm
from hepar.metrics.lesions import find_lesions
from hepar.volume import LabelMap

few = settings(max_examples=50, deadline=None)


def diameter(mask: np.ndarray, grid: Geometry) -> float:
    (lesion,) = find_lesions(LabelMap(mask.astype(np.uint8) * 2, grid))
    return lesion.diameter_mm


def block(z: int, y: int, x: int) -> np.ndarray:
    mask = np.zeros((z + 2, y + 2, x + 2), bool)
    mask[1:-1, 1:-1, 1:-1] = True
    return mask


@given(st.floats(0.3, 5), st.floats(0.3, 5))
@few
def test_one_voxel_measures_its_longer_side(dy, dx):
    assert diameter(block(1, 1, 1), Geometry.from_spacing((3, 3, 3), (7, dy, dx))) == pytest.approx(max(dy, dx))


@given(st.integers(1, 30))
@few
def test_a_bar_of_n_voxels_is_n_voxels_long(n):
    assert diameter(block(1, 1, n), Geometry.from_spacing((3, 3, n + 2), (5, 0.7, 0.7))) == pytest.approx(n * 0.7)
    assert diameter(block(1, n, 1), Geometry.from_spacing((3, n + 2, 3), (5, 0.7, 0.7))) == pytest.approx(n * 0.7)


@given(st.integers(2, 30), st.integers(2, 30), st.floats(0.4, 2))
@few
def test_a_rectangle_is_measured_between_the_middles_of_sides_at_opposite_corners(ny, nx, dx):
    tall = math.hypot(ny * 0.8, (nx - 1) * dx)
    wide = math.hypot((ny - 1) * 0.8, nx * dx)
    grid = Geometry.from_spacing((4, ny + 2, nx + 2), (3, 0.8, dx))
    assert diameter(block(2, ny, nx), grid) == pytest.approx(max(tall, wide))


@given(st.floats(2, 25), st.floats(-0.5, 0.5), st.floats(-0.5, 0.5))
@few
def test_a_ball_has_its_diameter_to_within_a_voxel(radius_mm, dy, dx):
    spacing = np.array((2.5, 0.8, 0.8))
    half = np.ceil(radius_mm / spacing).astype(int) + 1
    z, y, x = np.mgrid[tuple(slice(-n, n + 1) for n in half)]
    ball = (z * 2.5) ** 2 + ((y + dy) * 0.8) ** 2 + ((x + dx) * 0.8) ** 2 <= radius_mm**2
    measured = diameter(ball, Geometry.from_spacing(ball.shape, tuple(spacing)))
    assert measured == pytest.approx(2 * radius_mm, abs=0.8 + 1e-6)


def test_height_does_not_count():
    tower = block(40, 2, 3)
    assert diameter(tower, Geometry.from_spacing(tower.shape, (5, 1, 1))) == pytest.approx(math.hypot(1, 3))


def test_the_slice_where_it_is_longest_counts():
    mask = np.zeros((3, 5, 30), bool)
    mask[:, 2, 2:5] = True
    mask[1, 2, 2:25] = True
    assert diameter(mask, Geometry.from_spacing(mask.shape, (5, 1, 0.5))) == pytest.approx(23 * 0.5)


def test_two_parts_in_a_slice_that_join_in_another_are_one_lesion():
    arch = np.zeros((2, 3, 12), bool)
    arch[0, 1, [1, 10]] = True
    arch[1, 1, 1:11] = True
    arch[1, 1, 5] = True
    assert diameter(arch, Geometry.from_spacing(arch.shape, (5, 1, 1))) == pytest.approx(10)


@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 0, 2), (2, 1, 0), (2, 0, 1)])
@pytest.mark.parametrize("flip", [False, True])
def test_how_the_scan_is_stored_does_not_matter(axes, flip):
    """The same lesion stored axially, coronally and sagittally, both ways up."""
    z, y, x = np.mgrid[-3:4, -12:13, -9:10]
    mask = (z / 3) ** 2 + (y / 11) ** 2 + (x / 7) ** 2 <= 1
    axial = Geometry.from_spacing(mask.shape, (4, 0.7, 0.9), (-300, 20, -55))
    affine = axial.affine.copy()
    stored = mask.transpose(axes)
    affine[:, :3] = affine[:, list(axes)]
    if flip:
        stored = stored[::-1]
        affine[:3, 3] += affine[:3, 0] * (stored.shape[0] - 1)
        affine[:3, 0] *= -1
    grid = Geometry(stored.shape, affine)
    assert diameter(stored, grid) == pytest.approx(diameter(mask, axial))
    assert diameter(mask, axial) == pytest.approx(23 * 0.7)


def test_sheared_rows_are_measured_in_mm_not_in_voxels():
    """Rows that start further left one after the other: a column of voxels runs at a slant."""
    affine = Geometry.from_spacing((3, 6, 3), (5, 4, 1)).affine.copy()
    affine[0, 1] = 3
    column = block(1, 4, 1)
    assert diameter(column, Geometry(column.shape, affine)) == pytest.approx(4 * 5)


@few
@given(arrays(np.int32, st.just((3, 6, 7)), elements=st.integers(0, 2)).filter(lambda a: (a == 1).any()), st.data())
def test_it_is_the_largest_distance_of_all_outline_points_whatever_the_shape(numbers, data):
    """Against every pair of points, with slices that only look promising; lesions need not even be connected."""
    if not (numbers == 2).any():
        numbers[numbers == 2] = 1
    slant = data.draw(st.floats(-0.5, 0.5))
    affine = Geometry.from_spacing(numbers.shape, (5, 0.8, 0.6)).affine.copy()
    affine[0, 1] = slant
    grid = Geometry(numbers.shape, affine)
    places = np.nonzero(numbers)
    found = axial_diameters_mm(numbers[places], places, grid)
    for lesion, diameter_mm in enumerate(found, start=1):
        expected = 0.0
        for slice_ in numbers == lesion:
            middles = (np.argwhere(slice_)[:, None] + SIDES).reshape(-1, 2)
            if len(middles):
                expected = max(expected, pdist(middles @ affine[:3, 1:3].T).max())
        assert diameter_mm == pytest.approx(expected)


def test_a_slice_that_only_looks_second_best_is_measured_too():
    """A line between two of the directions tried looks shorter than one that runs along one of them."""
    numbers = np.zeros((2, 101, 101), np.int32)
    numbers[0, [0, 99], 0] = 1
    numbers[1, [0, 10], [0, 99]] = 1
    grid = Geometry.from_spacing(numbers.shape, (5, 1.0025, 1))
    places = np.nonzero(numbers)
    expected = math.hypot(10 * 1.0025, 100)
    assert expected > 100 * 1.0025
    assert axial_diameters_mm(numbers[places], places, grid) == pytest.approx([expected])
