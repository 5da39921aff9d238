"""A U-Net with a residual encoder, in the style of nnU-Net's ResEnc (Isensee et al. 2024), of our own making.

Different from nnU-Net on purpose: batch instead of instance normalisation
(inside one window grey means HU, and an instance's own mean would wash that
out; it also folds into the convolutions at inference), channels chosen for
CPUs, and few of them where pixels are many. Each sample i of a coarser map
lies exactly on sample 2i of the finer one, on the way down and up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from hepar.errors import BadInput
from hepar.nets.encoder_decoder import EncoderDecoder, ScoreHead, build_seeded, he_initialise, scaled, zero_head
from hepar.nets.grey_input import Convention
from hepar.nets.upsampling import crop, size_of

# As in the light U-Net: a plain ReLU dies under the first steps of a zero-initialised head.
LEAK = 0.1
# About the mean and spread of grey inside a body windowed to -40..160 HU.
GREY_MEAN, GREY_STD = 110.0, 60.0
NEIGHBOURHOODS = (1, 3, 5, 7)


@dataclass(frozen=True)
class ResidualUnet:
    """Settings of the residual U-Net.

    `slices` are the network's channels, the middle one is labelled; the others
    lie `step_mm` apart. Stage s works at stride `stem` * 2^s with `channels[s]`
    channels and `blocks[s]` residual blocks. `stem` 2 halves the image at once,
    four times less work, and doubles the logits at the end. `deep_heads`
    coarser stages get logits of their own while training. Raises BadInput.
    """

    slices: int = 1
    step_mm: float = 2.5
    stem: int = 1
    channels: tuple[int, ...] = (16, 32, 64, 128, 192, 240)
    blocks: tuple[int, ...] = (1, 2, 2, 2, 2, 2)
    deep_heads: int = 3
    width: float = 1.0
    classes: int = 3

    def __post_init__(self) -> None:
        for name in ("channels", "blocks"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # JSON gives lists
        if self.slices not in NEIGHBOURHOODS:
            raise BadInput(f"a network of {self.slices} slices; choose 1, 3, 5 or 7")
        if self.stem not in (1, 2) or not self.step_mm > 0:
            raise BadInput(f"stem is {self.stem}, step_mm {self.step_mm}; expected 1 or 2, and a step above 0 mm")
        if len(self.channels) != len(self.blocks) or len(self.channels) < 2 or min(self.blocks) < 1:
            raise BadInput(
                f"{len(self.channels)} stages of channels and {len(self.blocks)} of blocks; expected as many of both, "
                "at least 2, each with a block"
            )
        if not 0 <= self.deep_heads < len(self.channels) - 1:
            raise BadInput(f"{self.deep_heads} deep heads; expected 0 to {len(self.channels) - 2} with these stages")

    def build(self, seed: int = 0) -> ResidualUnetNetwork:
        """The network with He-initialised weights and zero heads: its first loss is ln(classes)."""
        return cast(ResidualUnetNetwork, build_seeded(lambda: ResidualUnetNetwork(self), seed))


class ResidualUnetNetwork(EncoderDecoder):
    """Logits (batch, class, y, x) of the middle slice for grey values (batch, slices, y, x) in 0..255.

    One channel stands for a slice without neighbours: it is repeated.
    """

    grey: SliceInput  # type: ignore[assignment]
    decoder: UnetDecoder

    def __init__(self, settings: ResidualUnet) -> None:
        channels = [scaled(c, settings.width) for c in settings.channels]
        encoder = ResidualEncoder(settings.slices, settings.stem, channels, settings.blocks)
        super().__init__(encoder, UnetDecoder(channels, settings.classes, settings.stem, settings.deep_heads))
        self.grey = SliceInput(settings.slices)

    def supervised(self, grey: Tensor) -> dict[int, Tensor]:
        """Float32 logits by stride: 1 the image's own, then those of the deep heads; sample i lies on pixel i * stride.

        For training only; `forward` leaves the deep heads out.
        """
        maps = self.decoder.maps(self.encoder(self.grey(grey)))
        found = {1: self.decoder.logits(maps, (grey.shape[-2], grey.shape[-1])).float()}
        for level, (head, coarse) in enumerate(zip(self.decoder.deep, maps[1:], strict=False), start=1):
            found[self.decoder.stem * 2**level] = head(coarse)
        return found


class SliceInput(nn.Module):
    """Grey (batch, 1 or slices, y, x) in 0..255 to about zero mean and unit spread, channels last."""

    mean: Tensor
    std: Tensor

    def __init__(self, slices: int) -> None:
        super().__init__()
        self.slices = slices
        self.register_buffer("mean", torch.tensor(GREY_MEAN))
        self.register_buffer("std", torch.tensor(GREY_STD))

    def follow(self, convention: Convention) -> None:
        """No published weights have this input: its own normalisation stays whatever an encoder's file says."""

    def forward(self, grey: Tensor) -> Tensor:
        if self.slices > 1 and grey.shape[1] == 1:
            grey = grey.expand(-1, self.slices, -1, -1)
        # Channels last trains several times faster on CPUs.
        return ((grey - self.mean) / self.std).contiguous(memory_format=torch.channels_last)


