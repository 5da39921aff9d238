"""Joint liver and tumour segmentation with a ResNet18 encoder, CDNN-ResNet18 (Elmenabawy et al.).

Differs from the paper where it is silent: the decoder mirrors the encoder with
transposed convolutions, 18 weighted layers and no skips; the window before
equalisation is [-100, 400] HU; `method` uses 20 slices per update,
`variants["literal"]` the paper's 1000.
"""

from __future__ import annotations

from dataclasses import replace

from hepar.methods._card import Choices, MethodCard, Published
from hepar.nets.cdnn_resnet18 import CdnnResnet18
from hepar.preprocess import PAPER, WITHOUT
from hepar.training.deep_method import DeepMethod
from hepar.training.recipe import LITERAL, PRACTICAL

method = DeepMethod(CdnnResnet18(), prepare=PAPER, recipe=PRACTICAL)
variants = {
    "literal": replace(method, recipe=LITERAL),
    "without_preprocessing": replace(method, prepare=WITHOUT),
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
            0.842,
            "LiTS, 130 CTs in 4 folds (97/33)",
            "without preprocessing 0.823; ASSD 3.65 and 4.21, no unit given",
        ),
        Published(
            "tumour",
            0.614,
            "LiTS, 130 CTs in 4 folds (97/33)",
            "without preprocessing 0.577; ASSD 4.77 and 5.76, no unit given",
        ),
    ),
    choices=Choices(
        documented=(
            "ResNet18's encoder with ImageNet weights, all layers trained; a decoder of as many layers",
            "histogram equalisation, then median filter",
            "SGD 1e-4, momentum 0.9, cross-entropy, up to 40 epochs of batches of 1000 (`literal`)",
        ),
        recommended=(
            "window of -100..400 HU before equalisation, MATLAB's 64 levels",
            "a mirrored decoder of 18 weighted layers without skips",
            "20 slices an update instead of 1000; slices with any label",
        ),
    ),
    parameters=20_219_395,
)
