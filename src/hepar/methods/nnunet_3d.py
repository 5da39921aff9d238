"""nnU-Net's plan for blocks at full resolution, with its residual encoder (Isensee et al. 2021 and 2024), written anew.

The rules of `nnunet_2d` on blocks; for LiTS these are 128 x 128 x 128 voxels of
1 x 0.77 x 0.77 mm, batches of 2 and six stages. Slices far thicker than pixels
make flat blocks, and kernels and strides that leave z alone at first. Needs whole
scans or slices that lie evenly. Default the preset ResEnc M (GPU of 8 GB), `large` L (24 GB), `small` an
eighth of M's memory.

Differs from the program as `nnunet_2d` does; besides, pictures are turned and
scaled in plane only, along z labels are resampled like the rest, and there is
no second network for low resolution.
"""

from __future__ import annotations

from dataclasses import replace

from hepar.methods import nnunet_2d
from hepar.methods._card import Choices, MethodCard, Published
from hepar.training.planning import RESENC_L, RESENC_M

method = replace(
    nnunet_2d.method,
    dims=3,
    recipe=replace(nnunet_2d.method.recipe, batch=2, micro_batch=2, patch_on_label=0.0),
)
variants = {
    "large": replace(method, memory=RESENC_L),
    "small": replace(method, memory=RESENC_M.times(1 / 8)),
}

CARD = MethodCard(
    title="nnU-Net revisited: a call for rigorous validation in 3D medical image segmentation",
    authors="Isensee, Wald, Ulrich, Baumgartner, Roy, Maier-Hein, Jaeger",
    year=2024,
    kind="3D joint, planned from the data",
    input="blocks at the median spacing, cut to the labels' 0.5 to 99.5 percentile, mean 0 and spread 1",
    published=(
        Published("liver", 0.958, "LiTS as Task03 of MSD, its server", "ensemble of 2019, as recalled"),
        Published("tumour", 0.760, "LiTS as Task03 of MSD, its server", "the same"),
        Published("liver", None, "LiTS, 131 cases, 5 folds", "mean of liver and tumour 0.808 (M), 0.816 (L)"),
    ),
    choices=Choices(
        documented=(
            "planning rules; 32 to 320 channels; blocks 1, 3, 4, 6, 6, 6; deep supervision halved each level",
            "SGD 0.01, Nesterov 0.99, decay 3e-5, poly 0.9, 1000 epochs of 250 batches; gradients up to 12",
            "Dice and cross-entropy alike; a third of the blocks around a label",
            "overlap of one half under a Gaussian",
        ),
        recommended=("no mirroring", "strength of the grey changes", "bf16", "largest component kept"),
    ),
    parameters=102_349_612,
)
