"""The three structures that are scored, and which labels belong to each."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hepar.volume import LIVER, LabelMap

Mask = NDArray[np.bool_]
Structure = Literal["liver", "liver_exclusive", "tumour"]
LabelStatus = Literal["full", "liver_union"]

STRUCTURES: tuple[Structure, ...] = ("liver", "liver_exclusive", "tumour")


def mask_of(labels: LabelMap, structure: Structure) -> Mask:
    """ "liver": labels 1 and 2, as LiTS scores it; "liver_exclusive": label 1 alone; "tumour": label 2."""
    if structure == "liver":
        return labels.liver
    if structure == "tumour":
        return labels.tumour
    return np.asarray(labels.labels == LIVER)


def scored_structures(status: LabelStatus) -> tuple[Structure, ...]:
    """What a truth can judge: label 1 of a "liver_union" truth may hide tumour, so only the union counts."""
    return STRUCTURES if status == "full" else ("liver",)
