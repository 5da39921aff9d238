"""What a diagram says of a network is what the network does."""

from __future__ import annotations

import pytest
import torch

from hepar.nets.cdnn_alex import CdnnAlex
from hepar.nets.cdnn_resnet18 import CdnnResnet18
from hepar.nets.encoder_decoder import parameter_count
from hepar.nets.shapes import layers_of, shape_of
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


def test_a_residual_block_is_one_layer_and_encoder_and_decoder_are_told_apart():
    shape = shape_of(CdnnResnet18(), (512, 512))
    blocks = [f"layer{stage}.{block}" for stage in (1, 2, 3, 4) for block in (0, 1)]
    assert [name for name, *_ in shape.encoder] == ["conv1", "maxpool", *blocks]
    assert shape.encoder[-1] == ("layer4.1", "block, 2 conv 3x3", 512, (16, 16))
    assert shape.decoder[0][:2] == ("block32", "block, 2 conv 3x3")
    assert shape.decoder[1] == ("up16", "up-block x2", 256, (32, 32))
    assert shape.decoder[-1] == ("score", "score 1x1", 3, (512, 512))


def test_a_shape_worked_out_without_weights_is_that_of_the_built_network():
    settings = CdnnAlex(width=0.05)
    shape, network = shape_of(settings, (128, 96)), settings.build(seed=0)
    assert [*shape.encoder, *shape.decoder] == layers_of(network, (128, 96))
    assert shape.parameters == parameter_count(network)


@pytest.mark.parametrize(
    ("decoder", "steps"), [("fcn8s", [2, 2, 8]), ("fcn32s", [32]), ("dilated8", [8]), ("literal8x", [8, 4])]
)
def test_each_reading_of_the_decoder_shows_its_own_steps(decoder, steps):
    shown = shape_of(CdnnAlex(decoder=decoder, width=0.05), (256, 256)).decoder
    assert [what for _, what, *_ in shown if not what.startswith("score")] == [f"transposed x{step}" for step in steps]


def test_weights_are_counted_as_in_the_publications():
    assert shape_of(CdnnAlex("bvlc"), (64, 64)).parameters == 56_881_577
    assert shape_of(CdnnResnet18(), (64, 64)).parameters == 20_219_395


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
