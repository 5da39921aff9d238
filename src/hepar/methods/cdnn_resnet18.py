"""Joint liver and tumour segmentation with a ResNet18 encoder, CDNN-ResNet18 (Elmenabawy et al.).

Differs from the paper where it is silent: the decoder mirrors the encoder with
transposed convolutions, 18 weighted layers and no skips; the window before
equalisation is [-100, 400] HU; `method` uses 20 slices per update,
`variants["literal"]` the paper's 1000.
"""

from __future__ import annotations

from dataclasses import replace

from hepar.nets.cdnn_resnet18 import CdnnResnet18
from hepar.preprocess import PAPER, WITHOUT
from hepar.training.deep_method import DeepMethod
from hepar.training.recipe import LITERAL, PRACTICAL

method = DeepMethod(CdnnResnet18(), prepare=PAPER, recipe=PRACTICAL)
variants = {
    "literal": replace(method, recipe=LITERAL),
    "without_preprocessing": replace(method, prepare=WITHOUT),
}
