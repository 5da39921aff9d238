"""Two U-Nets in sequence, liver and then tumour inside it; `one_step` is the joint one (Gruber et al. 2019).

The text documents the two arrangements and their comparison, not a single
setting that could be found. Ours: the U-Net of 2015 with batch normalisation
and without dropout, whole slices of 512 pixels in -100..400 HU, Dice and
cross-entropy, Adam. Differs from the later conference text, which minimises
both losses jointly: the tumour network is trained after the liver's. It sees
nothing beyond the liver and 4 mm (about 5 pixels) around it; in training every
other slice shows the true liver and the rest what three inner folds found, so
that it learns from livers like those it will get. On slices stored in -40..160
HU the window shows no more than that.
"""

from __future__ import annotations

from dataclasses import replace

from hepar.inference.staged import View
from hepar.methods._card import Choices, MethodCard, Published
from hepar.nets.unet import Unet
from hepar.preprocess import InPlaneGrid, Window
from hepar.training.deep_method import DeepMethod
from hepar.training.recipe import Recipe
from hepar.training.staged import StagedMethod

one_step = DeepMethod(
    Unet(batch_norm=True, dropout=0.0),
    prepare=(Window(-100, 400),),
    grid=InPlaneGrid(matrix=512),
    encoder_weights="none",
    recipe=Recipe(
        optimizer="adam",
        learning_rate=1e-4,
        weight_decay=0.0,
        epochs=40,
        batch=8,
        micro_batch=4,
        loss="dice_cross_entropy",
    ),
)
# The slices of the liver that show no tumour teach what is none.
tumour = replace(one_step, recipe=replace(one_step.recipe, slices="all"))

method = StagedMethod(one_step, tumour, View(margin_mm=4.0), liver_seen="mixed", inner_folds=3)
variants = {
    "one_step": one_step,
    # A quarter of the trainings of liver networks: the tumour network learns from livers that are too good.
    "true_livers": replace(method, liver_seen="truth"),
}

CARD = MethodCard(
    title="A joint deep learning approach for automated liver and tumor segmentation",
    authors="Gruber, Antholzer, Jaschke, Kremser, Haltmeier",
    year=2019,
    kind="cascade of two",
    input="one slice of 512 x 512, -100..400 HU",
    published=(
        Published("liver", None, "CTs of Innsbruck, trained on a part of LiTS", "no figure on LiTS"),
        Published("tumour", None, "CTs of Innsbruck, trained on a part of LiTS", "no figure on LiTS"),
    ),
    choices=Choices(
        documented=("two networks in sequence against one of three labels", "the second looks inside the liver"),
        recommended=(
            "U-Nets of 64 to 1024 channels with batch normalisation",
            "window, whole slices of 512 x 512",
            "Dice and cross-entropy, Adam 1e-4, batches of 8, 40 epochs",
            "dark beyond the liver and 4 mm; true and out-of-fold livers by turns in training",
        ),
    ),
    parameters=2 * 31_042_499,
)
