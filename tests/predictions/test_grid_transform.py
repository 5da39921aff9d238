"""How two grids differ is told in the patient's terms, and what is exact stays exact."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from label_files import GRID, blob

from hepar.geometry import Geometry
from hepar.predictions.transform import Inset, inset, place, reordered, transform
from hepar.volume import LabelMap

small = st.floats(-0.3, 0.3)
oblique = st.tuples(small, small, small, st.tuples(*[st.floats(0.4, 6)] * 3), st.tuples(*[st.floats(-300, 300)] * 3))
axes_orders = st.permutations([0, 1, 2])
flips = st.tuples(st.booleans(), st.booleans(), st.booleans())


def turn(x: float, y: float, z: float) -> np.ndarray:
    """A rotation about the patient's axes, in radians."""
    rotations = []
    for axis, angle in ((0, x), (1, y), (2, z)):
        a, b = [i for i in range(3) if i != axis]
        matrix = np.eye(3)
        matrix[a, a] = matrix[b, b] = np.cos(angle)
        matrix[a, b], matrix[b, a] = -np.sin(angle), np.sin(angle)
        rotations.append(matrix)
    return rotations[2] @ rotations[1] @ rotations[0]


def grid_of(drawn, shape=(4, 6, 8)) -> Geometry:
    x, y, z, spacing, origin = drawn
    affine = np.eye(4)
    affine[:3, :3] = turn(x, y, z) @ np.eye(3)[:, ::-1] * np.array(spacing)
    affine[:3, 3] = origin
    return Geometry(shape, affine)


def changed(grid: Geometry, matrix=None, origin=None, shape=None) -> Geometry:
    affine = grid.affine.copy()
    if matrix is not None:
        affine[:3, :3] = matrix
    if origin is not None:
        affine[:3, 3] = origin
    return Geometry(shape or grid.shape, affine)


def stored_otherwise(labels: LabelMap, order, flip) -> LabelMap:
    """The same voxels in the same places with axes permuted and reversed."""
    grid = labels.geometry
    affine, origin = grid.affine.copy(), grid.affine[:3, 3].copy()
    for new, old in enumerate(order):
        step = grid.affine[:3, old]
        affine[:3, new] = -step if flip[new] else step
        origin += step * (grid.shape[old] - 1) if flip[new] else 0
    affine[:3, 3] = origin
    values = np.transpose(labels.labels, order)[tuple(slice(None, None, -1 if f else 1) for f in flip)]
    return LabelMap(np.ascontiguousarray(values), Geometry(values.shape, affine))


@given(oblique, axes_orders, flips)
def test_a_reordering_is_known_and_undone_exactly(drawn, order, flip):
    here = LabelMap(blob(), grid_of(drawn))
    there = stored_otherwise(here, order, flip)
    how = transform(here.geometry, there.geometry)
    assert how.reorders_only
    assert "mirrored" not in str(how)
    assert "shifted" not in str(how)
    assert ("stored in reverse along" in str(how)) == any(flip)
    assert ("axes swapped" in str(how)) == (list(order) != [0, 1, 2])
    back = reordered(there, how)
    assert (back.labels == here.labels).all()
    assert back.geometry.same_grid(here.geometry)


@given(oblique, st.tuples(*[st.floats(-50, 50)] * 3))
def test_a_shift_is_told_in_mm_of_the_patient(drawn, shift):
    assume(max(map(abs, shift)) > 0.02)
    grid = grid_of(drawn)
    how = transform(grid, changed(grid, origin=grid.affine[:3, 3] + shift))
    assert np.allclose(how.shift_mm, shift)
    shown = ", ".join(f"{round(s, 3) + 0.0:g}" for s in shift)
    assert str(how) == f"shifted by ({shown}) mm (left, back, head)"


