"""CDNN-Alex's scheme on a SqueezeNet v1.1 encoder, CDNN-Squeeze (ours, after Elmenabawy et al.).

Not in the paper: it answers what the scheme does with an encoder whose
complete ImageNet weights are free to use. Scores at strides 16, 8 and 4 are
fused as in CDNN-Alex.
"""

from __future__ import annotations

from dataclasses import replace

from hepar.methods._card import Choices, MethodCard
from hepar.nets.cdnn_squeeze import CdnnSqueeze
from hepar.preprocess import PAPER, WITHOUT
from hepar.training.deep_method import DeepMethod
from hepar.training.recipe import LITERAL, PRACTICAL

network = CdnnSqueeze(decoder="fcn")
method = DeepMethod(network, prepare=PAPER, recipe=PRACTICAL)
variants = {
    "literal": replace(method, recipe=LITERAL),
    "without_preprocessing": replace(method, prepare=WITHOUT),
    "fixed_upsampling": replace(method, network=replace(network, learn_upsampling=False)),
}

CARD = MethodCard(
    title="CDNN-Alex's scheme on SqueezeNet",
    authors="hepar, after Elmenabawy, Elnakib, Moustafa",
    year=2026,
    kind="2D joint, ours",
    input="one slice of 512 x 512, -100..400 HU, equalised, median of 3 x 3",
    published=(),
    choices=Choices(
        documented=("preparation, loss, optimiser and rate of CDNN-Alex",),
        recommended=("SqueezeNet v1.1 with ImageNet weights", "scores at strides 16, 8 and 4", "20 slices an update"),
    ),
    parameters=725_193,
)
