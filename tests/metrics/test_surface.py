"""Surface distances in closed form, on straight and oblique grids."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import binary_erosion, distance_transform_edt

from hepar.errors import BadInput, GeometryMismatch
from hepar.geometry import Geometry
from hepar.metrics.surface import (
    SurfaceDistances,
    assd_mm,
    hausdorff95_mm,
    hausdorff95_pooled_mm,
    mask_distances,
    mssd_mm,
    rmsd_mm,
    surface_dice,
    surface_distances,
    surface_points_mm,
)
from hepar.volume import LabelMap

SPACING = (2.5, 0.8, 0.6)
MASKS = arrays(bool, st.just((4, 5, 6))).filter(np.any)
few = settings(max_examples=50, deadline=None)


def label_map(mask: np.ndarray, geometry: Geometry | None = None) -> LabelMap:
    return LabelMap(mask.astype(np.uint8), geometry or Geometry.from_spacing(mask.shape, SPACING))


def plane(shape, axis: int, at: int) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[(slice(None),) * axis + (at,)] = True
    return mask


def test_a_mask_is_0_mm_from_itself():
    ball = np.linalg.norm(np.mgrid[-4:5, -4:5, -4:5], axis=0) < 4
    distances = surface_distances(label_map(ball), label_map(ball))
    assert assd_mm(distances) == 0
    assert hausdorff95_mm(distances) == 0


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("apart", [1, 4])
def test_planes_d_voxels_apart_are_d_spacings_apart(axis, apart):
    shape = (8, 9, 10)
    truth, found = (label_map(plane(shape, axis, at)) for at in (1, 1 + apart))
    distances = surface_distances(truth, found)
    assert assd_mm(distances) == pytest.approx(apart * SPACING[axis])
    assert hausdorff95_mm(distances) == pytest.approx(apart * SPACING[axis])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_planes_on_an_oblique_grid_are_as_far_apart(oblique_grid, axis):
    truth, found = (label_map(plane(oblique_grid.shape, axis, at), oblique_grid) for at in (1, 4))
    assert assd_mm(surface_distances(truth, found)) == pytest.approx(3 * oblique_grid.spacing_mm[axis])


def test_on_a_sheared_grid_distance_is_not_index_times_spacing():
    """Gantry tilt: slices stand upright over each other, but the next one starts further back."""
    affine = Geometry.from_spacing((6, 40, 3), (5, 1, 1)).affine.copy()
    affine[1, 0] = 3
    sheared = Geometry((6, 40, 3), affine)
    voxel = np.zeros(sheared.shape, bool)
    voxel[1, 20, 1] = True
    above = np.zeros(sheared.shape, bool)
    above[2, 17, 1] = True
    assert assd_mm(surface_distances(label_map(voxel, sheared), label_map(above, sheared))) == pytest.approx(5)


def test_a_cubes_surface_is_its_shell():
    cube = np.zeros((9, 9, 9), bool)
    cube[2:7, 2:7, 2:7] = True
    grid = Geometry.from_spacing(cube.shape, SPACING)
    assert len(surface_points_mm(cube, grid)) == 5**3 - 3**3


def test_a_mask_cut_by_the_images_border_has_surface_there():
    cube = np.ones((5, 5, 5), bool)
    grid = Geometry.from_spacing(cube.shape, SPACING)
    assert len(surface_points_mm(cube, grid)) == 5**3 - 3**3


def test_cropping_the_image_does_not_change_a_distance():
    truth, found = np.zeros((2, 12, 12, 12), bool)
    truth[3:9, 3:9, 3:9] = True
    found[3:8, 2:9, 3:7] = True
    whole = assd_mm(surface_distances(label_map(truth), label_map(found)))
    cropped = assd_mm(surface_distances(label_map(truth[3:9, 2:9, 3:9]), label_map(found[3:9, 2:9, 3:9])))
    assert whole == pytest.approx(cropped)
    assert whole > 0


def test_pooling_weighs_every_surface_point_alike():
    """One voxel against a row of three: distances 0 one way; 1, 0, 1 voxels the other."""
    one, row = np.zeros((2, 1, 1, 9), bool)
    one[..., 4] = True
    row[..., 3:6] = True
    distances = surface_distances(label_map(one), label_map(row))
    assert distances.truth_to_found.tolist() == [0]
    assert sorted(distances.found_to_truth) == pytest.approx([0, 0.6, 0.6])
    assert assd_mm(distances) == pytest.approx(2 * 0.6 / 4)
    assert hausdorff95_mm(distances) == pytest.approx(0.6)


def test_hausdorff95_takes_the_worse_direction():
    truth, found = np.zeros((2, 1, 1, 40), bool)
    truth[..., 0] = True
    found[..., [0, 20, 21]] = True
    distances = surface_distances(label_map(truth), label_map(found))
    assert hausdorff95_mm(distances) == pytest.approx(np.percentile([0, 12, 12.6], 95))


# From the truth 0, 0, 3 and 4 mm; from what was found 0 and 1 mm.
KNOWN = SurfaceDistances(np.array([0.0, 3, 0, 4]), np.array([1.0, 0]))


def test_each_measure_is_what_its_name_says():
    assert assd_mm(KNOWN) == pytest.approx(8 / 6)
    assert rmsd_mm(KNOWN) == pytest.approx(math.sqrt((9 + 16 + 1) / 6))
    assert mssd_mm(KNOWN) == 4
    assert hausdorff95_mm(KNOWN) == pytest.approx(np.percentile([0, 0, 3, 4], 95))
    assert hausdorff95_pooled_mm(KNOWN) == pytest.approx(np.percentile([0, 0, 0, 1, 3, 4], 95))
    assert [surface_dice(KNOWN, mm) for mm in (0, 1, 2, 3, 4)] == pytest.approx([3 / 6, 4 / 6, 4 / 6, 5 / 6, 1])


def test_what_lies_just_at_the_tolerance_is_within_it():
    """Ten voxels of .1 mm are 1 mm, which floating point makes a little more or less."""
    for apart in (3, 6, 7, 10):
        grid = Geometry.from_spacing((1, 1, 12), (0.1, 0.1, 0.1), (-300.3, 77.7, 0.1))
        truth, found = (label_map(plane(grid.shape, 2, at), grid) for at in (0, apart))
        assert surface_dice(surface_distances(truth, found), apart / 10) == 1
        assert surface_dice(surface_distances(truth, found), apart / 10 - 0.01) == 0


@pytest.mark.parametrize("tolerance", [-1, math.nan])
def test_a_tolerance_below_0_is_refused(tolerance):
    with pytest.raises(BadInput, match="0 mm or more"):
        surface_dice(KNOWN, tolerance)


def test_masks_give_what_label_maps_give_and_may_be_cut_alike(oblique_grid):
    rng = np.random.default_rng(11)
    truth, found = np.zeros((2, *oblique_grid.shape), bool)
    truth[2:9, 1:6, 3:9] = rng.random((7, 5, 6)) < 0.7
    found[1:8, 2:6, 3:11] = rng.random((7, 4, 8)) < 0.7
    maps = surface_distances(label_map(truth, oblique_grid), label_map(found, oblique_grid))
    whole = mask_distances(truth, found, oblique_grid)
    cut = mask_distances(truth[1:, 1:6, 2:], found[1:, 1:6, 2:], oblique_grid)
    threads = mask_distances(truth, found, oblique_grid, workers=2)
    assert assd_mm(maps) > 0
    for other in (whole, cut, threads):
        assert other.truth_to_found.tolist() == maps.truth_to_found.tolist()
        assert other.found_to_truth.tolist() == maps.found_to_truth.tolist()


def test_masks_of_two_shapes_are_not_compared():
    with pytest.raises(BadInput, match="one grid"):
        mask_distances(np.ones((2, 2, 2), bool), np.ones((2, 2, 3), bool), Geometry.from_spacing((2, 2, 2), SPACING))


@few
@given(MASKS, MASKS)
def test_on_a_sheared_oblique_grid_distances_are_those_of_every_pair_of_points(truth, found):
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0]
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.array([[2.5, 0.3, 0], [0, 0.8, -0.4], [1.1, 0, 0.6]])
    affine[:3, 3] = (812.5, -44, 3)
    grid = Geometry(truth.shape, affine)
    here, there = (surface_points_mm(mask, grid) for mask in (truth, found))
    apart = np.linalg.norm(here[:, None] - there[None], axis=-1)
    distances = mask_distances(truth, found, grid)
    assert np.allclose(distances.truth_to_found, apart.min(axis=1))
    assert np.allclose(distances.found_to_truth, apart.min(axis=0))


@few
@given(MASKS, MASKS)
def test_measures_keep_their_order(truth, found):
    d = surface_distances(label_map(truth), label_map(found))
    assert 0 <= assd_mm(d) <= rmsd_mm(d) + 1e-9 <= mssd_mm(d) + 2e-9
    assert hausdorff95_mm(d) <= mssd_mm(d) + 1e-9
    assert surface_dice(d, 0) <= surface_dice(d, 1) <= surface_dice(d, mssd_mm(d)) == 1


def test_pooling_outvotes_a_small_surface_that_lies_far_off():
    """Two false voxels beside a bar of 200: a percent of the pooled points, but far more of what was found."""
    truth, found = np.zeros((2, 1, 1, 300), bool)
    truth[..., :200] = True
    found[..., 180:200] = True
    found[..., [298, 299]] = True
    d = surface_distances(label_map(found), label_map(truth))
    assert hausdorff95_mm(d) > hausdorff95_pooled_mm(d)


@pytest.mark.parametrize("empty", ["truth", "found", "both"])
def test_without_a_surface_distances_are_not_defined(empty):
    full, none = np.ones((2, 2, 2), bool), np.zeros((2, 2, 2), bool)
    truth = none if empty in ("truth", "both") else full
    found = none if empty in ("found", "both") else full
    distances = surface_distances(label_map(truth), label_map(found))
    assert (distances.truth_to_found.size, distances.found_to_truth.size) == (0, 0)
    for measure in (assd_mm, rmsd_mm, mssd_mm, hausdorff95_mm, hausdorff95_pooled_mm):
        assert math.isnan(measure(distances))
    assert math.isnan(surface_dice(distances, 1))


@few
@given(MASKS, MASKS)
def test_distances_equal_those_of_a_distance_transform(truth, found):
    """The same numbers another way: erosion and Euclidean distance transform by SciPy."""
    surfaces = [mask & ~binary_erosion(mask) for mask in (truth, found)]
    fields = [distance_transform_edt(~surface, sampling=SPACING) for surface in surfaces]
    distances = surface_distances(label_map(truth), label_map(found))
    assert np.allclose(distances.truth_to_found, fields[1][surfaces[0]])
    assert np.allclose(distances.found_to_truth, fields[0][surfaces[1]])


@few
@given(MASKS, MASKS, st.floats(0.2, 5))
def test_distances_are_symmetric_and_scale_with_the_spacing(truth, found, factor):
    here = assd_mm(surface_distances(label_map(truth), label_map(found)))
    there = assd_mm(surface_distances(label_map(found), label_map(truth)))
    larger = Geometry.from_spacing(truth.shape, tuple(factor * s for s in SPACING))
    scaled = assd_mm(surface_distances(label_map(truth, larger), label_map(found, larger)))
    assert here == pytest.approx(there)
    assert scaled == pytest.approx(factor * here)
    assert (here == 0) == np.array_equal(surface_of(truth), surface_of(found))


def surface_of(mask: np.ndarray) -> np.ndarray:
    return mask & ~binary_erosion(mask)


def test_each_structure_has_its_own_surface():
    truth = np.ones((3, 9, 9), np.uint8)
    truth[1, 2:5, 2:5] = 2
    found = truth.copy()
    found[1, 2:5, 2:5] = 1
    found[1, 4:7, 2:5] = 2
    grid = Geometry.from_spacing(truth.shape, SPACING)
    pair = LabelMap(truth, grid), LabelMap(found, grid)
    assert assd_mm(surface_distances(*pair, "liver")) == 0
    assert assd_mm(surface_distances(*pair, "tumour")) > 0
    assert assd_mm(surface_distances(*pair, "liver_exclusive")) > 0


def test_maps_on_different_grids_are_not_compared():
    mask = np.ones((2, 2, 2), bool)
    other = Geometry.from_spacing((2, 2, 2), SPACING, (0, 0, 1))
    with pytest.raises(GeometryMismatch):
        surface_distances(label_map(mask), label_map(mask, other))
