"""CDNN-Alex: AlexNet encoder, upsampling decoder, joint liver and tumour (Elmenabawy et al.).

The paper's "8x" from stride 32 has several readings; `decoder` picks one.
Offsets follow from the sample places in `alexnet.py` (all exact for any image
of 64 pixels or more).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

from torch import Tensor, nn

from hepar.nets.alexnet import AlexEncoder, AlexVariant
from hepar.nets.encoder_decoder import EncoderDecoder, ScoreHead, build_seeded
from hepar.nets.upsampling import BilinearUpsampling, crop, size_of

AlexDecoder = Literal["fcn8s", "fcn32s", "dilated8", "literal8x"]
# Scores at fc7, upsampled by odd kernels, begin 18 pixels above and left of the image (also the public FCN's crop).
IMAGE_OFFSET = 18


@dataclass(frozen=True)
class CdnnAlex:
    """Settings of CDNN-Alex.

    variant: "bvlc", "caffenet" (grouped), "ungrouped" or "owt" (torchvision's).
    decoder: "fcn8s" (scores of fc7, pool2 and pool1 fused, the last step is 8x),
    "fcn32s" (one 32x), "dilated8" (encoder kept at stride 8, one 8x) or
    "literal8x" (8x from stride 32, then a fixed 4x resize).
    width scales all channels; 1 is the published size.
    """

    variant: AlexVariant = "bvlc"
    decoder: AlexDecoder = "fcn8s"
    learn_upsampling: bool = True
    width: float = 1.0
    classes: int = 3

    def build(self, seed: int = 0) -> EncoderDecoder:
        """The network with He-initialised encoder and zero heads: its first loss is ln(classes)."""
        return cast(EncoderDecoder, build_seeded(self._make, seed))

    def _make(self) -> EncoderDecoder:
        encoder = AlexEncoder(self.variant, self.width, dilated=self.decoder == "dilated8")
        make = {"fcn8s": Fcn8s, "fcn32s": Fcn32s, "dilated8": Dilated8, "literal8x": Literal8x}[self.decoder]
        return EncoderDecoder(encoder, make(encoder.out_channels, self.classes, self.learn_upsampling))


class Fcn8s(nn.Module):
    """fc7 scores 2x + pool2 scores, 2x + pool1 scores, 8x; crops 5, 10, 18 with kernels 3, 3, 15."""

    def __init__(self, channels: tuple[int, int, int], classes: int, learnable: bool) -> None:
        super().__init__()
        self.score_pool1, self.score_pool2, self.score_fc7 = (ScoreHead(c, classes) for c in channels)
        self.up_fc7 = BilinearUpsampling(classes, 2, learnable)
        self.up_pool2 = BilinearUpsampling(classes, 2, learnable)
        self.up_pool1 = BilinearUpsampling(classes, 8, learnable)

    def forward(self, features: tuple[Tensor, Tensor, Tensor], size: tuple[int, int]) -> Tensor:
        pool1, pool2, fc7 = features
        scores = self.up_fc7(self.score_fc7(fc7))
        scores = self.up_pool2(scores + crop(self.score_pool2(pool2), 5, size_of(scores)))
        scores = self.up_pool1(scores + crop(self.score_pool1(pool1), 10, size_of(scores)))
        return crop(scores, IMAGE_OFFSET, size)


class Fcn32s(nn.Module):
    """fc7 scores enlarged 32x at once: the public FCN-AlexNet."""

    def __init__(self, channels: tuple[int, int, int], classes: int, learnable: bool) -> None:
        super().__init__()
        self.score_fc7 = ScoreHead(channels[-1], classes)
        self.up = BilinearUpsampling(classes, 32, learnable)

    def forward(self, features: tuple[Tensor, Tensor, Tensor], size: tuple[int, int]) -> Tensor:
        return crop(self.up(self.score_fc7(features[-1])), IMAGE_OFFSET, size)


class Dilated8(nn.Module):
    """fc7 scores of the dilated encoder (stride 8) enlarged 8x at once."""

    def __init__(self, channels: tuple[int, int, int], classes: int, learnable: bool) -> None:
        super().__init__()
        self.score_fc7 = ScoreHead(channels[-1], classes)
        self.up = BilinearUpsampling(classes, 8, learnable)

    def forward(self, features: tuple[Tensor, Tensor, Tensor], size: tuple[int, int]) -> Tensor:
        return crop(self.up(self.score_fc7(features[-1])), IMAGE_OFFSET, size)


class Literal8x(nn.Module):
    """fc7 scores enlarged 8x as the paper says, then resized 4x by a fixed kernel to reach the image."""

    def __init__(self, channels: tuple[int, int, int], classes: int, learnable: bool) -> None:
        super().__init__()
        self.score_fc7 = ScoreHead(channels[-1], classes)
        self.up = BilinearUpsampling(classes, 8, learnable)
        self.resize = BilinearUpsampling(classes, 4, learnable=False)

    def forward(self, features: tuple[Tensor, Tensor, Tensor], size: tuple[int, int]) -> Tensor:
        return crop(self.resize(self.up(self.score_fc7(features[-1]))), IMAGE_OFFSET, size)
