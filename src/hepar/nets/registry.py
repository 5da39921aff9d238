"""Network settings to JSON and back, by a fixed table: a model folder can name nothing else."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any, Protocol

from torch import nn

from hepar.errors import BadModel
from hepar.nets.cdnn_alex import CdnnAlex
from hepar.nets.cdnn_resnet18 import CdnnResnet18
from hepar.nets.cdnn_squeeze import CdnnSqueeze
from hepar.nets.dense_unet import DenseUnet
from hepar.nets.dilated_fcn import DilatedFcn
from hepar.nets.encoder_decoder import EncoderDecoder
from hepar.nets.from_monai import SegResnet3d, SwinUnetr3d
from hepar.nets.hybrid_dense_unet import HybridDenseUnet
from hepar.nets.joined_fcn import JoinedFcn
from hepar.nets.long_short_unet import LongShortUnet
from hepar.nets.planned_unet import PlannedUnet, PlannedUnet3d
from hepar.nets.residual_unet import ResidualUnet
from hepar.nets.residual_unet3d import ResidualUnet3d
from hepar.nets.short_skip_unet import ShortSkipUnet
from hepar.nets.side_outputs import SideOutputs
from hepar.nets.tile_detector import TileDetector
from hepar.nets.unet import Unet


class NetworkSettings(Protocol):
    """A frozen dataclass that can build its network."""

    def build(self, seed: int = 0) -> EncoderDecoder: ...


class BlockSettings(Protocol):
    """The same of a network of blocks: `side` voxels (z, y, x, or one number) in stacks of `slice_mm`."""

    @property
    def side(self) -> int | tuple[int, int, int]: ...

    @property
    def slice_mm(self) -> float: ...

    def build(self, seed: int = 0) -> nn.Module: ...


NETWORKS: dict[str, Any] = {
    kind.__name__: kind
    for kind in (
        CdnnAlex,
        CdnnResnet18,
        CdnnSqueeze,
        DenseUnet,
        DilatedFcn,
        HybridDenseUnet,
        JoinedFcn,
        LongShortUnet,
        PlannedUnet,
        PlannedUnet3d,
        ResidualUnet,
        ResidualUnet3d,
        SegResnet3d,
        ShortSkipUnet,
        SideOutputs,
        SwinUnetr3d,
        TileDetector,
        Unet,
    )
}


def network_to_json(network: NetworkSettings) -> dict[str, Any]:
    """{"network": class name, setting: value, ...}"""
    return {"network": type(network).__name__, **asdict(network)}  # type: ignore[call-overload]


def network_from_json(row: dict[str, Any]) -> NetworkSettings:
    """Raises BadModel for an unknown network or setting."""
    name = row.get("network")
    if name not in NETWORKS:
        raise BadModel(f"network {name!r} is unknown; this version of hepar knows {', '.join(sorted(NETWORKS))}")
    settings = {key: value for key, value in row.items() if key != "network"}
    unknown = settings.keys() - {field.name for field in fields(NETWORKS[name])}
    if unknown:
        raise BadModel(f"network {name} has no setting {sorted(unknown)}; update hepar")
    made: NetworkSettings = NETWORKS[name](**settings)
    return made
