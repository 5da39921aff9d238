"""Swin UNETR, windows of attention in a U-Net for blocks (Hatamizadeh et al. 2022), from MONAI; needs `hepar[monai]`.

The recipe that its authors published for abdominal CT: -175..250 HU, voxels
of 2 x 1.5 x 1.5 mm, blocks of 96, AdamW 1e-4. Weights start at random: the
published ones were learned from other scans. Differs from theirs: no mirrored
and no upright-turned pictures; blocks lie around tumour, liver and anywhere;
largest liver component. Needs whole scans or slices that lie evenly, and a GPU;
8-bit pictures of -40..160 HU have nothing beyond.
"""

from __future__ import annotations

from dataclasses import replace

from hepar.methods import segresnet
from hepar.methods._card import Choices, MethodCard, Published
from hepar.nets.from_monai import SwinUnetr3d
from hepar.training.recipe import NO_CHANGES

method = replace(
    segresnet.method,
    network=SwinUnetr3d(),
    recipe=replace(
        segresnet.method.recipe,
        learning_rate=1e-4,
        # Theirs shift grey by up to a tenth in half of the blocks.
        augmentation=replace(NO_CHANGES, rotate_degrees=10, scale=0.1, warp_share=0.2, brightness=0.1),
    ),
)
variants = {"small": replace(method, network=SwinUnetr3d(width=0.5))}

CARD = MethodCard(
    title="Swin UNETR: Swin transformers for semantic segmentation of brain tumors in MRI images",
    authors="Hatamizadeh, Nath, Tang, Yang, Roth, Xu",
    year=2022,
    kind="3D joint, transformer",
    input="blocks of 96 voxels of 2 x 1.5 x 1.5 mm, -175..250 HU",
    published=(
        Published(
            "liver", 0.9535, "LiTS as Task03 of MSD, its server", "ensemble with other weights to start, recalled"
        ),
        Published("tumour", 0.7568, "LiTS as Task03 of MSD, its server", "the same"),
        Published("liver", None, "LiTS, 131 cases, 5 folds", "mean of liver and tumour 0.765, one network"),
    ),
    choices=Choices(
        documented=(
            "48 features, depths 2, 2, 2, 2, heads 3, 6, 12, 24, windows of 7, blocks of 96",
            "AdamW 1e-4, decay 1e-5, warm-up and cosine, Dice and cross-entropy; window and voxels",
        ),
        recommended=("no mirroring", "50,000 updates of 2 blocks", "random start"),
    ),
    parameters=62_186_757,
)
