"""Which slices a network sees besides the one it labels (2.5D)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hepar.errors import BadInput


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

    def offsets(self, spacing_mm: float) -> NDArray[np.int64]:
        """Slices away from the middle one, ascending, in a stack of that slice spacing.

        The nearest slice to each step. Where slices lie further apart than the
        step the next slice stands in: the same slice again would say nothing.
        """
        reach = self.slices // 2
        # The small share lets a header's rounding not decide between two equally near slices.
        steps = [max(k, math.floor(k * self.step_mm / spacing_mm + 0.5 + 1e-6)) for k in range(1, reach + 1)]
        return np.array([-k for k in reversed(steps)] + [0, *steps], dtype=np.int64)

    def of(self, count: int, spacing_mm: float) -> NDArray[np.int64]:
        """Slice numbers (count, slices) around each of `count` slices; past an edge the last slice is repeated."""
        return np.asarray(np.clip(np.arange(count)[:, None] + self.offsets(spacing_mm), 0, count - 1))


SINGLE_SLICES = Neighbours()
