"""H-DenseUNet's network: each slice beside its neighbours, scores that the 3D part sees, what is frozen, sizes."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from hepar.errors import BadInput
from hepar.nets.dense_unet import DenseUnet
from hepar.nets.encoder_decoder import parameter_count
from hepar.nets.hybrid_dense_unet import HybridDenseUnet, stacked
from hepar.nets.registry import network_from_json, network_to_json

TINY = HybridDenseUnet().tiny()


def woken(settings: HybridDenseUnet = TINY):
    """The network with scores that say something: heads start at zero."""
    network = settings.build()
    chance = torch.Generator().manual_seed(1)
    for head in (network.score, network.flat.decoder.score):
        torch.nn.init.normal_(head.weight, 0, 0.5, generator=chance)
    return network.eval()


def block(z: int = 8, side: int = 32) -> torch.Tensor:
    return torch.rand((1, 1, z, side, side), generator=torch.Generator().manual_seed(2)) * 255


@pytest.fixture(scope="module")
def full():
    with torch.device("meta"):
        return HybridDenseUnet().build()


def test_the_3d_part_is_light_and_has_the_published_channels(full):
    assert full.deep.out_channels == (96, 192, 224, 496, 504)
    assert [up[0].out_channels for up in full.ups] == [504, 224, 192, 96, 64]
    # Grey and three scores go in, through kernels of 7.
    assert tuple(full.deep.conv0.weight.shape) == (96, 4, 7, 7, 7)
    # The published name, DenseUNet-65, counts convolutions; ours has two of them in fusion and scores.
    volumetric = [m for m in full.modules() if isinstance(m, torch.nn.Conv3d)]
    assert len(volumetric) == 65
    assert parameter_count(full.deep) == 4_242_640


def test_65_million_parameters_most_of_them_in_two_dimensions(full):
    flat = parameter_count(full.flat)
    assert flat == parameter_count(full) - sum(
        parameter_count(part) for part in (full.deep, full.ups, full.fusion, full.score)
    )
    assert (flat, parameter_count(full)) == (49_527_843, 65_616_094)


@pytest.mark.parametrize("size", [(8, 32, 32), (5, 33, 47), (1, 32, 40)])
def test_logits_have_the_size_of_the_block(size):
    with torch.inference_mode():
        levels = TINY.build().eval().supervised(torch.zeros(2, 1, *size))
    assert {level: tuple(maps.shape) for level, maps in levels.items()} == {1: (2, 3, *size), 2: (2, 3, *size)}


def test_every_slice_is_seen_beside_its_neighbours_and_ends_beside_themselves():
    flat, grey = woken().flat, block(4)
    with torch.inference_mode():
        maps, scores = stacked(flat, grey)
        for at, triple in enumerate(((0, 0, 1), (0, 1, 2), (1, 2, 3), (2, 3, 3))):
            own_maps, own_scores = flat.maps_and_scores(grey[:, 0, list(triple)])
            assert torch.allclose(scores[:, :, at], own_scores, atol=1e-4)
            assert torch.allclose(maps[:, :, at], own_maps, atol=1e-4)
        wrong = flat(grey[:, 0, [3, 0, 1]])
    assert not torch.allclose(scores[:, :, 0], wrong, atol=1e-3)


def test_blocks_of_a_batch_do_not_mix():
    network, one = woken(), block()
    other = block().flip(2)
    with torch.inference_mode():
        both = network(torch.cat([one, other]))
        assert torch.allclose(both[:1], network(one), atol=1e-4)
        assert torch.allclose(both[1:], network(other), atol=1e-4)
    assert not torch.allclose(both[:1], both[1:], atol=1e-3)


def test_the_3d_part_sees_grey_around_zero_and_the_2d_scores():
    network, seen = woken(), []
    network.deep.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    grey = block()
    with torch.inference_mode():
        network(grey)
        _, scores = stacked(network.flat, grey)
    assert seen[0].shape == (1, 4, 8, 32, 32)
    assert torch.allclose(seen[0][:, :1], grey / 127.5 - 1)
    assert torch.allclose(seen[0][:, 1:], scores)


def test_what_is_fused_is_the_sum_of_both_parts():
    network, seen = woken(), []
    network.fusion.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.inference_mode():
        network(block())
        maps, scores = stacked(network.flat, block())
        around = network._volumetric(torch.cat([block() / 127.5 - 1, scores], 1))
    assert torch.allclose(seen[0], maps + around, atol=1e-4)
    assert around.std() > 0.01


def test_slices_further_off_than_neighbours_reach_a_slices_answer():
    network, grey = woken(), block()
    far = grey.clone()
    far[:, :, 5:] = 255 - far[:, :, 5:]
    with torch.inference_mode():
        here, there = network.supervised(grey), network.supervised(far)
    assert torch.allclose(here[2][:, :, 2], there[2][:, :, 2], atol=1e-4)
    assert not torch.allclose(here[1][:, :, 2], there[1][:, :, 2], atol=1e-3)


def test_a_frozen_2d_part_learns_nothing_and_a_free_one_does():
    for frozen in (True, False):
        network = woken(replace(TINY, frozen=frozen)).train()
        network(torch.cat([block(), block()])).square().mean().backward()
        flat = [p.grad is not None and bool(p.grad.abs().sum() > 0) for p in network.flat.parameters()]
        deep = [p.grad is not None for p in network.deep.parameters()]
        assert all(deep)
        assert any(flat) is not frozen
        assert all(p.requires_grad is not frozen for p in network.flat.parameters())


def test_the_2d_part_keeps_its_statistics_while_all_trains():
    network = woken().train()
    before = {name: value.clone() for name, value in network.state_dict().items() if "running_mean" in name}
    network(torch.cat([block(), block()]))
    changed = {name for name, value in before.items() if not torch.equal(value, network.state_dict()[name])}
    assert changed
    assert not [name for name in changed if name.startswith("flat.")]
    assert network.deep.training and not network.flat.training


def test_weights_of_a_frozen_network_fit_the_free_one():
    free, frozen = TINY.build(3), replace(TINY, frozen=True).build(4)
    with torch.inference_mode():
        woke = woken(replace(TINY, frozen=True))
        free.load_state_dict(woke.state_dict())
        assert torch.equal(free.eval()(block()), woke(block()))
        assert not torch.equal(frozen.deep.conv0.weight, free.deep.conv0.weight)


def test_the_first_loss_is_that_of_three_even_classes():
    logits = TINY.build()(torch.cat([block(), block()]))
    loss = torch.nn.functional.cross_entropy(logits, torch.zeros(2, 8, 32, 32).long())
    assert loss.item() == pytest.approx(math.log(3))


def test_logits_are_of_full_precision_under_autocast():
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert TINY.build().eval()(block()).dtype == torch.float32


def test_weights_start_from_the_seed():
    one, same, other = (TINY.build(seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    for part in ("flat.encoder.conv0.weight", "deep.conv0.weight", "ups.0.0.weight", "fusion.0.weight"):
        assert not torch.equal(one[part], other[part])


def test_settings_survive_json():
    row = network_to_json(TINY)
    assert network_from_json(row) == TINY
    assert isinstance(network_from_json(row).flat, DenseUnet)
    assert network_from_json(row | {"side": [8, 32, 32], "layers": [1, 1, 1, 1]}) == TINY
    assert network_from_json(row | {"frozen": True}) != TINY


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"side": (6, 224, 224)}, "blocks of .6, 224, 224. voxels"),
        ({"side": (8, 100, 224)}, "expected multiples of"),
        ({"side": (8, 224)}, "expected multiples of"),
        ({"side": 0}, "blocks of 0 voxels"),
        ({"slice_mm": 0}, "spacing above 0 mm"),
        ({"layers": (3, 4, 12)}, "expected four numbers above 0"),
    ],
)
def test_settings_that_build_nothing_are_refused(change, message):
    with pytest.raises(BadInput, match=message):
        replace(HybridDenseUnet(), **change)
