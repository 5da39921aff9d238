"""The U-Net: the published number of weights, any picture size, skips and dropout where they belong."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hepar.nets.encoder_decoder import parameter_count
from hepar.nets.registry import network_from_json, network_to_json
from hepar.nets.unet import Unet

TINY = Unet(width=0.1)


def grey(*shape: int) -> torch.Tensor:
    return 255 * torch.rand(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("batch_norm", "count"), [(False, 31_030_723), (True, 31_042_499)])
def test_it_has_exactly_the_published_number_of_parameters(batch_norm, count):
    with torch.device("meta"):
        assert parameter_count(Unet(batch_norm=batch_norm).build()) == count


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("size", [(64, 64), (65, 97), (70, 131), (227, 80)])
def test_the_output_has_the_size_of_the_input(size, batch_norm):
    with torch.inference_mode():
        assert replace(TINY, batch_norm=batch_norm).build().eval()(grey(2, 1, *size)).shape == (2, 3, *size)


def test_the_first_loss_is_ln_3():
    labels = torch.randint(0, 3, (2, 48, 48), generator=torch.Generator().manual_seed(0))
    assert F.cross_entropy(TINY.build()(grey(2, 1, 48, 48)), labels).item() == pytest.approx(math.log(3), abs=1e-6)


def spread_over_the_picture(network: nn.Module) -> float:
    with torch.inference_mode():
        return float(network(grey(1, 1, 64, 64))[:, 2, 4:-4, 4:-4].std())


def test_the_picture_reaches_the_scores_by_the_skips_and_by_the_way_down():
    network = TINY.build().eval()
    nn.init.normal_(network.decoder.score.weight, generator=torch.Generator().manual_seed(1))
    for doubling in network.decoder.doublings:
        nn.init.zeros_(doubling.weight)
    assert spread_over_the_picture(network) > 0  # by the finest skip alone
    network = TINY.build().eval()
    nn.init.normal_(network.decoder.score.weight, generator=torch.Generator().manual_seed(1))
    for level, doubling in zip(network.decoder.levels, network.decoder.doublings, strict=True):
        nn.init.zeros_(level[0].weight[:, : doubling.out_channels])
    assert spread_over_the_picture(network) > 0  # without any skip
    nn.init.zeros_(network.decoder.doublings[-1].weight)
    assert spread_over_the_picture(network) == 0


def test_dropout_ends_the_two_coarsest_levels_only():
    image = torch.rand((1, 1, 64, 64), generator=torch.Generator().manual_seed(2))

    def same_twice(settings: Unet) -> list[bool]:
        encoder = settings.build(1).train().encoder
        return [torch.equal(a, b) for a, b in zip(encoder(image), encoder(image), strict=True)]

    assert same_twice(TINY) == [True, True, True, False, False]
    assert all(same_twice(replace(TINY, dropout=0.0)))


def test_settings_go_into_json_and_back_and_a_seed_builds_one_network():
    assert network_from_json(json.loads(json.dumps(network_to_json(TINY)))) == TINY
    one, same, other = (TINY.build(seed).encoder.levels[0][0].weight for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
