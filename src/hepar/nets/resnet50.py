"""ResNet-50 (He et al. 2016, v1) without its classifier, with torchvision's state-dict keys.

Strides lie in the 3x3 convolutions, as in the published weights of today.
`dilated` keeps stride 8 from the second stage on: the last two see further
instead (dilation 2 and 4), but for the window that would have strided, which
sees what it saw. So every fourth sample is exactly the published network's.
"""

from __future__ import annotations

from typing import ClassVar, cast

from torch import Tensor, nn
from torch.nn import functional as F

from hepar.nets.encoder_decoder import he_initialise, scaled

BLOCKS, BLOCKS_OF_101 = (3, 4, 6, 3), (3, 4, 23, 3)
EXPANSION = 4
DOWNLOADS: dict[tuple[int, ...], str] = {BLOCKS: "resnet50-0676ba61.pth", BLOCKS_OF_101: "resnet101-63fe2227.pth"}


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 with four times the channels, beside an identity or 1x1 shortcut."""

    def __init__(self, channels_in: int, channels: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        wide = EXPANSION * channels
        self.conv1 = nn.Conv2d(channels_in, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, wide, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(wide)
        self.downsample: nn.Module | None = None
        if stride != 1 or channels_in != wide:
            self.downsample = nn.Sequential(nn.Conv2d(channels_in, wide, 1, stride, bias=False), nn.BatchNorm2d(wide))

    def forward(self, maps: Tensor) -> Tensor:
        shortcut = maps if self.downsample is None else self.downsample(maps)
        inner = F.relu(self.bn1(self.conv1(maps)))
        inner = F.relu(self.bn2(self.conv2(inner)))
        return F.relu(shortcut + self.bn3(self.conv3(inner)))


class Resnet50Encoder(nn.Module):
    """Image (batch, 3, y, x) -> maps at strides 2, 4, 8, 16, 32 with 64, 256, 512, 1024, 2048 channels.

    With `dilated` the last two lie at stride 8 as well. `blocks` of the four
    stages: `BLOCKS_OF_101` make it ResNet-101.
    """

    caffe_names: ClassVar[dict[str, str] | None] = {}  # no such file is known
    torchvision_names: ClassVar[dict[str, str] | None] = None  # the same

    def __init__(self, width: float = 1.0, dilated: bool = False, blocks: tuple[int, ...] = BLOCKS) -> None:
        super().__init__()
        self.download_name = DOWNLOADS.get(blocks)
        stem, *inner = (scaled(channels, width) for channels in (64, 64, 128, 256, 512))
        self.conv1 = nn.Conv2d(3, stem, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        dilations = (1, 1, 2, 4) if dilated else (1, 1, 1, 1)
        before, seen_before = stem, 1
        for number, (channels, count, dilation) in enumerate(zip(inner, blocks, dilations, strict=True), start=1):
            stride = 1 if number == 1 or dilation > 1 else 2
            first = Bottleneck(before, channels, stride, seen_before)
            before, seen_before = EXPANSION * channels, dilation
            others = [Bottleneck(before, channels, dilation=dilation) for _ in range(count - 1)]
            setattr(self, f"layer{number}", nn.Sequential(first, *others))
        self.out_channels = (stem, *(EXPANSION * channels for channels in inner))
        he_initialise(self)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        found = [F.relu(self.bn1(self.conv1(image)))]
        maps = self.maxpool(found[0])
        for number in range(1, 5):
            maps = cast(Tensor, getattr(self, f"layer{number}")(maps))
            found.append(maps)
        return tuple(found)
