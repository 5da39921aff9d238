"""SegResNet as a method: MONAI's recipe, a run that says what it is, weights that come back."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from hepar import methods
from hepar.datasets.phantom import PhantomSettings, phantom_case
from hepar.errors import BadInput, MissingExtra
from hepar.inference.blocks import BlockSegmenter
from hepar.methods.segresnet import CARD
from hepar.nets.encoder_decoder import parameter_count
from hepar.preprocess import Window


@pytest.fixture(scope="module")
def case():
    return phantom_case(PhantomSettings(seed=3, shape=(10, 32, 32), spacing_mm=(19, 12, 12), lesions=1), "phantom")


@pytest.fixture
def short():
    """Two updates of the tiny method."""
    method = methods.get("segresnet").tiny()
    return replace(method, recipe=replace(method.recipe, epochs=2, batch=1, micro_batch=1, samples_per_epoch=1))


def scores(segmenter: BlockSegmenter, case) -> np.ndarray:
    return np.concatenate([part for _, part in segmenter.scores(case.ct)])


def test_window_voxels_and_optimiser_are_those_of_monai():
    method = methods.get("segresnet")
    assert method.prepare == (Window(-175, 250),)
    assert (method.network.slice_mm, method.grid.pixel_mm, method.network.side) == (2.0, 1.5, 128)
    recipe = method.recipe
    assert (recipe.optimizer, recipe.learning_rate, recipe.weight_decay) == ("adamw", 2e-4, 1e-5)
    assert recipe.loss == "dice_cross_entropy"
    assert recipe.epochs * recipe.samples_per_epoch // recipe.batch == 50_000


def test_the_card_counts_what_is_built_and_the_small_one_has_a_quarter():
    with torch.device("meta"):
        full, small = (parameter_count(methods.get(name).network.build()) for name in ("segresnet", "segresnet/small"))
    assert full == CARD.parameters
    assert small < full / 3
    assert methods.get("segresnet/small").network.side == 96


def test_pictures_are_moved_in_plane_and_never_mirrored():
    changes = methods.get("segresnet").recipe.augmentation
    assert changes.rotate_degrees == 15
    assert changes.scale == 0.2
    assert not (changes.elastic_px or changes.shift or changes.gamma)
    assert not hasattr(changes, "mirror")


def test_published_figures_are_means_of_both_labels_and_so_no_dice_of_either():
    assert [one.dice for one in CARD.published] == [None, None]
    assert "0.793" in CARD.published[0].note


def test_a_run_keeps_its_weights_and_names_its_network(short, case, tmp_path):
    segmenter = short.train([case], tmp_path / "run")
    assert isinstance(segmenter, BlockSegmenter)
    assert tuple(segmenter.side) == short.network.side
    again = short.load(tmp_path / "run")
    assert np.array_equal(scores(segmenter, case), scores(again, case))
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (run["method"]["network"]["network"], run["updates"], run["finished"]) == ("SegResnet3d", 2, True)


def test_the_seed_decides(short, case, tmp_path):
    found = []
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        segmenter = replace(short, recipe=replace(short.recipe, seed=seed)).train([case], tmp_path / folder)
        found.append(scores(segmenter, case))
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


def test_a_trained_model_without_monai_says_what_to_install(short, case, tmp_path, monkeypatch):
    short.train([case], tmp_path / "run")
    monkeypatch.setitem(sys.modules, "monai.networks.nets", None)
    with pytest.raises(MissingExtra, match=r"pip install hepar\[monai\]"):
        short.load(tmp_path / "run")


def test_the_recipes_patch_must_fit_the_network(short, case, tmp_path):
    with pytest.raises(BadInput, match="blocks of 30 voxels"):
        replace(short, recipe=replace(short.recipe, patch=30)).train([case], tmp_path / "run")
