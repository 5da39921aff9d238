"""SegResNet (Myronenko 2018) and Swin UNETR (Hatamizadeh et al. 2022) as MONAI builds them, for blocks of grey values.

MONAI is imported when a network is built, never before: it costs seconds, and
an extra. Weights start as MONAI starts them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hepar.errors import BadInput, MissingExtra
from hepar.nets.encoder_decoder import build_seeded

# SegResNet's normalisation groups channels by eights.
GROUP = 8
# Swin UNETR's features are shared out to 3, 6, 12 and 24 heads.
FEATURES_STEP = 12


@dataclass(frozen=True)
class SegResnet3d:
    """Settings of SegResNet: blocks of `side` voxels in stacks of `slice_mm`. Raises BadInput."""

    side: int | tuple[int, int, int] = 128
    slice_mm: float = 2.0
    channels: int = 32
    blocks_down: tuple[int, ...] = (1, 2, 2, 4)
    blocks_up: tuple[int, ...] = (1, 1, 1)
    dropout: float = 0.0
    width: float = 1.0
    classes: int = 3

    def __post_init__(self) -> None:
        for name in ("blocks_down", "blocks_up"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # JSON gives lists
        if not isinstance(self.side, int):
            object.__setattr__(self, "side", tuple(self.side))
        if len(self.blocks_up) != len(self.blocks_down) - 1:
            raise BadInput(f"{len(self.blocks_down)} stages down, {len(self.blocks_up)} up; expected one less up")
        _require_blocks(self.side, self.slice_mm, self.stride)

    @property
    def stride(self) -> int:
        """Of the coarsest stage."""
        return int(2 ** len(self.blocks_up))

    def tiny(self) -> SegResnet3d:
        """A network for phantoms."""
        return replace(self, side=(12, 16, 16), slice_mm=19.0, blocks_down=(1, 1, 1), blocks_up=(1, 1), width=0.5)

    def build(self, seed: int = 0) -> MonaiNetwork:
        """Raises MissingExtra without MONAI."""
        return _built(self._network, self.stride, seed)

    def _network(self) -> nn.Module:
        return cast(
            nn.Module,
            _monai("SegResNet")(
                spatial_dims=3,
                init_filters=_steps_of(self.channels * self.width, GROUP),
                in_channels=1,
                out_channels=self.classes,
                dropout_prob=self.dropout or None,
                norm=("GROUP", {"num_groups": GROUP}),
                blocks_down=self.blocks_down,
                blocks_up=self.blocks_up,
            ),
        )


@dataclass(frozen=True)
class SwinUnetr3d:
    """Settings of Swin UNETR: blocks of `side` voxels, multiples of 32, in stacks of `slice_mm`. Raises BadInput.

    Its coarsest maps are normalised, so they need more than one voxel: not all sides may be 32.
    """

    side: int | tuple[int, int, int] = 96
    slice_mm: float = 2.0
    features: int = 48
    depths: tuple[int, ...] = (2, 2, 2, 2)
    heads: tuple[int, ...] = (3, 6, 12, 24)
    window: int = 7
    width: float = 1.0
    classes: int = 3

    def __post_init__(self) -> None:
        for name in ("depths", "heads"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # JSON gives lists
        if not isinstance(self.side, int):
            object.__setattr__(self, "side", tuple(self.side))
        if self.side in (32, (32, 32, 32)):
            raise BadInput("blocks of 32 voxels leave Swin UNETR one coarse voxel, which cannot be normalised; take 64")
        if len(self.depths) != 4 or len(self.heads) != 4:
            raise BadInput(f"{len(self.depths)} depths and {len(self.heads)} numbers of heads; expected 4 of each")
        _require_blocks(self.side, self.slice_mm, self.stride)

    @property
    def stride(self) -> int:
        """Of the coarsest stage."""
        return 32

    def tiny(self) -> SwinUnetr3d:
        """A network for phantoms."""
        return replace(self, side=(64, 32, 32), slice_mm=3.0, depths=(1, 1, 1, 1), window=4, width=0.25)

    def build(self, seed: int = 0) -> MonaiNetwork:
        """Raises MissingExtra without MONAI."""
        return _built(self._network, self.stride, seed)

    def _network(self) -> nn.Module:
        kind = _monai("SwinUNETR")
        # MONAI reads numbers back from tensors while it builds, which no other device than the CPU is sure to allow.
        with torch.device("cpu"):
            network: nn.Module = kind(
                in_channels=1,
                out_channels=self.classes,
                depths=self.depths,
                num_heads=self.heads,
                window_size=self.window,
                feature_size=_steps_of(self.features * self.width, FEATURES_STEP),
            )
        return network


class MonaiNetwork(nn.Module):
    """Float32 logits (batch, 3, z, y, x) for grey values (batch, 1, z, y, x) in 0..255, which MONAI sees as 0..1.

    Blocks that the coarsest stride does not divide are padded with 0 at their ends.
    """

    def __init__(self, network: nn.Module, stride: int) -> None:
        super().__init__()
        self.network, self.stride = network, stride

    def forward(self, grey: Tensor) -> Tensor:
        z, y, x = grey.shape[-3:]
        more = [part for n in (x, y, z) for part in (0, -n % self.stride)]
        logits: Tensor = self.network(F.pad(grey / 255, more))
        return logits[..., :z, :y, :x].float()


def _built(make: Callable[[], nn.Module], stride: int, seed: int) -> MonaiNetwork:
    return cast(MonaiNetwork, build_seeded(lambda: MonaiNetwork(make(), stride), seed))


def _monai(name: str) -> Any:
    """A network class of MONAI. Raises MissingExtra where it is not installed."""
    try:
        with warnings.catch_warnings():
            # What it says of its own parts' future is no business of ours.
            warnings.simplefilter("ignore")
            return getattr(import_module("monai.networks.nets"), name)
    except ImportError as error:
        raise MissingExtra(f"{name} is MONAI's; install it with `pip install hepar[monai]`") from error


def _steps_of(channels: float, step: int) -> int:
    return max(step, step * round(channels / step))


def _require_blocks(side: int | tuple[int, int, int], slice_mm: float, stride: int) -> None:
    sides = (side,) if isinstance(side, int) else side
    if len(sides) not in (1, 3) or any(n < 1 or n % stride for n in sides) or not slice_mm > 0:
        raise BadInput(
            f"blocks of {side} voxels, slices of {slice_mm} mm; expected a multiple of {stride}, and a spacing above 0"
        )
