"""What can be worked out on paper: spheres, planes, single voxels, empties, borders, one slice, oblique grids."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepar.geometry import Geometry
from hepar.metrics.lesions import detection, find_lesions, match_lesions
from hepar.metrics.overlap import counts
from hepar.metrics.surface import (
    assd_mm,
    hausdorff95_mm,
    hausdorff95_pooled_mm,
    mask_distances,
    mssd_mm,
    rmsd_mm,
    surface_dice,
    surface_distances,
)
from hepar.volume import LabelMap

DISTANCES = (assd_mm, rmsd_mm, mssd_mm, hausdorff95_mm, hausdorff95_pooled_mm)
few = settings(max_examples=25, deadline=None)
spacings = st.tuples(*[st.floats(0.3, 6)] * 3)


@st.composite
def grids(draw: st.DrawFn, shape: tuple[int, int, int]) -> Geometry:
    """Any orthogonal grid: turned any way, flipped or not, any spacing, anywhere."""
    a, b, c = (draw(st.floats(-math.pi, math.pi)) for _ in range(3))
    turn = np.eye(3)
    for axis, angle in enumerate((a, b, c)):
        i, j = [k for k in range(3) if k != axis]
        step = np.eye(3)
        step[i, i] = step[j, j] = math.cos(angle)
        step[i, j], step[j, i] = -math.sin(angle), math.sin(angle)
        turn = turn @ step
    affine = np.eye(4)
    affine[:3, :3] = turn * np.array(draw(spacings)) * np.array(draw(st.sampled_from([(1, 1, 1), (-1, 1, 1)])))
    affine[:3, 3] = [draw(st.floats(-500, 500)) for _ in range(3)]
    return Geometry(shape, affine)


def voxel(shape: tuple[int, int, int], at: tuple[int, int, int]) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[at] = True
    return mask


def ball(radius_mm: float, spacing_mm: tuple[float, float, float], room_mm: float) -> np.ndarray:
    axes = [np.arange(-math.ceil(room_mm / s), math.ceil(room_mm / s) + 1) * s for s in spacing_mm]
    z, y, x = np.meshgrid(*axes, indexing="ij", sparse=True)
    return np.asarray(z**2 + y**2 + x**2 <= radius_mm**2)


# Spheres


@given(st.floats(6, 12), st.floats(0, 6), st.tuples(*[st.floats(0.6, 1.5)] * 3))
@few
def test_concentric_spheres_lie_their_radii_apart(radius, wider, spacing):
    """Each surface point lies inside its sphere by less than a voxel's diagonal."""
    grid_error = math.hypot(*spacing)
    inner, outer = (ball(r, spacing, radius + wider) for r in (radius, radius + wider))
    distances = mask_distances(inner, outer, Geometry.from_spacing(inner.shape, spacing))
    for measure in DISTANCES:
        assert measure(distances) == pytest.approx(wider, abs=grid_error)


@pytest.mark.parametrize(("inner", "outer"), [(20, 23), (15, 25), (24, 25)])
def test_on_average_concentric_spheres_lie_their_radii_apart_to_a_third_of_a_voxel(inner, outer):
    spacing = (1.0, 0.75, 0.75)
    masks = [ball(r, spacing, 26) for r in (inner, outer)]
    distances = mask_distances(*masks, Geometry.from_spacing(masks[0].shape, spacing))
    assert assd_mm(distances) == pytest.approx(outer - inner, abs=0.25)
    overlap = counts(*masks)
    assert overlap.dice == pytest.approx(2 * inner**3 / (inner**3 + outer**3), rel=0.01)
    assert overlap.iou == pytest.approx((inner / outer) ** 3, rel=0.01)
    assert overlap.relative_volume_difference == pytest.approx(
        (outer / inner) ** 3 - 1, abs=0.01 * (outer / inner) ** 3
    )


def test_a_sphere_moved_by_d_has_a_mean_distance_of_half_d():
    """To first order: the mean of |d cos| over a sphere is d / 2."""
    spacing = (0.5, 0.5, 0.5)
    truth = ball(20, spacing, 24)
    found = np.roll(truth, 4, axis=0)
    distances = mask_distances(truth, found, Geometry.from_spacing(truth.shape, spacing))
    assert assd_mm(distances) == pytest.approx(1.0, abs=0.12)
    assert mssd_mm(distances) == pytest.approx(2.0, abs=0.5)


