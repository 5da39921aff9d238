"""CDNN-Alex's scheme on a SqueezeNet v1.1 encoder, CDNN-Squeeze (ours, after Elmenabawy et al.).

Not in the paper: it answers what the scheme does with an encoder whose
complete ImageNet weights are free to use. Scores at strides 16, 8 and 4 are
fused as in CDNN-Alex.
"""

from __future__ import annotations

from dataclasses import replace

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
