"""DenseUNet-167: DenseNet-161 as the encoder of a U-Net for three neighbouring slices (Li et al. 2018).

On the way up maps are repeated, the encoder's are added (behind a 1x1
convolution at stride 16), and a 3x3 convolution follows. The authors' program
scales and shifts behind each normalisation, which does that already; that copy
is left out. Layer names follow torchvision's, so that its ImageNet weights fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hepar.errors import BadInput
from hepar.nets.encoder_decoder import EncoderDecoder, ScoreHead, build_seeded, he_initialise, scaled
from hepar.nets.residual_unet3d import he_initialise_3d

SLICES = 3
# A layer's 1x1 convolution gives so many times the channels that its 3x3 one adds.
BOTTLENECK = 4
LAST_MAPS = 64
# By the number of axes: 2 for slices, 3 for blocks.
CONVOLUTIONS: dict[int, Any] = {2: nn.Conv2d, 3: nn.Conv3d}
NORMS: dict[int, Any] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
POOLS: dict[int, Any] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}


@dataclass(frozen=True)
class DenseUnet:
    """Settings. It sees the slice and the two `step_mm` beside it.

    A dense block a number in `layers`, each layer adding `growth` channels to
    the `stem`'s. Raises BadInput for other than four blocks or three slices.
    """

    step_mm: float = 2.0
    stem: int = 96
    growth: int = 48
    layers: tuple[int, ...] = (6, 12, 36, 24)
    dropout: float = 0.3
    width: float = 1.0
    classes: int = 3
    slices: int = SLICES

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))  # JSON gives lists
        require_layers(self.layers)
        if self.slices != SLICES or not self.step_mm > 0:
            raise BadInput(f"{self.slices} slices {self.step_mm} mm apart; expected {SLICES}, and a step above 0 mm")

    def tiny(self) -> DenseUnet:
        """A network for phantoms."""
        return replace(self, layers=(1, 2, 2, 1), width=0.2, dropout=0.0)

    def build(self, seed: int = 0) -> DenseUnetNetwork:
        """The network with He-initialised weights and a zero head: its first loss is ln(classes)."""
        return cast(DenseUnetNetwork, build_seeded(lambda: DenseUnetNetwork(self), seed))


class DenseUnetNetwork(EncoderDecoder):
    """Float32 logits (batch, class, y, x) of the middle slice for grey values (batch, 1 or 3, y, x) in 0..255."""

    def __init__(self, settings: DenseUnet) -> None:
        stem, growth = scaled(settings.stem, settings.width), scaled(settings.growth, settings.width)
        encoder = DenseEncoder(SLICES, stem, growth, settings.layers)
        last = scaled(LAST_MAPS, settings.width)
        super().__init__(encoder, DenseDecoder(encoder.out_channels, last, settings.dropout, settings.classes))
        self.last = last

    def maps_and_scores(self, grey: Tensor) -> tuple[Tensor, Tensor]:
        """The last maps (batch, `last`, y, x), which the scores are made of, and the scores."""
        decoder = cast(DenseDecoder, self.decoder)
        maps = decoder.maps(self.encoder(self.grey(grey)), grey.shape[-2:])
        return maps, decoder.score(maps).float()


class DenseLayer(nn.Module):
    """The maps with `growth` more of their own: normalise, bend, mix, normalise, bend, look around."""

    def __init__(self, channels: int, growth: int, dims: int) -> None:
        super().__init__()
        self.norm1 = NORMS[dims](channels)
        self.conv1 = CONVOLUTIONS[dims](channels, BOTTLENECK * growth, 1, bias=False)
        self.norm2 = NORMS[dims](BOTTLENECK * growth)
        self.conv2 = CONVOLUTIONS[dims](BOTTLENECK * growth, growth, 3, padding=1, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        mixed = self.conv1(F.relu(self.norm1(maps)))
        return torch.cat([maps, self.conv2(F.relu(self.norm2(mixed)))], 1)


class Transition(nn.Module):
    """Half the channels, and half the size in plane: a mean of 2x2 pixels, of fewer at an odd end."""

    def __init__(self, channels: int, dims: int) -> None:
        super().__init__()
        self.norm = NORMS[dims](channels)
        self.conv = CONVOLUTIONS[dims](channels, channels // 2, 1, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        mixed = self.conv(F.relu(self.norm(maps)))
        if mixed.ndim == 4:
            return F.avg_pool2d(mixed, 2, ceil_mode=True)
        return F.avg_pool3d(mixed, (1, 2, 2), ceil_mode=True)


class DenseEncoder(nn.Module):
    """Image to maps at strides 2, 4, 8, 16 and 32, of `out_channels`; along z of a block 2, then 4 throughout."""

    download_name: ClassVar[str | None] = "densenet161-8d451a50.pth"
    caffe_names: ClassVar[dict[str, str] | None] = {}  # no such file is known

    def __init__(self, channels_in: int, stem: int, growth: int, layers: Sequence[int], dims: int = 2) -> None:
        super().__init__()
        self.conv0 = CONVOLUTIONS[dims](channels_in, stem, 7, 2, padding=3, bias=False)
        self.norm0 = NORMS[dims](stem)
        self.pool0 = POOLS[dims](3, 2, padding=1)
        channels, outs = stem, [stem]
        for number, count in enumerate(layers, start=1):
            block = nn.Sequential()
            for k in range(count):
                block.add_module(f"denselayer{k + 1}", DenseLayer(channels + k * growth, growth, dims))
            self.add_module(f"denseblock{number}", block)
            channels += count * growth
            outs.append(channels)
            if number < len(layers):
                self.add_module(f"transition{number}", Transition(channels, dims))
                channels //= 2
        self.norm5 = NORMS[dims](channels)
        self.out_channels = tuple(outs)
        self.blocks = len(layers)
        (he_initialise if dims == 2 else he_initialise_3d)(self)

    @property
    def torchvision_names(self) -> dict[str, str]:
        """Own layer names by those in torchvision's file, which writes norm.1 where we write norm1."""
        names = [key.rpartition(".")[0] for key in self.state_dict()]
        theirs = {name: name for name in names}
        for name in names:
            if "denselayer" in name:
                theirs[name] = f"{name[:-1]}.{name[-1]}"
        return {f"features.{theirs[name]}": name for name in names}

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        found = [F.relu(self.norm0(self.conv0(image)))]
        maps = self.pool0(found[0])
        for number in range(1, self.blocks + 1):
            maps = self.get_submodule(f"denseblock{number}")(maps)
            if number < self.blocks:
                found.append(maps)
                maps = self.get_submodule(f"transition{number}")(maps)
        return (*found, F.relu(self.norm5(maps)))


