"""Han's 2.5D U-Net: 32 layers, the dossier's size, five slices, two kinds of skips."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from hepar.errors import BadInput
from hepar.nets.encoder_decoder import parameter_count
from hepar.nets.long_short_unet import LongShortUnet
from hepar.nets.registry import network_from_json, network_to_json

TINY = LongShortUnet(width=0.05)


def grey(*shape: int) -> torch.Tensor:
    return 255 * torch.rand(shape, generator=torch.Generator().manual_seed(0))


def test_24_convolutions_and_the_parameters_of_the_dossier():
    with torch.device("meta"):
        network = LongShortUnet().build()
    sizes = [layer.kernel_size for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    assert sizes.count((3, 3)) == 24
    short = [m.short for m in network.modules() if isinstance(getattr(m, "short", None), nn.Conv2d)]
    assert sum(map(parameter_count, short)) == 956_224
    assert parameter_count(network) == 28_820_803


def test_no_short_skip_at_the_first_level_and_one_at_each_of_the_others():
    with torch.device("meta"):
        network = LongShortUnet().build()
    assert [level.short is not None for level in network.encoder.levels] == [False, True, True, True, True]
    assert all(level.short is not None for level in network.decoder.levels)
    assert isinstance(network.encoder.levels[4].short, nn.Identity)


@pytest.mark.parametrize("size", [(64, 64), (65, 97), (70, 131), (80, 227)])
def test_the_output_has_the_size_of_the_input(size):
    with torch.inference_mode():
        assert TINY.build().eval()(grey(2, 5, *size)).shape == (2, 3, *size)


def test_every_slice_matters_and_one_alone_is_repeated():
    network = TINY.build().eval()
    nn.init.normal_(network.decoder.score.weight, generator=torch.Generator().manual_seed(0))
    image = grey(1, 5, 32, 32)
    with torch.inference_mode():
        before = network(image)
        for k in range(5):
            other = image.clone()
            other[:, k] = 0
            assert not torch.allclose(network(other), before)
        assert torch.equal(network(image[:, :1]), network(image[:, :1].expand(-1, 5, -1, -1)))


def test_all_labels_are_alike_at_the_start():
    assert not TINY.build().eval()(grey(1, 5, 32, 32)).any()


@pytest.mark.parametrize("wrong", [{"slices": 4}, {"step_mm": 0.0}, {"convolutions": (2, 2)}])
def test_settings_that_make_no_network_are_refused(wrong):
    with pytest.raises(BadInput, match="expected"):
        LongShortUnet(**wrong)


def test_settings_go_into_json_and_back_and_a_seed_builds_one_network():
    assert network_from_json(json.loads(json.dumps(network_to_json(TINY)))) == TINY
    one, same, other = (TINY.build(seed).encoder.levels[0].convolutions[0].weight for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
