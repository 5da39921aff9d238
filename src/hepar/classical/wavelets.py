"""A tile's wavelet packet: two levels of 'db4' give 16 bands, each with its energy and its entropy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float64]

WAVELET = "db4"
LEVELS = 2
BANDS = 4**LEVELS
LETTERS = "ahvd"  # approximation, horizontal, vertical, diagonal detail
PATHS = [first + second for first in LETTERS for second in LETTERS]
NAMES = (*(f"energy_{path}" for path in PATHS), *(f"entropy_{path}" for path in PATHS))


def wavelet_features(tiles: Bytes) -> Floats:
    """(n, 32) of grey tiles (n, side, side), in the order of `NAMES`.

    Energy is the mean square of a band's coefficients, entropy (bits) that of
    their squares as shares of the band's energy; 0 for a band without energy.
    Coefficients are periodised, so that a tile of 32 gives bands of 8.
    """
    if not len(tiles):
        return np.zeros((0, len(NAMES)))
    bands = [tiles.astype(np.float64)]
    for _ in range(LEVELS):
        bands = [part for band in bands for part in _split(band)]
    squares = np.stack([band.reshape(len(tiles), -1) ** 2 for band in bands], axis=1)
    sums = squares.sum(axis=2)
    shares = squares / np.where(sums > 0, sums, 1)[..., None]
    entropy = -(shares * np.log2(np.where(shares > 0, shares, 1))).sum(axis=2)
    return np.concatenate([squares.mean(axis=2), entropy], axis=1)


def _split(band: Floats) -> list[Floats]:
    """The four halves of all tiles at once, in the order of `LETTERS`."""
    from pywt import dwt2

    approximation, details = dwt2(band, WAVELET, mode="periodization", axes=(-2, -1))
    return [approximation, *details]
