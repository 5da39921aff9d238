"""The 3D residual U-Net: sizes, places, its start, what it refuses."""

from __future__ import annotations

import math
from dataclasses import asdict, replace

import pytest
import torch

from hepar import methods
from hepar.errors import BadInput
from hepar.nets.registry import network_from_json, network_to_json
from hepar.nets.residual_unet3d import ResidualUnet3d, he_initialise_3d

TINY = ResidualUnet3d(side=16, channels=(4, 6, 8), blocks=(1, 1, 1), deep_heads=1)


def woken(network):
    """The network with scores that say something: heads start at zero."""
    torch.manual_seed(1)
    for head in (network.decoder.score, *network.decoder.deep):
        torch.nn.init.normal_(head.weight, 0, 0.5)
    return network.eval()


@pytest.mark.parametrize("size", [(16, 16, 16), (8, 24, 32), (9, 17, 21)])
def test_logits_have_the_size_of_the_block(size):
    with torch.inference_mode():
        levels = TINY.build().supervised(torch.zeros(2, 1, *size))
    assert levels[1].shape == (2, 3, *size)
    assert levels[2].shape == (2, 3, *[-(-n // 2) for n in size])
    assert set(levels) == {1, 2}


def test_the_first_loss_is_that_of_three_even_classes():
    logits = TINY.build()(torch.rand(1, 1, 16, 16, 16) * 255)
    assert torch.nn.functional.cross_entropy(logits, torch.zeros(1, 16, 16, 16).long()).item() == pytest.approx(
        math.log(3)
    )


def test_a_shift_of_the_block_is_a_shift_of_its_logits_on_every_axis():
    network = woken(TINY.build())
    small = torch.full((1, 1, 48, 48, 48), 100.0)
    small[..., 20:26, 20:26, 20:26] = 200
    with torch.inference_mode():
        here = network(small)
        for axis in (2, 3, 4):
            # Four voxels: the coarsest stride. Borders differ, the middle must not.
            there = network(small.roll(4, axis)).roll(-4, axis)
            middle = (..., slice(16, 30), slice(16, 30), slice(16, 30))
            assert (here[middle] - there[middle]).abs().max() < 0.05 * here.std()
            moved = network(small.roll(4, axis))
            assert (here[middle] - moved[middle]).abs().max() > 0.05 * here.std()


def test_the_middle_of_a_mirrored_block_is_mirrored():
    """Every sample lies on its own place: an odd block turned round gives the logits turned round in symmetric nets."""
    network = TINY.build().eval()
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv3d | torch.nn.ConvTranspose3d) and layer.weight.shape[-1] == 3:
            with torch.no_grad():
                layer.weight.copy_((layer.weight + layer.weight.flip(2, 3, 4)) / 2)
    woken(network)
    image = torch.rand(1, 1, 17, 17, 17) * 255
    with torch.inference_mode():
        there, back = network(image), network(image.flip(2, 3, 4)).flip(2, 3, 4)
    assert torch.allclose(there, back, atol=1e-3)


def test_weights_start_from_the_seed_and_with_he_s_variance():
    one, same, other = (TINY.build(seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)
    wide = torch.nn.Conv3d(64, 64, 3)
    he_initialise_3d(wide)
    assert wide.weight.std().item() == pytest.approx(math.sqrt(2 / (64 * 27)), rel=0.02)


def test_settings_survive_json():
    assert network_from_json(network_to_json(TINY)) == TINY
    assert TINY.channels == ResidualUnet3d(**asdict(TINY) | {"channels": [4, 6, 8]}).channels


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"side": 10}, "blocks of 10 voxels"),
        ({"side": 4}, "blocks of 4 voxels"),
        ({"slice_mm": 0}, "spacing above 0 mm"),
        ({"blocks": (1, 1)}, "expected as many of both"),
        ({"deep_heads": 2}, "expected 0 to 1"),
    ],
)
def test_settings_that_build_nothing_are_refused(change, message):
    with pytest.raises(BadInput, match=message):
        replace(TINY, **change)


def test_the_method_sees_128_voxels_and_the_small_one_less():
    large, small = methods.get("residual_unet3d").network, methods.get("residual_unet3d/small").network
    assert (large.side, large.slice_mm, small.side) == (128, 1.5, 96)
    count = [sum(p.numel() for p in net.build().parameters()) for net in (large, small)]
    assert 20e6 < count[0] < 60e6
    assert count[1] < count[0] / 3
