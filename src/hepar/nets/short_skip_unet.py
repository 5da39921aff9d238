"""A U-Net of four levels with a short skip around each (Chlebus et al. 2018): one answer, liver or tumour.

Long skips join the two sides of the U, short ones add what enters a level to
what leaves it, through a 1x1 convolution since channels change. 3x3
convolutions with batch normalisation and ReLU, doubled by 2x2 transposed
convolutions, dropout before each convolution of the way up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hepar.errors import BadInput
from hepar.nets.encoder_decoder import EncoderDecoder, ScoreHead, build_seeded, he_initialise, scaled
from hepar.nets.grey_input import GreySpread
from hepar.nets.two_answers import only
from hepar.nets.upsampling import crop, size_of
from hepar.volume import LIVER, TUMOUR


@dataclass(frozen=True)
class ShortSkipUnet:
    """Settings: `channels` of the finest of `levels`, doubled at each coarser one. Raises BadInput for another answer.

    `answer` is the label that the network's one score is about; the other label is never given.
    """

    answer: Literal["liver", "tumour"] = "tumour"
    channels: int = 64
    levels: int = 4
    dropout: float = 0.5
    width: float = 1.0

    def __post_init__(self) -> None:
        if self.answer not in ("liver", "tumour"):
            raise BadInput(f"answer is {self.answer!r}; expected liver or tumour")

    def build(self, seed: int = 0) -> ShortSkipUnetNetwork:
        """The network with He-initialised weights and a zero head: each pixel starts at one half."""
        return cast(ShortSkipUnetNetwork, build_seeded(lambda: ShortSkipUnetNetwork(self), seed))


class ShortSkipUnetNetwork(EncoderDecoder):
    """Logits (batch, 3, y, x) for grey values (batch, 1, y, x) in 0..255, of which two labels differ from "never"."""

    def __init__(self, settings: ShortSkipUnet) -> None:
        channels = [scaled(settings.channels * 2**level, settings.width) for level in range(settings.levels)]
        super().__init__(Down(channels), Up(channels, settings.dropout))
        self.grey = cast(nn.Module, GreySpread(mean=0.0, spread=255.0))  # type: ignore[assignment]
        self.label = LIVER if settings.answer == "liver" else TUMOUR

    def forward(self, grey: Tensor) -> Tensor:
        score = self.decoder(self.encoder(self.grey(grey[:, :1])))
        return only(score[:, 0].float(), self.label)


class Down(nn.Module):
    """Maps of each level, finest first; sizes that are no multiple of a level's stride are rounded up."""

    download_name = None
    caffe_names = None
    torchvision_names = None

    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        before = [1, *channels[:-1]]
        self.levels = nn.ModuleList(Level(a, b) for a, b in zip(before, channels, strict=True))
        he_initialise(self)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        found = [self.levels[0](image)]
        for level in self.levels[1:]:
            found.append(level(F.max_pool2d(found[-1], 2, ceil_mode=True)))
        return tuple(found)


class Up(nn.Module):
    """From the coarsest maps up to one score (batch, 1, y, x)."""

    def __init__(self, channels: list[int], dropout: float) -> None:
        super().__init__()
        pairs = list(zip(reversed(channels[1:]), reversed(channels[:-1]), strict=True))
        self.doublings = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, 2) for coarse, fine in pairs)
        self.levels = nn.ModuleList(Level(2 * fine, fine, dropout) for _, fine in pairs)
        he_initialise(self)
        self.score = ScoreHead(channels[0], 1)

    def forward(self, features: tuple[Tensor, ...]) -> Tensor:
        maps = features[-1]
        for doubling, level, skip in zip(self.doublings, self.levels, reversed(features[:-1]), strict=True):
            maps = level(torch.cat([crop(doubling(maps), 0, size_of(skip)), skip], 1))
        return cast(Tensor, self.score(maps))


class Level(nn.Module):
    """Two 3x3 convolutions, each after dropout if there is any, beside a short skip."""

    def __init__(self, channels_in: int, channels: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.first = nn.Sequential(*_conv_bn(channels_in, channels, dropout), nn.ReLU())
        self.second = nn.Sequential(*_conv_bn(channels, channels, dropout))
        self.short = nn.Conv2d(channels_in, channels, 1)

    def forward(self, maps: Tensor) -> Tensor:
        return F.relu(self.second(self.first(maps)) + self.short(maps))


def _conv_bn(channels_in: int, channels: int, dropout: float) -> list[nn.Module]:
    before: list[nn.Module] = [nn.Dropout(dropout)] if dropout else []
    return [*before, nn.Conv2d(channels_in, channels, 3, padding=1), nn.BatchNorm2d(channels)]
