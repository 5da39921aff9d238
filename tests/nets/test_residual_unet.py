"""The residual U-Net: budgets, places of its samples, several slices, deep heads."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hepar.errors import BadInput
from hepar.methods import residual_unet as method_file
from hepar.nets.cost import cost_of
from hepar.nets.grey_input import CAFFE
from hepar.nets.registry import network_from_json, network_to_json
from hepar.nets.residual_unet import ResidualBlock, ResidualUnet, ResidualUnetNetwork
from hepar.nets.upsampling import bilinear_kernel

TINY = ResidualUnet(channels=(4, 6, 8, 10), blocks=(1, 2, 1, 1), deep_heads=2)
STEMS = [TINY, replace(TINY, stem=2)]


def grey(*shape: int, seed: int = 0) -> torch.Tensor:
    return 255 * torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def awake(settings: ResidualUnet) -> ResidualUnetNetwork:
    """With small random heads: zero ones would answer 0 to everything."""
    network = settings.build().eval()
    with torch.no_grad():
        for head in (network.decoder.score, *network.decoder.deep):
            head.weight.normal_(0, 0.3, generator=torch.Generator().manual_seed(1))
    return network


@pytest.mark.parametrize("slices", [1, 3, 5, 7])
@pytest.mark.parametrize(
    ("settings", "gflop", "mb"),
    [(method_file.network, 35, 12), (method_file.halved, 35, 12), (method_file.fast, 10, 5)],
)
def test_the_networks_stay_within_their_budget(settings, gflop, mb, slices):
    with torch.device("meta"):
        network = replace(settings, slices=slices).build()
    cost = cost_of(network, slices)
    assert 0.7 * gflop < cost.gflop <= gflop
    assert 0.7 * mb < cost.fp16_mb <= mb


@pytest.mark.parametrize("settings", STEMS, ids=["stem 1", "stem 2"])
def test_the_output_has_the_size_of_the_input(settings):
    network = settings.build().eval()
    with torch.inference_mode():
        for size in (*range(33, 98), 200, 511):
            assert network(torch.zeros(1, 1, size, 131 - size % 7)).shape == (1, 3, size, 131 - size % 7)


def transparent(settings: ResidualUnet, path: str) -> ResidualUnetNetwork:
    """Layers of the same geometry that hand channel 0 on: a ramp stays a ramp, and moves if a place is wrong.

    `path` is the way through the blocks, their "convolutions" or the "shortcut".
    """
    network = settings.build().eval()
    network.grey.mean.zero_()
    network.grey.std.fill_(1.0)
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.eps = 0.0
            elif isinstance(layer, nn.ConvTranspose2d):
                layer.weight.zero_()
                layer.weight[0, :] = bilinear_kernel(2)
            elif isinstance(layer, nn.Conv2d):
                layer.weight.zero_()
                layer.weight[:, 0, layer.kernel_size[0] // 2, layer.kernel_size[1] // 2] = 1.0
        for block in network.modules():
            if isinstance(block, ResidualBlock):
                _close(block, path)
    return network


def _close(block: ResidualBlock, path: str) -> None:
    """Only the chosen way of the two stays open; a shortcut without layers cannot be closed, so the others are."""
    layers = [layer for layer in block.shortcut if isinstance(layer, nn.Conv2d)]
    if path == "convolutions" and layers:
        layers[0].weight.zero_()
    else:
        block.second[0].weight.zero_()


def ramps(height: int, width: int) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(float(height)), torch.arange(float(width)), indexing="ij")
    return torch.stack([y, x])[:, None]


@pytest.mark.parametrize("path", ["convolutions", "shortcut"])
@pytest.mark.parametrize("size", [(128, 144), (131, 141)], ids=str)
@pytest.mark.parametrize("settings", STEMS, ids=["stem 1", "stem 2"])
def test_a_ramp_comes_back_without_a_shift_at_every_level(settings, size, path):
    image, border = ramps(*size), 40
    with torch.inference_mode():
        levels = transparent(settings, path).supervised(image)
    assert list(levels) == ([1, 2, 4] if settings.stem == 1 else [1, 4, 8])
    for stride, found in levels.items():
        expected = image[..., ::stride, ::stride]
        assert found.shape[2:] == expected.shape[2:]
        edge = -(-border // stride)
        away = (found[:, :1] - expected)[..., edge:-edge, edge:-edge].abs().max()
        assert away < 1e-3, f"level of stride {stride} lies {away:.2f} pixels off"


def test_the_check_of_places_sees_half_a_pixel():
    network = transparent(TINY, "shortcut")
    for block in network.modules():
        if isinstance(block, ResidualBlock) and len(block.shortcut) and isinstance(block.shortcut[0], nn.AvgPool2d):
            block.shortcut[0] = nn.AvgPool2d(2, ceil_mode=True)
    image = ramps(128, 144)
    with torch.inference_mode():
        assert (network(image)[:, :1] - image)[..., 40:-40, 40:-40].abs().max() > 0.4


@pytest.mark.parametrize("settings", STEMS, ids=["stem 1", "stem 2"])
def test_the_first_loss_is_ln_3_at_every_level(settings):
    truth = torch.randint(0, 3, (2, 90, 70), generator=torch.Generator().manual_seed(0))
    for stride, logits in settings.build().train().supervised(grey(2, 1, 90, 70)).items():
        found = F.cross_entropy(logits, truth[:, ::stride, ::stride]).item()
        assert found == pytest.approx(math.log(3), abs=1e-6)


def test_the_finest_level_is_the_answer():
    network = awake(TINY)
    assert torch.equal(network.supervised(grey(1, 1, 64, 64))[1], network(grey(1, 1, 64, 64)))


@pytest.mark.parametrize("slices", [3, 5, 7])
def test_one_channel_stands_for_a_slice_without_neighbours(slices):
    network = awake(replace(TINY, slices=slices))
    one = grey(1, 1, 64, 64)
    assert torch.equal(network(one), network(one.expand(-1, slices, -1, -1)))
    other = one.repeat(1, slices, 1, 1)
    other[:, 0] = grey(1, 64, 64, seed=1)
    assert not torch.allclose(network(one), network(other))


def test_the_same_seed_builds_the_same_network():
    one, same, other = (TINY.build(seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[k], same[k]) for k in one)
    assert not torch.equal(one["encoder.stem.0.weight"], other["encoder.stem.0.weight"])


def test_settings_go_through_a_model_folder_s_json():
    import json

    settings = replace(TINY, slices=5, step_mm=3.0)
    assert network_from_json(json.loads(json.dumps(network_to_json(settings)))) == settings


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"slices": 2}, "2 slices; choose 1, 3, 5 or 7"),
        ({"stem": 4}, "stem is 4"),
        ({"step_mm": 0}, "step_mm 0"),
        ({"blocks": (1, 1)}, "as many of both"),
        ({"blocks": (1, 0, 1, 1)}, "each with a block"),
        ({"deep_heads": 3}, "3 deep heads; expected 0 to 2"),
    ],
)
def test_networks_that_cannot_be_built_are_refused(change, words):
    with pytest.raises(BadInput, match=words):
        replace(TINY, **change)


def test_bfloat16_training_reaches_the_first_convolution_and_gives_float32_logits():
    network = awake(TINY).train()
    with torch.autocast("cpu", torch.bfloat16):
        levels = network.supervised(grey(2, 1, 64, 64))
    assert {logits.dtype for logits in levels.values()} == {torch.float32}
    sum((logits**2).mean() for logits in levels.values()).backward()
    assert network.encoder.stem[0].weight.grad.abs().sum() > 0


def test_an_encoder_s_file_does_not_change_how_grey_is_read():
    network = TINY.build()
    before = network.grey(grey(1, 1, 4, 4))
    network.grey.follow(CAFFE)
    assert torch.equal(network.grey(grey(1, 1, 4, 4)), before)
