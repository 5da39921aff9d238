"""A volume through a 3D network, block by block: where blocks end changes nothing, and nothing moves."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepar.geometry import Geometry, Reorientation
from hepar.inference import Pipeline
from hepar.inference.blocks import (
    BlockSegmenter,
    block_starts,
    finished_layers,
    gaussian,
    grey_blocks,
    label_blocks,
    on_slices,
    stack_weights,
)
from hepar.preprocess import InPlaneGrid, Window
from hepar.volume import LabelMap, Volume

GRID = InPlaneGrid(pixel_mm=2.0, multiple=1)
PREPARE = (Window(0, 255),)


def by_grey(batch: np.ndarray) -> np.ndarray:
    """Grey 100 and above is liver, 200 and above tumour; looks at no neighbour."""
    return np.concatenate([np.zeros_like(batch), batch - 99.5, 2 * batch - 299], axis=1)


def random_grey(shape, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 25), st.integers(1, 25), st.sampled_from([0.0, 0.25, 0.5, 0.75]))
def test_blocks_of_a_network_that_sees_single_voxels_add_up_to_the_whole(depth, h, w, overlap):
    grey = random_grey((depth, h, w))
    layers = list(finished_layers(grey, by_grey, 8, overlap))
    assert [start for start, _ in layers] == np.cumsum([0, *(len(part) for _, part in layers[:-1])]).tolist()
    found = np.concatenate([part for _, part in layers])
    assert found.dtype == np.float32
    whole = by_grey(grey[None, None].astype(np.float32))[0].swapaxes(0, 1)
    assert np.allclose(found, whole, atol=1e-2)


def test_blocks_need_not_be_cubes():
    grey, seen = random_grey((11, 17, 20)), []

    def predict(batch: np.ndarray) -> np.ndarray:
        seen.append(batch.shape[2:])
        return by_grey(batch)

    found = np.concatenate([part for _, part in finished_layers(grey, predict, (3, 8, 10), 0.5)])
    assert set(seen) == {(3, 8, 10)}
    assert np.allclose(found, by_grey(grey[None, None].astype(np.float32))[0].swapaxes(0, 1), atol=1e-2)


def test_overlapping_blocks_are_averaged_with_trust_in_their_middles():
    """Each call says its own number: in the overlap the nearer block's number weighs more."""
    calls = iter(range(99))
    (_, first), (_, second) = finished_layers(
        np.zeros((12, 8, 8), np.uint8), lambda b: b.repeat(3, 1) * 0 + next(calls), 8, 0.5
    )
    along = np.concatenate([first, second])[:, 0, 4, 4]
    assert along[:4].tolist() == [0, 0, 0, 0]
    assert along[8:].tolist() == [1, 1, 1, 1]
    assert all(np.diff(along[3:9]) > 0)
    assert along[5] + along[6] == pytest.approx(1, abs=1e-5)


def test_memory_holds_a_layer_of_blocks_however_long_the_scan_is():
    held = [part.shape for _, part in finished_layers(np.zeros((100, 8, 20), np.uint8), by_grey, 8, 0.5)]
    assert {shape[1:] for shape in held} == {(3, 8, 20)}
    assert max(shape[0] for shape in held) <= 8


@given(st.integers(8, 300), st.sampled_from([8, 32]), st.floats(0, 0.9))
def test_blocks_cover_an_axis_and_share_what_was_asked(size, side, overlap):
    size = max(size, side)
    starts = block_starts(size, side, overlap)
    assert (starts[0], starts[-1]) == (0, size - side)
    # Rounding to whole voxels may take one.
    assert all(0 < b - a <= max(1, side * (1 - overlap)) + 1 for a, b in pairwise(starts))


def test_trust_is_even_and_never_nothing():
    bell = gaussian(16)
    assert np.array_equal(bell, bell[::-1])
    assert bell[7] > 0.9
    assert bell.min() ** 3 == pytest.approx(1e-3, rel=1e-3)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.floats(0.5, 8), st.floats(0.8, 4), st.integers(1, 9), st.integers(1, 8))
