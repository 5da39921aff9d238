"""Bi et al.'s network: ResNet50 spread to stride 8, scores where they belong, a mean over picture sizes."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hepar.errors import BadInput
from hepar.nets.dilated_fcn import DilatedFcn
from hepar.nets.encoder_decoder import parameter_count
from hepar.nets.registry import network_from_json, network_to_json

TINY = DilatedFcn(width=0.05)


def grey(*shape: int, seed: int = 0) -> torch.Tensor:
    return 255 * torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def awake(settings: DilatedFcn) -> nn.Module:
    """A network whose head is not zero."""
    network = settings.build(3).eval()
    nn.init.normal_(network.decoder.score.weight, generator=torch.Generator().manual_seed(1))
    return network


@pytest.mark.parametrize(("blocks", "count"), [((3, 4, 6, 3), 25_557_032), ((3, 4, 23, 3), 44_549_160)])
def test_it_has_the_published_encoder_and_a_score_a_label(blocks, count):
    with torch.device("meta"):
        network = DilatedFcn(blocks).build()
    assert parameter_count(network) == count - (2048 * 1000 + 1000) + (2048 * 3 + 3)


@pytest.mark.parametrize("size", [(64, 64), (65, 97), (70, 131)])
@pytest.mark.parametrize("beside", [False, True])
def test_the_output_has_the_size_of_the_input(size, beside):
    with torch.inference_mode():
        found = replace(TINY, beside=beside).build().eval()(grey(2, 1 + beside, *size))
    assert found.shape == (2, 3, *size)


def test_scores_lie_between_the_samples_without_a_shift():
    network = awake(replace(TINY, scales=(1.0,)))
    size = (67, 90)
    y, x = torch.meshgrid(*(torch.arange(0, n, 8.0) for n in size), indexing="ij")
    maps = torch.zeros((2, network.encoder.out_channels[-1], *y.shape))
    maps[0, 0], maps[1, 0] = y, x
    nn.init.zeros_(network.decoder.score.weight)
    network.decoder.score.weight.data[:, 0] = 1.0
    with torch.inference_mode():
        found = network.decoder((maps,), size)
    # Beyond the last sample its value is repeated.
    assert torch.allclose(found[0, 0, :65, 0], torch.arange(65.0))
    assert torch.allclose(found[1, 2, 40, :89], torch.arange(89.0))
    assert found[0, 1, 66, 5] == 64


def test_the_first_loss_is_ln_3_in_training_and_at_test():
    labels = torch.randint(0, 3, (2, 48, 48), generator=torch.Generator().manual_seed(0))
    network = TINY.build()
    for mode in (True, False):
        loss = F.cross_entropy(network.train(mode)(grey(2, 1, 48, 48)), labels)
        assert loss.item() == pytest.approx(math.log(3), abs=1e-6)


def test_the_answer_is_the_mean_probability_over_picture_sizes():
    image = grey(1, 1, 48, 64)
    network = awake(TINY)
    with torch.inference_mode():
        shares = torch.softmax(network(image), 1)
        network.scales = (1.0,)
        alone = torch.softmax(network(image), 1)
        by_hand = [alone]
        for size in ((36, 48), (60, 80)):
            there = F.interpolate(image, size=size, mode="bilinear", align_corners=False)
            back = F.interpolate(network(there), size=(48, 64), mode="bilinear", align_corners=False)
            by_hand.append(torch.softmax(back, 1))
    assert torch.allclose(shares, torch.stack(by_hand).mean(0), atol=1e-5)
    assert not torch.allclose(shares, alone, atol=1e-3)
    assert torch.allclose(shares.sum(1), torch.ones(1, 48, 64))


def test_in_training_the_picture_is_seen_once():
    passes: list[object] = []
    network = TINY.build()
    network.encoder.register_forward_hook(lambda *_: passes.append(None))
    network.train()(grey(2, 1, 48, 48))
    assert len(passes) == 1
    with torch.inference_mode():
        network.eval()(grey(2, 1, 48, 48))
    assert len(passes) == 1 + 3


def test_the_livers_probability_takes_the_place_of_one_colour():
    grey_in = replace(TINY, beside=True).build().grey
    three = grey_in(torch.stack([torch.full((4, 4), 50.0), torch.full((4, 4), 200.0)])[None])
    assert torch.allclose(three * grey_in.std.view(1, 3, 1, 1) + grey_in.mean.view(1, 3, 1, 1),
                          torch.tensor([50.0, 50.0, 200.0]).view(1, 3, 1, 1).expand(1, 3, 4, 4))  # fmt: skip


def test_settings_go_into_json_and_back_and_wrong_ones_are_refused():
    settings = DilatedFcn((3, 4, 23, 3), beside=True, scales=(0.5, 1.0), width=0.05)
    assert network_from_json(json.loads(json.dumps(network_to_json(settings)))) == settings
    with pytest.raises(BadInput, match="expected four stages and scales above 0"):
        DilatedFcn(scales=())
    with pytest.raises(BadInput, match="expected four stages and scales above 0"):
        DilatedFcn(blocks=(3, 4, 6))
