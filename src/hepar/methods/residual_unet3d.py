"""A 3D U-Net with residual encoder on blocks of 128 voxels at 1.5 mm, for a GPU (ours, after nnU-Net's ResEnc).

Needs whole scans (or slices that lie evenly), and about 10 GB on the GPU;
`small` sees blocks of 96 with half the channels. Not yet measured against the
slice networks on real patients.
"""

from __future__ import annotations

from dataclasses import replace

from hepar.methods._card import Choices, MethodCard
from hepar.nets.residual_unet3d import ResidualUnet3d
from hepar.postprocess import FillLiverHoles, KeepLargestLiver
from hepar.preprocess import InPlaneGrid, Window
from hepar.training.deep_method3d import Deep3dMethod
from hepar.training.recipe import STRONG, Recipe

method = Deep3dMethod(
    ResidualUnet3d(),
    prepare=(Window(-40, 160),),
    grid=InPlaneGrid(pixel_mm=1.5, multiple=1),
    clean=(KeepLargestLiver(), FillLiverHoles()),
    recipe=Recipe(
        optimizer="adamw",
        learning_rate=1e-3,
        weight_decay=1e-2,
        schedule="cosine",
        warmup_updates=100,
        epochs=100,
        batch=2,
        micro_batch=2,
        loss="dice_cross_entropy",
        deep_supervision=0.5,
        sampling="patient_balanced",
        slices="all",
        samples_per_epoch=500,
        # Whole scans come with their Hounsfield units, not from pictures.
        augmentation=replace(STRONG, jpeg=None, levels=None),
        ema=0.999,
        precision="bf16",
        validation_share=0.15,
        validate_every=10,
    ),
)
small = ResidualUnet3d(side=96, width=0.5)
variants = {"small": replace(method, network=small)}

CARD = MethodCard(
    title="Residual U-Net on blocks",
    authors="hepar, after nnU-Net's residual encoder",
    year=2026,
    kind="3D joint, ours",
    input="blocks of 128 x 128 x 128 voxels of 1.5 mm, -40..160 HU",
    published=(),
    choices=Choices(
        documented=("a residual encoder and a light decoder, Dice and cross-entropy, deep supervision",),
        recommended=("widths, voxels, AdamW 1e-3, 100 epochs of 500 blocks", "mean of the weights, bf16"),
    ),
    parameters=46_079_756,
)
