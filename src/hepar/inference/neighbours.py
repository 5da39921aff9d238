"""Which slices a network sees besides the one it labels (2.5D)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hepar.errors import BadInput

# A slice further away than this shows other anatomy (thick slices of every second kept lie 10 mm apart).
FARTHEST_MM = 12.5


@dataclass(frozen=True)
class Neighbours:
    """`slices` channels, the labelled slice in the middle, `step_mm` between them. Raises BadInput.

    Millimetres, not slices: a network then sees the same anatomy whatever the
    scan's slice spacing.
    """

    slices: int = 1
    step_mm: float = 2.5

    def __post_init__(self) -> None:
        if self.slices < 1 or self.slices % 2 == 0:
            raise BadInput(f"{self.slices} slices have no middle one; give an odd number")
        if not (math.isfinite(self.step_mm) and self.step_mm > 0):
            raise BadInput(f"step between slices is {self.step_mm} mm; expected a number above 0")

    def of(self, count: int, spacing_mm: float) -> NDArray[np.int64]:
        """`at` for `count` slices that far apart."""
        return self.at(np.arange(count, dtype=np.float64) * spacing_mm)

    def within(self, rows: slice) -> Neighbours:
        """The rule for these slices of the scan alone."""
        del rows
        return self

    def at(self, heights_mm: NDArray[np.float64]) -> NDArray[np.int64]:
        """Slice numbers (count, slices) around each of the slices that lie at these ascending heights.

        The nearest slice to each step. Where slices lie further apart than the
        step the next slice stands in: the same slice again would say nothing. Past
        an edge, or where the next slice lies more than `FARTHEST_MM` a step away,
        the slice before is repeated. Heights that hold NaN have no neighbours.
        """
        count, reach = len(heights_mm), self.slices // 2
        own = np.arange(count)
        seen = np.repeat(own[:, None], self.slices, axis=1)
        if np.isnan(heights_mm).any():
            return seen
        for k in range(1, reach + 1):
            for side in (-1, 1):
                near = _nearest(heights_mm, heights_mm + side * k * self.step_mm, outward=side)
                near = np.clip(np.maximum(near, own + k) if side > 0 else np.minimum(near, own - k), 0, count - 1)
                far = np.abs(heights_mm[near] - heights_mm) > k * max(self.step_mm, FARTHEST_MM)
                seen[:, reach + side * k] = np.where(far, seen[:, reach + side * (k - 1)], near)
        return seen


def _nearest(heights: NDArray[np.float64], wanted: NDArray[np.float64], outward: int) -> NDArray[np.int64]:
    """Numbers of the nearest slices; half-way goes outward."""
    # The small share lets a header's rounding not decide between two equally near slices.
    nudged = wanted + outward * 1e-4
    above = np.clip(np.searchsorted(heights, nudged), 1, max(1, len(heights) - 1))
    below = above - 1
    above = np.minimum(above, len(heights) - 1)
    return np.where(nudged - heights[below] <= heights[above] - nudged, below, above).astype(np.int64)


SINGLE_SLICES = Neighbours()
