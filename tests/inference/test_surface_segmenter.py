"""A surface between a 3D network and the scan: nothing moves, nothing depends on slabs, damage is told."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest

from hepar.classical.surface_evolution import Evolution
from hepar.errors import BadModel
from hepar.geometry import Geometry
from hepar.inference import Pipeline, SlabSegmenter
from hepar.inference.blocks import stack_weights
from hepar.inference.surface import SurfaceSegmenter, liver_probability, load_surface, moved, save_surface
from hepar.preprocess import InPlaneGrid, Window
from hepar.volume import Volume

# Slices of 6 mm that are stored along the last axis, pixels of 3 x 4 mm, on a patient who lies at an angle.
TILT = np.array([[0, 0.4, 5.98, -20], [-2.99, 0.2, 0.3, 90], [0.2, 3.9, -0.4, 10], [0, 0, 0, 1.0]])
OBLIQUE = Geometry((40, 30, 14), TILT)
STRAIGHT = Geometry.from_spacing((14, 40, 36), (6, 3, 3))
# The surface follows what the map says.
FOLLOWS = Evolution(data=3.0, histogram=0.0, local=0.0, most_steps=150)


def scan(grid: Geometry, seed: int = 0) -> tuple[Volume, np.ndarray]:
    """A ball of 110 HU in 40, measured in mm; the scan and the ball."""
    places = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1) @ grid.affine[:3, :3].T
    middle = grid.affine[:3, :3] @ (np.array(grid.shape) / 2)
    ball = np.linalg.norm(places - middle, axis=-1) < 27
    noise = np.random.default_rng(seed).normal(0, 5, grid.shape)
    return Volume((np.where(ball, 110, 40) + noise).astype(np.int16), grid), ball


def by_grey(batch: np.ndarray) -> np.ndarray:
    """Logits of a network that takes everything above 75 HU for liver, the brightest of it for tumour."""
    grey = batch[:, 0] / 255 * 200 - 75
    return np.stack([-grey / 8, grey / 8, (grey - 40) / 4], axis=1).astype(np.float32)


def segmenter(evolution: Evolution = FOLLOWS, slab: int = 4, predict=by_grey, voxel_mm: float = 3.0):
    pipeline = Pipeline((Window(0, 200),), InPlaneGrid(pixel_mm=4.0, multiple=1))
    return SurfaceSegmenter(SlabSegmenter(predict, pipeline, "grey", slab=slab), evolution, voxel_mm)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.mark.parametrize("grid", [STRAIGHT, OBLIQUE], ids=["straight", "oblique"])
def test_the_surface_ends_around_the_organ_on_the_scan_s_own_grid(grid):
    ct, ball = scan(grid)
    found = segmenter().segment(ct)
    assert found.geometry is ct.geometry
    assert found.labels.dtype == np.uint8 and found.labels.flags.c_contiguous
    # A bright spot is liver too: tumours are not looked for.
    assert set(np.unique(found.labels)) == {0, 1}
    assert dice(found.labels > 0, ball) > 0.93
    away = np.argwhere(found.labels).mean(axis=0) - np.argwhere(ball).mean(axis=0)
    assert np.abs(away).max() < 0.35


def test_a_scan_turned_round_gets_its_labels_turned_round():
    ct, _ = scan(STRAIGHT)
    flipped = STRAIGHT.affine.copy()
    flipped[:3, 1] *= -1
    flipped[:3, 3] += STRAIGHT.affine[:3, 1] * (STRAIGHT.shape[1] - 1)
    turned = Volume(np.ascontiguousarray(ct.values[:, ::-1]), Geometry(STRAIGHT.shape, flipped))
    there, here = segmenter().segment(turned), segmenter().segment(ct)
    assert np.array_equal(there.labels[:, ::-1], here.labels)


def test_what_the_surface_sees_of_slabs_is_what_it_would_see_of_the_whole_scan():
    ct, _ = scan(STRAIGHT)
    whole, pieces = segmenter(slab=14).view(ct), segmenter(slab=3).view(ct)
    there, _ = stack_weights(14, 6.0, 3.0)
    assert len(whole.hu) == len(there) == 28
    plan = InPlaneGrid(pixel_mm=3.0, multiple=1).plan(STRAIGHT)
    expected = np.tensordot(there, plan.to_net(ct.values), 1)
    assert np.allclose(whole.hu, expected, atol=1e-2)
    assert np.allclose(pieces.hu, expected, atol=1e-2)
    assert np.allclose(pieces.probability, whole.probability, atol=1e-5)
    assert 0 <= whole.probability.min() < 0.1 and 0.9 < whole.probability.max() <= 1 + 1e-6


def test_cubes_come_back_to_every_slice_once_and_in_order():
    ct, _ = scan(Geometry.from_spacing((37, 12, 12), (2, 3, 3)))
    view = segmenter().view(ct)
    u = np.random.default_rng(1).random(view.hu.shape).astype(np.float32)
    pieces = list(view.to_scan(u))
    assert [start for start, _ in pieces] == np.cumsum([0, *(len(part) for _, part in pieces[:-1])]).tolist()
    found = np.concatenate([part for _, part in pieces])
    assert found.shape == ct.geometry.shape
    assert np.allclose(found, np.tensordot(view.back, u, 1), atol=1e-5)


def test_only_what_the_box_holds_is_moved_and_the_box_reaches_the_ring():
    ct, _ = scan(STRAIGHT)
    view = segmenter().view(ct)
    z, y, x = view.box()
    rows, lines, columns = np.nonzero(view.probability > 0.5)
    # 20 mm are 7 cubes of 3 mm.
    assert (z.start, y.start, x.start) == (max(0, rows.min() - 7), max(0, lines.min() - 7), max(0, columns.min() - 7))
    assert x.stop == columns.max() + 8
    u = moved(view, FOLLOWS)
    outside = np.ones(u.shape, bool)
    outside[z, y, x] = False
    assert not u[outside].any() and set(np.unique(u)) == {0, 1}


def test_where_the_network_sees_no_liver_there_is_none():
    ct, _ = scan(OBLIQUE)
    blind = segmenter(predict=lambda batch: by_grey(batch) - np.array([-99, 0, 0])[:, None, None])
    assert blind.view(ct.axial()).box() is None
    assert not blind.segment(ct).labels.any()


def test_the_listener_hears_of_every_slice():
    ct, _ = scan(STRAIGHT)
    heard: list[tuple[int, int]] = []
    segmenter(slab=5).segment(ct, lambda done, count: heard.append((done, count)))
    assert heard == [(5, 14), (10, 14), (14, 14)]


def test_liver_is_everything_but_background():
    logits = np.log(np.array([0.2, 0.5, 0.3], np.float32))[None, :, None, None] + 700
    assert liver_probability(logits) == pytest.approx(0.8, abs=1e-4)


def test_what_was_stored_comes_back(tmp_path):
    evolution, network = Evolution(data=0.7, local=0.0, updates=3), segmenter().network
    save_surface(tmp_path / "surface.json", evolution, 2.5)
    loaded = load_surface(tmp_path / "surface.json", network)
    assert (loaded.evolution, loaded.voxel_mm, loaded.network) == (evolution, 2.5, network)
    assert loaded.name == "grey+surface"


GOOD = {"format": 1, "evolution": asdict(Evolution()), "voxel_mm": 2.0}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "missing or damaged"),
        ("[1]", "missing or damaged"),
        (json.dumps(GOOD | {"format": 9}), "has format 9, this hepar reads 1; update hepar"),
        (json.dumps({"format": 1, "voxel_mm": 2.0}), "missing or damaged .'evolution'"),
        (json.dumps(GOOD | {"evolution": {"data": -1}}), "every other number above 0"),
        (json.dumps(GOOD | {"evolution": {"speed": 1}}), "speed"),
        (json.dumps(GOOD | {"evolution": {"data": "much"}}), "missing or damaged"),
        (json.dumps(GOOD | {"voxel_mm": 0}), "pixel_mm is 0.0"),
        (json.dumps(GOOD | {"voxel_mm": None}), "missing or damaged"),
    ],
)
def test_a_damaged_file_is_a_bad_model_and_named_without_its_folder(tmp_path, text, told):
    path = tmp_path / "somewhere" / "surface.json"
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(BadModel, match=told) as error:
        load_surface(path, segmenter().network)
    assert "surface.json" in str(error.value) and "somewhere" not in str(error.value)


def test_a_missing_file_is_a_bad_model(tmp_path):
    with pytest.raises(BadModel, match=r"surface.json is missing or damaged .*; train the method again") as error:
        load_surface(tmp_path / "surface.json", segmenter().network)
    assert tmp_path.name not in str(error.value)
