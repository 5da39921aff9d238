"""The counter on layers whose cost anyone can work out by hand."""

import pytest
import torch
from torch import nn

from hepar.nets.cdnn_alex import CdnnAlex
from hepar.nets.cost import cost_of
from hepar.nets.encoder_decoder import parameter_count
from hepar.nets.residual_unet import ResidualUnet

KNOWN = {
    # Output pixels x output channels x kernel x input channels, times 2.
    "3x3": (nn.Conv2d(1, 8, 3, padding=1), 1, 32 * 32 * 8 * 9 * 2),
    "strided": (nn.Conv2d(1, 8, 3, 2, padding=1), 1, 16 * 16 * 8 * 9 * 2),
    "1x1 of three channels": (nn.Conv2d(3, 5, 1), 3, 32 * 32 * 5 * 3 * 2),
    # Each group of two sees its own two channels.
    "grouped": (nn.Conv2d(4, 8, 3, padding=1, groups=2), 4, 32 * 32 * 8 * 9 * 2 * 2),
    # Every input sample spreads over the whole kernel.
    "transposed": (nn.ConvTranspose2d(3, 4, 3, 2, padding=1, output_padding=1), 3, 32 * 32 * 3 * 4 * 9 * 2),
    "normalisation and activation cost nothing": (
        nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.LeakyReLU()),
        1,
        32 * 32 * 2 * 2,
    ),
}


@pytest.mark.parametrize("name", KNOWN)
def test_a_layer_costs_what_it_costs_by_hand(name):
    layer, channels, flop = KNOWN[name]
    assert cost_of(layer, channels, (32, 32)).gflop == flop / 1e9


def test_parameters_and_their_size_in_half_precision():
    cost = cost_of(nn.Conv2d(1, 8, 3), 1, (8, 8))
    assert (cost.parameters, cost.fp16_mb) == (80, 160e-6)


def test_counting_changes_neither_mode_nor_weights_and_needs_no_memory_on_the_meta_device():
    with torch.device("meta"):
        network = CdnnAlex().build()
    assert cost_of(network).gflop > 10
    assert network.training
    assert cost_of(network.eval()) != cost_of(network, size=(256, 256))
    assert not network.training


def test_deep_heads_cost_nothing_at_inference():
    with torch.device("meta"):
        with_heads, without = (ResidualUnet(deep_heads=n).build() for n in (3, 0))
    assert cost_of(with_heads).gflop == cost_of(without).gflop
    assert parameter_count(with_heads) > parameter_count(without)
