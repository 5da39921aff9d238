"""nnU-Net's plan for slices, with its residual encoder (Isensee et al. 2021 and 2024), written anew.

Window, normalisation, pixel size, patch, stages and batch follow from the
training cases by the published rules (`training.planning`); for LiTS these are
512 x 512 pixels, batches of 12 and eight stages. Default the preset ResEnc M
(GPU of 8 GB), `large` L (24 GB), `small` an eighth of M's memory: smaller patches, the same network.
Slices of pictures that were windowed before (-40..160 HU) have no values beyond; the percentiles then say so.

Differs from the program: no mirrored pictures, neither in training nor averaged
when segmenting, and rotations up to 30 degrees: a mirrored liver lies on the
wrong side. Grey values keep 8 bits over the window (less than 1 HU a level on
LiTS). Changes of grey hit every picture a little instead of some much; the liver's Dice counts tumours as
liver, as everywhere here. Whole slices are segmented at once. Scores start at zero. Linear instead of cubic
resampling. The largest component of liver and tumour is kept, as its own search found for LiTS.
"""

from __future__ import annotations

from dataclasses import replace

from hepar.methods._card import Choices, MethodCard, Published
from hepar.postprocess import KeepLargestLiver
from hepar.training.augment_steps import Blur, GrainNoise, LowResolution
from hepar.training.planned_method import PlannedMethod
from hepar.training.planning import RESENC_L, RESENC_M
from hepar.training.recipe import NO_CHANGES, Recipe

method = PlannedMethod(
    dims=2,
    clean=(KeepLargestLiver(),),
    recipe=Recipe(
        optimizer="sgd",
        learning_rate=1e-2,
        momentum=0.99,
        nesterov=True,
        weight_decay=3e-5,
        schedule="poly",
        epochs=1000,
        batch=12,
        micro_batch=6,
        clip_norm=12.0,
        loss="dice_cross_entropy",
        deep_supervision=0.5,
        sampling="third_labelled",
        slices="all",
        patch_on_label=1 / 3,
        precision="bf16",
        augmentation=replace(
            NO_CHANGES,
            rotate_degrees=30,
            scale=0.4,
            # One in five is turned and one in five scaled there.
            warp_share=0.36,
            contrast=0.1,
            brightness=0.05,
            gamma=0.15,
            blur=Blur(share=0.2, largest_px=1.0),
            low_resolution=LowResolution(share=0.25, largest_factor=2.0),
            grain=GrainNoise(share=0.1, sigma=0.06, grain_px=0.5),
        ),
    ),
)
variants = {
    "large": replace(method, memory=RESENC_L),
    "small": replace(method, memory=RESENC_M.times(1 / 8)),
}

CARD = MethodCard(
    title="nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation",
    authors="Isensee, Jaeger, Kohl, Petersen, Maier-Hein",
    year=2021,
    kind="2D joint, planned from the data",
    input="one slice at the median pixel size, cut to the labels' 0.5 to 99.5 percentile, mean 0 and spread 1",
    published=(
        Published("liver", None, "LiTS, 131 cases, 5 folds", "2D alone not published with the residual encoder"),
        Published("tumour", None, "LiTS, 131 cases, 5 folds", "3D: mean of liver and tumour 0.808 (M)"),
    ),
    choices=Choices(
        documented=(
            "planning rules; 32 to 512 channels; blocks 1, 3, 4, 6, 6, ...; deep supervision halved each level",
            "SGD 0.01, Nesterov 0.99, decay 3e-5, poly 0.9, 1000 epochs of 250 batches; gradients up to 12",
            "Dice and cross-entropy alike; a third of the pictures around a label",
        ),
        recommended=("no mirroring", "strength of the grey changes", "bf16", "largest component kept"),
    ),
    parameters=140_017_522,
)
