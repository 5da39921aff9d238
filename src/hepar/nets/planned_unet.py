"""nnU-Net's U-Net with a residual encoder, 2D or 3D, shaped by a plan (Isensee et al. 2021 and 2024).

Written from the published description: convolutions with bias, instance
normalisation, leaky ReLU of slope 0.01; residual blocks whose shortcut averages
(ResNet-D); transposed convolutions as wide as their stride; one convolution a
stage on the way up. Strides and kernels may differ from axis to axis. Unlike
`residual_unet`, a coarser sample lies between two finer ones on the way up.
Scores start at zero here, at random there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hepar.errors import BadInput
from hepar.nets.encoder_decoder import ScoreHead, build_seeded, scaled
from hepar.nets.residual_unet3d import ScoreHead3d

Axes = tuple[int, ...]
LEAK = 0.01


@dataclass(frozen=True)
class PlannedUnet:
    """Settings of a planned U-Net; how many axes `strides` and `kernels` have says whether it is 2D or 3D.

    Stage s has `blocks[s]` residual blocks of `channels[s]` channels, made
    coarser by `strides[s]` first. Grey values 0..255 become (grey -
    `grey_mean`) / `grey_std`. All decoded stages but the full and the coarsest
    have deep heads. Raises BadInput.
    """

    channels: tuple[int, ...] = (32, 64, 128, 256, 512, 512, 512, 512)
    blocks: tuple[int, ...] = (1, 3, 4, 6, 6, 6, 6, 6)
    strides: tuple[Axes, ...] = ((1, 1),) + ((2, 2),) * 7
    kernels: tuple[Axes, ...] = ((3, 3),) * 8
    grey_mean: float = 127.5
    grey_std: float = 63.75
    width: float = 1.0
    classes: int = 3

    def __post_init__(self) -> None:
        for name in ("channels", "blocks"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # JSON gives lists
        for name in ("strides", "kernels"):
            object.__setattr__(self, name, tuple(tuple(axes) for axes in getattr(self, name)))
        stages = {len(getattr(self, name)) for name in ("channels", "blocks", "strides", "kernels")}
        axes = {len(one) for one in (*self.strides, *self.kernels)}
        if len(stages) != 1 or min(stages) < 3 or len(axes) != 1 or not axes <= {2, 3} or min(self.blocks) < 1:
            raise BadInput(
                f"stages of channels, blocks, strides and kernels number {sorted(stages)}, axes {sorted(axes)}; "
                "expected as many of each, at least 3, with 2 or 3 axes and a block a stage"
            )
        if not self.grey_std > 0 or max(self.strides[0]) > 1:
            raise BadInput(
                f"grey_std is {self.grey_std}, the first stride {self.strides[0]}; expected a spread above 0, and ones"
            )

    def build(self, seed: int = 0) -> PlannedUnetNetwork:
        """The network with He-initialised weights and zero heads: its first loss is ln(classes)."""
        return cast(PlannedUnetNetwork, build_seeded(lambda: PlannedUnetNetwork(self), seed))


@dataclass(frozen=True)
class PlannedUnet3d(PlannedUnet):
    """The same for blocks of `side` voxels (z, y, x) in stacks of `slice_mm`. Raises BadInput."""

    channels: tuple[int, ...] = (32, 64, 128, 256, 320, 320)
    blocks: tuple[int, ...] = (1, 3, 4, 6, 6, 6)
    strides: tuple[Axes, ...] = ((1, 1, 1),) + ((2, 2, 2),) * 5
    kernels: tuple[Axes, ...] = ((3, 3, 3),) * 6
    side: tuple[int, int, int] = (128, 128, 128)
    slice_mm: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "side", tuple(self.side))
        coarsest = [math.prod(axis) for axis in zip(*self.strides, strict=True)]
        if len(coarsest) != 3 or any(n % stride for n, stride in zip(self.side, coarsest, strict=True)):
            raise BadInput(f"blocks of {self.side} voxels; expected three sides, multiples of the strides {coarsest}")
        if not self.slice_mm > 0:
            raise BadInput(f"slices of {self.slice_mm} mm; expected a spacing above 0 mm")


class PlannedUnetNetwork(nn.Module):
    """Float32 logits (batch, class, [z,] y, x) for grey values (batch, 1, [z,] y, x) in 0..255."""

    def __init__(self, settings: PlannedUnet) -> None:
        super().__init__()
        self.mean, self.std = settings.grey_mean, settings.grey_std
        channels = [scaled(c, settings.width) for c in settings.channels]
        self.encoder = PlannedEncoder(settings, channels)
        self.decoder = PlannedDecoder(settings, channels)
        _start(self)

    def forward(self, grey: Tensor) -> Tensor:
        return cast(Tensor, self.decoder.scores[0](self._maps(grey)[0]).float())

    def supervised(self, grey: Tensor) -> dict[int, Tensor]:
        """Logits by level, 1 for the full size, then 2, 4 and so on. For training only."""
        pairs = zip(self.decoder.scores, self._maps(grey), strict=False)
        return {2**level: head(maps).float() for level, (head, maps) in enumerate(pairs)}

    def _maps(self, grey: Tensor) -> list[Tensor]:
        image = (grey[:, :1] - self.mean) / self.std
        if image.ndim == 4:
            image = image.contiguous(memory_format=torch.channels_last)
        maps: list[Tensor] = self.decoder(self.encoder(image))
        return maps


class PlannedEncoder(nn.Module):
    """Feature maps of each stage, finest first."""

    download_name = None
    caffe_names = None
    torchvision_names = None

    def __init__(self, settings: PlannedUnet, channels: list[int]) -> None:
        super().__init__()
        self.stem = conv_norm(1, channels[0], settings.kernels[0])
        self.stages = nn.ModuleList()
        before = channels[0]
        shape = zip(channels, settings.blocks, settings.strides, settings.kernels, strict=True)
        for c, count, stride, kernel in shape:
            first = PlannedBlock(before, c, kernel, stride)
            self.stages.append(nn.Sequential(first, *[PlannedBlock(c, c, kernel) for _ in range(count - 1)]))
            before = c

    def forward(self, image: Tensor) -> list[Tensor]:
        maps, features = self.stem(image), []
        for stage in self.stages:
            maps = stage(maps)
            features.append(maps)
        return features


class PlannedBlock(nn.Module):
    """Two convolutions beside a shortcut, which averages over the stride and mixes channels where they change."""

    def __init__(self, channels_in: int, channels: int, kernel: Axes, stride: Axes = ()) -> None:
        super().__init__()
        self.first = conv_norm(channels_in, channels, kernel, stride)
        self.second = conv_norm(channels, channels, kernel, leak=False)
        dims, shortcut = len(kernel), []
        if stride and max(stride) > 1:
            shortcut.append(_layer("AvgPool", dims)(stride, stride, ceil_mode=True, count_include_pad=False))
        if channels_in != channels:
            shortcut.append(conv_norm(channels_in, channels, (1,) * dims, leak=False, bias=False))
        self.shortcut = nn.Sequential(*shortcut)

    def forward(self, maps: Tensor) -> Tensor:
        return F.leaky_relu(self.second(self.first(maps)) + self.shortcut(maps), LEAK)


class PlannedDecoder(nn.Module):
    """Decoded maps, finest first, and the heads for them; the coarsest decoded stage has none."""

    def __init__(self, settings: PlannedUnet, channels: list[int]) -> None:
        super().__init__()
        dims = len(settings.strides[0])
        self.ups, self.mixes = nn.ModuleList(), nn.ModuleList()
        for stage in reversed(range(1, len(channels))):
            stride, fine = settings.strides[stage], channels[stage - 1]
            self.ups.append(_layer("ConvTranspose", dims)(channels[stage], fine, stride, stride))
            self.mixes.append(conv_norm(2 * fine, fine, settings.kernels[stage - 1]))
        head = ScoreHead if dims == 2 else ScoreHead3d
        self.scores = nn.ModuleList(head(c, settings.classes) for c in channels[:-2])

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        maps, found = features[-1], []
        for up, mix, skip in zip(self.ups, self.mixes, reversed(features[:-1]), strict=True):
            # What was halved with a sample left over comes back with one too many.
            window = tuple(slice(0, n) for n in skip.shape[2:])
            maps = mix(torch.cat([up(maps)[(..., *window)], skip], 1))
            found.append(maps)
        return found[::-1]


def conv_norm(
    channels_in: int, channels: int, kernel: Axes, stride: Axes = (), leak: bool = True, bias: bool = True
) -> nn.Sequential:
    """Convolution, instance normalisation and, where asked, a leaky ReLU; as many axes as the kernel has."""
    dims = len(kernel)
    padding = tuple(n // 2 for n in kernel)
    conv = _layer("Conv", dims)(channels_in, channels, kernel, stride or 1, padding, bias=bias)
    layers = [conv, _layer("InstanceNorm", dims)(channels, affine=True)]
    return nn.Sequential(*layers, *([nn.LeakyReLU(LEAK)] if leak else []))


def _layer(kind: str, dims: int) -> Any:
    return getattr(nn, f"{kind}{dims}d")


def _start(network: nn.Module) -> None:
    """He et al. 2015 for the leaky ReLU, zero biases and heads; each block starts as its shortcut."""
    convolutions: Sequence[type[nn.Module]] = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)
    for layer in network.modules():
        if isinstance(layer, tuple(convolutions)) and not isinstance(layer, ScoreHead | ScoreHead3d):
            weight, bias = cast(Tensor, layer.weight), cast(Tensor | None, layer.bias)
            nn.init.kaiming_normal_(weight, LEAK)
            if bias is not None:
                nn.init.zeros_(bias)
        elif isinstance(layer, PlannedBlock):
            nn.init.zeros_(cast(Tensor, layer.second[1].weight))
