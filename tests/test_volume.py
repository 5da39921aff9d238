"""Values and labels keep their place; the liver stays on its side."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from hepar.errors import BadInput, GeometryMismatch
from hepar.geometry import Geometry
from hepar.volume import LIVER, TUMOUR, LabelMap, Volume, require_same_grid


def labels_on(grid: Geometry, seed: int = 0) -> LabelMap:
    return LabelMap(np.random.default_rng(seed).integers(0, 3, grid.shape).astype(np.uint8), grid)


def turned(labels: LabelMap, order, flips) -> LabelMap:
    """The same patient stored in another array order, written without hepar's own reorientation."""
    affine = np.eye(4)
    affine[:3, :3] = labels.geometry.affine[:3, list(order)]
    corner = [0, 0, 0]
    for axis, flip in zip(order, flips, strict=True):
        corner[axis] = labels.geometry.shape[axis] - 1 if flip else 0
    affine[:3, 3] = labels.geometry.position_mm(corner)
    affine[:3, :3] *= np.where(flips, -1, 1)
    values = labels.labels.transpose(order)
    for axis, flip in enumerate(flips):
        values = np.flip(values, axis) if flip else values
    return LabelMap(np.ascontiguousarray(values), Geometry(values.shape, affine))


def place_of(labels: LabelMap, label: int) -> np.ndarray:
    return labels.geometry.position_mm(np.argwhere(labels.labels == label)).mean(axis=0)


STORAGE = list(product(permutations(range(3)), product([False, True], repeat=3)))


@pytest.mark.parametrize(("order", "flips"), STORAGE)
def test_the_liver_stays_on_its_side_in_any_storage(oblique_grid, order, flips):
    plain = np.zeros(oblique_grid.shape, np.uint8)
    plain[7:9, 1:3, 2:4] = LIVER
    labels = LabelMap(plain, oblique_grid)
    stored = turned(labels, order, flips)
    assert np.allclose(place_of(stored, LIVER), place_of(labels, LIVER))
    view, expected = stored.axial(), labels.axial()
    assert np.array_equal(view.labels, expected.labels)
    assert view.geometry.same_grid(expected.geometry)


def test_in_the_axial_view_patient_right_is_image_left(oblique_grid):
    plain = np.zeros(oblique_grid.shape, np.uint8)
    middle = oblique_grid.position_mm((np.array(oblique_grid.shape) - 1) / 2)
    index = np.argwhere(plain == 0)
    # The liver lies on the patient's right: smaller x along LPS.
    on_the_right = oblique_grid.position_mm(index)[:, 0] < middle[0]
    plain[tuple(index[on_the_right].T)] = LIVER
    view = LabelMap(plain, oblique_grid).axial()
    half = view.labels.shape[2] // 2
    assert view.labels[..., :half].mean() > 0.9
    assert view.labels[..., -half:].mean() < 0.1


def test_a_mirrored_patient_is_noticed(oblique_grid):
    labels = labels_on(oblique_grid)
    mirrored = labels.with_labels(labels.labels[:, :, ::-1].copy())
    assert not np.array_equal(mirrored.axial().labels, labels.axial().labels)


def test_a_slab_lies_where_it_was_cut(oblique_grid):
    values = np.arange(np.prod(oblique_grid.shape)).astype(np.int16).reshape(oblique_grid.shape)
    ct = Volume(values, oblique_grid, notes=("kept",))
    slab = ct.slab(4, 7)
    assert np.array_equal(slab.values, values[4:7])
    assert np.allclose(slab.geometry.position_mm((1, 2, 3)), oblique_grid.position_mm((5, 2, 3)))
    assert not np.allclose(slab.geometry.position_mm((1, 2, 3)), oblique_grid.position_mm((1, 2, 3)))
    assert slab.notes == ("kept",)
    assert ct.slab(8, 99).geometry.shape == (2, 7, 12)


