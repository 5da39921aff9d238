"""How a network is trained: every number that is not in the network itself.

`literal` and `practical` are the two readings of Elmenabawy et al., section
III.B (SGD, learning rate 1e-4, momentum 0.9, cross-entropy, 40 epochs, shuffle
every epoch, mini-batch 1000; L2 1e-4 is MATLAB's silent default).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from hepar.errors import BadInput


@dataclass(frozen=True)
class Augmentation:
    """Random changes of a training batch; all zeros leave it alone.

    Geometry (`rotate_degrees`, `scale`, `shift`, as shares of the image) hits
    images and labels alike; the rest only images. No flips: a left-right
    mirrored liver is not shown as normal anatomy.
    """

    rotate_degrees: float = 15
    scale: float = 0.2
    shift: float = 0.08
    elastic_px: float = 6
    contrast: float = 0.2
    brightness: float = 0.1
    gamma: float = 0.25
    noise: float = 0.06
    blur_share: float = 0.15
    # Share of images whose values below 0 HU are lost, as in 8-bit sets windowed from 0 HU.
    floor_share: float = 0.15


@dataclass(frozen=True)
class Recipe:
    """One training. `batch` images make one update, computed in pieces of `micro_batch`.

    `samples_per_epoch` draws that many slices with replacement and needs
    `sampling="patient_balanced"`; None means each slice once.
    """

    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    learning_rate: float = 1e-4
    # The encoder's rate as a share of `learning_rate`; 1 as in the paper, which fine-tunes all layers alike.
    encoder_share: float = 1.0
    momentum: float = 0.9
    weight_decay: float = 1e-4
    schedule: Literal["constant", "poly", "cosine"] = "constant"
    warmup_updates: int = 0
    epochs: int = 40
    batch: int = 20
    micro_batch: int = 10
    drop_last: bool = True
    loss: Literal["cross_entropy", "dice_cross_entropy"] = "cross_entropy"
    sampling: Literal["shuffle", "patient_balanced"] = "shuffle"
    slices: Literal["any_label", "all"] = "any_label"
    samples_per_epoch: int | None = None
    augmentation: Augmentation | None = None
    patch: int | None = None
    ema: float = 0.0
    precision: Literal["fp32", "bf16"] = "fp32"
    seed: int = 2018
    validation_share: float = 0.0
    validate_every: int = 1

    def __post_init__(self) -> None:
        if min(self.batch, self.micro_batch, self.epochs) < 1:
            raise BadInput("batch, micro_batch and epochs must be at least 1")
        if self.samples_per_epoch is not None and self.sampling != "patient_balanced":
            raise BadInput("samples_per_epoch needs sampling='patient_balanced'")

    def learning_rate_at(self, update: int, updates: int) -> float:
        """Learning rate of an update, counted from 0, out of `updates` in the whole training."""
        if update < self.warmup_updates:
            return self.learning_rate * (update + 1) / (self.warmup_updates + 1)
        done = update / max(1, updates)
        if self.schedule == "poly":
            return self.learning_rate * math.pow(1 - done, 0.9)
        if self.schedule == "cosine":
            return self.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
        return self.learning_rate


LITERAL = Recipe(batch=1000, micro_batch=8, drop_last=True)
# The same settings with a batch that gives some 25,000 updates on LiTS instead of 480.
PRACTICAL = Recipe(batch=20, micro_batch=10)
RECIPES = {"literal": LITERAL, "practical": PRACTICAL}