class ResidualEncoder(nn.Module):
    """Feature maps of each stage, finest first."""

    download_name = None
    caffe_names = None
    torchvision_names = None

    def __init__(self, slices: int, stem: int, channels: list[int], blocks: tuple[int, ...]) -> None:
        super().__init__()
        self.stem = nn.Sequential(*_conv_bn(slices, channels[0], stem), nn.LeakyReLU(LEAK))
        self.stages = nn.ModuleList()
        before = channels[0]
        for number, (c, count) in enumerate(zip(channels, blocks, strict=True)):
            first = ResidualBlock(before, c, stride=2 if number else 1)
            self.stages.append(nn.Sequential(first, *[ResidualBlock(c, c) for _ in range(count - 1)]))
            before = c
        he_initialise(self)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        maps, features = self.stem(image), []
        for stage in self.stages:
            maps = stage(maps)
            features.append(maps)
        return tuple(features)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut, which averages and mixes channels where they change (ResNet-D).

    The average is over 3x3 around sample 2i: a window of 2x2 would lie half a pixel beside the convolution's.
    """

    def __init__(self, channels_in: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.first = nn.Sequential(*_conv_bn(channels_in, channels, stride), nn.LeakyReLU(LEAK))
        self.second = nn.Sequential(*_conv_bn(channels, channels))
        shortcut: list[nn.Module] = []
        if stride > 1:
            shortcut.append(nn.AvgPool2d(3, stride, padding=1, count_include_pad=False))
        if channels_in != channels:
            shortcut += [nn.Conv2d(channels_in, channels, 1, bias=False), nn.BatchNorm2d(channels)]
        self.shortcut = nn.Sequential(*shortcut)
        self.leak = nn.LeakyReLU(LEAK)

    def forward(self, maps: Tensor) -> Tensor:
        return cast(Tensor, self.leak(self.second(self.first(maps)) + self.shortcut(maps)))


class UnetDecoder(nn.Module):
    """From the coarsest maps up: doubled, beside the encoder's, mixed by one 3x3; one conv a stage, as ResEnc."""

    def __init__(self, channels: list[int], classes: int, stem: int, deep_heads: int) -> None:
        super().__init__()
        self.stem = stem
        fine_first = list(zip(channels[1:], channels[:-1], strict=True))
        self.fusions = nn.ModuleList(Fusion(coarse, fine) for coarse, fine in reversed(fine_first))
        self.score = _doubling_score(channels[0], classes) if stem == 2 else ScoreHead(channels[0], classes)
        self.deep = nn.ModuleList(ScoreHead(channels[k + 1], classes) for k in range(deep_heads))
        he_initialise(self.fusions)

    def forward(self, features: tuple[Tensor, ...], size: tuple[int, int]) -> Tensor:
        return self.logits(self.maps(features), size)

    def maps(self, features: tuple[Tensor, ...]) -> list[Tensor]:
        """Decoded maps, finest first; the last are the coarsest stage's own."""
        found = [features[-1]]
        for fusion, skip in zip(self.fusions, reversed(features[:-1]), strict=True):
            found.append(fusion(found[-1], skip))
        return found[::-1]

    def logits(self, maps: list[Tensor], size: tuple[int, int]) -> Tensor:
        scores: Tensor = self.score(maps[0])
        return crop(scores, 0, size) if self.stem == 2 else scores


class Fusion(nn.Module):
    """Coarse maps doubled (transposed 3x3 stride 2, sample i onto 2i) beside the skip, mixed by a 3x3."""

    def __init__(self, coarse: int, fine: int) -> None:
        super().__init__()
        up = nn.ConvTranspose2d(coarse, fine, 3, 2, padding=1, output_padding=1, bias=False)
        self.up = nn.Sequential(up, nn.BatchNorm2d(fine), nn.LeakyReLU(LEAK))
        self.mix = nn.Sequential(*_conv_bn(2 * fine, fine), nn.LeakyReLU(LEAK))

    def forward(self, coarse: Tensor, skip: Tensor) -> Tensor:
        up = crop(self.up(coarse), 0, size_of(skip))
        return cast(Tensor, self.mix(torch.cat([up, skip], 1)))


def _doubling_score(channels: int, classes: int) -> nn.Module:
    score = nn.ConvTranspose2d(channels, classes, 3, 2, padding=1, output_padding=1)
    zero_head(score)
    return score


def _conv_bn(channels_in: int, channels: int, stride: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False)
    return [conv, nn.BatchNorm2d(channels)]