def test_a_volume_refuses_other_types_and_shapes(oblique_grid):
    with pytest.raises(BadInput, match="float64; a Volume holds int16 or float32"):
        Volume(np.zeros(oblique_grid.shape), oblique_grid)
    with pytest.raises(BadInput, match="but the grid is"):
        Volume(np.zeros((1, 7, 12), np.int16), oblique_grid)


def test_a_label_map_refuses_other_types_shapes_and_labels(oblique_grid):
    with pytest.raises(BadInput, match="uint8"):
        LabelMap(np.zeros(oblique_grid.shape, np.int16), oblique_grid)
    with pytest.raises(BadInput, match="but the grid is"):
        LabelMap(np.zeros((10, 7, 11), np.uint8), oblique_grid)
    with pytest.raises(BadInput, match=r"labels are \[3\].*Map other labels"):
        LabelMap(np.full(oblique_grid.shape, 3, np.uint8), oblique_grid)


def test_a_tumour_voxel_is_also_a_liver_voxel(oblique_grid):
    labels = labels_on(oblique_grid)
    assert np.array_equal(labels.liver, labels.labels > 0)
    assert np.array_equal(labels.tumour, labels.labels == 2)
    voxel_ml = 0.8 * 3.0 * 0.7 / 1000
    assert labels.volume_ml(TUMOUR) == pytest.approx(np.count_nonzero(labels.tumour) * voxel_ml)
    assert labels.volume_ml(LIVER) < np.count_nonzero(labels.liver) * voxel_ml


def test_onto_its_own_grid_changes_nothing(oblique_grid):
    labels = labels_on(oblique_grid)
    assert np.array_equal(labels.onto(oblique_grid).labels, labels.labels)


def test_onto_a_grid_shifted_by_whole_voxels_shifts_the_labels(oblique_grid):
    labels = labels_on(oblique_grid)
    affine = oblique_grid.affine.copy()
    affine[:3, 3] = oblique_grid.position_mm((2, 1, -3))
    moved = labels.onto(Geometry(oblique_grid.shape, affine))
    assert np.array_equal(moved.labels[:8, :6, 3:], labels.labels[2:, 1:, :9])
    assert not moved.labels[8:].any()
    assert not moved.labels[:, 6:].any()
    assert not moved.labels[..., :3].any()


@pytest.mark.parametrize(("order", "flips"), STORAGE[::5])
def test_onto_another_storage_order_and_back_is_exact(oblique_grid, order, flips):
    labels = labels_on(oblique_grid)
    stored = turned(labels, order, flips)
    there = labels.onto(stored.geometry)
    assert np.array_equal(there.labels, stored.labels)
    assert np.array_equal(there.onto(oblique_grid).labels, labels.labels)


def test_from_a_finer_straight_grid_back_to_the_oblique_one_is_exact(oblique_grid):
    labels = labels_on(oblique_grid)
    corners = np.array(list(product(*[(-1, n) for n in oblique_grid.shape])))
    low, high = (f(oblique_grid.position_mm(corners), axis=0) for f in (np.min, np.max))
    # A voxel survives a detour if the straight grid has a voxel centre near enough to its own centre.
    step = 0.25
    shape = tuple(np.ceil((high - low)[::-1] / step).astype(int))
    fine = Geometry.from_spacing(shape, (step, step, step), tuple(low[::-1]))
    assert np.array_equal(labels.onto(fine).onto(oblique_grid).labels, labels.labels)


def test_two_grids_are_told_apart_with_advice(oblique_grid):
    truth = labels_on(oblique_grid)
    require_same_grid(truth, labels_on(oblique_grid, seed=1))
    other = labels_on(Geometry.from_spacing(oblique_grid.shape, oblique_grid.spacing_mm))
    with pytest.raises(GeometryMismatch, match=r"found\.onto\(truth\.geometry\)"):
        require_same_grid(truth, other)
