"""Networks that MONAI builds: sizes, padding, grey values, seeds, what is refused, and what goes without MONAI."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
import torch

from hepar.errors import BadInput, MissingExtra
from hepar.nets.encoder_decoder import parameter_count
from hepar.nets.from_monai import MonaiNetwork, SegResnet3d, SwinUnetr3d
from hepar.nets.registry import network_from_json, network_to_json

SMALL = SegResnet3d().tiny()
SWIN = SwinUnetr3d().tiny()


@pytest.fixture
def without_monai(monkeypatch):
    monkeypatch.setitem(sys.modules, "monai", None)
    monkeypatch.setitem(sys.modules, "monai.networks.nets", None)


def probe(stride: int) -> MonaiNetwork:
    """A frame around a network that answers with its own input, three times, and remembers it."""

    class Echo(torch.nn.Module):
        def forward(self, image):
            self.seen = image
            return image.expand(-1, 3, -1, -1, -1)

    return MonaiNetwork(Echo(), stride)


@pytest.mark.parametrize(
    ("settings", "published"), [(SegResnet3d(), 18_796_035), (SwinUnetr3d(), 62_186_757)], ids=["segresnet", "swin"]
)
def test_networks_have_as_many_parameters_as_published(settings, published):
    with torch.device("meta"):
        assert parameter_count(settings.build()) == published


@pytest.mark.parametrize("settings", [SegResnet3d(), SwinUnetr3d()], ids=["segresnet", "swin"])
def test_half_the_width_is_about_a_quarter_of_the_parameters(settings):
    with torch.device("meta"):
        full, half = (parameter_count(replace(settings, width=width).build()) for width in (1.0, 0.5))
    assert 0.2 < half / full < 0.3


@pytest.mark.parametrize(
    ("settings", "channels"),
    [
        (SegResnet3d(width=0.01), 8),
        (SegResnet3d(width=0.4), 16),
        (SwinUnetr3d(width=0.01), 12),
        (SwinUnetr3d(width=0.6), 24),
    ],
)
def test_channels_stay_multiples_of_groups_and_of_heads(settings, channels):
    with torch.device("meta"):
        first = next(m for m in settings.build().modules() if isinstance(m, torch.nn.Conv3d))
    assert first.out_channels == channels


@pytest.mark.parametrize("size", [(12, 16, 16), (9, 17, 6), (1, 4, 5)])
def test_segresnet_gives_logits_of_the_size_of_any_block(size):
    with torch.inference_mode():
        assert SMALL.build().eval()(torch.zeros(2, 1, *size)).shape == (2, 3, *size)


def test_swin_unetr_gives_logits_of_the_size_of_any_block():
    with torch.inference_mode():
        assert SWIN.build().eval()(torch.zeros(1, 1, 7, 33, 20)).shape == (1, 3, 7, 33, 20)


@pytest.mark.parametrize(("size", "seen"), [((5, 8, 3), (8, 8, 4)), ((4, 4, 4), (4, 4, 4)), ((1, 9, 12), (4, 12, 12))])
def test_odd_sides_are_padded_with_air_at_their_ends_and_cut_again(size, seen):
    network = probe(stride=4)
    block = torch.randint(1, 256, (1, 1, *size)).float()
    logits = network(block)
    inside = network.network.seen
    assert inside.shape == (1, 1, *seen)
    assert inside.sum() == pytest.approx((block / 255).sum().item(), rel=1e-5)
    # Nothing moved: what comes back is what lay there.
    assert torch.allclose(logits[:, 0] * 255, block[:, 0], atol=1e-4)


def test_padding_by_hand_gives_the_same_answer():
    network = SMALL.build(seed=3).eval()
    block = torch.rand(1, 1, 10, 15, 16) * 255
    by_hand = torch.zeros(1, 1, 12, 16, 16)
    by_hand[..., :10, :15, :] = block
    shifted = torch.zeros(1, 1, 12, 16, 16)
    shifted[..., 2:, 1:, :] = block
    with torch.inference_mode():
        found = network(block)
        assert torch.allclose(found, network(by_hand)[..., :10, :15, :], atol=1e-5)
        assert not torch.allclose(found, network(shifted)[..., 2:, 1:, :], atol=1e-3)


def test_monai_sees_grey_values_from_0_to_1():
    network = probe(stride=2)
    network(torch.tensor([0.0, 51.0, 255.0, 102.0]).reshape(1, 1, 1, 2, 2).expand(1, 1, 2, 2, 2))
    assert torch.allclose(network.network.seen[0, 0, 0].flatten(), torch.tensor([0.0, 0.2, 1.0, 0.4]))


def test_logits_are_of_full_precision_under_autocast():
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert SMALL.build().eval()(torch.zeros(1, 1, 4, 8, 8)).dtype == torch.float32


def test_dropout_is_there_only_when_asked_for():
    def dropped(settings):
        return [m.p for m in settings.build().modules() if isinstance(m, torch.nn.modules.dropout._DropoutNd)]

    assert not any(dropped(SMALL))
    assert dropped(replace(SMALL, dropout=0.2)) == [0.2]


@pytest.mark.parametrize("settings", [SMALL, SWIN], ids=["segresnet", "swin"])
def test_weights_start_from_the_seed_and_chance_elsewhere_is_untouched(settings):
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    one, same, other = (settings.build(seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("settings", [SMALL, SWIN, SegResnet3d(side=96)], ids=["segresnet", "swin", "cube"])
def test_settings_survive_json(settings):
    row = network_to_json(settings)
    assert network_from_json(row) == settings
    lists = {key: list(value) if isinstance(value, tuple) else value for key, value in row.items()}
    assert network_from_json(lists) == settings
    assert network_from_json(row | {"width": 0.75}) != settings


@pytest.mark.parametrize(
    ("settings", "change", "message"),
    [
        (SegResnet3d(), {"side": 100}, "blocks of 100 voxels.*multiple of 8"),
        (SegResnet3d(), {"side": (64, 64, 60)}, "multiple of 8"),
        (SegResnet3d(), {"side": (64, 64)}, "multiple of 8"),
        (SegResnet3d(), {"side": 0}, "blocks of 0 voxels"),
        (SegResnet3d(), {"slice_mm": 0}, "spacing above 0"),
        (SegResnet3d(), {"blocks_up": (1, 1)}, "4 stages down, 2 up; expected one less up"),
        (SwinUnetr3d(), {"side": 48}, "multiple of 32"),
        (SwinUnetr3d(), {"side": 32}, "one coarse voxel.*take 64"),
        (SwinUnetr3d(), {"side": (32, 32, 32)}, "one coarse voxel"),
        (SwinUnetr3d(), {"depths": (2, 2, 2)}, "3 depths and 4 numbers of heads"),
        (SwinUnetr3d(), {"slice_mm": float("nan")}, "spacing above 0"),
    ],
)
def test_settings_that_build_nothing_are_refused(settings, change, message):
    with pytest.raises(BadInput, match=message):
        replace(settings, **change)


@pytest.mark.parametrize(("settings", "name"), [(SMALL, "SegResNet"), (SWIN, "SwinUNETR")], ids=["segresnet", "swin"])
def test_without_monai_a_network_says_what_to_install(settings, name, without_monai):
    with pytest.raises(MissingExtra, match=rf"{name} is MONAI's; install it with `pip install hepar\[monai\]`"):
        settings.build()


def test_settings_are_read_and_written_without_monai(without_monai):
    assert network_from_json(network_to_json(SegResnet3d())) == SegResnet3d()
    assert SwinUnetr3d().tiny().stride == 32
    with pytest.raises(BadInput):
        SwinUnetr3d(side=48)
