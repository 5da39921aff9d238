"""ResNet18 (He et al. 2016, v1) without its classifier, with torchvision's state-dict keys.

Every stride-2 layer is centred on even samples: sample i of a map at stride s
lies on pixel s*i, and a map has ceil(n / s) samples.
"""

from __future__ import annotations

from typing import ClassVar, cast

from torch import Tensor, nn
from torch.nn import functional as F

from hepar.nets.encoder_decoder import he_initialise, scaled


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside an identity or 1x1 shortcut."""

    def __init__(self, channels_in: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample: nn.Module | None = None
        if stride != 1 or channels_in != channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, maps: Tensor) -> Tensor:
        shortcut = maps if self.downsample is None else self.downsample(maps)
        inner = F.relu(self.bn1(self.conv1(maps)))
        return F.relu(shortcut + self.bn2(self.conv2(inner)))


class Resnet18Encoder(nn.Module):
    """Image (batch, 3, y, x) -> maps at strides 2, 4, 8, 16, 32 with 64, 64, 128, 256, 512 channels."""

    download_name: ClassVar[str | None] = "resnet18-f37072fd.pth"
    caffe_names: ClassVar[dict[str, str] | None] = {}  # no such file is known
    torchvision_names: ClassVar[dict[str, str] | None] = None  # the same

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        stem, *stages = (scaled(channels, width) for channels in (64, 64, 128, 256, 512))
        self.conv1 = nn.Conv2d(3, stem, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        self.layer1 = _stage(stem, stages[0], stride=1)
        self.layer2 = _stage(stages[0], stages[1], stride=2)
        self.layer3 = _stage(stages[1], stages[2], stride=2)
        self.layer4 = _stage(stages[2], stages[3], stride=2)
        self.out_channels = (stem, *stages)
        he_initialise(self)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        stem = F.relu(self.bn1(self.conv1(image)))
        layer1 = self.layer1(self.maxpool(stem))
        layer2 = self.layer2(layer1)
        layer3 = self.layer3(layer2)
        return stem, layer1, layer2, layer3, cast(Tensor, self.layer4(layer3))


def _stage(channels_in: int, channels: int, stride: int) -> nn.Sequential:
    return nn.Sequential(BasicBlock(channels_in, channels, stride), BasicBlock(channels, channels))
