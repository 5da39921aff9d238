"""A deep residual FCN of output stride 8, whose answer is the mean over several picture sizes (after Bi et al. 2017).

`beside` adds a second channel, the probability of liver that an earlier network
found: it takes the place of the last of ImageNet's three colours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hepar.errors import BadInput
from hepar.nets.encoder_decoder import EncoderDecoder, ScoreHead, build_seeded
from hepar.nets.grey_input import GreyInput
from hepar.nets.resnet50 import BLOCKS, Resnet50Encoder
from hepar.nets.upsampling import BilinearUpsampling, crop

STRIDE = 8
# Keeps the logarithm finite; far below any probability that decides.
LEAST = 1e-12


@dataclass(frozen=True)
class DilatedFcn:
    """Settings: `blocks` of the residual network, `scales` of the picture at test. Raises BadInput without a scale.

    In training the picture is seen once, as it is.
    """

    blocks: tuple[int, ...] = BLOCKS
    beside: bool = False
    scales: tuple[float, ...] = (0.75, 1.0, 1.25)
    width: float = 1.0
    classes: int = 3

    def __post_init__(self) -> None:
        for name in ("blocks", "scales"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # JSON gives lists
        if len(self.blocks) != 4 or not self.scales or min(self.scales) <= 0:
            raise BadInput(f"blocks are {self.blocks}, scales {self.scales}; expected four stages and scales above 0")

    def build(self, seed: int = 0) -> DilatedFcnNetwork:
        """The network with He-initialised weights and a zero head: its first loss is ln(classes)."""
        return cast(DilatedFcnNetwork, build_seeded(lambda: DilatedFcnNetwork(self), seed))


class DilatedFcnNetwork(EncoderDecoder):
    """Logits (batch, class, y, x) for grey values (batch, 1, y, x), or 2 channels where `beside` is set, in 0..255.

    In evaluation mode they are logarithms of the mean probability over the scales.
    """

    def __init__(self, settings: DilatedFcn) -> None:
        encoder = Resnet50Encoder(settings.width, dilated=True, blocks=settings.blocks)
        super().__init__(encoder, ScoresByEight(encoder.out_channels[-1], settings.classes))
        if settings.beside:
            self.grey = GreyBeside()
        self.scales = settings.scales

    def forward(self, grey: Tensor) -> Tensor:
        if self.training or self.scales == (1.0,):
            return super().forward(grey)
        shares = [torch.softmax(self._seen_at(grey, scale), 1) for scale in self.scales]
        return torch.stack(shares).mean(0).clamp(min=LEAST).log()

    def _seen_at(self, grey: Tensor, scale: float) -> Tensor:
        """Logits of the picture's own size for the picture enlarged by `scale`."""
        if scale == 1:
            return super().forward(grey)
        size = (grey.shape[-2], grey.shape[-1])
        there = resized(grey, (max(1, round(scale * size[0])), max(1, round(scale * size[1]))))
        return resized(super().forward(there), size)


class GreyBeside(GreyInput):
    """(batch, 2, y, x), a picture and a probability, to three colours: the picture twice, then the probability."""

    slices = 2

    def forward(self, grey: Tensor) -> Tensor:
        return super().forward(torch.cat([grey[:, :1], grey[:, :1], grey[:, 1:2]], dim=1))


class ScoresByEight(nn.Module):
    """Scores of the last maps, at stride 8, bilinearly between samples; the last sample is repeated beyond itself."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.score = ScoreHead(channels, classes)
        self.up = BilinearUpsampling(classes, STRIDE, learnable=False)

    def forward(self, features: tuple[Tensor, ...], size: Sequence[int]) -> Tensor:
        scores = F.pad(self.score(features[-1]), (0, 1, 0, 1), mode="replicate")
        # Sample i of the maps lies on pixel 8i, and on 8i + 7 of what is enlarged.
        return crop(self.up(scores), STRIDE - 1, (size[0], size[1]))


def resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Linear interpolation to `size` (y, x); pixel centres stand at half pixels."""
    return F.interpolate(maps.float(), size=size, mode="bilinear", align_corners=False)
