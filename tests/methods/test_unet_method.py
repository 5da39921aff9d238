"""The U-Net as a method: the published network, and the one that most build today beside it."""

from __future__ import annotations

import torch

from hepar import methods
from hepar.methods.unet import CARD
from hepar.nets.encoder_decoder import parameter_count


def test_the_network_is_the_published_one_and_the_card_counts_it():
    network = methods.get("unet").network
    assert (network.channels, network.levels, network.batch_norm, network.dropout) == (64, 5, False, 0.5)
    with torch.device("meta"):
        assert parameter_count(network.build()) == CARD.parameters == 31_030_723


def test_pictures_are_deformed_moved_and_changed_in_contrast_but_never_mirrored():
    changes = methods.get("unet").recipe.augmentation
    assert changes.elastic_px == 10
    assert changes.rotate_degrees and changes.shift and changes.contrast
    assert not (changes.scale or changes.noise or changes.blur_share or changes.gamma)


def test_normalisation_is_all_that_the_variant_adds_and_dropout_all_that_it_leaves_out():
    plain, normalised = methods.get("unet"), methods.get("unet/batch_norm")
    assert normalised.network.batch_norm and normalised.network.dropout == 0
    assert (normalised.recipe, normalised.grid, normalised.prepare) == (plain.recipe, plain.grid, plain.prepare)
