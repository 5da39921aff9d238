"""AlexNet as a fully convolutional encoder (Krizhevsky 2012; Shelhamer, Long & Darrell's voc-fcn-alexnet).

Padding conv1 by 100 keeps every offset valid for any image size. With ceil
pooling the samples lie, in pixels of the image, at
pool1 8i - 91, pool2 16i - 83, pool5 32i - 67, fc7 32i + 13.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, cast

from torch import Tensor, nn
from torch.nn import functional as F

from hepar.nets.encoder_decoder import he_initialise, scaled

AlexVariant = Literal["caffenet", "bvlc", "ungrouped", "owt"]


@dataclass(frozen=True)
class AlexLayout:
    """Channels of conv1..conv5, groups of conv2/4/5, and where local response normalisation stands."""

    channels: tuple[int, int, int, int, int]
    groups: int
    normalise: Literal["before pooling", "after pooling", "never"]


LAYOUTS: dict[str, AlexLayout] = {
    # The original, BVLC's reference model and MATLAB's `alexnet`: conv-relu-LRN-pool.
    "bvlc": AlexLayout((96, 256, 384, 384, 256), 2, "before pooling"),
    # CaffeNet, FCN-AlexNet's ancestor: conv-relu-pool-LRN.
    "caffenet": AlexLayout((96, 256, 384, 384, 256), 2, "after pooling"),
    # The popular "62.4 M" figure belongs to this one.
    "ungrouped": AlexLayout((96, 256, 384, 384, 256), 1, "before pooling"),
    # "One weird trick" (Krizhevsky 2014), torchvision's alexnet: no LRN.
    "owt": AlexLayout((64, 192, 384, 256, 256), 1, "never"),
}


class LocalResponseNorm(nn.Module):
    """x / (1 + alpha/5 * sum of squares over 5 neighbouring channels)^.75, alpha 1e-4 (Caffe's constants).

    Computed in float32, also under autocast: in bfloat16 a small term beside the 1 is lost.
    """

    alpha = 1e-4
    neighbours = 5

    def forward(self, maps: Tensor) -> Tensor:
        values = maps.float()
        reach = self.neighbours // 2
        squares = F.pad(values * values, (0, 0, 0, 0, reach, reach))
        channels = values.shape[1]
        energy = squares[:, 0:channels]
        for shift in range(1, self.neighbours):
            energy = energy + squares[:, shift : shift + channels]
        scale = (1.0 + self.alpha / self.neighbours * energy).pow(-0.75)
        return (values * scale).to(maps.dtype)


class AlexEncoder(nn.Module):
    """Image (batch, 3, y, x) -> (pool1, pool2, fc7) at strides 8, 16, 32.

    `dilated` keeps stride 8 from pool1 on: pool2 and pool5 step by 1, conv3-5
    are dilated by 2, pool5's window is spread by 2, fc6 is dilated by 4. Its
    conv1 is padded by 24 more pixels, because the dilated windows end earlier:
    fc7 then lies at 8i - 11 and covers the whole image.
    """

    caffe_names: ClassVar[dict[str, str] | None] = {
        name: name for name in ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7")
    }
    torchvision_names: ClassVar[dict[str, str] | None] = {
        "features.0": "conv1",
        "features.3": "conv2",
        "features.6": "conv3",
        "features.8": "conv4",
        "features.10": "conv5",
        "classifier.1": "fc6",
        "classifier.4": "fc7",
    }

    def __init__(self, variant: AlexVariant = "bvlc", width: float = 1.0, dilated: bool = False) -> None:
        super().__init__()
        layout = LAYOUTS[variant]
        self.variant = variant
        self.download_name = "alexnet-owt-7be5be79.pth" if variant == "owt" else None
        c1, c2, c3, c4, c5 = (scaled(channels, width) for channels in layout.channels)
        hidden = scaled(4096, width)
        spread = 2 if dilated else 1
        self.conv1 = nn.Conv2d(3, c1, 11, 4, padding=124 if dilated else 100)
        self.conv2 = nn.Conv2d(c1, c2, 5, padding=2, groups=layout.groups)
        self.conv3 = nn.Conv2d(c2, c3, 3, padding=spread, dilation=spread)
        self.conv4 = nn.Conv2d(c3, c4, 3, padding=spread, dilation=spread, groups=layout.groups)
        self.conv5 = nn.Conv2d(c4, c5, 3, padding=spread, dilation=spread, groups=layout.groups)
        self.fc6 = nn.Conv2d(c5, hidden, 6, dilation=4 if dilated else 1)
        self.fc7 = nn.Conv2d(hidden, hidden, 1)
        self.pool1 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.pool2 = nn.MaxPool2d(3, 1 if dilated else 2, ceil_mode=True)
        self.pool5 = nn.MaxPool2d(3, 1 if dilated else 2, dilation=spread, ceil_mode=True)
        self.norm_before = LocalResponseNorm() if layout.normalise == "before pooling" else nn.Identity()
        self.norm_after = LocalResponseNorm() if layout.normalise == "after pooling" else nn.Identity()
        self.dropout = nn.Dropout(0.5)
        self.out_channels = (c1, c2, hidden)
        he_initialise(self)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        pool1 = self.norm_after(self.pool1(self.norm_before(F.relu(self.conv1(image)))))
        pool2 = self.norm_after(self.pool2(self.norm_before(F.relu(self.conv2(pool1)))))
        deep = F.relu(self.conv4(F.relu(self.conv3(pool2))))
        deep = self.pool5(F.relu(self.conv5(deep)))
        fc6 = self.dropout(F.relu(self.fc6(deep)))
        return pool1, pool2, cast(Tensor, self.dropout(F.relu(self.fc7(fc6))))
