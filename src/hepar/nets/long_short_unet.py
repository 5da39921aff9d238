"""A 2.5D U-Net with long skips that are joined and short ones that are added (Han 2017).

24 convolutions of 3x3, each but the last with batch normalisation and PReLU,
four poolings and four unpoolings. What enters a level is added before its last
PReLU, through a 1x1 convolution where channels change; not at the first level.
Unpooling repeats each sample, since the paper does not say how it unpools.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hepar.errors import BadInput
from hepar.nets.encoder_decoder import EncoderDecoder, build_seeded, he_initialise, scaled, zero_head
from hepar.nets.grey_input import GreySpread
from hepar.nets.upsampling import crop, full_precision, size_of

NEIGHBOURHOODS = (1, 3, 5, 7)


@dataclass(frozen=True)
class LongShortUnet:
    """Settings: `slices` channels `step_mm` apart, the middle one labelled. Raises BadInput.

    `channels` and the number of convolutions of each level, finest first; the
    way up has those of its level.
    """

    slices: int = 5
    step_mm: float = 2.5
    channels: tuple[int, ...] = (64, 128, 256, 512, 512)
    convolutions: tuple[int, ...] = (2, 2, 3, 3, 3)
    width: float = 1.0
    classes: int = 3

    def __post_init__(self) -> None:
        for name in ("channels", "convolutions"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # JSON gives lists
        if self.slices not in NEIGHBOURHOODS or not self.step_mm > 0:
            raise BadInput(f"{self.slices} slices {self.step_mm} mm apart; expected 1, 3, 5 or 7, and a step above 0")
        if len(self.channels) != len(self.convolutions) or len(self.channels) < 2 or min(self.convolutions) < 1:
            raise BadInput(
                f"{len(self.channels)} levels of channels and {len(self.convolutions)} of convolutions; expected as "
                "many of both, at least 2, each with a convolution"
            )

    def build(self, seed: int = 0) -> LongShortUnetNetwork:
        """The network with He-initialised weights and a zero head: all labels start alike."""
        return cast(LongShortUnetNetwork, build_seeded(lambda: LongShortUnetNetwork(self), seed))


class LongShortUnetNetwork(EncoderDecoder):
    """Logits (batch, class, y, x) of the middle slice for grey values (batch, slices, y, x) in 0..255.

    One channel stands for a slice without neighbours: it is repeated.
    """

    def __init__(self, settings: LongShortUnet) -> None:
        channels = [scaled(c, settings.width) for c in settings.channels]
        super().__init__(
            Down(settings.slices, channels, settings.convolutions),
            Up(channels, settings.convolutions, settings.classes),
        )
        # The window's ends become -2 and 2.
        spread = GreySpread(mean=127.5, spread=63.75, slices=settings.slices)
        self.grey = cast(nn.Module, spread)  # type: ignore[assignment]
        self.slices = settings.slices

    def forward(self, grey: Tensor) -> Tensor:
        if grey.shape[1] == 1:
            grey = grey.expand(-1, self.slices, -1, -1)
        return super().forward(grey)


class Down(nn.Module):
    """Maps of each level, finest first; sizes that are no multiple of a level's stride are rounded up."""

    download_name = None
    caffe_names = None
    torchvision_names = None

    def __init__(self, slices: int, channels: list[int], convolutions: tuple[int, ...]) -> None:
        super().__init__()
        self.levels = nn.ModuleList([Level(slices, channels[0], convolutions[0], short=False)])
        for before, c, count in zip(channels, channels[1:], convolutions[1:], strict=False):
            self.levels.append(Level(before, c, count))
        he_initialise(self)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        found = [self.levels[0](image)]
        for level in self.levels[1:]:
            found.append(level(F.max_pool2d(found[-1], 2, ceil_mode=True)))
        return tuple(found)


class Up(nn.Module):
    """From the coarsest maps to class scores of the picture's size."""

    def __init__(self, channels: list[int], convolutions: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList()
        coarse = channels[-1]
        for c, count in zip(reversed(channels[:-1]), reversed(convolutions[:-1]), strict=True):
            self.levels.append(Level(coarse + c, c, count))
            coarse = c
        self.score = nn.Conv2d(coarse, classes, 3, padding=1)
        he_initialise(self.levels)
        zero_head(self.score)

    def forward(self, features: tuple[Tensor, ...], size: tuple[int, int]) -> Tensor:
        maps = features[-1]
        for level, skip in zip(self.levels, reversed(features[:-1]), strict=True):
            doubled = crop(F.interpolate(maps, scale_factor=2, mode="nearest"), 0, size_of(skip))
            maps = level(torch.cat([doubled, skip], 1))
        with full_precision(maps):
            return crop(self.score(maps.float()), 0, size)


class Level(nn.Module):
    """`count` convolutions beside a short skip, if any."""

    def __init__(self, channels_in: int, channels: int, count: int, short: bool = True) -> None:
        super().__init__()
        before = [channels_in, *[channels] * (count - 1)]
        self.convolutions = nn.ModuleList(nn.Conv2d(c, channels, 3, padding=1) for c in before)
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for _ in before)
        self.bends = nn.ModuleList(nn.PReLU(channels) for _ in before)
        same = channels_in == channels
        self.short = (nn.Identity() if same else nn.Conv2d(channels_in, channels, 1)) if short else None

    def forward(self, maps: Tensor) -> Tensor:
        entered = maps
        layers = list(zip(self.convolutions, self.norms, self.bends, strict=True))
        for convolve, norm, bend in layers[:-1]:
            maps = bend(norm(convolve(maps)))
        convolve, norm, bend = layers[-1]
        maps = norm(convolve(maps))
        return cast(Tensor, bend(maps if self.short is None else maps + self.short(entered)))
