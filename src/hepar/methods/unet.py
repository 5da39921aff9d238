"""The U-Net as published, on whole slices of 512 pixels, joint liver and tumour (Ronneberger et al. 2015).

Differs from the paper, which segments cells, where a CT asks for it:
convolutions are padded instead of tiling pictures of 572 pixels with mirrored
borders, and the loss is Dice and cross-entropy instead of weights at the
borders between touching cells. Rates follow later users (Adam, 1e-4, batches
of 8) instead of single pictures with a momentum of .99. Elastic deformation is
the paper's (a standard deviation of 10 pixels on a coarse mesh of 5 x 5 points
instead of 3 x 3); how far to rotate, shift and change grey values is ours. On
slices stored in -40..160 HU the window of -100..400 HU shows no more than that.
`batch_norm` is the U-Net as most build it today.
"""

from __future__ import annotations

from dataclasses import replace

from hepar.methods._card import Choices, MethodCard, Published
from hepar.nets.unet import Unet
from hepar.preprocess import InPlaneGrid, Window
from hepar.training.deep_method import DeepMethod
from hepar.training.recipe import NO_CHANGES, Recipe

method = DeepMethod(
    Unet(),
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
        augmentation=replace(NO_CHANGES, rotate_degrees=15, shift=0.08, elastic_px=10, warp_share=1.0, contrast=0.2),
    ),
)
variants = {"batch_norm": replace(method, network=Unet(batch_norm=True, dropout=0.0))}

CARD = MethodCard(
    title="U-Net: Convolutional networks for biomedical image segmentation",
    authors="Ronneberger, Fischer, Brox",
    year=2015,
    kind="2D joint",
    input="one slice of 512 x 512, -100..400 HU",
    published=(
        Published("liver", 0.95, "LiTS, server, by others", "a cascade of two, mean over cases; none of the authors'"),
        Published("tumour", 0.624, "LiTS, server, by others", "the same cascade; yet others report 0.348 and 0.613"),
    ),
    choices=Choices(
        documented=(
            "five levels of 64 to 1024 channels, 2x2 up-convolutions, no batch normalisation",
            "dropout at the end of the way down",
            "elastic deformation, rotation, shift, changed grey values",
        ),
        recommended=(
            "padded convolutions, whole slices of 512 x 512, window",
            "Dice and cross-entropy, Adam 1e-4, batches of 8, 40 epochs",
            "sizes of rotation, shift and contrast",
        ),
    ),
    parameters=31_030_723,
)
