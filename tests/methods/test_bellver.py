"""Bellver et al.: the recipe as documented, and the found liver instead of the true one wherever a box is needed."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from hepar import methods
from hepar.datasets.phantom import PhantomSettings, phantom_case
from hepar.errors import BadInput
from hepar.methods.bellver import CARD
from hepar.nets.encoder_decoder import parameter_count
from hepar.training import tile_detection
from hepar.training.staged import found_path, read_found


@pytest.fixture(scope="module")
def case():
    return phantom_case(PhantomSettings(seed=3, shape=(8, 48, 48), spacing_mm=(24, 8, 8), lesions=2), "phantom")


def test_the_recipe_is_the_programs():
    method = methods.get("bellver")
    for stage in (method.stages.liver, method.stages.tumour):
        recipe = stage.recipe
        assert (recipe.optimizer, recipe.learning_rate, recipe.momentum, recipe.weight_decay) == (
            "sgd",
            1e-8,
            0.9,
            2e-4,
        )
        assert (recipe.batch, recipe.micro_batch) == (10, 1)
        assert (stage.prepare[0].low_hu, stage.prepare[0].high_hu) == (-150, 250)
    detector = method.detector
    assert (detector.recipe.batch, detector.recipe.learning_rate, detector.threshold) == (64, 0.01, 0.33)
    assert detector.recipe.epochs * detector.recipe.samples_per_epoch / detector.recipe.batch == 5000
    assert (detector.turned, methods.get("bellver/as_programmed").detector.turned) == (True, False)
    assert method.stages.liver_seen == "found"


def test_the_card_counts_what_is_built():
    method = methods.get("bellver")
    with torch.device("meta"):
        parts = [method.stages.liver.network, method.stages.tumour.network, method.detector.network]
        assert sum(parameter_count(part.build()) for part in parts) == CARD.parameters


def test_lesion_network_and_detector_learn_from_the_liver_that_was_found(case, tmp_path, monkeypatch):
    method = methods.get("bellver").tiny()
    seen = []
    original = tile_detection.TileDetection.examples
    monkeypatch.setattr(
        tile_detection.TileDetection,
        "examples",
        lambda self, cases, liver_of: seen.append(liver_of(cases[0])) or original(self, cases, liver_of),
    )
    segmenter = method.train([case], tmp_path / "run")
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["finished"] is True
    assert run["updates"] == run["stages"]["updates"] + run["detector"]["updates"]
    found, owner, origin = read_found(found_path(tmp_path / "run" / "stages" / "livers", case))
    assert (owner, origin.split(":")[0]) == ("phantom", "found")
    assert np.array_equal(seen[0], found.mask)
    assert not np.array_equal(seen[0], case.truth.axial().liver)
    # And in tests, that of the first stage.
    assert np.array_equal(segmenter.segment(case.ct).liver, segmenter.liver.segment(case.ct).liver)
    with pytest.raises(BadInput, match="run holds another training"):
        replace(method, detector=replace(method.detector, threshold=0.5)).train([case], tmp_path / "run")