# Planes


@given(st.integers(0, 2), st.integers(0, 8), grids((9, 9, 9)))
@few
def test_parallel_planes_lie_n_voxels_apart_on_any_grid(axis, apart, grid):
    truth, found = np.zeros((2, 9, 9, 9), bool)
    np.moveaxis(truth, axis, 0)[0] = True
    np.moveaxis(found, axis, 0)[apart] = True
    distances = mask_distances(truth, found, grid)
    gap = apart * grid.spacing_mm[axis]
    for measure in DISTANCES:
        assert measure(distances) == pytest.approx(gap)
    assert surface_dice(distances, gap) == 1
    assert surface_dice(distances, gap - 0.01 if apart else 0) == (0 if apart else 1)


@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 2))
@few
def test_a_slab_that_grew_on_one_side_is_right_on_the_other(thick, more, axis):
    """Two faces: one moved by `more` voxels, the other not at all."""
    truth, found = np.zeros((2, 10, 10, 10), bool)
    np.moveaxis(truth, axis, 0)[1 : 1 + thick] = True
    np.moveaxis(found, axis, 0)[1 : 1 + thick + more] = True
    overlap = counts(truth, found)
    assert overlap.dice == pytest.approx(2 * thick / (2 * thick + more))
    assert overlap.relative_volume_difference == pytest.approx(more / thick)
    spacing = (2.5, 0.8, 0.6)
    distances = mask_distances(truth, found, Geometry.from_spacing(truth.shape, spacing))
    assert mssd_mm(distances) == pytest.approx(more * spacing[axis])


# Single voxels


indices = st.tuples(*[st.integers(0, 5)] * 3)


@given(indices, indices, grids((6, 6, 6)))
@few
def test_two_voxels_are_as_far_apart_as_their_centres(here, there, grid):
    distances = mask_distances(voxel(grid.shape, here), voxel(grid.shape, there), grid)
    apart = float(np.linalg.norm(grid.position_mm(here) - grid.position_mm(there)))
    for measure in DISTANCES:
        assert measure(distances) == pytest.approx(apart, abs=1e-9)
    overlap = counts(voxel(grid.shape, here), voxel(grid.shape, there))
    assert overlap.dice == overlap.iou == (here == there)


@given(indices, grids((6, 6, 6)))
@few
def test_a_voxel_is_as_far_from_a_cube_as_from_its_shell(at, grid):
    cube = np.ones(grid.shape, bool)
    shell = np.array([p for p in itertools.product(range(6), repeat=3) if 0 in p or 5 in p])
    away = np.linalg.norm(grid.position_mm(shell) - grid.position_mm(at), axis=1)
    distances = mask_distances(voxel(grid.shape, at), cube, grid)
    assert distances.truth_to_found == pytest.approx([away.min()], abs=1e-9)
    assert distances.found_to_truth == pytest.approx(away, abs=1e-9)


# Empties


EMPTIES = {"truth": (False, True), "found": (True, False), "both": (False, False)}


@pytest.mark.parametrize("empty", EMPTIES)
@given(st.tuples(*[st.integers(1, 4)] * 3), spacings)
@few
def test_whatever_is_empty_distances_are_not_defined_and_overlap_is_none(empty, shape, spacing):
    truth, found = (np.full(shape, full) for full in EMPTIES[empty])
    distances = mask_distances(truth, found, Geometry.from_spacing(shape, spacing))
    assert all(math.isnan(measure(distances)) for measure in DISTANCES)
    assert math.isnan(surface_dice(distances, 1))
    overlap = counts(truth, found)
    expected = math.nan if empty == "both" else 0.0
    assert [overlap.dice, overlap.iou, 1 - overlap.voe] == pytest.approx([expected] * 3, nan_ok=True)
    expected = -1.0 if empty == "found" else math.nan
    assert overlap.relative_volume_difference == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("structure", ["liver", "liver_exclusive", "tumour"])