class DenseDecoder(nn.Module):
    """From the encoder's maps to `last` maps of the picture's size, and to class scores."""

    def __init__(self, channels: tuple[int, ...], last: int, dropout: float, classes: int) -> None:
        super().__init__()
        stem, c4, c8, c16, c32 = channels
        self.line = nn.Conv2d(c16, c32, 1)
        pairs = ((c32, c8), (c8, c4), (c4, stem), (stem, stem))
        self.ups = nn.ModuleList(settled(a, b, dims=2) for a, b in pairs)
        self.ups.append(settled(stem, last, dims=2, dropout=dropout))
        he_initialise(self)
        self.score = ScoreHead(last, classes)

    def maps(self, features: tuple[Tensor, ...], size: Sequence[int]) -> Tensor:
        """The last maps, (batch, `last`, y, x)."""
        *skips, maps = features
        skips[-1] = self.line(skips[-1])
        for up, skip in zip(self.ups, reversed(skips), strict=False):
            maps = up(doubled(maps, skip.shape[2:]) + skip)
        return cast(Tensor, self.ups[-1](doubled(maps, size)))

    def forward(self, features: tuple[Tensor, ...], size: tuple[int, int]) -> Tensor:
        return cast(Tensor, self.score(self.maps(features, size)))


def settled(channels_in: int, channels: int, dims: int, dropout: float = 0.0) -> nn.Sequential:
    """A convolution of 3 with a bias, dropout if any, normalisation, ReLU."""
    layers: list[nn.Module] = [CONVOLUTIONS[dims](channels_in, channels, 3, padding=1)]
    layers += [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(*layers, NORMS[dims](channels), nn.ReLU())


def doubled(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Every sample repeated along the axes that are to grow, and cut to `size`, at most twice the size it had."""
    for axis, wanted in enumerate(size, start=2):
        if wanted > maps.shape[axis]:
            maps = maps.repeat_interleave(2, dim=axis).narrow(axis, 0, wanted)
    return maps


def require_layers(layers: tuple[int, ...]) -> None:
    """Raises BadInput for other than four dense blocks of at least one layer."""
    if len(layers) != 4 or min(layers) < 1:
        raise BadInput(f"dense blocks of {layers} layers; expected four numbers above 0")
