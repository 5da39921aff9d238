"""CDNN-ResNet18: ResNet18 encoder and a mirrored deconvolution decoder (Elmenabawy et al.).

The paper says only that the decoder has as many layers as the encoder. Here it
has 18 weighted ones: eight residual blocks of two, a 7x7 deconvolution and the
classifier; no skips (the paper mentions none).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from hepar.nets.encoder_decoder import EncoderDecoder, ScoreHead, build_seeded, he_initialise
from hepar.nets.resnet18 import BasicBlock, Resnet18Encoder
from hepar.nets.upsampling import crop, size_of


@dataclass(frozen=True)
class CdnnResnet18:
    """Settings of CDNN-ResNet18. `skips` adds the encoder's maps to the decoder's (LinkNet-like, an ablation)."""

    skips: bool = False
    width: float = 1.0
    classes: int = 3

    def build(self, seed: int = 0) -> EncoderDecoder:
        """The network with He-initialised weights and a zero head: its first loss is ln(classes)."""
        return cast(EncoderDecoder, build_seeded(self._make, seed))

    def _make(self) -> EncoderDecoder:
        encoder = Resnet18Encoder(self.width)
        return EncoderDecoder(encoder, MirroredDecoder(encoder.out_channels, self.classes, self.skips))


class UpBlock(nn.Module):
    """The mirror of a stride-2 BasicBlock: transposed 3x3 stride 2, transposed 3x3, shortcut transposed 1x1 stride 2.

    Output sample 2i lies on input sample i; the result has twice the samples.
    """

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.deconv1 = nn.ConvTranspose2d(channels_in, channels, 3, 2, padding=1, output_padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.deconv2 = nn.ConvTranspose2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.upsample = nn.Sequential(
            nn.ConvTranspose2d(channels_in, channels, 1, 2, output_padding=1, bias=False), nn.BatchNorm2d(channels)
        )

    def forward(self, maps: Tensor) -> Tensor:
        inner = F.relu(self.bn1(self.deconv1(maps)))
        return F.relu(self.upsample(maps) + self.bn2(self.deconv2(inner)))


class MirroredDecoder(nn.Module):
    """Maps at strides 2..32 -> logits of the image's size; each doubling is cropped to the encoder's map."""

    def __init__(self, channels: tuple[int, ...], classes: int, skips: bool) -> None:
        super().__init__()
        stem, c4, c8, c16, c32 = channels
        self.skips = skips
        self.block32 = BasicBlock(c32, c32)
        self.up16, self.block16 = UpBlock(c32, c16), BasicBlock(c16, c16)
        self.up8, self.block8 = UpBlock(c16, c8), BasicBlock(c8, c8)
        self.up4, self.block4 = UpBlock(c8, c4), BasicBlock(c4, c4)
        self.block_pooled = BasicBlock(c4, stem)
        self.unpool = nn.Upsample(scale_factor=2, mode="nearest")
        self.deconv = nn.ConvTranspose2d(stem, stem, 7, 2, padding=3, output_padding=1, bias=False)
        self.bn = nn.BatchNorm2d(stem)
        he_initialise(self)
        self.score = ScoreHead(stem, classes)

    def forward(self, features: tuple[Tensor, ...], size: tuple[int, int]) -> Tensor:
        stem, layer1, layer2, layer3, layer4 = features
        maps = self.block32(layer4)
        maps = self.block16(self._beside(self.up16(maps), layer3))
        maps = self.block8(self._beside(self.up8(maps), layer2))
        maps = self.block4(self._beside(self.up4(maps), layer1))
        maps = self._beside(self.unpool(self.block_pooled(maps)), stem)
        maps = crop(F.relu(self.bn(self.deconv(maps))), 0, size)
        return cast(Tensor, self.score(maps))

    def _beside(self, maps: Tensor, encoded: Tensor) -> Tensor:
        maps = crop(maps, 0, size_of(encoded))
        return maps + encoded if self.skips else maps
