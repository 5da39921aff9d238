"""SegResNet, a residual encoder-decoder for blocks (Myronenko 2018), as MONAI builds it; needs `hepar[monai]`.

MONAI's recipe for abdominal CT: -175..250 HU, voxels of 2 x 1.5 x 1.5 mm,
AdamW. Its variational branch is left out, as MONAI's usual network does.
Differs from MONAI's: pictures are turned and scaled in plane and never
mirrored; blocks lie around tumour, liver and anywhere; batches of 2 blocks of
128 voxels, 50,000 updates. Needs whole scans or slices that lie evenly, and a GPU
for its full size; 8-bit pictures of -40..160 HU have nothing beyond.
"""

from __future__ import annotations

from dataclasses import replace

from hepar.methods._card import Choices, MethodCard, Published
from hepar.nets.from_monai import SegResnet3d
from hepar.postprocess import KeepLargestLiver
from hepar.preprocess import InPlaneGrid, Window
from hepar.training.deep_method3d import Deep3dMethod
from hepar.training.recipe import NO_CHANGES, Recipe

method = Deep3dMethod(
    SegResnet3d(),
    prepare=(Window(-175, 250),),
    grid=InPlaneGrid(pixel_mm=1.5, multiple=1),
    clean=(KeepLargestLiver(),),
    recipe=Recipe(
        optimizer="adamw",
        learning_rate=2e-4,
        weight_decay=1e-5,
        schedule="cosine",
        warmup_updates=500,
        epochs=200,
        batch=2,
        micro_batch=1,
        loss="dice_cross_entropy",
        sampling="patient_balanced",
        slices="all",
        samples_per_epoch=500,
        precision="bf16",
        augmentation=replace(
            NO_CHANGES, rotate_degrees=15, scale=0.2, warp_share=0.5, contrast=0.1, brightness=0.1, noise=0.02
        ),
    ),
)
variants = {"small": replace(method, network=SegResnet3d(side=96, width=0.5))}

CARD = MethodCard(
    title="3D MRI brain tumor segmentation using autoencoder regularization",
    authors="Myronenko",
    year=2018,
    kind="3D joint",
    input="blocks of 128 voxels of 2 x 1.5 x 1.5 mm, -175..250 HU",
    published=(
        Published("liver", None, "LiTS, 131 cases, 5 folds", "mean of liver and tumour 0.793, by Auto3DSeg"),
        Published("tumour", None, "LiTS, 131 cases, 5 folds", "the same"),
    ),
    choices=Choices(
        documented=("network: 32 filters, blocks 1, 2, 2, 4 down and 1, 1, 1 up, groups of 8", "AdamW, Dice and CE"),
        recommended=("window and voxels of MONAI's abdominal recipes", "rate 2e-4, cosine, 50,000 updates"),
    ),
    parameters=18_796_035,
)
