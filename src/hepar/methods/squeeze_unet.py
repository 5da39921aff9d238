"""SqueezeNet encoder, light U-Net decoder, three slices, 1 mm pixels, 1.46 M parameters (ours).

Works at 1 mm in plane whatever the scan's pixels, on a window of -40..160 HU
(that of the 8-bit slices it was trained on). The slices 2.5 mm below and
above the labelled one take the places of two of ImageNet's colours. Trained
on patches around labelled pixels, with balanced sampling over patients, Dice +
cross-entropy that respects union labels, painted lesions, the changes of an
acquisition and weight averaging. Every choice against its alternative: see
studies/experiments. `fast` sees single slices at 1.5 mm, `first` is the recipe
of the first shipped model; the other variants leave one thing out.
"""

from __future__ import annotations

from dataclasses import replace

from hepar.methods._card import Choices, MethodCard
from hepar.nets.cdnn_squeeze import CdnnSqueeze
from hepar.postprocess import FillLiverHoles, KeepLargestLiver
from hepar.preprocess import EqualizeHistogram, InPlaneGrid, MedianInPlane, Window
from hepar.training.deep_method import DeepMethod
from hepar.training.recipe import STRONG, Augmentation, Recipe
from hepar.training.synthesis import LesionSynthesis
from hepar.training.two_pass import TwoPassMethod

window = Window(-40, 160)
network = CdnnSqueeze(decoder="unet", slices=3)
recipe = Recipe(
    optimizer="adamw",
    learning_rate=2e-3,
    # At the full rate the encoder's last maps grow by 10^4 within two epochs and forget ImageNet.
    encoder_share=0.1,
    weight_decay=1e-2,
    schedule="cosine",
    warmup_updates=50,
    epochs=30,
    batch=12,
    micro_batch=12,
    loss="dice_cross_entropy",
    sampling="patient_balanced",
    slices="all",
    samples_per_epoch=1200,
    augmentation=STRONG,
    synthesis=LesionSynthesis(share=0.4),
    patch=256,
    patch_on_label=0.8,
    ema=0.995,
    precision="bf16",
    validation_share=0.2,
    validate_every=5,
)
method = DeepMethod(
    network,
    prepare=(window,),
    grid=InPlaneGrid(pixel_mm=1.0),
    clean=(KeepLargestLiver(), FillLiverHoles()),
    recipe=recipe,
)
without_synthesis = replace(recipe, synthesis=None)
fast = replace(method, network=replace(network, slices=1), grid=InPlaneGrid(pixel_mm=1.5))
variants = {
    "fast": fast,
    "first": replace(
        method,
        network=replace(network, slices=1),
        grid=InPlaneGrid(pixel_mm=1.5),
        recipe=replace(
            without_synthesis, augmentation=Augmentation(), patch_on_label=0.0, epochs=22, validation_share=0.15
        ),
    ),
    # The second pass sees the liver's box in finer pixels; the first one is `fast`.
    "two_pass": TwoPassMethod(
        replace(fast, recipe=replace(recipe, epochs=10)),
        replace(method, grid=InPlaneGrid(pixel_mm=0.75), recipe=replace(recipe, epochs=20)),
    ),
    "single": replace(method, network=replace(network, slices=1)),
    "no_synthesis": replace(method, recipe=without_synthesis),
    "scratch": replace(method, encoder_weights="none"),
    # The painter knows -40..160 HU only, so this one is to be compared with no_synthesis.
    "equalised": replace(method, prepare=(window, EqualizeHistogram(), MedianInPlane(3)), recipe=without_synthesis),
}

CARD = MethodCard(
    title="The shipped model: a light U-Net on SqueezeNet",
    authors="hepar",
    year=2026,
    kind="2.5D joint, ours",
    input="three slices 2.5 mm apart at 1 mm, -40..160 HU",
    published=(),
    choices=Choices(
        documented=("every choice measured against its alternative: studies/experiments",),
        recommended=(
            "SqueezeNet v1.1 with ImageNet weights, a tenth of the rate for it",
            "AdamW 2e-3, 30 epochs of 1200 patches of 256, painted lesions, changes of an acquisition",
            "mean of the weights, bf16",
        ),
    ),
    parameters=1_459_523,
)
