"""Synthetic scans of any number of slices: the demo's phantom on finer pixels, with noise of its own. No patient."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from hepar.datasets.phantom import DEMO, make_phantom
from hepar.geometry import Geometry
from hepar.volume import LabelMap, Volume

SEED = 7
# So that neighbours differ, as a scanner's do: repeated voxels would compress, and read, too well.
NOISE_HU = 9.0


def scan(slices: int, side: int = 512) -> tuple[Volume, LabelMap]:
    """CT (int16) and truth: the whole phantom, 256 mm from end to end and 384 mm wide, in thinner slices if in more.

    `side` is 512, 256 or another divisor or multiple of 256.
    """
    ct, truth = _phantom()
    rows = np.arange(slices) * len(ct.values) // slices
    columns = np.arange(side) * ct.values.shape[1] // side
    chosen = np.ix_(rows, columns, columns)
    depth, height, width = (n * mm for n, mm in zip(ct.geometry.shape, ct.geometry.spacing_mm, strict=True))
    grid = Geometry.from_spacing((slices, side, side), (depth / slices, height / side, width / side))
    values, rng = ct.values[chosen], np.random.default_rng(SEED)
    for number in range(slices):
        noise = rng.standard_normal((side, side), np.float32) * NOISE_HU
        values[number] += np.rint(noise).astype(np.int16)
    return Volume(values, grid, ct.notes), LabelMap(truth.labels[chosen], grid)


@lru_cache(maxsize=1)
def _phantom() -> tuple[Volume, LabelMap]:
    return make_phantom(DEMO)
