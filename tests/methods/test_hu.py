"""Hu et al.: a 3D network of livers as planned, five surfaces to choose from, and never a tumour."""

from __future__ import annotations

import json

import torch

from hepar import methods
from hepar.classical.surface_evolution import Evolution
from hepar.methods.hu import CARD
from hepar.nets.encoder_decoder import parameter_count
from hepar.preprocess import InPlaneGrid, Window
from hepar.study.bench.stages import stages_of
from hepar.training.surface import SurfaceMethod


def test_the_network_is_the_one_that_the_card_counts():
    with torch.device("meta"):
        network = methods.get("hu").liver.network.build()
    assert parameter_count(network) == CARD.parameters == 1_478_467


def test_the_network_is_the_recommended_one():
    method = methods.get("hu")
    assert isinstance(method, SurfaceMethod)
    network = method.liver.network
    assert (network.channels, network.slice_mm, network.deep_heads) == ((16, 32, 64, 128), 3.0, 0)
    assert method.liver.grid == InPlaneGrid(pixel_mm=3.0, multiple=1)
    assert method.liver.prepare == (Window(-100, 400),)
    recipe = method.recipe
    assert (recipe.loss, recipe.optimizer, recipe.learning_rate) == ("dice_cross_entropy", "adam", 1e-3)


def test_inner_patients_choose_the_weights_of_region_and_appearance_and_nothing_else():
    method = methods.get("hu")
    assert method.recipe.validation_share > 0
    assert method.tried[0] == Evolution()
    assert len(set(method.tried)) == len(method.tried) == 5
    plain = vars(Evolution())
    differs = {name for one in method.tried for name, value in vars(one).items() if value != plain[name]}
    assert differs == {"data", "histogram", "local"}
    # One of them asks the map alone, so that appearance has to earn its place.
    assert any(one.histogram == one.local == 0 for one in method.tried)
    assert max(one.updates for one in method.tried) <= 10


def test_its_published_figures_are_of_other_data_and_of_livers_only():
    assert [(one.structure, one.dice) for one in CARD.published] == [("liver", 0.9725), ("tumour", None)]
    assert "n/a" in CARD.published[1].data
    assert "liver only" in CARD.kind and "liver only" in methods.description("hu")


def test_a_budget_finds_the_one_training_that_it_is_made_of():
    (stage,) = stages_of(methods.get("hu"))
    assert (stage.name, stage.place.times, stage.place.networks) == ("liver", 1, 1)


def test_its_settings_name_all_that_was_tried():
    settings = json.loads(json.dumps(methods.get("hu").to_json()))
    assert [one["data"] for one in settings["tried"]] == [0.25, 0.5, 1.0, 0.5, 0.5]
