"""How a network is trained: every number that is not in the network itself.

`literal` and `practical` are the two readings of Elmenabawy et al., section
III.B (SGD, learning rate 1e-4, momentum 0.9, cross-entropy, 40 epochs, shuffle
every epoch, mini-batch 1000; L2 1e-4 is MATLAB's silent default).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, Literal

from hepar.errors import BadInput
from hepar.training.augment_steps import Blur, GrainNoise, Jpeg, Levels, LowResolution, ThickSlices, WindowJitter
from hepar.training.synthesis import LesionSynthesis


@dataclass(frozen=True)
class Augmentation:
    """Random changes of a training batch; all zeros and None (`NO_CHANGES`) leave it exactly as it is.

    Geometry (`rotate_degrees`, `shear_degrees`, `scale`, `shift` as shares of
    the image, `elastic_px`) moves `warp_share` of the images with their
    labels; the rest changes images only. No flips: a left-right mirrored liver
    is not shown as normal anatomy, and no scanner turns patients upside down
    after the axial view was found. Steps may be given as their JSON settings.
    """

    rotate_degrees: float = 15
    shear_degrees: float = 0
    scale: float = 0.2
    shift: float = 0.08
    elastic_px: float = 6
    warp_share: float = 1.0
    contrast: float = 0.2
    brightness: float = 0.1
    gamma: float = 0.25
    noise: float = 0.06
    # Share of images averaged over 3x3 pixels.
    blur_share: float = 0.15
    # Share of images whose values below 0 HU are lost, as in 8-bit sets windowed from 0 HU.
    floor_share: float = 0.15
    thick_slices: ThickSlices | None = None
    blur: Blur | None = None
    low_resolution: LowResolution | None = None
    window: WindowJitter | None = None
    grain: GrainNoise | None = None
    levels: Levels | None = None
    jpeg: Jpeg | None = None

    def __post_init__(self) -> None:
        for name, kind in STEPS.items():
            if isinstance(value := getattr(self, name), dict):
                object.__setattr__(self, name, kind(**value))

    @property
    def moves(self) -> bool:
        """Whether geometry changes at all."""
        reaches = (self.rotate_degrees, self.shear_degrees, self.scale, self.shift, self.elastic_px)
        return self.warp_share > 0 and any(reaches)


STEPS: dict[str, Any] = {
    "thick_slices": ThickSlices,
    "blur": Blur,
    "low_resolution": LowResolution,
    "window": WindowJitter,
    "grain": GrainNoise,
    "levels": Levels,
    "jpeg": Jpeg,
}
NO_CHANGES = Augmentation(**dict.fromkeys((f.name for f in fields(Augmentation) if f.name not in STEPS), 0))  # type: ignore[arg-type]
STRONG = Augmentation(shear_degrees=5, **{name: step() for name, step in STEPS.items()})


@dataclass(frozen=True)
class Recipe:
    """One training. `batch` images make one update, computed in pieces of `micro_batch`.

    `samples_per_epoch` draws that many slices with replacement; under the
    `sampling` "shuffle", which shows each slice once, it ends an epoch after so many.
    """

    optimizer: Literal["sgd", "adam", "adamw", "rmsprop"] = "sgd"
    learning_rate: float = 1e-4
    # The encoder's rate as a share of `learning_rate`; 1 as in the paper, which fine-tunes all layers alike.
    encoder_share: float = 1.0
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 1e-4
    # "tenth_less": a tenth less after each epoch (Han 2017).
    schedule: Literal["constant", "poly", "cosine", "tenth_less"] = "constant"
    warmup_updates: int = 0
    epochs: int = 40
    batch: int = 20
    micro_batch: int = 10
    drop_last: bool = True
    # The largest norm of an update's gradient, over all weights; 0 leaves gradients as they are.
    clip_norm: float = 0.0
    # "joint_dice" is for networks of two answers (`nets.two_answers`): a Dice for each.
    loss: Literal["cross_entropy", "dice_cross_entropy", "soft_dice", "joint_dice"] = "cross_entropy"
    # The cross-entropy of a pixel times its label's weight; empty means 1 for all. The mean is still over pixels.
    label_weights: tuple[float, ...] = ()
    # Cross-entropy of a pixel times (1 - p)^focal: what is learned already counts less (Lin et al. 2017).
    focal: float = 0.0
    # Share of the batch's pixels, the hardest ones, whose cross-entropy counts.
    top_k: float = 1.0
    # The tumour's Dice: pooled over the batch, or a mean of slices, all of them or those with tumour.
    tumour_dice: Literal["batch", "slices", "slices_with_tumour"] = "batch"
    # Logits of each coarser level count this share of the next finer's; the network must have deep heads.
    deep_supervision: float = 0.0
    # "third_labelled": patients alike, a third of the draws with a label (nnU-Net).
    sampling: Literal["shuffle", "patient_balanced", "third_labelled"] = "shuffle"
    slices: Literal["any_label", "all"] = "any_label"
    samples_per_epoch: int | None = None
    augmentation: Augmentation | None = None
    # Lesions painted into training slices; the images must be -40..160 HU and nothing else done to them.
    synthesis: LesionSynthesis | None = None
    patch: int | None = None
    # Share of patches laid around a labelled pixel, of a tumour where there is one; the others lie anywhere.
    patch_on_label: float = 0.0
    ema: float = 0.0
    precision: Literal["fp32", "bf16"] = "fp32"
    seed: int = 2018
    # Patients held back for inner validation: a share, drawn by tumour burden, or these.
    validation_share: float = 0.0
    inner_patients: tuple[str, ...] = ()
    validate_every: int = 1

    def __post_init__(self) -> None:
        for name in ("inner_patients", "label_weights"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # JSON gives lists
        if min(self.batch, self.micro_batch, self.epochs) < 1:
            raise BadInput("batch, micro_batch and epochs must be at least 1")
        if self.focal < 0 or not 0 < self.top_k <= 1 or not 0 <= self.deep_supervision <= 1:
            raise BadInput(
                f"focal is {self.focal}, top_k {self.top_k}, deep_supervision {self.deep_supervision}; expected focal "
                "from 0, a top_k above 0 up to 1, deep_supervision from 0 to 1"
            )
        if self.label_weights and (len(self.label_weights) != 3 or min(self.label_weights) < 0):
            raise BadInput(f"label_weights are {self.label_weights}; expected three numbers from 0, or none")

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Recipe:
        """What `asdict` gave; settings missing there take their defaults. Raises TypeError for unknown ones."""
        changes, painted = row.get("augmentation"), row.get("synthesis")
        return cls(
            **row
            | {"augmentation": Augmentation(**changes) if changes else None}
            | {"synthesis": LesionSynthesis(**painted) if painted else None}
        )

    def learning_rate_at(self, update: int, updates: int) -> float:
        """Learning rate of an update, counted from 0, out of `updates` in the whole training."""
        if update < self.warmup_updates:
            return self.learning_rate * (update + 1) / (self.warmup_updates + 1)
        done = update / max(1, updates)
        if self.schedule == "poly":
            return self.learning_rate * math.pow(1 - done, 0.9)
        if self.schedule == "cosine":
            return self.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
        if self.schedule == "tenth_less":
            # Whole epochs: a share like 0.29 * 100 must not round to below 29.
            return self.learning_rate * 0.9 ** (update * self.epochs // max(1, updates))
        return self.learning_rate


LITERAL = Recipe(batch=1000, micro_batch=8, drop_last=True)
# The same settings with a batch that gives some 25,000 updates on LiTS instead of 480.
PRACTICAL = Recipe(batch=20, micro_batch=10)
RECIPES = {"literal": LITERAL, "practical": PRACTICAL}
