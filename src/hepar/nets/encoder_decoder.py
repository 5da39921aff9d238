"""The frame all networks share: grey input, encoder, decoder; and how weights start."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from hepar.nets.grey_input import GreyInput
from hepar.nets.upsampling import BilinearUpsampling, full_precision


class EncoderDecoder(nn.Module):
    """Float32 logits (batch, class, y, x) for grey values (batch, 1 or 3, y, x) in 0..255.

    `encoder` maps the normalised image to a tuple of feature maps, finest
    first; `decoder` maps these and the image's (y, x) to logits of that size.
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.grey = GreyInput()
        self.encoder = encoder
        self.decoder = decoder

    def forward(self, grey: Tensor) -> Tensor:
        image = self.grey(grey)
        logits: Tensor = self.decoder(self.encoder(image), (grey.shape[-2], grey.shape[-1]))
        return logits.float()  # also under autocast: the loss wants float32


def build_seeded(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    """What `make` builds when torch's generator starts from `seed`; the global generator stays untouched."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def he_initialise(module: nn.Module) -> None:
    """He et al. 2015 (normal, fan-in) for every convolution inside, zero biases; bilinear kernels stay as they are."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            _he_normal(layer, fan_in=layer.weight[0].numel())
        elif isinstance(layer, nn.ConvTranspose2d):
            # With stride s an output pixel sees only 1/s^2 of the kernel's taps.
            taps = math.prod(layer.kernel_size) / math.prod(layer.stride)
            _he_normal(layer, fan_in=layer.in_channels // layer.groups * max(taps, 1.0))


def _he_normal(layer: nn.Conv2d | nn.ConvTranspose2d, fan_in: float) -> None:
    nn.init.normal_(layer.weight, 0.0, math.sqrt(2.0 / fan_in))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


class ScoreHead(nn.Conv2d):
    """A zero-initialised 1x1 convolution to class scores, computed in float32 also under autocast.

    A must, not a nicety: in bfloat16 the backward pass of a 1x1 convolution
    from more than 2048 channels to a few writes beyond its memory on CPUs with
    AMX (torch 2.13, oneDNN 3.12), and the process dies sooner or later.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__(channels, classes, 1)
        zero_head(self)

    def forward(self, maps: Tensor) -> Tensor:
        with full_precision(maps):
            return super().forward(maps.float())


def zero_head(layer: nn.Conv2d | nn.ConvTranspose2d) -> None:
    """Zero scores: the first loss of a network of c classes is exactly ln c (FCN's score layers start so)."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def scaled(channels: int, width: float) -> int:
    """`channels` times `width`, even and at least 2, so that grouped convolutions stay possible."""
    return max(2, 2 * round(channels * width / 2))


def parameter_count(module: nn.Module, upsampling: bool = False) -> int:
    """Number of parameters; bilinear upsampling kernels count only when `upsampling` is true.

    Published counts leave the upsampling kernels out, whether they are learned or not.
    """
    kernels = {
        id(parameter)
        for layer in module.modules()
        if isinstance(layer, BilinearUpsampling)
        for parameter in layer.parameters()
    }
    return sum(p.numel() for p in module.parameters() if upsampling or id(p) not in kernels)
