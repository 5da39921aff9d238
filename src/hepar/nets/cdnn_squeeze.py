"""CDNN-Squeeze: SqueezeNet v1.1 encoder with CDNN-Alex's decoder or a light U-Net decoder.

"fcn" is CDNN-Alex's fcn8s on another encoder: zero-initialised scores at
strides 16, 8 and 4, fused by bilinear-initialised upsampling. "unet"
(Ronneberger et al. 2015) fuses features instead of scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn

from hepar.errors import BadInput
from hepar.nets.encoder_decoder import EncoderDecoder, ScoreHead, build_seeded, he_initialise, scaled, zero_head
from hepar.nets.squeezenet import SqueezeEncoder
from hepar.nets.upsampling import BilinearUpsampling, crop, size_of

# With ReLU the first steps of the zero-initialised head switched 97 % of the last features off inside the liver:
# no gradient was left to tell tumour from liver (measured after six epochs on LiTS slices).
LEAK = 0.1
Features = tuple[Tensor, Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class CdnnSqueeze:
    """Settings of CDNN-Squeeze; `learn_upsampling` concerns the "fcn" decoder only ("unet" always learns).

    `slices` is 1, repeated over the encoder's three channels, or 3: the slices
    `step_mm` below, of and above the labelled one take their places, and the
    colour filters of ImageNet become differences between slices. Raises BadInput.
    """

    decoder: Literal["unet", "fcn"] = "unet"
    learn_upsampling: bool = True
    width: float = 1.0
    classes: int = 3
    slices: int = 1
    step_mm: float = 2.5

    def __post_init__(self) -> None:
        if self.slices not in (1, 3) or not self.step_mm > 0:
            raise BadInput(f"{self.slices} slices, {self.step_mm} mm apart; expected 1 or 3, and a step above 0 mm")

    def build(self, seed: int = 0) -> EncoderDecoder:
        """The network with He-initialised weights and zero heads: its first loss is ln(classes)."""
        return cast(EncoderDecoder, build_seeded(self._make, seed))

    def _make(self) -> EncoderDecoder:
        encoder = SqueezeEncoder(self.width)
        decoder: nn.Module = LightUnet(encoder.out_channels, self.classes, self.width)
        if self.decoder == "fcn":
            decoder = FusedScores(encoder.out_channels, self.classes, self.learn_upsampling)
        network = EncoderDecoder(encoder, decoder)
        network.grey.slices = self.slices
        return network


class FusedScores(nn.Module):
    """Scores at stride 16 2x + stride 8, 2x + stride 4, 4x; all maps share pixel 0, so crops drop factor - 1."""

    def __init__(self, channels: tuple[int, int, int, int], classes: int, learnable: bool) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.5)  # before the classifier, as in SqueezeNet
        self.score4, self.score8, self.score16 = (ScoreHead(c, classes) for c in channels[1:])
        self.up16 = BilinearUpsampling(classes, 2, learnable)
        self.up8 = BilinearUpsampling(classes, 2, learnable)
        self.up4 = BilinearUpsampling(classes, 4, learnable)

    def forward(self, features: Features, size: tuple[int, int]) -> Tensor:
        _, stride4, stride8, stride16 = features
        at8, at4 = self.score8(stride8), self.score4(stride4)
        at8 = at8 + crop(self.up16(self.score16(self.dropout(stride16))), 1, size_of(at8))
        at4 = at4 + crop(self.up8(at8), 1, size_of(at4))
        return crop(self.up4(at4), 3, size)


class LightUnet(nn.Module):
    """Context at stride 16, then three fusions with narrowed encoder maps, logits from stride 2.

    Most weights sit at the coarse strides where they cost little. Two dilated
    convolutions widen the view to about the size of a liver before decoding.
    """

    def __init__(self, channels: tuple[int, int, int, int], classes: int, width: float) -> None:
        super().__init__()
        d16, d8, d4, d2 = (scaled(c, width) for c in (128, 96, 48, 32))
        self.context = nn.Sequential(
            *_conv_bn_leaky(channels[3], d16, 1), *_conv_bn_leaky(d16, d16, 3, 2), *_conv_bn_leaky(d16, d16, 3, 4)
        )
        self.fuse8 = Fusion(d16, channels[2], scaled(64, width), d8)
        self.fuse4 = Fusion(d8, channels[1], scaled(32, width), d4)
        self.fuse2 = Fusion(d4, channels[0], scaled(16, width), d2)
        self.score = nn.ConvTranspose2d(d2, classes, 3, 2, padding=1, output_padding=1)
        he_initialise(self)
        zero_head(self.score)

    def forward(self, features: Features, size: tuple[int, int]) -> Tensor:
        stride2, stride4, stride8, stride16 = features
        maps = self.fuse8(self.context(stride16), stride8)
        maps = self.fuse2(self.fuse4(maps, stride4), stride2)
        return crop(self.score(maps), 0, size)


class Fusion(nn.Module):
    """Coarse maps doubled (transposed 3x3 stride 2, sample i onto 2i) beside a narrowed skip, mixed by a 3x3."""

    def __init__(self, coarse: int, skip: int, narrowed: int, channels: int) -> None:
        super().__init__()
        self.up = nn.Sequential(
            nn.ConvTranspose2d(coarse, channels, 3, 2, padding=1, output_padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.LeakyReLU(LEAK),
        )
        self.narrow = nn.Sequential(*_conv_bn_leaky(skip, narrowed, 1))
        self.mix = nn.Sequential(*_conv_bn_leaky(channels + narrowed, channels, 3))

    def forward(self, coarse: Tensor, skip: Tensor) -> Tensor:
        up = crop(self.up(coarse), 0, size_of(skip))
        return cast(Tensor, self.mix(torch.cat([up, self.narrow(skip)], 1)))


def _conv_bn_leaky(channels_in: int, channels: int, kernel: int, dilation: int = 1) -> list[nn.Module]:
    padding = dilation * (kernel // 2)
    conv = nn.Conv2d(channels_in, channels, kernel, padding=padding, dilation=dilation, bias=False)
    return [conv, nn.BatchNorm2d(channels), nn.LeakyReLU(LEAK)]
