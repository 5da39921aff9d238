"""Two small residual FCNs in a row, trained as one (Vorontsov et al. 2017): liver, then tumour.

The second sees the slice and the first's 32 maps before its classifier. Layers
follow the authors' public program (veugene/lits and fcn_maker): pre-activation
residual blocks, max pooling in the two outermost, long skips that are summed.
Biases everywhere, as Keras gives them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hepar.nets.encoder_decoder import EncoderDecoder, build_seeded, he_initialise, scaled
from hepar.nets.grey_input import GreySpread
from hepar.nets.two_answers import encoded
from hepar.nets.upsampling import crop, full_precision, size_of

INIT_BLOCKS, MAIN_BLOCKS = 2, 3


@dataclass(frozen=True)
class JoinedFcn:
    """Settings of the two joined FCNs; `channels` of the outer blocks, doubled at each inner one."""

    channels: int = 32
    dropout: float = 0.05
    width: float = 1.0
    classes: int = 3

    def build(self, seed: int = 0) -> JoinedFcnNetwork:
        """The network with He-initialised weights, heads included."""
        return cast(JoinedFcnNetwork, build_seeded(lambda: JoinedFcnNetwork(self), seed))


class JoinedFcnNetwork(EncoderDecoder):
    """Logits (batch, 3, y, x) for grey values (batch, 1, y, x) in 0..255 of a window of +-510 HU.

    The first FCN is `encoder`, the second with both heads `decoder`.
    """

    def __init__(self, settings: JoinedFcn) -> None:
        channels = scaled(settings.channels, settings.width)
        first = ResidualFcn(1, channels, settings.dropout)
        super().__init__(first, SecondFcn(channels, settings.dropout))
        # Full scale is +-2, HU / 255 as in the program.
        self.grey = cast(nn.Module, GreySpread(mean=127.5, spread=63.75))  # type: ignore[assignment]
        he_initialise(self)

    def forward(self, grey: Tensor) -> Tensor:
        image = self.grey(grey[:, :1])
        liver, tumour = self.decoder(image, self.encoder(image))
        return encoded(liver.float(), tumour.float())


class SecondFcn(nn.Module):
    """Scores (batch, y, x) of liver, from the first FCN's maps alone, and of tumour."""

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        self.body = ResidualFcn(1 + channels, channels, dropout)
        self.liver = nn.Conv2d(channels, 1, 1)
        self.tumour = nn.Conv2d(channels, 1, 1)

    def forward(self, image: Tensor, maps: Tensor) -> tuple[Tensor, Tensor]:
        second = self.body(torch.cat([image, maps], dim=1))
        with full_precision(maps):
            return self.liver(maps.float())[:, 0], self.tumour(second.float())[:, 0]


class ResidualFcn(nn.Module):
    """Image (batch, channels_in, y, x) to `channels` maps of its size, by way of stride 64."""

    download_name = None
    caffe_names = None
    torchvision_names = None

    def __init__(self, channels_in: int, channels: int, dropout: float) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels_in, channels, 3, padding=1)
        wide = [channels * 2**level for level in range(MAIN_BLOCKS)]
        downs: list[nn.Module] = [PooledBlock(channels, dropout) for _ in range(INIT_BLOCKS)]
        downs += [BasicBlock(a, b, dropout, down=True) for a, b in zip([channels, *wide], wide, strict=False)]
        self.downs = nn.ModuleList(downs)
        self.across = BasicBlock(wide[-1], wide[-1], dropout, down=True, up=True)
        ups: list[nn.Module] = [BasicBlock(c, c, dropout, up=True) for c in reversed(wide)]
        ups += [UnpooledBlock(channels, dropout) for _ in range(INIT_BLOCKS)]
        self.ups = nn.ModuleList(ups)
        # From the coarser block's channels to those of the long skip's end.
        coarse = [wide[-1], *reversed(wide)]
        self.narrows = nn.ModuleList(
            nn.Conv2d(a, b, 1) if a != b else nn.Identity() for a, b in zip(coarse, reversed(wide), strict=False)
        )
        self.last = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU())

    def forward(self, image: Tensor) -> Tensor:
        passed = [self.stem(image)]
        for down in self.downs:
            passed.append(down(passed[-1]))
        maps = self.across(passed[-1])
        for number, up in enumerate(self.ups):
            if number < len(self.narrows):
                maps = self.narrows[number](maps)
            maps = up(_summed(maps, passed.pop()))
        return cast(Tensor, self.last(_summed(maps, passed.pop())))


class BasicBlock(nn.Module):
    """BN, ReLU, 3x3 twice with dropout between; `down` strides the first, `up` doubles before the second."""

    def __init__(self, channels_in: int, channels: int, dropout: float, down: bool = False, up: bool = False) -> None:
        super().__init__()
        self.down, self.up = down, up
        self.bn1, self.bn2 = nn.BatchNorm2d(channels_in), nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels_in, channels, 3, 2 if down else 1, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.dropout = nn.Dropout(dropout)
        same = channels_in == channels
        self.match: nn.Module = nn.Identity() if same else nn.Conv2d(channels_in, channels, 1)

    def forward(self, maps: Tensor) -> Tensor:
        inner = F.relu(self.bn2(self.dropout(self.conv1(F.relu(self.bn1(maps))))))
        inner = self.conv2(_doubled(inner) if self.up else inner)
        return _summed(inner, _shortcut(self.match, maps, self.down, self.up))


class PooledBlock(nn.Module):
    """BN, ReLU, max pooling, 3x3, dropout beside every second sample of the input."""

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        self.bn, self.conv = nn.BatchNorm2d(channels), nn.Conv2d(channels, channels, 3, padding=1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, maps: Tensor) -> Tensor:
        inner = F.max_pool2d(F.relu(self.bn(maps)), 2, ceil_mode=True)
        return cast(Tensor, self.dropout(self.conv(inner)) + maps[:, :, ::2, ::2])


class UnpooledBlock(PooledBlock):
    """BN, ReLU, 3x3, dropout, and each sample repeated twice along y and x, beside the repeated input."""

    def forward(self, maps: Tensor) -> Tensor:
        return _doubled(self.dropout(self.conv(F.relu(self.bn(maps)))) + maps)


def _shortcut(match: Callable[[Tensor], Tensor], maps: Tensor, down: bool, up: bool) -> Tensor:
    maps = maps[:, :, ::2, ::2] if down else maps
    return match(_doubled(maps) if up else maps)


def _doubled(maps: Tensor) -> Tensor:
    return F.interpolate(maps, scale_factor=2, mode="nearest")


def _summed(maps: Tensor, skip: Tensor) -> Tensor:
    """The sum; what was doubled may have a row or column too many."""
    return crop(maps, 0, size_of(skip)) + skip
