"""Every method has a card, and a card counts the weights that the method's network has."""

from __future__ import annotations

import importlib

import pytest
import torch

from hepar import methods
from hepar.methods._card import MethodCard
from hepar.nets.encoder_decoder import parameter_count

OF_ONE_NETWORK = [name for name in methods.names() if hasattr(methods.get(name), "network")]


@pytest.mark.parametrize("name", methods.names())
def test_every_method_has_a_card(name):
    assert isinstance(importlib.import_module(f"hepar.methods.{name}").CARD, MethodCard)


@pytest.mark.parametrize("name", OF_ONE_NETWORK)
def test_a_card_counts_what_is_built(name):
    with torch.device("meta"):
        network = methods.get(name).network.build()
    assert importlib.import_module(f"hepar.methods.{name}").CARD.parameters == parameter_count(network)


def test_the_networks_of_the_paper_are_among_them():
    assert {"cdnn_alex", "cdnn_resnet18", "korabelnikov", "unet"} <= set(OF_ONE_NETWORK)


def test_figures_that_elmenabawy_et_al_give_are_those_of_their_tables():
    expected = {"cdnn_alex": (0.904, 0.624), "korabelnikov": (0.887, 0.599), "cdnn_resnet18": (0.842, 0.614)}
    for name, dices in expected.items():
        card = importlib.import_module(f"hepar.methods.{name}").CARD
        assert tuple(one.dice for one in card.published) == dices
        assert all("4 folds" in one.data for one in card.published)
