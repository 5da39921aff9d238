"""Scores come back where they belong: a linear ramp goes through a whole network without a shift."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from hepar.nets import cdnn_alex
from hepar.nets.cdnn_alex import CdnnAlex
from hepar.nets.cdnn_squeeze import CdnnSqueeze
from hepar.nets.encoder_decoder import EncoderDecoder
from hepar.nets.squeezenet import Fire
from hepar.nets.upsampling import BilinearUpsampling, bilinear_kernel

SIZES = [(256, 320), (257, 311), (300, 263)]
# A returned pixel draws on 76 pixels around it (32 of upsampling, 16 + 16 + 8 + 4 of the windows below fc7).
BORDER = 80
ALEX_HEADS = {
    "fcn8s": ("score_fc7", "score_pool2", "score_pool1"),
    "fcn32s": ("score_fc7",),
    "dilated8": ("score_fc7",),
    "literal8x": ("score_fc7",),
}


def transparent(network: EncoderDecoder, head: str) -> EncoderDecoder:
    """The network with identity layers of the same geometry: what goes in comes out of `head` alone.

    Convolutions pick their window's centre (the mean of the two middle taps
    when the kernel is even), pools average, so a ramp stays a ramp and moves
    only if an offset is wrong.
    """
    _average_instead_of_maximum(network)
    network.grey.mean.zero_()
    network.grey.std.fill_(1.0)
    with torch.no_grad():
        for layer in network.encoder.modules():
            if isinstance(layer, nn.Conv2d):
                _pick_the_centre(layer)
            if isinstance(layer, Fire):
                layer.expand3x3.weight.zero_()
        getattr(network.decoder, head).weight[:, 0] = 1.0
    if hasattr(network.encoder, "norm_before"):
        network.encoder.norm_before = nn.Identity()
    return network.eval()


def _average_instead_of_maximum(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.MaxPool2d):
            setattr(module, name, SpreadAverage(child))
        else:
            _average_instead_of_maximum(child)


class SpreadAverage(nn.Module):
    """The average over exactly the window of a max pool, padding, dilation and ceil mode included."""

    def __init__(self, pool: nn.MaxPool2d) -> None:
        super().__init__()
        self.pool = pool

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        # Of a ramp, maximum and minus-maximum-of-minus are the window's two ends; their middle is its centre.
        return (self.pool(maps) - self.pool(-maps)) / 2


def _pick_the_centre(layer: nn.Conv2d) -> None:
    layer.weight.zero_()
    low, high = (layer.kernel_size[0] - 1) // 2, layer.kernel_size[0] // 2
    window = layer.weight[0, 0, low : high + 1, low : high + 1]
    window.fill_(1.0 / window.numel())


def ramps(size: tuple[int, int]) -> torch.Tensor:
    """Two images (2, 1, y, x) whose values are the y and the x coordinate."""
    y, x = torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in size), indexing="ij")
    return torch.stack([y, x])[:, None]


def inside(maps: torch.Tensor) -> torch.Tensor:
    return maps[..., BORDER:-BORDER, BORDER:-BORDER]


def shift(network: EncoderDecoder, size: tuple[int, int]) -> float:
    """Largest deviation, in pixels, of the returned from the given ramp, away from the borders."""
    image = ramps(size)
    with torch.inference_mode():
        return (inside(network(image)) - inside(image)).abs().max().item()


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(("decoder", "head"), [(d, head) for d, heads in ALEX_HEADS.items() for head in heads])
def test_a_ramp_comes_back_from_cdnn_alex_without_a_shift(decoder, head, size):
    assert shift(transparent(CdnnAlex(decoder=decoder, width=0.01).build(), head), size) < 1e-3


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("head", ["score16", "score8", "score4"])
def test_a_ramp_comes_back_from_cdnn_squeeze_without_a_shift(head, size):
    assert shift(transparent(CdnnSqueeze(decoder="fcn", width=0.01).build(), head), size) < 1e-3


@pytest.mark.parametrize("decoder", list(ALEX_HEADS))
def test_a_wrong_offset_shifts_the_ramp_by_as_much(decoder, monkeypatch):
    monkeypatch.setattr(cdnn_alex, "IMAGE_OFFSET", 20)
    assert shift(transparent(CdnnAlex(decoder=decoder, width=0.01).build(), "score_fc7"), SIZES[0]) == pytest.approx(
        2, abs=1e-3
    )


@pytest.mark.parametrize(("head", "pixels"), [("score_pool2", 16), ("score_pool1", 8)])
def test_a_skip_cropped_one_sample_too_late_shifts_the_ramp_by_its_stride(head, pixels, monkeypatch):
    exact_crop = cdnn_alex.crop
    monkeypatch.setattr(cdnn_alex, "crop", lambda m, offset, size: exact_crop(m, offset + (offset in (5, 10)), size))
    found = shift(transparent(CdnnAlex(width=0.01).build(), head), SIZES[0])
    assert found == pytest.approx(pixels, abs=1e-3)


@pytest.mark.parametrize("factor", [2, 4, 8, 32])
def test_upsampling_starts_as_linear_interpolation(factor):
    samples = torch.tensor([1.0, 5.0, 2.0, 7.0]).expand(1, 3, 4, 4)
    up = BilinearUpsampling(3, factor)(samples)[0, 2, 2 * factor]
    first = factor - 1
    places = torch.arange(3 * factor + 1)
    expected = torch.tensor(
        [
            torch.lerp(samples[0, 0, 0, p // factor], samples[0, 0, 0, min(p // factor + 1, 3)], p % factor / factor)
            for p in places.tolist()
        ]
    )
    assert torch.allclose(up[first : first + len(places)], expected, atol=1e-5)


def test_the_bilinear_kernel_is_odd_and_sums_to_its_area():
    assert bilinear_kernel(2).tolist() == [[0.25, 0.5, 0.25], [0.5, 1.0, 0.5], [0.25, 0.5, 0.25]]
    assert bilinear_kernel(8).shape == (15, 15)
    assert bilinear_kernel(8).sum().item() == pytest.approx(64)


def test_fixed_literal_8x_then_4x_is_32x_and_learned_ones_may_differ():
    settings = CdnnAlex(decoder="fcn32s", width=0.02, learn_upsampling=False)
    whole, steps = settings.build(), replace(settings, decoder="literal8x").build()
    for network in (whole, steps):
        network.eval()
        with torch.no_grad():
            network.decoder.score_fc7.weight.normal_(generator=torch.Generator().manual_seed(0))
    image = 255 * torch.rand((1, 1, 100, 90), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.allclose(whole(image), steps(image), atol=1e-4)
        steps.decoder.up.weight.mul_(1.5)
        assert not torch.allclose(whole(image), steps(image), atol=1e-4)
