"""Does a tile of a liver show tumour? ResNet-50, the mean of its last maps, one score (Bellver et al. 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn

from hepar.nets.encoder_decoder import EncoderDecoder, build_seeded
from hepar.nets.resnet50 import Resnet50Encoder
from hepar.nets.upsampling import full_precision


@dataclass(frozen=True)
class TileDetector:
    """Settings of the detector."""

    width: float = 1.0

    def build(self, seed: int = 0) -> TileDetectorNetwork:
        """The network with a He-initialised encoder and a Xavier-initialised score."""
        return cast(TileDetectorNetwork, build_seeded(lambda: TileDetectorNetwork(self), seed))


class TileDetectorNetwork(EncoderDecoder):
    """Scores (batch, 1), above 0 for tumour, of tiles (batch, 1, y, x) of grey values in 0..255."""

    def __init__(self, settings: TileDetector) -> None:
        encoder = Resnet50Encoder(settings.width)
        super().__init__(encoder, nn.Linear(encoder.out_channels[-1], 1))
        nn.init.xavier_uniform_(self.decoder.weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.decoder.bias)  # type: ignore[arg-type]

    def forward(self, grey: Tensor) -> Tensor:
        maps: Tensor = self.encoder(self.grey(grey))[-1]
        with full_precision(maps):
            return cast(Tensor, self.decoder(maps.float().mean(dim=(2, 3))))
