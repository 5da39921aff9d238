"""What the painter must know of a slice's liver: where it is, how bright, how noisy, where a lesion may lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hepar.training.synthesis.sections import Box, Grid
from hepar.volume import LIVER, TUMOUR

Array = NDArray[np.float32]
# Pixels taken for the medians; more change nothing.
_SAMPLED = 4000


@dataclass(frozen=True, eq=False)
class Liver:
    """Of the labelled slice. `box` holds the liver; `smooth` (local mean) and `plain` lie on the box.

    `grey` is the median of tumour-free liver, `spread` a robust standard
    deviation of local means (vessels and texture), `noise` one of the pixels.
    `plain` marks liver whose surroundings are as bright as liver is: no
    vessel, no dark hole.
    """

    box: Box
    mask: NDArray[np.bool_]
    smooth: Array
    plain: NDArray[np.bool_]
    grey: float
    spread: float
    noise: float


def look(
    image: NDArray[np.float32 | np.uint8], labels: NDArray[np.uint8], grid: Grid, least_cm2: float
) -> Liver | None:
    """None where less than `least_cm2` of tumour-free liver is shown, or the liver has no clear brightness."""
    from scipy import ndimage

    free = labels == LIVER
    if np.count_nonzero(free) * grid.pixel_mm**2 < 100 * least_cm2:
        return None
    rows, columns = np.flatnonzero(free.any(axis=1)), np.flatnonzero(free.any(axis=0))
    box = (slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1))
    mask = free[box]
    part = image[box].astype(np.float32)
    size = max(3, 2 * round(2.0 / grid.pixel_mm) + 1)
    smooth = ndimage.uniform_filter(part, size, mode="nearest")
    inside = np.flatnonzero(mask)
    inside = inside[:: max(1, len(inside) // _SAMPLED)]
    grey, spread = _robust(smooth.ravel()[inside])
    _, noise = _robust(part.ravel()[inside] - smooth.ravel()[inside])
    # At the window's lower end a lesion has nothing to be darker than.
    if grey < 15:
        return None
    plain = mask & (np.abs(smooth - grey) < max(8.0, 1.5 * spread))
    return Liver(box, mask, smooth, plain, grey, max(1.0, spread), max(1.0, noise)) if plain.any() else None


def _robust(values: Array) -> tuple[float, float]:
    middle = float(np.median(values))
    return middle, 1.4826 * float(np.median(np.abs(values - middle)))


def centre(
    liver: Liver, labels: NDArray[np.uint8], radius_px: float, near_tumour: bool, rng: np.random.Generator
) -> tuple[int, int] | None:
    """(y, x) of plain liver for a lesion of that radius; None when a few tries find no place.

    No real tumour within the radius and a half, unless `near_tumour`.
    """
    places = np.flatnonzero(liver.plain)
    real = labels == TUMOUR
    alone = near_tumour or not real.any()
    reach = round(1.5 * radius_px) + 2
    for _ in range(6):
        y, x = np.unravel_index(int(rng.choice(places)), liver.plain.shape)
        at = (int(y) + liver.box[0].start, int(x) + liver.box[1].start)
        window = tuple(slice(max(0, c - reach), c + reach + 1) for c in at)
        if alone or not real[window].any():
            return at
    return None
