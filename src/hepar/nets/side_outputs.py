"""VGG16 with side outputs (DRIU and OSVOS; Bellver et al. 2017 for three CT slices and one map each).

From the last maps of blocks 2 to 5: 16 maps, which a side score judges by
itself; enlarged to the image and joined, one 1x1 convolution judges all. New
weights start near zero (0.001), enlarging is fixed and bilinear. Follows the
authors' public program (imatge-upc/liverseg-2017-nipsws).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, cast, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hepar.errors import BadInput
from hepar.nets.encoder_decoder import EncoderDecoder, build_seeded, he_initialise, scaled
from hepar.nets.grey_input import TORCHVISION, Convention
from hepar.nets.two_answers import encoded
from hepar.nets.upsampling import crop, full_precision, size_of

Answer = Literal["liver", "tumour"]
SLICES = 3
SIDE_MAPS = 16
# Channels and convolutions of VGG16's blocks; the side outputs leave the first block out.
BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
START_STD = 1e-3
# A score of the answer that the network does not give.
SURE = 30.0
# Where torchvision's file keeps the convolutions.
PLACES = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
NAMES = tuple(f"conv{block}_{k + 1}" for block, (_, count) in enumerate(BLOCKS, start=1) for k in range(count))


@dataclass(frozen=True)
class SideOutputs:
    """Settings of the network. It sees the slice and the two `step_mm` beside it, and answers for one structure.

    Raises BadInput for another answer than liver or tumour, or other than three slices.
    """

    answer: Answer = "liver"
    step_mm: float = 0.1
    width: float = 1.0
    slices: int = SLICES
    batch_norm: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.answer not in get_args(Answer) or self.slices != SLICES:
            raise BadInput(
                f"answer is {self.answer!r} for {self.slices} slices; expected one of {', '.join(get_args(Answer))}, 3"
            )

    def build(self, seed: int = 0) -> SideOutputsNetwork:
        """The network: a He-initialised encoder until weights are loaded, new layers near zero."""
        return cast(SideOutputsNetwork, build_seeded(lambda: SideOutputsNetwork(self), seed))


class SideOutputsNetwork(EncoderDecoder):
    """Logits (batch, 3, y, x) of the middle slice for grey values (batch, 1 or 3, y, x) in 0..255.

    A sigmoid of one score stands behind them (`nets.two_answers`): is it liver;
    or, of what is taken to be liver, is it tumour.
    """

    def __init__(self, settings: SideOutputs) -> None:
        channels = [scaled(c, settings.width) for c, _ in BLOCKS]
        super().__init__(Vgg16Encoder(channels), SideDecoder(channels))
        self.grey = UncentredInput()  # type: ignore[assignment]
        self.answer = settings.answer

    def forward(self, grey: Tensor) -> Tensor:
        score = self.supervised(grey)[1][:, SLICES // 2].float()
        other = torch.full_like(score, SURE)
        return encoded(score, -other) if self.answer == "liver" else encoded(other, score)

    def supervised(self, grey: Tensor) -> dict[int, Tensor]:
        """Scores (batch, slice, y, x) of all three slices: 1 the joint ones, then each side's by its stride."""
        found: dict[int, Tensor] = self.decoder(self.encoder(self.grey(grey)), size_of(grey))
        return found


class UncentredInput(nn.Module):
    """Grey (batch, 1 or 3, y, x) in 0..255 in the unit that the weights want; no mean is subtracted, as there."""

    slices = SLICES
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("std", torch.empty(SLICES))
        self.follow(TORCHVISION)

    def follow(self, convention: Convention) -> None:
        """The unit of `convention` from now on."""
        with torch.no_grad():
            self.std.copy_(torch.tensor(convention.std, device=self.std.device))

    def forward(self, grey: Tensor) -> Tensor:
        three = grey.expand(-1, SLICES, -1, -1) / self.std.view(1, SLICES, 1, 1)
        return three.contiguous(memory_format=torch.channels_last)


class Vgg16Encoder(nn.Module):
    """Image (batch, 3, y, x) -> maps of blocks 2 to 5 at strides 2, 4, 8, 16."""

    download_name: ClassVar[str | None] = "vgg16-397923af.pth"
    caffe_names: ClassVar[dict[str, str] | None] = {name: name for name in NAMES}
    torchvision_names: ClassVar[dict[str, str] | None] = {
        **{name: name for name in NAMES},
        **{f"features.{place}": name for place, name in zip(PLACES, NAMES, strict=True)},
    }

    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        before = 3
        for block, (c, (_, count)) in enumerate(zip(channels, BLOCKS, strict=True), start=1):
            for k in range(count):
                self.add_module(f"conv{block}_{k + 1}", nn.Conv2d(before, c, 3, padding=1))
                before = c
        he_initialise(self)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        maps, found = image, []
        for block, (_, count) in enumerate(BLOCKS, start=1):
            if block > 1:
                # A row or column too many is a sample of its own, as in TensorFlow's "SAME".
                maps = F.max_pool2d(maps, 2, ceil_mode=True)
            for k in range(count):
                maps = F.relu(self.get_submodule(f"conv{block}_{k + 1}")(maps))
            found.append(maps)
        return tuple(found[1:])


class SideDecoder(nn.Module):
    """Scores (batch, slice, y, x) in float32: 1 those of all sides together, then each side's, by stride."""

    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        self.sides = nn.ModuleList(nn.Conv2d(c, SIDE_MAPS, 3, padding=1) for c in channels[1:])
        self.side_scores = nn.ModuleList(nn.Conv2d(SIDE_MAPS, SLICES, 1) for _ in self.sides)
        self.fuse = nn.Conv2d(SIDE_MAPS * len(self.sides), SLICES, 1)
        for layer in (*self.sides, *self.side_scores, self.fuse):
            nn.init.normal_(cast(Tensor, layer.weight), 0.0, START_STD)
            nn.init.zeros_(cast(Tensor, layer.bias))

    def forward(self, features: tuple[Tensor, ...], size: tuple[int, int]) -> dict[int, Tensor]:
        with full_precision(features[0]):
            sides = [side(maps.float()) for side, maps in zip(self.sides, features, strict=True)]
            joined = torch.cat([enlarged(maps, 2**k, size) for k, maps in enumerate(sides, start=1)], dim=1)
            found = {1: cast(Tensor, self.fuse(joined))}
            for k, (score, maps) in enumerate(zip(self.side_scores, sides, strict=True), start=1):
                found[2**k] = enlarged(score(maps), 2**k, size)
        return found


def enlarged(maps: Tensor, factor: int, size: tuple[int, int]) -> Tensor:
    """Bilinear by `factor`, cut to `size` (y, x). Sample i lies in the middle of the pixels it was pooled from.

    As a transposed convolution with 2 * factor taps; beyond the border is zero, as there.
    """
    taps = 1 - (torch.arange(2 * factor, device=maps.device) - (factor - 0.5)).abs() / factor
    kernel = (taps[:, None] * taps[None]).to(maps.dtype).expand(maps.shape[1], 1, -1, -1)
    large = F.conv_transpose2d(maps, kernel, stride=factor, padding=factor // 2, groups=maps.shape[1])
    return crop(large, 0, size)
