"""Chlebus et al.: what is documented is what the method does."""

from __future__ import annotations

import torch

from hepar import methods
from hepar.inference.candidates import FEATURES
from hepar.methods.chlebus import CARD
from hepar.nets.encoder_decoder import parameter_count


def test_the_recipe_is_the_papers_where_it_speaks():
    method = methods.get("chlebus")
    assert (method.trees, method.inner_folds, len(FEATURES)) == (256, 3, 36)
    for stage in (method.stages.liver, method.stages.tumour):
        assert (stage.recipe.loss, stage.recipe.optimizer, stage.network.levels) == ("soft_dice", "adam", 4)
        assert stage.network.dropout == 0.5
    assert [method.stages.liver.network.answer, method.stages.tumour.network.answer] == ["liver", "tumour"]


def test_tumours_are_looked_for_in_the_liver_that_the_same_run_found():
    stages = methods.get("chlebus").stages
    assert stages.liver_seen == "found"
    assert stages.view.masked
    assert stages.joins == "inside"


def test_without_the_filter_nothing_else_changes():
    method, without = methods.get("chlebus"), methods.get("chlebus/without_filter")
    assert without.inner_folds == 0
    assert without.stages == method.stages


def test_the_card_counts_both_networks():
    stages = methods.get("chlebus").stages
    with torch.device("meta"):
        built = [stage.network.build() for stage in (stages.liver, stages.tumour)]
    assert sum(map(parameter_count, built)) == CARD.parameters
