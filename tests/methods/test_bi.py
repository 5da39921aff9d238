"""Bi et al.: what is documented is what the method does."""

from __future__ import annotations

import torch

from hepar import methods
from hepar.methods.bi import CARD
from hepar.nets.encoder_decoder import parameter_count
from hepar.postprocess import FillLiverHoles
from hepar.preprocess import Window


def test_the_recipe_is_the_papers_where_it_speaks():
    method = methods.get("bi")
    for stage in (method.liver, method.tumour):
        assert stage.prepare == (Window(-160, 240),)
        assert (stage.recipe.optimizer, stage.recipe.loss, stage.encoder_weights) == (
            "sgd",
            "cross_entropy",
            "imagenet",
        )
        assert stage.recipe.augmentation.scale and stage.recipe.patch == 320
        assert len(stage.network.scales) == 3 and FillLiverHoles() in stage.clean


def test_the_second_network_sees_picture_and_probability_in_the_box_and_gives_both_labels():
    method = methods.get("bi")
    assert [method.liver.network.beside, method.tumour.network.beside] == [False, True]
    assert method.view.beside and method.view.cropped and not method.view.masked
    assert (method.teaches, method.joins, method.liver_seen) == ("all", "second", "found")


def test_the_card_counts_both_networks():
    method = methods.get("bi")
    with torch.device("meta"):
        built = [stage.network.build() for stage in (method.liver, method.tumour)]
    assert sum(map(parameter_count, built)) == CARD.parameters == 47_028_358


def test_variants_change_both_networks_alike():
    deeper, one_size = methods.get("bi/resnet101"), methods.get("bi/one_size")
    assert [stage.network.blocks[2] for stage in (deeper.liver, deeper.tumour)] == [23, 23]
    assert [stage.network.scales for stage in (one_size.liver, one_size.tumour)] == [(1.0,), (1.0,)]
