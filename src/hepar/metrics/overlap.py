"""How much two masks share.

One empty rule for all: what both leave empty is not defined (NaN, to be left
out of a mean and counted); where exactly one is empty, nothing is shared.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hepar.errors import BadInput
from hepar.metrics.structures import Mask


@dataclass(frozen=True)
class Counts:
    """Voxels of the truth, of what was found, and of both at once: all that overlap measures need."""

    truth: int
    found: int
    both: int

    @property
    def either(self) -> int:
        return self.truth + self.found - self.both

    @property
    def dice(self) -> float:
        """2 |both| / (|truth| + |found|); 0 when exactly one is empty, NaN when both are."""
        return _ratio(2 * self.both, self.truth + self.found)

    @property
    def iou(self) -> float:
        """|both| / |either|, also called Jaccard; 0 when exactly one is empty, NaN when both are."""
        return _ratio(self.both, self.either)

    @property
    def voe(self) -> float:
        """Volumetric overlap error, 1 - IoU; 1 when exactly one is empty, NaN when both are."""
        return 1 - self.iou

    @property
    def relative_volume_difference(self) -> float:
        """(|found| - |truth|) / |truth|: above 0 where too much was found, -1 where nothing was.

        NaN without truth. The sign is that of Heimann et al. 2009 (IEEE TMI
        28(8)) and of medpy's `ravd`; the official LiTS scorer swaps the two.
        """
        return _ratio(self.found - self.truth, self.truth)


def counts(truth: Mask, found: Mask) -> Counts:
    """Count two masks of one shape (z, y, x).

    Raises BadInput when the shapes differ.
    """
    if truth.shape != found.shape:
        raise BadInput(f"found masks of shape {truth.shape} and {found.shape}; compare masks on one grid")
    # Slice by slice, so that the intersection never leaves the processor's cache.
    both = sum(int(np.count_nonzero(here & there)) for here, there in zip(truth, found, strict=True))
    return Counts(int(np.count_nonzero(truth)), int(np.count_nonzero(found)), both)


def dice(truth: Mask, found: Mask) -> float:
    """2 |truth and found| / (|truth| + |found|) of two masks on one grid.

    0 when exactly one of them is empty; NaN, not defined, when both are.
    """
    return counts(truth, found).dice


def iou(truth: Mask, found: Mask) -> float:
    """As `Counts.iou`."""
    return counts(truth, found).iou


def voe(truth: Mask, found: Mask) -> float:
    """As `Counts.voe`."""
    return counts(truth, found).voe


def relative_volume_difference(truth: Mask, found: Mask) -> float:
    """As `Counts.relative_volume_difference`."""
    return counts(truth, found).relative_volume_difference


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