@pytest.mark.parametrize("labels", list(itertools.product([0, 1, 2], repeat=2)))
def test_each_structure_is_empty_on_its_own(structure, labels):
    """Maps of one label everywhere: which structures that leaves empty, and what is then said."""
    grid = Geometry.from_spacing((2, 3, 4), (5, 1, 1))
    truth, found = (LabelMap(np.full(grid.shape, label, np.uint8), grid) for label in labels)
    holds = {"liver": (1, 2), "liver_exclusive": (1,), "tumour": (2,)}[structure]
    distances = surface_distances(truth, found, structure)
    if all(label in holds for label in labels):
        assert assd_mm(distances) == 0
    else:
        assert math.isnan(assd_mm(distances))


@pytest.mark.parametrize("empty", EMPTIES)
def test_lesions_are_missed_or_false_or_not_there(empty):
    grid = Geometry.from_spacing((2, 3, 4), (5, 1, 1))
    here, there = (find_lesions(LabelMap(np.full(grid.shape, 2 * full, np.uint8), grid)) for full in EMPTIES[empty])
    found = detection(here, there, match_lesions(here, there))
    assert (found.true_positives, found.false_positives, found.false_negatives) == {
        "truth": (0, 1, 0),
        "found": (0, 0, 1),
        "both": (0, 0, 0),
    }[empty]


# Borders and single slices


@given(st.integers(0, 2), st.booleans(), st.integers(1, 5))
@few
def test_a_mask_against_the_border_has_its_surface_there(axis, far_side, thick):
    """The same slab at the border and away from it, against the same slab one voxel thicker inwards."""
    spacing = (2.5, 0.8, 0.6)

    def pair(room: int) -> list[np.ndarray]:
        masks = []
        for depth in (thick, thick + 1):
            mask = np.zeros((12, 12, 12), bool)
            np.moveaxis(mask, axis, 0)[room : room + depth] = True
            masks.append(np.flip(mask, axis) if far_side else mask)
        return masks

    grid = Geometry.from_spacing((12, 12, 12), spacing)
    at_border, inside = (mask_distances(*pair(room), grid) for room in (0, 3))
    assert [measure(at_border) for measure in DISTANCES] == pytest.approx([measure(inside) for measure in DISTANCES])
    assert mssd_mm(at_border) == pytest.approx(spacing[axis])


@given(st.integers(0, 2), st.integers(2, 8), st.integers(2, 8), grids((1, 1, 1)))
@few
def test_in_a_volume_of_one_slice_all_voxels_are_surface(axis, rows, columns, any_grid):
    """One slice, stored along any axis: a full rectangle and the same without its last row."""
    shape = [rows, columns]
    shape.insert(axis, 1)
    truth = np.ones(shape, bool)
    found = truth.copy()
    along = 0 if axis else 1
    np.moveaxis(found, along, 0)[-1] = False
    grid = Geometry(tuple(shape), any_grid.affine)
    distances = mask_distances(truth, found, grid)
    assert distances.truth_to_found.size == rows * columns
    assert distances.found_to_truth.size == (rows - 1) * columns
    step = grid.spacing_mm[along]
    assert mssd_mm(distances) == pytest.approx(step)
    assert assd_mm(distances) == pytest.approx(columns * step / (2 * rows * columns - columns))


@given(grids((7, 8, 9)), st.integers(0, 2**32 - 1))
@few
def test_how_the_array_is_stored_changes_no_number(grid, seed):
    """The same patient on the stored and on the axial grid."""
    rng = np.random.default_rng(seed)
    truth, found = (LabelMap(rng.integers(0, 3, grid.shape, np.uint8), grid) for _ in range(2))
    here = surface_distances(truth, found, "tumour")
    there = surface_distances(truth.axial(), found.axial(), "tumour")
    for measure in DISTANCES:
        assert measure(here) == pytest.approx(measure(there))
    one, other = (find_lesions(side) for side in (truth, truth.axial()))
    assert [lesion.voxels for lesion in one] == [lesion.voxels for lesion in other]
    assert [lesion.diameter_mm for lesion in one] == pytest.approx([lesion.diameter_mm for lesion in other])
