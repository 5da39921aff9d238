"""A 3D U-Net with a residual encoder, in the style of nnU-Net's ResEnc (Isensee et al. 2024), of our own making.

The same plan as the 2D network (`residual_unet`), with two differences: all
kernels are cubes, and maps are normalised per image (instance normalisation, as
in nnU-Net), since two blocks a batch give no batch statistics to trust. Each
sample i of a coarser map lies exactly on sample 2i of the finer one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn

from hepar.errors import BadInput
from hepar.nets.encoder_decoder import build_seeded, scaled
from hepar.nets.residual_unet import GREY_MEAN, GREY_STD, LEAK
from hepar.nets.upsampling import full_precision


@dataclass(frozen=True)
class ResidualUnet3d:
    """Settings of the 3D residual U-Net.

    It sees cubes of `side` voxels in stacks of `slice_mm` (in-plane pixels are
    the method's). Stage s works at stride 2^s with `channels[s]` channels and
    `blocks[s]` residual blocks; `deep_heads` coarser stages get logits of their
    own while training. Raises BadInput.
    """

    side: int = 128
    slice_mm: float = 1.5
    channels: tuple[int, ...] = (32, 64, 128, 192, 256, 320)
    blocks: tuple[int, ...] = (1, 2, 3, 3, 3, 3)
    deep_heads: int = 3
    width: float = 1.0
    classes: int = 3

    def __post_init__(self) -> None:
        for name in ("channels", "blocks"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # JSON gives lists
        if len(self.channels) != len(self.blocks) or len(self.channels) < 2 or min(self.blocks) < 1:
            raise BadInput(
                f"{len(self.channels)} stages of channels and {len(self.blocks)} of blocks; expected as many of both, "
                "at least 2, each with a block"
            )
        if not 0 <= self.deep_heads < len(self.channels) - 1:
            raise BadInput(f"{self.deep_heads} deep heads; expected 0 to {len(self.channels) - 2} with these stages")
        # Twice the coarsest stride: instance normalisation needs more than one voxel.
        least = 2 ** len(self.channels)
        if self.side % (least // 2) or self.side < least or not self.slice_mm > 0:
            raise BadInput(
                f"blocks of {self.side} voxels, slices of {self.slice_mm} mm; expected {least} or a larger multiple of "
                f"{least // 2} with these stages, and a spacing above 0 mm"
            )

    def tiny(self) -> ResidualUnet3d:
        """A network for phantoms."""
        shallow = replace(self, side=16, slice_mm=19.0, channels=(40, 80, 120), blocks=(1, 1, 1), deep_heads=1)
        return replace(shallow, width=0.2)

    def build(self, seed: int = 0) -> ResidualUnet3dNetwork:
        """The network with He-initialised weights and zero heads: its first loss is ln(classes)."""
        return cast(ResidualUnet3dNetwork, build_seeded(lambda: ResidualUnet3dNetwork(self), seed))


class ResidualUnet3dNetwork(nn.Module):
    """Float32 logits (batch, class, z, y, x) for grey values (batch, 1, z, y, x) in 0..255."""

    def __init__(self, settings: ResidualUnet3d) -> None:
        super().__init__()
        channels = [scaled(c, settings.width) for c in settings.channels]
        self.encoder = Encoder3d(channels, settings.blocks)
        self.decoder = Decoder3d(channels, settings.classes, settings.deep_heads)

    def forward(self, grey: Tensor) -> Tensor:
        return cast(Tensor, self.decoder.score(self._maps(grey)[0]))

    def supervised(self, grey: Tensor) -> dict[int, Tensor]:
        """Logits by stride: 1 the image's own, then those of the deep heads. For training only."""
        maps = self._maps(grey)
        found = {1: self.decoder.score(maps[0])}
        for level, (head, coarse) in enumerate(zip(self.decoder.deep, maps[1:], strict=False), start=1):
            found[2**level] = head(coarse)
        return found

    def _maps(self, grey: Tensor) -> list[Tensor]:
        maps: list[Tensor] = self.decoder(self.encoder((grey - GREY_MEAN) / GREY_STD))
        return maps


class Encoder3d(nn.Module):
    """Feature maps of each stage, finest first."""

    def __init__(self, channels: list[int], blocks: tuple[int, ...]) -> None:
        super().__init__()
        self.stem = nn.Sequential(*_conv_norm(1, channels[0]), nn.LeakyReLU(LEAK))
        self.stages = nn.ModuleList()
        before = channels[0]
        for number, (c, count) in enumerate(zip(channels, blocks, strict=True)):
            first = ResidualBlock3d(before, c, stride=2 if number else 1)
            self.stages.append(nn.Sequential(first, *[ResidualBlock3d(c, c) for _ in range(count - 1)]))
            before = c
        he_initialise_3d(self)

    def forward(self, image: Tensor) -> list[Tensor]:
        maps, features = self.stem(image), []
        for stage in self.stages:
            maps = stage(maps)
            features.append(maps)
        return features


class ResidualBlock3d(nn.Module):
    """Two 3x3x3 convolutions beside a shortcut, which averages around sample 2i and mixes channels (ResNet-D)."""

    def __init__(self, channels_in: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.first = nn.Sequential(*_conv_norm(channels_in, channels, stride), nn.LeakyReLU(LEAK))
        self.second = nn.Sequential(*_conv_norm(channels, channels))
        shortcut: list[nn.Module] = []
        if stride > 1:
            shortcut.append(nn.AvgPool3d(3, stride, padding=1, count_include_pad=False))
        if channels_in != channels:
            shortcut += [nn.Conv3d(channels_in, channels, 1, bias=False), nn.InstanceNorm3d(channels, affine=True)]
        self.shortcut = nn.Sequential(*shortcut)
        self.leak = nn.LeakyReLU(LEAK)

    def forward(self, maps: Tensor) -> Tensor:
        return cast(Tensor, self.leak(self.second(self.first(maps)) + self.shortcut(maps)))


class Decoder3d(nn.Module):
    """Decoded maps, finest first; the last are the coarsest stage's own."""

    def __init__(self, channels: list[int], classes: int, deep_heads: int) -> None:
        super().__init__()
        fine_first = list(zip(channels[1:], channels[:-1], strict=True))
        self.fusions = nn.ModuleList(Fusion3d(coarse, fine) for coarse, fine in reversed(fine_first))
        he_initialise_3d(self.fusions)
        self.score = ScoreHead3d(channels[0], classes)
        self.deep = nn.ModuleList(ScoreHead3d(channels[k + 1], classes) for k in range(deep_heads))

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        found = [features[-1]]
        for fusion, skip in zip(self.fusions, reversed(features[:-1]), strict=True):
            found.append(fusion(found[-1], skip))
        return found[::-1]


class Fusion3d(nn.Module):
    """Coarse maps doubled (transposed, sample i onto 2i) beside the skip, mixed by a 3x3x3."""

    def __init__(self, coarse: int, fine: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose3d(coarse, fine, 3, 2, padding=1, output_padding=1, bias=False)
        self.settle = nn.Sequential(nn.InstanceNorm3d(fine, affine=True), nn.LeakyReLU(LEAK))
        self.mix = nn.Sequential(*_conv_norm(2 * fine, fine), nn.LeakyReLU(LEAK))

    def forward(self, coarse: Tensor, skip: Tensor) -> Tensor:
        z, y, x = skip.shape[-3:]
        # Cropped before it is normalised: what lies outside the block has no say in its mean.
        up = self.settle(self.up(coarse)[..., :z, :y, :x])
        return cast(Tensor, self.mix(torch.cat([up, skip], 1)))


class ScoreHead3d(nn.Conv3d):
    """A zero-initialised 1x1x1 convolution to class scores, in float32 also under autocast."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__(channels, classes, 1)
        nn.init.zeros_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, maps: Tensor) -> Tensor:
        with full_precision(maps):
            return super().forward(maps.float())


def he_initialise_3d(module: nn.Module) -> None:
    """He et al. 2015 (normal, fan-in) for every convolution inside."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv3d):
            nn.init.normal_(layer.weight, 0.0, math.sqrt(2.0 / layer.weight[0].numel()))
        elif isinstance(layer, nn.ConvTranspose3d):
            # With stride s an output voxel sees only 1/s^3 of the kernel's taps.
            taps = math.prod(layer.kernel_size) / math.prod(layer.stride)
            nn.init.normal_(layer.weight, 0.0, math.sqrt(2.0 / (layer.in_channels * taps)))


def _conv_norm(channels_in: int, channels: int, stride: int = 1) -> list[nn.Module]:
    conv = nn.Conv3d(channels_in, channels, 3, stride, padding=1, bias=False)
    return [conv, nn.InstanceNorm3d(channels, affine=True)]
