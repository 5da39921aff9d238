"""Slices in memory, and what a 2.5D network sees around each of them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from hepar.cases import Case
from hepar.geometry import Geometry
from hepar.inference import Neighbours, Pipeline, SlabSegmenter
from hepar.preprocess import InPlaneGrid, Window
from hepar.training.recipe import Recipe
from hepar.training.sampling import gather
from hepar.training.store import SliceStore, load_slices
from hepar.volume import LabelMap, Volume

PREPARE, GRID = (Window(0, 255),), InPlaneGrid(pixel_mm=1.0)


def stack(name: str, count: int, z_mm: float, liver: slice = slice(None), first: int = 10) -> Case:
    """Slice i is grey first + i everywhere."""
    grid = Geometry.from_spacing((count, 32, 32), (z_mm, 1, 1))
    values = np.broadcast_to((first + np.arange(count, dtype=np.int16))[:, None, None], grid.shape).copy()
    labels = np.zeros(grid.shape, np.uint8)
    labels[liver, 4:8, 4:8] = 1
    return Case(name, name, lambda: Volume(values, grid), lambda: LabelMap(labels, grid))


def seen(store: SliceStore, i: int) -> list[int]:
    return [int(one[0, 0]) for one in store.seen(i)]


def test_each_slice_knows_the_slices_one_step_away_in_its_own_stack():
    store = load_slices(
        [stack("a", 5, 2.0), stack("b", 3, 1.0, first=90)], PREPARE, GRID, neighbours=Neighbours(3, 2.0)
    )
    assert [seen(store, i) for i in range(8)] == [
        [10, 10, 11], [10, 11, 12], [11, 12, 13], [12, 13, 14], [13, 14, 14],
        [90, 90, 92], [90, 91, 92], [90, 92, 92],
    ]  # fmt: skip
    assert all(store.seen(i)[1] is store.images[i] for i in range(8))


def test_neighbours_stay_when_their_own_slices_are_not_trained_on():
    store = load_slices([stack("a", 5, 2.0, liver=slice(2, 3))], PREPARE, GRID, neighbours=Neighbours(3, 2.0))
    kept = store.part(store.has(1))
    assert len(kept) == 1
    assert seen(kept, 0) == [11, 12, 13]


def test_slices_of_a_set_without_stacks_see_themselves():
    store = load_slices(
        [replace(stack("p1", 4, 2.0), heights_mm=(math.nan,) * 4)], PREPARE, GRID, neighbours=Neighbours(5, 2.0)
    )
    assert [seen(store, i) for i in range(4)] == [[10] * 5, [11] * 5, [12] * 5, [13] * 5]


def test_a_network_of_single_slices_sees_one():
    store = load_slices([stack("a", 3, 2.0)], PREPARE, GRID)
    assert [seen(store, i) for i in range(3)] == [[10], [11], [12]]
    assert store.around == []


@pytest.mark.parametrize("patch", [None, 20, 48])
def test_a_patch_is_cut_from_all_slices_at_one_place(patch):
    case = stack("a", 5, 2.0)
    grey = np.random.default_rng(0).integers(0, 255, (1, 32, 32)).astype(np.int16).repeat(5, axis=0)
    textured = replace(case, read_ct=lambda: Volume(grey, case.ct.geometry))
    store = load_slices([textured], PREPARE, GRID, neighbours=Neighbours(3, 2.0))
    images, _, _ = gather(store, np.array([1, 2]), Recipe(patch=patch), np.random.default_rng(1))
    assert images.shape == (2, 3, patch or 32, patch or 32)
    assert np.array_equal(images[:, 0], images[:, 2])
    assert not np.array_equal(images[0, 0], images[1, 0]) or patch is None


@pytest.mark.parametrize("z_mm", [0.8, 2.0, 7.0])
def test_training_and_segmenting_see_the_same_slices(z_mm):
    case, seen_by = stack("a", 9, z_mm), Neighbours(5, 2.5)
    store = load_slices([case], PREPARE, GRID, neighbours=seen_by)
    batches = []

    def spy(batch):
        batches.append(batch[:, :, 0, 0])
        return np.zeros((len(batch), 3, *batch.shape[2:]), np.float32)

    SlabSegmenter(spy, Pipeline(PREPARE, GRID, neighbours=seen_by), "spy", slab=4).segment(case.ct)
    shown = np.concatenate(batches)[:9]
    assert shown.tolist() == [seen(store, i) for i in range(9)]


def test_real_stacks_have_neighbours_and_lone_slices_none(shared_data):
    from hepar.datasets import open_cases

    scan = min((c for c in open_cases(shared_data / "lits512") if c.patient == "lits000"), key=lambda c: c.id)
    lone = next(c for c in open_cases(shared_data / "slices256") if len(c.truth.labels) > 2)
    store = load_slices([scan, lone], PREPARE, InPlaneGrid(matrix=64), neighbours=Neighbours(3, 2.5))
    inner = int(np.flatnonzero(store.cases == scan.id)[5])
    assert store.seen(inner)[0] is store.images[inner - 1]
    other = int(np.flatnonzero(store.cases == lone.id)[1])
    assert all(one is store.images[other] for one in store.seen(other))


def test_a_patch_on_a_label_holds_the_tumour():
    labels = np.zeros((1, 90, 90), dtype=np.uint8)
    labels[0, 10:80, 10:80] = 1
    labels[0, 12:15, 70:73] = 2
    image = np.zeros((90, 90), dtype=np.uint8)
    store = SliceStore([image], [labels[0]], np.array(["p"]), np.array(["c"]), np.array([False]))
    shares = []
    for on_label in (0.0, 1.0):
        recipe = Recipe(patch=32, patch_on_label=on_label)
        _, patches, _ = gather(store, np.zeros(200, dtype=np.int64), recipe, np.random.default_rng(3))
        shares.append(float((patches == 2).flatten(1).any(dim=1).float().mean()))
    assert shares[0] < 0.3
    assert shares[1] > 0.5
