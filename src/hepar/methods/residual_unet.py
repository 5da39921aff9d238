"""A U-Net with residual encoder on one or several slices, trained from scratch (ours, after nnU-Net's ResEnc).

Works at 1.5 mm in plane on a window of -40..160 HU, as `squeeze_unet` does.
Default 32 GFLOP per slice of 512x512 and 11.5 MB in half precision; `fast`
9 GFLOP and 4.6 MB. Variants with several slices see neighbours `step_mm` apart
and label the middle one.
"""

from __future__ import annotations

from dataclasses import replace

from hepar.methods._card import Choices, MethodCard
from hepar.nets.residual_unet import ResidualUnet
from hepar.postprocess import FillLiverHoles, KeepLargestLiver
from hepar.preprocess import InPlaneGrid, Window
from hepar.training.deep_method import DeepMethod
from hepar.training.recipe import STRONG, Recipe

network = ResidualUnet()
# Halves the image at once: twice the images a second in training for about the same GFLOP, at half the detail.
halved = ResidualUnet(stem=2, channels=(32, 64, 128, 192, 224), blocks=(2, 2, 3, 2, 2))
fast = ResidualUnet(stem=2, channels=(24, 32, 64, 128, 160), blocks=(1, 2, 2, 2, 2))

method = DeepMethod(
    network,
    prepare=(Window(-40, 160),),
    grid=InPlaneGrid(pixel_mm=1.5),
    clean=(KeepLargestLiver(), FillLiverHoles()),
    encoder_weights="none",
    recipe=Recipe(
        optimizer="adamw",
        learning_rate=2e-3,
        weight_decay=1e-2,
        schedule="cosine",
        warmup_updates=50,
        epochs=12,
        batch=12,
        micro_batch=12,
        loss="dice_cross_entropy",
        deep_supervision=0.5,
        sampling="patient_balanced",
        slices="all",
        samples_per_epoch=1200,
        augmentation=STRONG,
        patch=256,
        ema=0.995,
        precision="bf16",
        validation_share=0.15,
        validate_every=2,
    ),
)
variants = {
    "slices3": replace(method, network=replace(network, slices=3)),
    "slices5": replace(method, network=replace(network, slices=5)),
    "slices7": replace(method, network=replace(network, slices=7)),
    "halved": replace(method, network=halved),
    "fast": replace(method, network=fast),
    "fast_slices3": replace(method, network=replace(fast, slices=3)),
    "plain": replace(method, recipe=replace(method.recipe, deep_supervision=0.0)),
}

CARD = MethodCard(
    title="Residual U-Net on slices",
    authors="hepar, after nnU-Net's residual encoder",
    year=2026,
    kind="2D joint, ours",
    input="one slice at 1.5 mm, -40..160 HU; `slices3` to `slices7` see neighbours",
    published=(),
    choices=Choices(
        documented=("a residual encoder and a light decoder, Dice and cross-entropy, deep supervision",),
        recommended=("widths, pixels, AdamW 2e-3, 12 epochs of 1200 patches of 256", "mean of the weights, bf16"),
    ),
    parameters=5_746_988,
)