@given(oblique, st.sampled_from([0, 1, 2]), st.floats(0.1, 20))
def test_a_rotation_is_told_in_degrees(drawn, axis, degrees):
    grid = grid_of(drawn)
    angles = [0.0, 0.0, 0.0]
    angles[axis] = np.deg2rad(degrees)
    how = transform(grid, changed(grid, turn(*angles) @ grid.affine[:3, :3]))
    assert how.degrees == pytest.approx(degrees, abs=1e-6)
    assert f"rotated by {degrees:.3g} degrees" in str(how)
    assert "mirrored" not in str(how)


@given(st.tuples(*[st.floats(0.4, 6)] * 3), st.sampled_from([0, 1, 2]))
def test_a_header_that_reverses_an_axis_on_the_spot_mirrors_the_patient(spacing, axis):
    grid = Geometry.from_spacing((9, 9, 9), spacing, (-100, 50, -20))
    matrix = grid.affine[:3, :3].copy()
    matrix[:, axis] *= -1
    how = transform(grid, changed(grid, matrix))
    assume(8 * spacing[axis] > max(spacing))  # less than a voxel apart is no other place
    assert f"mirrored along patient {('head-foot', 'front-back', 'left-right')[axis]}" in str(how)
    assert not how.reorders_only


def test_a_coarser_grid_stored_in_reverse_is_not_mirrored():
    affine = GRID.affine.copy()
    affine[:3, 1:3] *= -2
    affine[:3, 3] = GRID.position_mm((0, 4.5, 6.5))
    said = str(transform(GRID, Geometry((4, 3, 4), affine)))
    assert "stored in reverse along y, x" in said
    assert "mirrored" not in said
    assert "shifted" not in said


def test_sizes_are_told_before_places():
    there = Geometry.from_spacing((4, 3, 8), (5, 4, 1), (-700, -20, -30))
    assert str(transform(GRID, there)) == (
        "shape (4, 3, 8) against (4, 6, 8) of the truth (z, y, x); spacing 5 x 4 x 1 mm against 5 x 2 x 1 mm; "
        "shifted by (0, -1, 0) mm (left, back, head)"
    )


def test_equal_grids_differ_in_nothing():
    how = transform(GRID, GRID)
    assert how.reorders_only
    assert (how.degrees, how.order, how.reversed_) == (pytest.approx(0), (0, 1, 2), (False, False, False))


def test_small_differences_of_spacing_are_told_where_they_add_up():
    grid = Geometry.from_spacing((4, 512, 512), (5, 0.7, 0.7))
    there = Geometry.from_spacing((4, 512, 512), (5, 0.7001, 0.7001))
    assert "spacing 5 x 0.7001 x 0.7001 mm against 5 x 0.7 x 0.7 mm" in str(transform(grid, there))


@given(oblique, st.tuples(*[st.integers(0, 3)] * 3), st.tuples(*[st.integers(1, 2)] * 3))
def test_a_lattice_within_another_is_found_and_filled(drawn, start, step):
    shape = tuple(s + k * (n - 1) + 2 for s, k, n in zip(start, step, (4, 6, 8), strict=True))
    grid = grid_of(drawn, shape)
    part = changed(grid, grid.affine[:3, :3] * np.array(step), grid.position_mm(start), (4, 6, 8))
    at = inset(grid, part)
    assert at == Inset(tuple(start), tuple(step))
    placed = place(LabelMap(blob(), part), at, grid)
    assert np.count_nonzero(placed.labels) == np.count_nonzero(blob())
    for index in itertools.product(*map(range, (4, 6, 8))):
        there = tuple(np.array(start) + np.array(step) * index)
        assert placed.labels[there] == blob()[index]


def test_another_lattice_is_not_within():
    half = Geometry.from_spacing(GRID.shape, (5, 2, 1), (-697.5, -20, -30))
    finer = Geometry.from_spacing(GRID.shape, (2.5, 2, 1), (-700, -20, -30))
    assert inset(GRID, half) is None
    assert inset(GRID, finer) is None
    assert inset(GRID, Geometry.from_spacing((1, 6, 8), (2.5, 2, 1), (-695, -20, -30))) == Inset((1, 0, 0), (1, 1, 1))
