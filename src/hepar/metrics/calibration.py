"""Whether a probability of .8 is right eight times of ten.

Reliability curve and expected calibration error: Naeini et al. 2015 (AAAI 29,
"Obtaining well calibrated probabilities using Bayesian binning"), with the
equal, upper-closed bins of Guo et al. 2017 (ICML, section 2, 15 bins). What is
binned is the probability of the structure itself at each voxel, not that of
the more likely class, so the curve runs from 0 to 1.

Call it on `liver_region` of both maps, not on the whole scan. Nine tenths of a
scan are air and muscle, for which every network is sure and right; they would
fill the lowest bin and bring any error near 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepar.errors import BadInput
from hepar.metrics.crop import Box, box_of
from hepar.metrics.structures import Mask
from hepar.volume import LabelMap, require_same_grid


@dataclass(frozen=True, eq=False)
class Curve:
    """Per bin: mean probability, share of voxels where it was so (both NaN in an empty bin), and voxels."""

    confidence: NDArray[np.float64]
    frequency: NDArray[np.float64]
    voxels: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Reliability:
    """Voxels by probability: bin m of n holds those above m / n up to (m + 1) / n, the first one 0 as well.

    `voxels` counts them, `confidence` sums their probability, `outcome` counts
    those where the structure is. Add the values of several scans, then read
    `ece` and `curve`.
    """

    voxels: NDArray[np.int64]
    confidence: NDArray[np.float64]
    outcome: NDArray[np.int64]

    @property
    def ece(self) -> float:
        """Expected calibration error: mean over voxels of |frequency - mean probability| of their bin.

        0 is perfect, 1 the worst; NaN without voxels.
        """
        total = int(self.voxels.sum())
        return float(np.abs(self.outcome - self.confidence).sum()) / total if total else math.nan

    def curve(self) -> Curve:
        """The reliability curve; on the diagonal where frequency equals confidence."""
        some = np.where(self.voxels > 0, self.voxels, np.nan)
        return Curve(self.confidence / some, self.outcome / some, self.voxels)

    def __add__(self, other: Reliability) -> Reliability:
        """Both scans' voxels together. Raises BadInput when their bins differ."""
        if len(self.voxels) != len(other.voxels):
            raise BadInput(f"found {len(self.voxels)} and {len(other.voxels)} bins; add reliabilities of equal bins")
        return Reliability(self.voxels + other.voxels, self.confidence + other.confidence, self.outcome + other.outcome)


def reliability(probability: NDArray[np.floating[Any]], outcome: Mask, bins: int = 15) -> Reliability:
    """Bin the probabilities (any shape, floats from 0 to 1) of voxels by whether the structure is there.

    Raises BadInput for arrays of different shapes, an outcome that is no mask,
    probabilities that are no floats, not numbers or outside 0 to 1, or less than one bin.
    """
    _check(probability, outcome, bins)
    voxels, hits = np.zeros(bins, np.int64), np.zeros(bins, np.int64)
    confidence = np.zeros(bins)
    # Slice by slice: sums need float64, and a whole scan of it is a gigabyte.
    for p, there in zip(np.atleast_2d(probability), np.atleast_2d(outcome), strict=True):
        values = np.asarray(p, np.float64).ravel()
        if not (values.size == 0 or (values.min() >= 0 and values.max() <= 1)):
            worst = "a value that is no number" if np.isnan(values).any() else f"{values.min():g} to {values.max():g}"
            raise BadInput(f"found {worst} among the probabilities; expected 0 to 1. Pass softmax, not logits")
        place = np.clip(np.ceil(values * bins).astype(np.int64) - 1, 0, bins - 1)
        voxels += np.bincount(place, minlength=bins)
        confidence += np.bincount(place, weights=values, minlength=bins)
        hits += np.bincount(place[there.ravel()], minlength=bins)
    return Reliability(voxels, confidence, hits)


def liver_region(truth: LabelMap, found: LabelMap) -> Box:
    """The box (z, y, x) around the livers, tumours included, of both maps; empty when neither has one.

        box = liver_region(truth, found)
        reliability(tumour_probability[box], truth.tumour[box])

    Both maps' livers: what was found outside the true liver must cost something.
    Raises GeometryMismatch when they lie on different grids.
    """
    require_same_grid(truth, found)
    return box_of(truth.labels, found.labels)


def _check(probability: NDArray[Any], outcome: NDArray[Any], bins: int) -> None:
    if probability.shape != outcome.shape:
        raise BadInput(
            f"found probabilities of shape {probability.shape} and a mask of {outcome.shape}; cut both alike"
        )
    if outcome.dtype != np.bool_:
        raise BadInput(f"found an outcome of {outcome.dtype}; expected a mask (bool), such as `truth.tumour`")
    if not np.issubdtype(probability.dtype, np.floating):
        raise BadInput(f"found probabilities of {probability.dtype}; expected floats from 0 to 1")
    if bins < 1:
        raise BadInput(f"found {bins} bins; expected 1 or more")
