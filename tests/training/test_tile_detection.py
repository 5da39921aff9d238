"""Training of the detector: its tiles, the eight ways they can lie, balanced batches, whose livers it sees."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from hepar.cases import Case
from hepar.errors import BadInput
from hepar.geometry import Geometry
from hepar.inference.tiles import Tiles
from hepar.nets.tile_detector import TileDetector
from hepar.preprocess import Window
from hepar.training.recipe import Recipe
from hepar.training.tile_detection import TileDetection, TileTraining, lying, tile_cost
from hepar.volume import LabelMap, Volume

GRID = Geometry.from_spacing((2, 24, 24), (5, 1, 1))
RECIPE = Recipe(epochs=1, batch=4, micro_batch=4, sampling="patient_balanced", samples_per_epoch=8)
METHOD = TileDetection(
    TileDetector(width=0.02), (Window(0, 255),), RECIPE, Tiles(6, 2, 0, 10), least_tumour=3, encoder_weights="none"
)


def case(name: str, tumour: bool = True) -> Case:
    labels = np.zeros(GRID.shape, np.uint8)
    labels[1, 4:16, 4:16] = 1
    if tumour:
        labels[1, 5:7, 5:7] = 2
    ct = Volume(np.choose(labels, (20, 120, 60)).astype(np.int16), GRID)
    return Case(name, name, lambda: ct, lambda: LabelMap(labels, GRID), evidence="phantom")


def found_liver(one: Case) -> np.ndarray:
    """A liver of the first stage: the true one, a column less."""
    mask = one.truth.liver.copy()
    mask[:, :, 15] = False
    return mask


def test_the_eight_ways_a_tile_can_lie_are_eight():
    tile = np.arange(9, dtype=np.uint8).reshape(3, 3)
    ways = [lying(tile, way) for way in range(8)]
    assert np.array_equal(ways[0], tile)
    assert len({way.tobytes() for way in ways}) == 8
    assert all(sorted(way.ravel().tolist()) == list(range(9)) for way in ways)


def test_tiles_of_the_found_liver_are_positive_with_enough_tumour():
    shown, positive = METHOD.examples([case("a"), case("b", tumour=False)], found_liver)
    assert shown.shape == (8, 10, 10)
    assert positive.tolist() == [True, False, False, False] + [False] * 4
    # The grid begins at the liver: the first tile's own pixels lie 2 in from what is shown.
    assert np.array_equal(shown[0][2:8, 2:8] == 60, np.pad(np.ones((2, 2), bool), ((1, 3), (1, 3))))
    assert not replace(METHOD, least_tumour=4).examples([case("a")], found_liver)[1].any()


def test_half_of_each_batch_is_positive_where_any_is():
    shown, positive = METHOD.examples([case("a"), case("b")], found_liver)
    training = TileTraining(shown, positive, RECIPE, turned=True)
    rng = np.random.default_rng(0)
    assert all(positive[training.drawn(rng)].sum() == 2 for _ in range(10))
    none = TileTraining(shown, np.zeros_like(positive), RECIPE, turned=True)
    assert len(none.drawn(rng)) == 4
    steps, batches = training.batches(rng)
    images, labels, _ = next(batches)
    assert (steps, images.shape, labels.tolist()) == (2, (4, 1, 10, 10), [1, 1, 0, 0])


def test_tiles_lie_as_they_do_unless_turned():
    shown, positive = METHOD.examples([case("a")], found_liver)
    known = {tile.tobytes() for tile in shown}
    seen = {}
    for turned in (False, True):
        training = TileTraining(shown, positive, replace(RECIPE, batch=64), turned)
        images = next(training.batches(np.random.default_rng(0))[1])[0]
        seen[turned] = {image.numpy().astype(np.uint8).tobytes() for image in images[:, 0]}
    assert seen[False] <= known
    assert len(seen[True]) > len(known)


def test_the_loss_is_the_mean_cross_entropy():
    scores, labels = torch.tensor([[0.0], [2.0]]), torch.tensor([1.0, 0.0])
    expected = (np.log(2) + np.log(1 + np.exp(2))) / 2
    assert tile_cost(None, {1: scores}, labels, None, 0.0).item() == pytest.approx(expected, rel=1e-6)


def test_a_detector_is_stored_and_goes_on_and_another_training_is_refused(tmp_path):
    cases = [case("a"), case("b")]
    detector = METHOD.train(cases, found_liver, tmp_path / "run", lambda _: None, "cpu")
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (run["finished"], run["updates"], run["tiles"], run["tiles_with_tumour"]) == (True, 2, 8, 2)
    assert run["training_patients"] == ["a", "b"]
    tile = np.random.default_rng(0).integers(0, 255, (2, 1, 10, 10)).astype(np.float32)
    again = METHOD.train(cases, found_liver, tmp_path / "run", lambda _: None, "cpu")
    assert np.array_equal(detector.predict(tile), again.predict(tile))
    with pytest.raises(BadInput, match="run holds another training"):
        replace(METHOD, turned=False).train(cases, found_liver, tmp_path / "run", lambda _: None, "cpu")


def test_livers_without_tiles_are_refused(tmp_path):
    with pytest.raises(BadInput, match="no tile of a training case"):
        METHOD.train([case("a")], lambda _: np.zeros(GRID.shape, bool), tmp_path / "run", lambda _: None, "cpu")
