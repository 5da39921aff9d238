"""Every voxel keeps its place in the patient, whatever the array's order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepar.errors import BadInput
from hepar.geometry import Geometry

few = settings(max_examples=60, deadline=None)


@st.composite
def grids(draw):
    """Any axis order, any flips, tilted up to 40 degrees about each axis, sheared a little, anisotropic."""
    axes = np.eye(3)[:, draw(st.permutations(range(3)))] * draw(st.tuples(*[st.sampled_from([-1, 1])] * 3))
    a, b, c = np.deg2rad(draw(st.tuples(*[st.integers(-40, 40)] * 3)))
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(c), -np.sin(c)], [0, np.sin(c), np.cos(c)]])
    shear = np.eye(3)
    shear[0, 1] = draw(st.sampled_from([0, 0.1]))
    affine = np.eye(4)
    spacing = draw(st.tuples(*[st.floats(0.4, 6)] * 3))
    affine[:3, :3] = about_z @ about_y @ about_x @ shear @ axes * spacing
    affine[:3, 3] = draw(st.tuples(*[st.floats(-500, 500)] * 3))
    return Geometry(draw(st.tuples(*[st.integers(1, 7)] * 3)), affine)


def numbered(grid: Geometry) -> np.ndarray:
    return np.arange(np.prod(grid.shape)).reshape(grid.shape)


def positions(grid: Geometry) -> np.ndarray:
    return grid.position_mm(np.argwhere(np.ones(grid.shape, bool)))


@few
@given(grids())
def test_the_axial_view_is_undone_exactly(grid):
    values = numbered(grid)
    turn = grid.axial()
    assert np.array_equal(turn.undo(turn.apply(values)), values)
    assert turn.apply(values).shape == turn.geometry.shape


@few
@given(grids())
def test_the_axial_view_moves_no_voxel_in_the_patient(grid):
    turn = grid.axial()
    voxels = turn.apply(numbered(grid)).ravel()
    assert np.allclose(positions(turn.geometry), positions(grid)[voxels], atol=1e-6)


@few
@given(grids())
def test_the_axial_view_is_its_own_axial_view(grid):
    again = grid.axial().geometry.axial()
    assert again.axes == (0, 1, 2)
    assert again.flips == (False, False, False)


@pytest.mark.parametrize("flip", [(1, 1, 1), (-1, 1, 1), (1, -1, 1), (1, 1, -1), (-1, -1, -1)])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_axial_means_superior_posterior_left(order, flip):
    affine = np.eye(4)
    affine[:3, :3] = (np.eye(3) * flip)[:, order]
    directions = Geometry((2, 3, 4), affine).axial().geometry.directions
    assert np.array_equal(directions, np.eye(3)[:, ::-1])


@few
@given(grids(), st.tuples(*[st.floats(-20, 20)] * 3))
def test_index_of_undoes_position(grid, index):
    assert np.allclose(grid.index_of(grid.position_mm(index)), index, atol=1e-6)


@few
@given(grids())
def test_nifti_affines_come_back(grid):
    assert Geometry.from_nifti(grid.shape[::-1], grid.to_nifti()).same_grid(grid, tolerance_mm=1e-9)


def test_nifti_positions_are_ras_and_ours_lps():
    ras = np.diag([0.7, 0.8, 5.0, 1.0])
    ras[:3, 3] = (10, 20, 30)
    grid = Geometry.from_nifti((4, 3, 2), ras)
    assert grid.shape == (2, 3, 4)
    assert np.allclose(grid.position_mm((1, 2, 3)), (-(10 + 3 * 0.7), -(20 + 2 * 0.8), 35))


def test_from_spacing_is_an_axial_grid():
    grid = Geometry.from_spacing((2, 3, 4), (5, 0.8, 0.7), (100, -20, -30))
    assert grid.spacing_mm == pytest.approx((5, 0.8, 0.7))
    assert grid.position_mm((1, 1, 1)) == pytest.approx((-29.3, -19.2, 105))
    assert grid.voxel_volume_mm3 == pytest.approx(2.8)
    assert "toward S/P/L" in str(grid)


def test_volume_of_a_sheared_voxel_is_not_the_product_of_its_spacings():
    affine = np.eye(4)
    affine[0, 1] = 1
    grid = Geometry((2, 2, 2), affine)
    assert grid.voxel_volume_mm3 == pytest.approx(1)
    assert np.prod(grid.spacing_mm) == pytest.approx(np.sqrt(2))


@few
@given(grids())
def test_a_grid_is_the_same_grid_as_itself_even_through_float32(grid):
    assert grid.same_grid(grid)
    assert grid.same_grid(Geometry(grid.shape, grid.affine.astype(np.float32)), tolerance_mm=0.01)


@few
@given(grids(), st.integers(0, 2))
def test_a_shifted_grid_is_another_grid(grid, axis):
    moved = grid.affine.copy()
    moved[axis, 3] += 0.05
    assert not grid.same_grid(Geometry(grid.shape, moved))


def test_another_shape_spacing_or_flip_is_another_grid(oblique_grid):
    wider = oblique_grid.affine.copy()
    wider[:3, 0] *= 1.01
    flipped = oblique_grid.affine.copy()
    flipped[:3, 3] = oblique_grid.position_mm((9, 0, 0))
    flipped[:3, 0] *= -1
    assert not oblique_grid.same_grid(Geometry((10, 7, 11), oblique_grid.affine))
    assert not oblique_grid.same_grid(Geometry((10, 7, 12), wider))
    assert not oblique_grid.same_grid(Geometry((10, 7, 12), flipped))


def broken(row: int, column: int, value: float) -> np.ndarray:
    affine = np.eye(4)
    affine[row, column] = value
    return affine


@pytest.mark.parametrize(
    ("shape", "affine", "message"),
    [
        ((2, 2), np.eye(4), "three dimensions"),
        ((2, 2, 0), np.eye(4), "three dimensions"),
        ((2, 2, 2, 2), np.eye(4), "three dimensions"),
        ((2, 2, 2), np.eye(3), "finite 4x4"),
        ((2, 2, 2), broken(0, 3, np.nan), "finite 4x4"),
        ((2, 2, 2), broken(1, 1, np.inf), "finite 4x4"),
        ((2, 2, 2), broken(3, 0, 1), "last row"),
        ((2, 2, 2), broken(1, 1, 0), "every spacing must be above 0"),
        # Two axes along one line: no spacing is zero, yet the grid is flat.
        ((2, 2, 2), np.array([[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "span space"),
    ],
)
def test_impossible_grids_are_refused(shape, affine, message):
    with pytest.raises(BadInput, match=message):
        Geometry(shape, affine)


def test_a_nifti_header_without_a_matrix_is_refused():
    with pytest.raises(BadInput, match="finite 4x4"):
        Geometry.from_nifti((2, 2, 2), np.eye(3))


def test_nobody_can_move_a_grid_afterwards(oblique_grid):
    with pytest.raises(ValueError, match="read-only"):
        oblique_grid.affine[0, 3] = 0
