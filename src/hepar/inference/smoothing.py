"""Scores smoothed along z while they stream by, slab after slab."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Slab = tuple[int, NDArray[np.float32]]
# Standard deviations to either side; what lies beyond weighs less than 1 %.
REACH = 2.5


def along_z(slabs: Iterator[Slab], sd_slices: float) -> Iterator[Slab]:
    """The same slices in order, each the Gaussian mean of those around it; `sd_slices` 0 passes everything on.

    `slabs` are (first slice, scores (slices, channel, y, x)) that follow each
    other without a gap. At either end the weights of the slices that are there
    sum to 1. No more slices are held than a slab and the Gaussian's reach.
    """
    reach = math.ceil(REACH * sd_slices)
    if not reach:
        yield from slabs
        return
    held, base, done = None, 0, 0
    for start, scores in slabs:
        if held is None:
            held, base, done = scores, start, start
        else:
            held = np.concatenate([held, scores])
        ready = start + len(scores) - reach
        if ready > done:
            yield done, _mean(held, done - base, ready - base, sd_slices)
            done = ready
            held, base = held[max(0, done - reach - base) :], max(base, done - reach)
    if held is not None:
        yield done, _mean(held, done - base, len(held), sd_slices)


def _mean(held: NDArray[np.float32], start: int, stop: int, sd_slices: float) -> NDArray[np.float32]:
    away = np.arange(start, stop)[:, None] - np.arange(len(held))
    weights = np.exp(-0.5 * (away / sd_slices) ** 2) * (np.abs(away) <= math.ceil(REACH * sd_slices))
    weights /= weights.sum(axis=1, keepdims=True)
    return np.asarray(np.tensordot(weights.astype(np.float32), held, 1), dtype=np.float32)
