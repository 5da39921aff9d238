"""Equalised liver, texture of tiles, support vector machine (Krishan and Mittal 2015).

The original text was not at hand; Elmenabawy et al. say "histogram
equalization to enhance the image and supported vector machine to perform
classification" of hepatocellular carcinoma and metastases. Everything else is
ours. It is a classification of tiles; a segmentation is made of it by giving
each pixel of the liver the mean score of the tiles that cover it. The liver
comes from a network of this training's own (`squeeze_unet` for livers), and
tiles are taught in the livers that it found. Public labels do not tell which
tumour is which, so the method learns tumour against normal liver; the variant
`three_classes` tells carcinoma from metastasis where `lesion_kinds` says which
patient has which. `scan` equalises by the histogram of the whole liver instead
of the slice's. On slices stored in -40..160 HU the window shows no more.
"""

from __future__ import annotations

from dataclasses import replace

from hepar.classical.tile_view import TileView
from hepar.classical.tiles import Tiles
from hepar.methods import squeeze_unet
from hepar.methods._card import Choices, MethodCard, Published
from hepar.preprocess import Window
from hepar.training.classical import TiledMethod
from hepar.training.tile_learners import SupportVectors

# Lesions are painted as tumours, and this network learns livers only.
liver = replace(squeeze_unet.fast, recipe=squeeze_unet.without_synthesis)
method = TiledMethod(
    liver,
    TileView(Tiles(side=16, stride=8), prepare=(Window(-100, 400),), equalise="slice", features="texture"),
    SupportVectors(),
)
variants = {
    "scan": replace(method, view=replace(method.view, equalise="scan")),
    "three_classes": replace(method, kinds=("normal", "carcinoma", "metastasis")),
}

CARD = MethodCard(
    title="Detection and classification of liver cancer using CT images",
    authors="Krishan, Mittal",
    year=2015,
    kind="classical, tiles",
    input="tiles of 16 x 16 pixels in the found liver, -100..400 HU, equalised",
    published=(
        Published("liver", None, "not reported", "a classification; the original text was not at hand"),
        Published("tumour", None, "not reported", "no figure on LiTS"),
    ),
    choices=Choices(
        documented=("histogram equalisation", "support vector machine", "carcinoma and metastases are told apart"),
        recommended=(
            "liver from a network of the same fold",
            "MATLAB's histeq over the liver of the slice, window of -100..400 HU",
            "20 features: moments, entropy, co-occurrence of 4 angles at 32 levels, binary patterns",
            "Gaussian kernel, C and gamma on 3 inner folds over patients, classes weigh alike, 20,000 tiles at most",
            "pixels take the mean score of their tiles, lesion above one half",
        ),
    ),
)
