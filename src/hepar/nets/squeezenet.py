"""SqueezeNet v1.1 (Iandola et al. 2016) without its classifier, with torchvision's state-dict keys.

conv1 and the pools are padded by 1 (the original pads neither), so that sample
i of a map at stride s lies on pixel s*i; the weights are the same.
"""

from __future__ import annotations

from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hepar.nets.encoder_decoder import he_initialise, scaled

# Place of each fire module in torchvision's `features`.
FIRE_PLACES = {2: 3, 3: 4, 4: 6, 5: 7, 6: 9, 7: 10, 8: 11, 9: 12}
FIRE_PARTS = {"squeeze1x1": "squeeze", "expand1x1": "expand1x1", "expand3x3": "expand3x3"}


class Fire(nn.Module):
    """1x1 squeeze, then 1x1 and 3x3 expansions side by side; half the output channels each."""

    def __init__(self, channels_in: int, squeeze: int, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels_in, squeeze, 1)
        self.expand1x1 = nn.Conv2d(squeeze, channels // 2, 1)
        self.expand3x3 = nn.Conv2d(squeeze, channels // 2, 3, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        squeezed = F.relu(self.squeeze(maps))
        return torch.cat([F.relu(self.expand1x1(squeezed)), F.relu(self.expand3x3(squeezed))], 1)


class SqueezeEncoder(nn.Module):
    """Image (batch, 3, y, x) -> maps at strides 2, 4, 8, 16 with 64, 128, 256, 512 channels."""

    download_name: ClassVar[str | None] = "squeezenet1_1-b8a52dc0.pth"
    torchvision_names: ClassVar[dict[str, str] | None] = None  # the same
    caffe_names: ClassVar[dict[str, str] | None] = {
        "conv1": "features.0",
        **{
            f"fire{fire}_{part}": f"features.{place}.{own}"
            for fire, place in FIRE_PLACES.items()
            for part, own in FIRE_PARTS.items()
        },
    }

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        c2, c4, c8, c12, c16 = (scaled(channels, width) for channels in (64, 128, 256, 384, 512))
        s16, s32, s48, s64 = (scaled(channels, width) for channels in (16, 32, 48, 64))
        self.features = nn.Sequential(
            nn.Conv2d(3, c2, 3, 2, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, padding=1),
            Fire(c2, s16, c4),
            Fire(c4, s16, c4),
            nn.MaxPool2d(3, 2, padding=1),
            Fire(c4, s32, c8),
            Fire(c8, s32, c8),
            nn.MaxPool2d(3, 2, padding=1),
            Fire(c8, s48, c12),
            Fire(c12, s48, c12),
            Fire(c12, s64, c16),
            Fire(c16, s64, c16),
        )
        self.out_channels = (c2, c4, c8, c16)
        he_initialise(self)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        stride2 = self.features[:2](image)
        stride4 = self.features[2:5](stride2)
        stride8 = self.features[5:8](stride4)
        return stride2, stride4, stride8, cast(Tensor, self.features[8:](stride8))
