"""The networks the tests walk through, in their published size and tiny."""

from __future__ import annotations

from dataclasses import replace

from hepar.nets.cdnn_alex import CdnnAlex
from hepar.nets.cdnn_resnet18 import CdnnResnet18
from hepar.nets.cdnn_squeeze import CdnnSqueeze
from hepar.nets.residual_unet import ResidualUnet

NETWORKS = {
    "alex fcn8s": CdnnAlex(),
    "alex fcn32s": CdnnAlex(decoder="fcn32s"),
    "alex dilated8": CdnnAlex(decoder="dilated8"),
    "alex literal8x": CdnnAlex(decoder="literal8x"),
    "alex caffenet": CdnnAlex(variant="caffenet"),
    "alex owt": CdnnAlex(variant="owt"),
    "resnet18": CdnnResnet18(),
    "resnet18 skips": CdnnResnet18(skips=True),
    "squeeze fcn": CdnnSqueeze(decoder="fcn"),
    "squeeze unet": CdnnSqueeze(decoder="unet"),
    "residual": ResidualUnet(),
    "residual fast": ResidualUnet(stem=2, channels=(24, 32, 64, 128, 160), blocks=(1, 2, 2, 2, 2)),
}
TINY = {name: replace(settings, width=0.02) for name, settings in NETWORKS.items()}
