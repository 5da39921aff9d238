"""A method made small enough to learn one phantom in seconds: what a contract test and a first try run."""

from __future__ import annotations

from dataclasses import replace

from hepar.preprocess import InPlaneGrid
from hepar.training.deep_method import DeepMethod

# Losses that belong to a network's way of answering stay; others give way to the one that learns fastest.
OWN_LOSSES = ("joint_dice",)
# The fastest rates that do not make tiny networks diverge; a network without normalisation (`batch_norm` False) dies
# of the first.
RATE, RATE_WITHOUT_NORM = 1e-2, 2e-3


def by_heart(method: DeepMethod, epochs: int = 22) -> DeepMethod:
    """The same method with a tenth of the channels, pictures of 64 pixels and ten updates of four slices an epoch."""
    recipe = replace(
        method.recipe,
        optimizer="adam",
        learning_rate=RATE if getattr(method.network, "batch_norm", True) else RATE_WITHOUT_NORM,
        encoder_share=1.0,
        weight_decay=0.0,
        schedule="cosine",
        warmup_updates=0,
        epochs=epochs,
        batch=4,
        micro_batch=4,
        loss=method.recipe.loss if method.recipe.loss in OWN_LOSSES else "dice_cross_entropy",
        sampling="patient_balanced",
        samples_per_epoch=40,
        augmentation=None,
        synthesis=None,
        patch=None,
        ema=0.0,
        precision="fp32",
        validation_share=0.0,
    )
    # Dropout forgets what is to be learned by heart.
    smaller = {"width": 0.1} | ({"dropout": 0.0} if hasattr(method.network, "dropout") else {})
    network = replace(method.network, **smaller)  # type: ignore[type-var]
    return replace(method, network=network, grid=InPlaneGrid(matrix=64), recipe=recipe, encoder_weights="none")
