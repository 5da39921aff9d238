"""Volumes for a 3D network: on its grid, cut into blocks by chance that an argument decides, changed alike."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from hepar.cases import Case
from hepar.errors import BadInput
from hepar.geometry import Geometry
from hepar.preprocess import InPlaneGrid, Window
from hepar.training.patches3d import augment_blocks, draw_blocks, even_runs, load_volumes
from hepar.training.recipe import NO_CHANGES, STRONG
from hepar.volume import LabelMap, Volume

GRID = InPlaneGrid(pixel_mm=2.0, multiple=1)


def box_case(name: str, *, slices: int = 20, tumour: bool = True, labels="full", heights=None) -> Case:
    """A liver of 150 HU in a corner of a scan, with a tumour of 60 HU."""
    grid = Geometry.from_spacing((slices, 30, 26), (3, 2, 2))
    truth = np.zeros(grid.shape, np.uint8)
    truth[4:16, 16:28, 2:14] = 1
    if tumour:
        truth[8:11, 20:23, 5:8] = 2
    values = np.choose(truth, (20, 150, 60)).astype(np.int16)
    return Case(name, name, lambda: Volume(values, grid), lambda: LabelMap(truth, grid), labels, heights_mm=heights)


def load(*cases: Case):
    return load_volumes(cases, (Window(0, 255),), GRID, 3.0, seed=1)


def test_volumes_lie_on_the_network_s_grid():
    store = load(box_case("a"))
    assert store.images[0].shape == (20, 30, 26)
    assert np.array_equal(store.labels[0], box_case("a").truth.labels)
    assert np.unique(store.images[0]).tolist() == [20, 60, 150]
    half = load_volumes([box_case("a")], (Window(0, 255),), GRID, 6.0, seed=1)
    assert half.images[0].shape == (10, 30, 26)
    assert store.burden() == {"a": pytest.approx(27 / 1728)}
    assert set(store.labels[0].ravel()[store.tumour[0]]) == {2}
    assert set(store.labels[0].ravel()[store.liver[0]]) == {1, 2}


def test_a_part_keeps_what_belongs_together():
    store = load(box_case("a"), box_case("b", tumour=False), box_case("c", labels="liver_union"))
    part = store.part(np.array([False, True, True]))
    assert part.patients.tolist() == ["b", "c"]
    assert part.union.tolist() == [False, True]
    assert [len(places) for places in part.tumour] == [0, 27]
    assert part.burden().keys() == {"b"}


def test_blocks_show_the_scan_and_its_labels_at_the_same_place():
    store = load(box_case("a"), box_case("b", tumour=False))
    images, labels, union = draw_blocks(store, 12, 16, np.random.default_rng(0))
    assert images.shape == labels.shape == (12, 16, 16, 16)
    assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)
    assert torch.equal(images == 150, labels == 1)
    assert torch.equal(images == 60, labels == 2)
    assert not union.any()
    again, other = (draw_blocks(store, 12, 16, np.random.default_rng(seed))[0] for seed in (0, 1))
    assert torch.equal(images, again)
    assert not torch.equal(images, other)


def test_tumours_are_seen_often_and_every_patient_is():
    store = load(box_case("a"), *[box_case(f"b{i}", tumour=False) for i in range(4)])
    _, labels, _ = draw_blocks(store, 200, 8, np.random.default_rng(0))
    with_tumour = (labels == 2).flatten(1).any(1).float().mean()
    assert 0.35 < with_tumour < 0.55
    healthy = load(*[box_case(f"b{i}", tumour=False) for i in range(2)])
    assert (draw_blocks(healthy, 20, 8, np.random.default_rng(0))[1] == 1).any()


def test_blocks_have_the_sides_and_shares_asked_for():
    store = load(box_case("a"), box_case("b"))
    images, labels, _ = draw_blocks(store, 200, (4, 8, 6), np.random.default_rng(0), shares=(0.0, 0.0))
    assert images.shape == labels.shape == (200, 4, 8, 6)
    often = draw_blocks(store, 200, (4, 8, 6), np.random.default_rng(0), shares=(1.0, 0.0))[1]
    shown = [(found == 2).flatten(1).any(1).float().mean() for found in (labels, often)]
    assert shown[0] < 0.5 < shown[1]


def test_scans_smaller_than_a_block_lie_in_air():
    images, labels, _ = draw_blocks(load(box_case("a")), 4, 40, np.random.default_rng(0))
    for image, truth in zip(images, labels, strict=True):
        assert (image > 0).sum() == 20 * 30 * 26
        assert (truth > 0).sum() == 12 * 12 * 12


def test_union_labels_stay_told():
    _, _, union = draw_blocks(load(box_case("c", labels="liver_union")), 3, 16, np.random.default_rng(0))
    assert union.all()


def test_thinned_stacks_are_cut_where_they_have_gaps():
    even, gap, nowhere = np.arange(20) * 3.0, np.r_[np.arange(9) * 3.0, 60 + np.arange(11) * 3.0], np.full(20, math.nan)
    assert even_runs(box_case("a"), 20) == [(0, 20)]
    assert even_runs(box_case("a", heights=tuple(even)), 20) == [(0, 20)]
    assert even_runs(box_case("a", heights=tuple(gap)), 20) == [(0, 9), (9, 20)]
    assert even_runs(box_case("a", heights=tuple(nowhere)), 20) == []
    assert [image.shape[0] for image in load(box_case("a", heights=tuple(gap))).images] == [9, 11]
    # A lone slice behind a gap is no volume.
    assert even_runs(box_case("a", heights=(*even[:19], 999.0)), 20) == [(0, 19)]


def test_lone_slices_and_other_grids_are_refused():
    with pytest.raises(BadInput, match="needs whole scans with labels, not lone slices"):
        load(box_case("a", heights=(math.nan,) * 20))
    with pytest.raises(BadInput, match="no cases to train on"):
        load()


def test_a_block_and_its_labels_move_alike_and_all_of_its_slices():
    store = load(box_case("a"))
    images, labels, _ = draw_blocks(store, 3, 32, np.random.default_rng(0))
    moves = torch.Generator().manual_seed(3)
    settings = STRONG.__class__(**{**NO_CHANGES.__dict__, "rotate_degrees": 15, "shift": 0.1, "warp_share": 1.0})
    moved, truth = augment_blocks(images, labels, settings, moves)
    assert not torch.equal(moved, images)
    agree = ((moved > 100) == (truth == 1)).float().mean()
    assert agree > 0.97
    shifts = [(a - b).abs().sum() for a, b in zip(truth[0, 14:18], labels[0, 14:18], strict=True)]
    assert all(s > 0 for s in shifts) or not labels[0, 14:18].any()


def test_no_changes_leave_blocks_as_they_are_and_strong_ones_stay_grey():
    images, labels, _ = draw_blocks(load(box_case("a")), 2, 16, np.random.default_rng(0))
    same = augment_blocks(images, labels, NO_CHANGES, torch.Generator().manual_seed(0))
    assert torch.equal(same[0], images)
    assert torch.equal(same[1], labels)
    changed, truth = augment_blocks(images, labels, STRONG, torch.Generator().manual_seed(0))
    assert changed.shape == truth.shape == images.shape
    assert changed.min() >= 0
    assert changed.max() <= 255
    assert set(truth.unique().tolist()) <= {0, 1, 2}
