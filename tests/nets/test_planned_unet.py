"""nnU-Net's residual U-Net: sizes, counts, its start, what it refuses."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from hepar.errors import BadInput
from hepar.nets.encoder_decoder import parameter_count
from hepar.nets.planned_unet import PlannedBlock, PlannedUnet, PlannedUnet3d
from hepar.nets.registry import network_from_json, network_to_json

FLAT = PlannedUnet(channels=(4, 6, 8, 8), blocks=(1, 2, 1, 1), strides=((1, 1), *((2, 2),) * 3), kernels=((3, 3),) * 4)
DEEP = PlannedUnet3d(
    channels=(4, 6, 8, 8),
    blocks=(1, 1, 1, 1),
    strides=((1, 1, 1), (1, 2, 2), (2, 2, 2), (1, 2, 2)),
    kernels=((1, 3, 3), (1, 3, 3), (3, 3, 3), (3, 3, 3)),
    side=(10, 32, 32),
    slice_mm=5.0,
)


def test_as_many_parameters_as_published_but_for_the_head_that_never_counts():
    """140,019,061 and 102,350,575 in dynamic_network_architectures 0.4.4; its coarsest head has a loss of weight 0."""
    with torch.device("meta"):
        flat, deep = (parameter_count(settings.build()) for settings in (PlannedUnet(), PlannedUnet3d()))
    assert flat + 512 * 3 + 3 == 140_019_061
    assert deep + 320 * 3 + 3 == 102_350_575


def test_levels_have_their_strides_on_every_axis():
    with torch.inference_mode():
        flat = FLAT.build().supervised(torch.zeros(2, 1, 32, 48))
        deep = DEEP.build().supervised(torch.zeros(1, 1, 10, 32, 32))
    assert {level: tuple(maps.shape) for level, maps in flat.items()} == {1: (2, 3, 32, 48), 2: (2, 3, 16, 24)}
    assert {level: tuple(maps.shape) for level, maps in deep.items()} == {1: (1, 3, 10, 32, 32), 2: (1, 3, 10, 16, 16)}


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (41, 35)])
def test_sizes_that_the_strides_do_not_divide_come_back_whole(size):
    with torch.inference_mode():
        assert FLAT.build()(torch.zeros(1, 1, *size)).shape == (1, 3, *size)
        assert DEEP.build()(torch.zeros(1, 1, 9, *size)).shape == (1, 3, 9, *size)


def test_the_first_loss_is_that_of_three_even_classes():
    logits = FLAT.build()(torch.rand(1, 1, 32, 32) * 255)
    loss = torch.nn.functional.cross_entropy(logits, torch.zeros(1, 32, 32).long())
    assert loss.item() == pytest.approx(math.log(3))


def test_a_block_starts_as_its_shortcut_and_learns_to_differ():
    block = next(m for m in FLAT.build().modules() if isinstance(m, PlannedBlock))
    maps = torch.rand(1, 4, 16, 16)
    assert torch.allclose(block(maps), maps)
    torch.nn.init.ones_(block.second[1].weight)
    assert not torch.allclose(block(maps), maps)


def test_grey_is_normalised_as_the_settings_say():
    wide = replace(FLAT, grey_mean=100, grey_std=50).build(1).encoder.stem
    seen = []
    network = replace(FLAT, grey_mean=100, grey_std=50).build(1)
    network.encoder.stem.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    network(torch.full((1, 1, 32, 32), 150.0))
    assert torch.equal(seen[0], torch.ones(1, 1, 32, 32))
    assert torch.equal(wide[0].weight, network.encoder.stem[0].weight)
    assert not torch.equal(wide[0].weight, FLAT.build(2).encoder.stem[0].weight)


@pytest.mark.parametrize("settings", [FLAT, DEEP])
def test_settings_survive_json(settings):
    row = network_to_json(settings)
    assert network_from_json(row) == settings
    assert network_from_json(row | {"strides": [list(axes) for axes in settings.strides]}) == settings


@pytest.mark.parametrize(
    ("settings", "change", "message"),
    [
        (FLAT, {"blocks": (1, 1)}, "expected as many of each"),
        (FLAT, {"kernels": ((3, 3, 3),) * 4}, "with 2 or 3 axes"),
        (FLAT, {"grey_std": 0}, "expected a spread above 0"),
        (FLAT, {"strides": ((2, 2),) * 4}, "and ones"),
        (DEEP, {"side": (9, 32, 32)}, "multiples of the strides"),
        (DEEP, {"slice_mm": 0}, "spacing above 0 mm"),
    ],
)
def test_settings_that_build_nothing_are_refused(settings, change, message):
    with pytest.raises(BadInput, match=message):
        replace(settings, **change)