def test_scores_come_back_on_every_slice_once_and_in_order(count, z_mm, slice_mm, piece, slab):
    there, back = stack_weights(count, z_mm, slice_mm)
    depth = len(there)
    logits = np.random.default_rng(1).normal(size=(depth, 3, 2, 2)).astype(np.float32)
    parts = ((start, logits[start : start + piece]) for start in range(0, depth, piece))
    found = list(on_slices(parts, back, slab))
    assert [start for start, _ in found] == np.cumsum([0, *(len(part) for _, part in found[:-1])]).tolist()
    assert max(len(part) for _, part in found) <= slab
    assert np.allclose(np.concatenate([part for _, part in found]), np.tensordot(back, logits, 1), atol=1e-5)


def test_stacks_of_the_scan_s_own_spacing_are_left_alone():
    there, back = stack_weights(7, 1.5 + 1e-7, 1.5)
    assert np.array_equal(there, np.eye(7))
    assert np.array_equal(back, np.eye(7))


def test_a_ramp_along_the_body_stays_where_it_is():
    values = np.repeat(np.arange(40, dtype=np.int16)[:, None, None] * 4, 6, axis=1).repeat(6, axis=2)
    ct = Volume(values, Geometry.from_spacing((40, 6, 6), (1, 2, 2)))
    there, _ = stack_weights(40, 1.0, 2.0)
    grey = grey_blocks(ct, PREPARE, GRID.plan(ct.geometry), there)
    # Stack k covers slices 2k and 2k + 1, whose mean is 8k + 2.
    assert np.allclose(grey[2:-2, 3, 3], 8 * np.arange(20)[2:-2] + 2)


def test_labels_follow_the_larger_share_and_tumours_win_ties():
    labels = np.zeros((8, 4, 4), np.uint8)
    labels[2:5], labels[3] = 1, 2
    grid = Geometry.from_spacing(labels.shape, (1, 2, 2))
    there = np.kron(np.eye(4), [0.5, 0.5]).astype(np.float32)
    found = label_blocks(labels, GRID.plan(grid), there)
    assert found[:, 0, 0].tolist() == [0, 2, 1, 0]


def spheres(shape=(30, 40, 44), mm=(2.0, 1.0, 1.0)) -> tuple[Volume, LabelMap]:
    z, y, x = np.mgrid[: shape[0], : shape[1], : shape[2]]
    away = np.sqrt((mm[0] * (z - 14)) ** 2 + (y - 18) ** 2 + (x - 25) ** 2)
    labels = (away <= 15).astype(np.uint8) + (away <= 7).astype(np.uint8)
    grid = Geometry.from_spacing(shape, mm, (-30, 4, 9))
    return Volume(np.choose(labels, (0, 150, 250)).astype(np.int16), grid), LabelMap(labels, grid)


def test_a_scan_is_labelled_on_its_own_grid_whichever_way_it_is_stored():
    ct, truth = spheres()
    segmenter = BlockSegmenter(by_grey, Pipeline(PREPARE, GRID), "grey", side=16, slice_mm=2.0)
    heard = []
    found = segmenter.segment(ct, lambda done, count: heard.append((done, count)))
    assert found.geometry is ct.geometry
    assert (found.labels == truth.labels).mean() > 0.97
    assert heard[-1] == (30, 30)
    turn = Reorientation(ct.geometry, (2, 0, 1), (True, False, True))
    turned = Volume(np.ascontiguousarray(turn.apply(ct.values)), turn.geometry)
    assert np.array_equal(segmenter.segment(turned).labels, turn.apply(found.labels))


def test_blocks_also_give_probabilities():
    ct, _ = spheres()
    segmenter = BlockSegmenter(by_grey, Pipeline(PREPARE, GRID), "grey", side=16, slice_mm=2.0)
    finding = segmenter.find(ct)
    assert finding.tumour_probability.shape == ct.values.shape
    assert np.array_equal(finding.labels.labels, segmenter.segment(ct).labels)
