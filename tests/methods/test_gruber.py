"""Gruber et al.: two U-Nets or one, and nothing that would not be there for a new patient."""

from __future__ import annotations

import torch

from hepar import methods
from hepar.methods.gruber import CARD
from hepar.nets.encoder_decoder import parameter_count


def test_both_stages_are_the_u_net_of_the_one_step_arm():
    method, one_step = methods.get("gruber"), methods.get("gruber/one_step")
    assert method.liver == one_step
    assert method.tumour.network == one_step.network
    with torch.device("meta"):
        built = [stage.network.build() for stage in (method.liver, method.tumour)]
    assert sum(map(parameter_count, built)) == CARD.parameters == 62_084_998


def test_the_tumour_network_sees_the_liver_alone_true_and_found_by_turns():
    method = methods.get("gruber")
    assert method.view.masked and not method.view.beside
    assert (method.liver_seen, method.inner_folds, method.joins) == ("mixed", 3, "inside")
    assert method.tumour.recipe.slices == "all"


def test_true_livers_are_a_choice_of_the_training_only():
    method, other = methods.get("gruber"), methods.get("gruber/true_livers")
    assert other.liver_seen == "truth"
    assert (other.liver, other.tumour, other.view) == (method.liver, method.tumour, method.view)
