"""H-DenseUNet as a method: the authors' layers, loss, phases and thresholds, and what a budget is shared among."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hepar import methods
from hepar.methods.h_denseunet import CARD
from hepar.nets.encoder_decoder import parameter_count
from hepar.postprocess import FillLiverHoles, KeepLargestLiver
from hepar.preprocess import Window
from hepar.study.bench.stages import stages_of
from hepar.training.deep_method import DeepMethod
from hepar.training.hybrid import HybridMethod

METHOD = methods.get("h_denseunet")
SLICES, FROZEN, BOTH = METHOD.phases


def test_the_card_counts_the_network_that_stays():
    with torch.device("meta"):
        assert parameter_count(BOTH.network.build()) == CARD.parameters == 65_616_094
        assert parameter_count(SLICES.network.build()) == 49_527_843


def test_the_card_gives_the_servers_figures():
    assert {one.structure: one.dice for one in CARD.published} == {"liver": 0.961, "tumour": 0.722}
    assert all("server" in one.data for one in CARD.published)


def test_layers_are_those_of_densenet_161_and_of_a_light_3d_one():
    assert (SLICES.network.layers, SLICES.network.growth, SLICES.network.stem) == ((6, 12, 36, 24), 48, 96)
    assert (BOTH.network.layers, BOTH.network.growth) == ((3, 4, 12, 8), 32)
    assert (SLICES.network.slices, BOTH.network.side) == (3, (8, 224, 224))
    assert SLICES.encoder_weights == "imagenet"


@pytest.mark.parametrize("phase", METHOD.phases, ids=["slices", "frozen", "both"])
def test_loss_and_optimiser_are_those_of_the_program(phase):
    recipe = phase.recipe
    assert (recipe.loss, recipe.label_weights) == ("cross_entropy", (0.78, 0.65, 8.57))
    assert (recipe.optimizer, recipe.learning_rate, recipe.momentum, recipe.nesterov) == ("sgd", 1e-3, 0.9, True)
    assert phase.prepare == (Window(-200, 250),)
    assert phase.clean == (KeepLargestLiver(), FillLiverHoles())
    assert recipe.augmentation.scale == 0.2
    assert not (recipe.augmentation.rotate_degrees or recipe.augmentation.noise or recipe.augmentation.contrast)


def test_pictures_of_a_batch_and_of_an_epoch():
    assert (SLICES.recipe.batch, SLICES.recipe.patch, SLICES.recipe.samples_per_epoch) == (40, 224, 27_386)
    assert (FROZEN.recipe.batch, FROZEN.recipe.samples_per_epoch) == (1, 27_386 // 6)


def test_the_2d_part_is_frozen_first_and_its_own_loss_counts_half_at_last():
    assert FROZEN.network.frozen
    assert not BOTH.network.frozen
    assert (FROZEN.recipe.deep_supervision, BOTH.recipe.deep_supervision) == (0.0, 0.5)
    assert METHOD.tumour_threshold == 0.9


def test_slices_and_blocks_have_neighbours_at_the_same_distance_on_the_same_pixels():
    for name in ("h_denseunet", "h_denseunet/small"):
        slices, *blocks = methods.get(name).phases
        for one in blocks:
            assert one.network.slice_mm == slices.network.step_mm
            assert one.grid.pixel_mm == slices.grid.pixel_mm


def test_the_slices_variant_is_the_first_phase_alone():
    alone = methods.get("h_denseunet/slices")
    assert isinstance(alone, DeepMethod)
    assert alone == SLICES


def test_the_small_variant_sees_as_much_of_the_patient_with_less():
    small = methods.get("h_denseunet/small")
    assert isinstance(small, HybridMethod)
    with torch.device("meta"):
        assert parameter_count(small.phases[-1].network.build()) < CARD.parameters / 12
    seen = [one.phases[-1].grid.pixel_mm * one.phases[-1].network.side[-1] for one in (METHOD, small)]
    assert seen[0] < seen[1] < 1.2 * seen[0]
    assert small.phases[0].encoder_weights == "none"


def test_a_budget_is_shared_among_three_phases_of_one_network():
    stages = stages_of(METHOD)
    assert [stage.training for stage in stages] == [SLICES, FROZEN, BOTH]
    assert [stage.place.networks for stage in stages] == [1, 0, 0]
    assert len({stage.name for stage in stages}) == 3


def test_other_settings_are_another_method():
    assert METHOD.to_json() != replace(METHOD, tumour_threshold=0.5).to_json()
    assert METHOD.to_json() != methods.get("h_denseunet/small").to_json()
