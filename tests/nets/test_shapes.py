"""What a diagram says of a network is what the network does."""

from __future__ import annotations

import pytest
import torch

from hepar.nets.cdnn_alex import CdnnAlex
from hepar.nets.shapes import layers_of
from hepar.nets.squeezenet import SqueezeEncoder


def test_sizes_of_alexnets_layers_are_the_published_ones():
    found = {
        name: (channels, size) for name, _, channels, size in layers_of(CdnnAlex("bvlc").build(seed=0), (512, 512))
    }
    expected = {"conv1": (96, 176), "pool1": (96, 88), "conv2": (256, 88), "pool2": (256, 44), "conv5": (256, 44),
                "pool5": (256, 22), "fc6": (4096, 17), "fc7": (4096, 17)}  # fmt: skip
    for name, (channels, side) in expected.items():
        assert found[name] == (channels, (side, side))


def test_kinds_and_the_order_of_use():
    layers = layers_of(CdnnAlex("bvlc", width=0.05).build(seed=0), (128, 128))
    kinds = {name: what for name, what, *_ in layers}
    assert (kinds["conv1"], kinds["pool1"], kinds["conv3"]) == ("conv 11x11 /4", "pool 3 /2", "conv 3x3")
    assert [what for _, what, *_ in layers][-1] == "transposed x8"
    assert sum(what == "score 1x1" for _, what, *_ in layers) == 3
    names = [name for name, *_ in layers]
    assert names.index("conv1") < names.index("pool1") < names.index("conv2") < names.index("fc7")


def test_the_network_is_left_as_it_was():
    network = CdnnAlex("bvlc", width=0.05).build(seed=0).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    layers_of(network, (64, 64))
    assert network.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())


def test_a_network_that_fails_keeps_no_hooks():
    encoder = SqueezeEncoder()
    with pytest.raises(RuntimeError):
        layers_of(encoder, (1, 1))
    assert not any(module._forward_hooks for module in encoder.modules())
