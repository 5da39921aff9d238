"""Swin UNETR as a method: its authors' recipe, a run that says what it is, weights that come back."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from hepar import methods
from hepar.datasets.phantom import PhantomSettings, phantom_case
from hepar.inference.blocks import BlockSegmenter
from hepar.methods.swin_unetr import CARD
from hepar.nets.encoder_decoder import parameter_count


@pytest.fixture(scope="module")
def case():
    return phantom_case(PhantomSettings(seed=3, shape=(10, 32, 32), spacing_mm=(19, 12, 12), lesions=1), "phantom")


@pytest.fixture(scope="module")
def short():
    """One update of the tiny method."""
    method = methods.get("swin_unetr").tiny()
    return replace(method, recipe=replace(method.recipe, epochs=1, samples_per_epoch=1))


def test_the_network_is_the_published_one_and_the_card_counts_it():
    network = methods.get("swin_unetr").network
    assert (network.features, network.depths, network.heads, network.window) == (48, (2,) * 4, (3, 6, 12, 24), 7)
    assert (network.side, network.slice_mm) == (96, 2.0)
    with torch.device("meta"):
        assert parameter_count(network.build()) == CARD.parameters
        small = parameter_count(methods.get("swin_unetr/small").network.build())
    assert small < CARD.parameters / 3


def test_the_recipe_is_its_authors_and_otherwise_that_of_segresnet():
    swin, other = methods.get("swin_unetr"), methods.get("segresnet")
    assert (swin.recipe.optimizer, swin.recipe.learning_rate, swin.recipe.weight_decay) == ("adamw", 1e-4, 1e-5)
    assert (swin.prepare, swin.grid, swin.clean) == (other.prepare, other.grid, other.clean)
    same = {"learning_rate": other.recipe.learning_rate, "augmentation": other.recipe.augmentation}
    assert replace(swin.recipe, **same) == other.recipe
    assert swin.recipe != other.recipe


def test_grey_is_shifted_by_a_tenth_and_neither_stretched_nor_blurred():
    changes = methods.get("swin_unetr").recipe.augmentation
    assert (changes.brightness, changes.rotate_degrees, changes.warp_share) == (0.1, 10, 0.2)
    assert not (changes.contrast or changes.noise or changes.blur_share)


def test_a_figure_of_the_published_server_says_that_it_had_other_weights():
    of_server = [one for one in CARD.published if one.dice is not None]
    assert {one.structure: one.dice for one in of_server} == {"liver": 0.9535, "tumour": 0.7568}
    assert "other weights" in of_server[0].note


def test_a_run_keeps_its_weights_names_its_network_and_follows_its_seed(short, case, tmp_path):
    segmenter = short.train([case], tmp_path / "run")
    assert isinstance(segmenter, BlockSegmenter)
    assert tuple(segmenter.side) == (64, 32, 32)
    again, other = short.load(tmp_path / "run"), replace(short, recipe=replace(short.recipe, seed=1))
    here, there, elsewhere = (
        np.concatenate([part for _, part in one.scores(case.ct)])
        for one in (segmenter, again, other.train([case], tmp_path / "other"))
    )
    assert np.array_equal(here, there)
    assert not np.array_equal(here, elsewhere)
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (run["method"]["network"]["network"], run["updates"], run["finished"]) == ("SwinUnetr3d", 1, True)
