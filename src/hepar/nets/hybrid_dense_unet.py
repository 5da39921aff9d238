"""H-DenseUNet (Li et al. 2018): a 2D DenseUNet, a light 3D one that sees its scores, and maps of both added.

Every slice of a block goes through the 2D network beside its neighbours (at
both ends a slice stands in for the missing one). The 3D network, DenseNet-65,
sees grey values and the 2D scores; halves z twice; and has no skips, as in the
authors' program. Its last maps and the 2D ones are added, and a convolution
and the scores follow (hybrid feature fusion). The 2D part keeps its own
normalisation's statistics here, since a block's slices are not a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hepar.errors import BadInput
from hepar.nets.dense_unet import DenseEncoder, DenseUnet, DenseUnetNetwork, doubled, require_layers, settled
from hepar.nets.encoder_decoder import build_seeded, scaled
from hepar.nets.residual_unet3d import ScoreHead3d, he_initialise_3d

# Strides of the coarsest maps along z, y and x.
STRIDES = (4, 32, 32)
GREY_MIDDLE = 127.5


@dataclass(frozen=True)
class HybridDenseUnet:
    """Settings: blocks of `side` voxels (z, y, x) in stacks of `slice_mm`, the 2D part `flat`, the 3D part's numbers.

    `frozen`: the 2D part's weights stay what they are while training. Raises BadInput.
    """

    side: int | tuple[int, int, int] = (8, 224, 224)
    slice_mm: float = 2.0
    flat: DenseUnet = field(default_factory=DenseUnet)
    growth: int = 32
    layers: tuple[int, ...] = (3, 4, 12, 8)
    dropout: float = 0.3
    frozen: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))  # JSON gives lists, and dicts for dataclasses
        if isinstance(self.flat, dict):
            object.__setattr__(self, "flat", DenseUnet(**self.flat))
        if not isinstance(self.side, int):
            object.__setattr__(self, "side", tuple(self.side))
        require_layers(self.layers)
        sides = (self.side,) * 3 if isinstance(self.side, int) else self.side
        if len(sides) != 3 or any(n < m or n % m for n, m in zip(sides, STRIDES, strict=True)) or not self.slice_mm > 0:
            raise BadInput(
                f"blocks of {self.side} voxels, slices of {self.slice_mm} mm; expected multiples of {STRIDES}, and a "
                "spacing above 0 mm"
            )

    def tiny(self) -> HybridDenseUnet:
        """A network for phantoms."""
        return replace(self, side=(8, 32, 32), slice_mm=19.0, flat=self.flat.tiny(), layers=(1, 1, 1, 1), dropout=0.0)

    def build(self, seed: int = 0) -> HybridDenseUnetNetwork:
        """The network with He-initialised weights and zero heads: its first loss is ln(classes)."""
        return cast(HybridDenseUnetNetwork, build_seeded(lambda: HybridDenseUnetNetwork(self), seed))


class HybridDenseUnetNetwork(nn.Module):
    """Float32 logits (batch, class, z, y, x) for grey values (batch, 1, z, y, x) in 0..255."""

    def __init__(self, settings: HybridDenseUnet) -> None:
        super().__init__()
        flat = settings.flat
        self.flat = DenseUnetNetwork(flat)
        self.flat.requires_grad_(not settings.frozen)
        self.frozen = settings.frozen
        stem, growth = scaled(flat.stem, flat.width), scaled(settings.growth, flat.width)
        self.deep = DenseEncoder(1 + flat.classes, stem, growth, settings.layers, dims=3)
        first, c4, c8, _, c32 = self.deep.out_channels
        entering, leaving = (c32, c32, c8, c4, first), (c32, c8, c4, first, self.flat.last)
        self.ups = nn.ModuleList(settled(a, b, dims=3) for a, b in zip(entering, leaving, strict=True))
        self.fusion = settled(self.flat.last, self.flat.last, dims=3, dropout=settings.dropout)
        for part in (self.ups, self.fusion):
            he_initialise_3d(part)
        self.score = ScoreHead3d(self.flat.last, flat.classes)

    def train(self, mode: bool = True) -> HybridDenseUnetNetwork:
        super().train(mode)
        self.flat.eval()
        return self

    def forward(self, grey: Tensor) -> Tensor:
        return self.supervised(grey)[1]

    def supervised(self, grey: Tensor) -> dict[int, Tensor]:
        """Logits of the block: 1 the joint ones, 2 those of the 2D part alone, of the same size. For training only."""
        with self._watching():
            maps, scores = stacked(self.flat, grey)
        around = self._volumetric(torch.cat([grey / GREY_MIDDLE - 1, scores], 1))
        return {1: self.score(self.fusion(around + maps)).float(), 2: scores}

    def _watching(self) -> AbstractContextManager[object]:
        # Nothing learns in a frozen part, so nothing of it need be remembered.
        return torch.no_grad() if self.frozen else nullcontext()

    def _volumetric(self, image: Tensor) -> Tensor:
        *finer, maps = self.deep(image)
        sizes: list[Sequence[int]] = [*(found.shape[2:] for found in reversed(finer)), image.shape[2:]]
        for up, size in zip(self.ups, sizes, strict=True):
            maps = up(doubled(maps, size))
        return cast(Tensor, maps)


def stacked(flat: DenseUnetNetwork, grey: Tensor) -> tuple[Tensor, Tensor]:
    """The 2D network's last maps and scores for each slice of blocks (batch, 1, z, y, x), as blocks again."""
    batch, _, z, y, x = grey.shape
    around = F.pad(grey, (0, 0, 0, 0, 1, 1), mode="replicate")[:, 0]
    triples = torch.stack([around[:, k : k + z] for k in range(3)], 2).reshape(batch * z, 3, y, x)
    maps, scores = (found.reshape(batch, z, -1, y, x).transpose(1, 2) for found in flat.maps_and_scores(triples))
    return maps, scores
