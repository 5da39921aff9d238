"""A shape cut by the slices of one image, and smooth noise that runs through them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hepar.training.synthesis.shapes import REACH, SIDE

Array = NDArray[np.float32]
Box = tuple[slice, slice]
# Correlation lengths (standard deviation of the smoothing) of the noise bank, in its points; it wraps around.
_SCALES = (0.6, 1.2, 2.5, 5.0)
_BANK = (16, 96, 96)


@dataclass(frozen=True)
class Grid:
    """Where the channels of an image lie: pixel size and height of each channel above the labelled slice, in mm."""

    pixel_mm: float
    heights_mm: tuple[float, ...]
    shape: tuple[int, int]

    def box(self, y: float, x: float, reach_mm: float) -> Box:
        """The pixels within `reach_mm` of (y, x) along both axes, cut at the image's borders."""
        reach = reach_mm / self.pixel_mm
        return (
            slice(max(0, math.floor(y - reach)), min(self.shape[0], math.ceil(y + reach) + 1)),
            slice(max(0, math.floor(x - reach)), min(self.shape[1], math.ceil(x + reach) + 1)),
        )

    def around(self, y: float, x: float, box: Box) -> tuple[Array, Array]:
        """Millimetres below and right of (y, x) of the pixels in a box: (y, 1) and (1, x)."""
        down = (np.arange(box[0].start, box[0].stop, dtype=np.float32) - y) * self.pixel_mm
        right = (np.arange(box[1].start, box[1].stop, dtype=np.float32) - x) * self.pixel_mm
        return down[:, None].astype(np.float32), right[None, :].astype(np.float32)


def cut(field: Array, radius_mm: float, turn: NDArray[np.float64], mm: tuple[Array, Array, Array]) -> Array:
    """Distance in mm to the surface, positive inside, (channel, y, x).

    `mm` are offsets (channel,), (y, 1), (1, x) from the shape's centre along z, y and x; `turn` is a rotation.
    """
    from scipy import ndimage

    up, down, right = mm
    unit = (SIDE - 1) / (2 * REACH * radius_mm)
    matrix = (turn * unit).astype(np.float32)
    # Broadcast sums of three small arrays instead of a product with a full coordinate array.
    coordinates = (
        matrix[:, 0, None, None, None] * up[None, :, None, None]
        + matrix[:, 1, None, None, None] * down[None, None]
        + matrix[:, 2, None, None, None] * right[None, None]
        + np.float32((SIDE - 1) / 2)
    )
    found = ndimage.map_coordinates(field, coordinates, np.float32, order=1, mode="nearest")
    return np.asarray(found * np.float32(radius_mm), np.float32)


def any_turn(rng: np.random.Generator) -> NDArray[np.float64]:
    """A rotation, or a rotation of the mirror image, all alike likely."""
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    return np.asarray(q * np.sign(np.diag(r)) * rng.choice([-1.0, 1.0]))


@lru_cache(maxsize=1)
def _bank() -> Array:
    """Periodic noise of unit variance (scale, z, y, x), the same for everyone: places in it are drawn, not itself."""
    from scipy import ndimage

    white = np.random.default_rng(2018).normal(size=(len(_SCALES), *_BANK))
    smooth = [ndimage.gaussian_filter(part, s, mode="wrap") for part, s in zip(white, _SCALES, strict=True)]
    return np.stack([part / part.std() for part in smooth]).astype(np.float32)


def smooth_noise(grid: Grid, box: Box, scale_mm: float, rng: np.random.Generator) -> Array:
    """Noise of unit variance (channel, y, x), correlated over about `scale_mm` within and between slices.

    0 is the finest there is, about that of the scan's own noise.
    """
    # The bank's scales are in its points, which are pixels here; between slices it is read at the same rate.
    level = int(np.argmin([abs(math.log(s * grid.pixel_mm / max(scale_mm, 1e-3))) for s in _SCALES]))
    z0, y0, x0 = (int(rng.integers(n)) for n in _BANK)
    z = (z0 + np.rint(np.asarray(grid.heights_mm) / grid.pixel_mm).astype(int)) % _BANK[0]
    y = (y0 + np.arange(box[0].stop - box[0].start)) % _BANK[1]
    x = (x0 + np.arange(box[1].stop - box[1].start)) % _BANK[2]
    return np.asarray(_bank()[level][np.ix_(z, y, x)])
