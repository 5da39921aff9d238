"""The U-Net (Ronneberger, Fischer, Brox 2015), with padded convolutions so that a picture keeps its size.

Five levels of two 3x3 convolutions and ReLU, 2x2 max pooling down, 2x2
transposed convolutions up, each beside the maps of its own level. As published
it has no batch normalisation, and dropout at the end of the way down (the two
coarsest levels, as in the authors' public model); `batch_norm` is what most
later users add.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hepar.nets.encoder_decoder import EncoderDecoder, ScoreHead, build_seeded, he_initialise, scaled
from hepar.nets.grey_input import GreySpread
from hepar.nets.upsampling import crop, size_of

# Levels that end in dropout, counted from the coarsest.
DROPPED_LEVELS = 2


@dataclass(frozen=True)
class Unet:
    """Settings: `channels` of the finest of `levels`, doubled at each coarser one."""

    channels: int = 64
    levels: int = 5
    batch_norm: bool = False
    dropout: float = 0.5
    width: float = 1.0
    classes: int = 3

    def build(self, seed: int = 0) -> UnetNetwork:
        """The network with He-initialised weights and a zero head: its first loss is ln(classes)."""
        return cast(UnetNetwork, build_seeded(lambda: UnetNetwork(self), seed))


class UnetNetwork(EncoderDecoder):
    """Logits (batch, class, y, x) for grey values (batch, 1, y, x) in 0..255."""

    def __init__(self, settings: Unet) -> None:
        channels = [scaled(settings.channels * 2**level, settings.width) for level in range(settings.levels)]
        down = UnetDown(channels, settings.batch_norm, settings.dropout)
        super().__init__(down, UnetUp(channels, settings.batch_norm, settings.classes))
        self.grey = cast(nn.Module, GreySpread(mean=127.5, spread=127.5))  # type: ignore[assignment]

    def forward(self, grey: Tensor) -> Tensor:
        logits: Tensor = self.decoder(self.encoder(self.grey(grey[:, :1])))
        return logits.float()


class UnetDown(nn.Module):
    """Maps of each level, finest first; sizes that are no multiple of a level's stride are rounded up."""

    download_name = None
    caffe_names = None
    torchvision_names = None

    def __init__(self, channels: list[int], batch_norm: bool, dropout: float) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            double_conv(a, b, batch_norm) for a, b in zip([1, *channels[:-1]], channels, strict=True)
        )
        self.dropout = nn.Dropout(dropout)
        he_initialise(self)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        found: list[Tensor] = []
        for number, level in enumerate(self.levels, start=1):
            maps = level(F.max_pool2d(found[-1], 2, ceil_mode=True) if found else image)
            found.append(self.dropout(maps) if number > len(self.levels) - DROPPED_LEVELS else maps)
        return tuple(found)


class UnetUp(nn.Module):
    """From the coarsest maps up to scores of the picture's size."""

    def __init__(self, channels: list[int], batch_norm: bool, classes: int) -> None:
        super().__init__()
        pairs = list(zip(reversed(channels[1:]), reversed(channels[:-1]), strict=True))
        self.doublings = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, 2) for coarse, fine in pairs)
        self.levels = nn.ModuleList(double_conv(2 * fine, fine, batch_norm) for _, fine in pairs)
        he_initialise(self)
        self.score = ScoreHead(channels[0], classes)

    def forward(self, features: tuple[Tensor, ...]) -> Tensor:
        maps = features[-1]
        for doubling, level, skip in zip(self.doublings, self.levels, reversed(features[:-1]), strict=True):
            maps = level(torch.cat([skip, crop(doubling(maps), 0, size_of(skip))], 1))
        return cast(Tensor, self.score(maps))


def double_conv(channels_in: int, channels: int, batch_norm: bool) -> nn.Sequential:
    """Two 3x3 convolutions with biases, each followed by normalisation if asked for, and ReLU."""
    layers: list[nn.Module] = []
    for before in (channels_in, channels):
        layers.append(nn.Conv2d(before, channels, 3, padding=1))
        layers += [nn.BatchNorm2d(channels)] if batch_norm else []
        layers.append(nn.ReLU())
    return nn.Sequential(*layers)
