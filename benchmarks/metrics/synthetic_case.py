"""A liver of 1.5 L with five tumours in 512 x 512 x 300 voxels, and a plausible wrong prediction of it.

Everything is drawn: an ellipsoid with a bumpy border; the prediction's border
is moved and noisy, one tumour is missed, one is a false alarm.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hepar.geometry import Geometry
from hepar.volume import LabelMap

SEED = 2017
SHAPE, SPACING_MM = (300, 512, 512), (1.0, 0.75, 0.75)
# Voxels (z, y, x) in which the liver lies: right of the patient, that is left in the picture.
BOX = (slice(60, 240), slice(150, 370), slice(70, 310))
SEMI_AXES_MM = np.array([74.0, 65.0, 74.0])
# Centre from the liver's centre (z, y, x) and radius, mm.
TUMOURS = (((0, 0, 0), 25), ((30, 20, -30), 12), ((-35, -20, 20), 8), ((10, -35, -30), 5), ((-20, 35, 25), 18))
MISSED, FALSE_ALARM = 3, ((35, -20, 25), 6)


def synthetic_case() -> tuple[LabelMap, LabelMap]:
    """Truth and prediction."""
    rng = np.random.default_rng(SEED)
    shape = tuple(s.stop - s.start for s in BOX)
    bumps, noise = _smooth(rng, shape, 12) * 3.0, _smooth(rng, shape, 5) * 1.2
    moved = np.array([0.5, 0.6, -0.6])
    truth = (_ellipsoid(shape, np.zeros(3)) < bumps).astype(np.uint8)
    found = (_ellipsoid(shape, moved) < bumps + noise).astype(np.uint8)
    for number, (centre, radius) in enumerate(TUMOURS):
        truth[(_ball(shape, np.array(centre)) < radius) & (truth > 0)] = 2
        if number != MISSED:
            found[(_ball(shape, centre + moved) < 0.95 * radius + noise / 2) & (found > 0)] = 2
    found[(_ball(shape, np.array(FALSE_ALARM[0])) < FALSE_ALARM[1]) & (found > 0)] = 2
    return _on_the_scan(truth), _on_the_scan(found)


def _places_mm(shape: tuple[int, ...], centre: NDArray[np.float64]) -> list[NDArray[np.float32]]:
    """Distance from the centre along z, y and x, as arrays that broadcast."""
    axes = [(np.arange(n) - n / 2) * s - c for n, s, c in zip(shape, SPACING_MM, centre, strict=True)]
    return [a.astype(np.float32) for a in np.meshgrid(*axes, indexing="ij", sparse=True)]


def _ball(shape: tuple[int, ...], centre: NDArray[np.float64]) -> NDArray[np.float32]:
    z, y, x = _places_mm(shape, centre)
    return np.asarray(np.sqrt(z**2 + y**2 + x**2))


def _ellipsoid(shape: tuple[int, ...], centre: NDArray[np.float64]) -> NDArray[np.float32]:
    """About the distance from the liver's border in mm, below 0 inside."""
    z, y, x = (a / s for a, s in zip(_places_mm(shape, centre), SEMI_AXES_MM, strict=True))
    return np.asarray((np.sqrt(z**2 + y**2 + x**2) - 1) * SEMI_AXES_MM.mean())


def _smooth(rng: np.random.Generator, shape: tuple[int, ...], width_mm: float) -> NDArray[np.float32]:
    """Noise of standard deviation 1, smooth over `width_mm`."""
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(rng.normal(size=shape).astype(np.float32), width_mm / np.array(SPACING_MM))
    return np.asarray(noise / noise.std())


def _on_the_scan(labels: NDArray[np.uint8]) -> LabelMap:
    whole = np.zeros(SHAPE, np.uint8)
    whole[BOX] = labels
    return LabelMap(whole, Geometry.from_spacing(SHAPE, SPACING_MM, (-150, -190, -190)))
