"""U-Nets with short skips, then a random forest that drops false lesions (Chlebus et al. 2018).

Differs from the paper where it is silent or used other data: the liver comes
from one axial U-Net of the same kind at the paper's 2 mm, trained on the same
cases, instead of an ensemble of three orthogonal ones trained on 179 other
CTs. Instead of masking the loss to the liver, the tumour network sees nothing
beyond the found liver and a margin of 5 mm. Which 36 features (grey values,
shape, depth in the liver, probability) is our choice, and so are widths,
window, batch and epochs; cases with flawed references are not removed. The
forest learns from lesions that three inner folds found, so that no network
judged its own training cases; networks are trained four times for it. On
slices stored in -40..160 HU the window of -150..250 shows no more than that.
`without_filter` leaves the forest out.
"""

from __future__ import annotations

from dataclasses import replace

from hepar.inference.staged import View
from hepar.methods._card import Choices, MethodCard, Published
from hepar.nets.short_skip_unet import ShortSkipUnet
from hepar.postprocess import KeepLargestLiver
from hepar.preprocess import InPlaneGrid, Window
from hepar.training.deep_method import DeepMethod
from hepar.training.object_filter import FilteredMethod
from hepar.training.recipe import Recipe
from hepar.training.staged import StagedMethod

tumour = DeepMethod(
    ShortSkipUnet("tumour"),
    prepare=(Window(-150, 250),),
    grid=InPlaneGrid(matrix=512),
    recipe=Recipe(
        optimizer="adam",
        learning_rate=5e-5,
        weight_decay=0.0,
        epochs=40,
        batch=8,
        micro_batch=8,
        loss="soft_dice",
        # Slices of the liver without a tumour teach what is none.
        slices="all",
    ),
    encoder_weights="none",
)
liver = replace(
    tumour,
    network=ShortSkipUnet("liver"),
    # 256 pixels of 2 mm hold every slice whole.
    grid=InPlaneGrid(pixel_mm=2.0),
    recipe=replace(tumour.recipe, patch=256),
    clean=(KeepLargestLiver(),),
)

method = FilteredMethod(StagedMethod(liver, tumour, View(margin_mm=5.0)), inner_folds=3, trees=256)
variants = {"without_filter": replace(method, inner_folds=0)}

CARD = MethodCard(
    title="Automatic liver tumor segmentation in CT with fully convolutional neural networks and object-based "
    "postprocessing",
    authors="Chlebus, Schenk, Moltz, van Ginneken, Hahn, Meine",
    year=2018,
    kind="cascade and random forest",
    input="one slice of 512 x 512, -150..250 HU; for the liver 2 mm pixels",
    published=(
        Published("liver", None, "179 other CTs", "an ensemble of its own, no figure on LiTS"),
        Published("tumour", 0.65, "LiTS, server of ISBI 2017", "detected tumours alone: 0.69 on 30 cases"),
        Published("tumour", 0.58, "LiTS, 99/30 after Elmenabawy et al.", "plausible for a mean over cases"),
    ),
    choices=Choices(
        documented=(
            "axial U-Net of four levels with long and short skips, dropout 0.5 before each convolution of the way up",
            "soft Dice, Adam",
            "components of tumour in 3D, random forest of 256 trees on 36 features of grey values, shape and depth",
        ),
        recommended=(
            "64 to 512 channels, projections at short skips, learning rate 5e-5, batches of 8, 40 epochs",
            "window of -150..250 HU, pictures dark beyond the found liver and 5 mm",
            "one axial U-Net for the liver",
            "the 36 features; true where half of a component is tumour; candidates out of three inner folds",
        ),
    ),
    parameters=2 * 8_047_361,
)
