"""Joint liver and tumour segmentation with an AlexNet encoder, CDNN-Alex (Elmenabawy et al.).

Differs from the paper where it is silent: the window before equalisation is
[-100, 400] HU; "8 times" upsampling is read as FCN-8s; AlexNet is the grouped
BVLC one; `method` uses 20 slices per update, `variants["literal"]` the paper's
1000. Converted Caffe weights are used where given; FC6 and FC7 start fresh if
the file lacks them, and the run folder says so.
"""

from __future__ import annotations

from dataclasses import replace

from hepar.methods._card import Choices, MethodCard, Published
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

CARD = MethodCard(
    title="Deep joint segmentation of liver and cancerous nodules from CT images",
    authors="Elmenabawy, Elnakib, Moustafa",
    year=2020,
    kind="2D joint",
    input="one slice of 512 x 512, -100..400 HU, equalised, median of 3 x 3",
    published=(
        Published(
            "liver",
            0.904,
            "LiTS, 130 CTs in 4 folds (97/33)",
            "without preprocessing 0.885; ASSD 2.65 and 3.87, no unit given",
        ),
        Published(
            "tumour",
            0.624,
            "LiTS, 130 CTs in 4 folds (97/33)",
            "without preprocessing 0.597; ASSD 4.98 and 5.32, no unit given",
        ),
    ),
    choices=Choices(
        documented=(
            "AlexNet's encoder with ImageNet weights, all layers trained; transposed convolutions enlarge 8 times",
            "histogram equalisation, then median filter",
            "SGD 1e-4, momentum 0.9, cross-entropy, up to 40 epochs of batches of 1000 (`literal`)",
        ),
        recommended=(
            "window of -100..400 HU before equalisation, MATLAB's 64 levels",
            "FCN-8s as the reading of 8 times; the grouped network of BVLC",
            "20 slices an update instead of 1000; slices with any label",
        ),
    ),
    parameters=56_881_577,
)
