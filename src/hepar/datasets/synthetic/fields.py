"""Chance textures: grain of a given size in mm, and thin branching threads."""

from __future__ import annotations

import numpy as np

from hepar.datasets.phantom.canvas import Floats, smooth_field
from hepar.geometry import Shape, Triple


def grain(rng: np.random.Generator, shape: Shape, spacing_mm: Triple, size_mm: float) -> Floats:
    """A smooth field (z, y, x) of unit deviation whose blobs are about `size_mm` across."""
    knots = tuple(int(np.clip(round(n * s / size_mm) + 2, 2, n)) for n, s in zip(shape, spacing_mm, strict=True))
    field = smooth_field(rng, knots, shape, 1.0)  # type: ignore[arg-type]
    some = field[:: max(1, shape[0] // 16), :: max(1, shape[1] // 64), :: max(1, shape[2] // 64)]
    field /= np.float32(max(float(some.std()), 1e-6))
    return field


def threads(rng: np.random.Generator, shape: Shape, spacing_mm: Triple, size_mm: float) -> Floats:
    """Roughly the distance in mm to a tangle of curves, `size_mm` apart.

    Where two smooth fields are both 0 they meet in curves; near them the
    fields grow by about 2.5 deviations per blob.
    """
    one, two = grain(rng, shape, spacing_mm, size_mm), grain(rng, shape, spacing_mm, size_mm)
    return np.asarray(np.hypot(one, two) * np.float32(size_mm / 2.5), dtype=np.float32)
