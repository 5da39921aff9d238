"""Joint liver and tumour segmentation with an AlexNet encoder, CDNN-Alex (Elmenabawy et al.).

Differs from the paper where it is silent: the window before equalisation is
[-100, 400] HU; "8 times" upsampling is read as FCN-8s; AlexNet is the grouped
BVLC one; `method` uses 20 slices per update, `variants["literal"]` the paper's
1000. Converted Caffe weights are used where given; FC6 and FC7 start fresh if
the file lacks them, and the run folder says so.
"""

from __future__ import annotations

from dataclasses import replace

from hepar.nets.cdnn_alex import CdnnAlex
from hepar.preprocess import PAPER, WITHOUT
from hepar.training.deep_method import DeepMethod
from hepar.training.recipe import LITERAL, PRACTICAL

network = CdnnAlex(variant="bvlc", decoder="fcn8s")
method = DeepMethod(network, prepare=PAPER, recipe=PRACTICAL)
variants = {
    "literal": replace(method, recipe=LITERAL),
    "without_preprocessing": replace(method, prepare=WITHOUT),
    "fcn32s": replace(method, network=replace(network, decoder="fcn32s")),
    "dilated8": replace(method, network=replace(network, decoder="dilated8")),
    "literal8x": replace(method, network=replace(network, decoder="literal8x")),
    "fixed_upsampling": replace(method, network=replace(network, learn_upsampling=False)),
    "caffenet": replace(method, network=replace(network, variant="caffenet")),
    "ungrouped": replace(method, network=replace(network, variant="ungrouped")),
    "owt": replace(method, network=replace(network, variant="owt")),
}
