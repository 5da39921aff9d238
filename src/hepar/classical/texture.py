"""What a tile looks like, in 20 numbers: grey values, co-occurrence (Haralick 1973), binary patterns (Ojala 2002)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float64]

LEVELS = 32
HISTOGRAM = ("mean", "sd", "skewness", "kurtosis", "entropy")
CO_OCCURRENCE = ("contrast", "correlation", "energy", "homogeneity", "dissimilarity")
# Uniform patterns of 8 neighbours by their number of bright ones, and one bin for all others.
PATTERNS = 10
NAMES = (*HISTOGRAM, *CO_OCCURRENCE, *(f"pattern_{k}" for k in range(PATTERNS)))
# A co-occurrence matrix takes 8 kB a tile.
CHUNK = 256


def texture_features(tiles: Bytes) -> Floats:
    """(n, 20) of grey tiles (n, side, side), in the order of `NAMES`.

    Skewness and kurtosis (normal: 3) of a constant tile are 0, its correlation is 1. Entropy is in bits over 32 levels.
    """
    parts = [_features(tiles[start : start + CHUNK]) for start in range(0, len(tiles), CHUNK)]
    return np.concatenate(parts) if parts else np.zeros((0, len(NAMES)))


def _features(tiles: Bytes) -> Floats:
    return np.concatenate([_histogram(tiles), _co_occurrence(tiles), _patterns(tiles)], axis=1)


def _histogram(tiles: Bytes) -> Floats:
    values = tiles.reshape(len(tiles), -1).astype(np.float64)
    mean, sd = values.mean(axis=1), values.std(axis=1)
    away = (values - mean[:, None]) / np.where(sd > 0, sd, 1)[:, None]
    shares = _shares(tiles.reshape(len(tiles), -1) // (256 // LEVELS), LEVELS)
    entropy = -(shares * np.log2(np.where(shares > 0, shares, 1))).sum(axis=1)
    return np.stack([mean, sd, (away**3).mean(axis=1), (away**4).mean(axis=1), entropy], axis=1)


def _co_occurrence(tiles: Bytes) -> Floats:
    """One pixel apart, symmetric; of the mean matrix of four angles."""
    from skimage.feature import graycomatrix, graycoprops

    angles = [0, np.pi / 4, np.pi / 2, 3 * np.pi / 4]
    pairs = np.empty((LEVELS, LEVELS, len(tiles), 1))
    for k, tile in enumerate(tiles // (256 // LEVELS)):
        pairs[:, :, k, 0] = graycomatrix(tile, [1], angles, LEVELS, symmetric=True, normed=True)[:, :, 0].mean(axis=2)
    # Tiles take the place of distances: one call for all of them.
    return np.stack([graycoprops(pairs, name)[:, 0] for name in CO_OCCURRENCE], axis=1)


def _patterns(tiles: Bytes) -> Floats:
    """Histogram of uniform, rotation-invariant binary patterns: 8 neighbours at one pixel."""
    from skimage.feature import local_binary_pattern

    # Pixels at the tile's edge have neighbours that nobody knows.
    codes = np.stack([local_binary_pattern(tile, 8, 1, "uniform")[1:-1, 1:-1] for tile in tiles])
    return _shares(codes.reshape(len(tiles), -1).astype(np.int64), PATTERNS)


def _shares(values: NDArray[np.integer], bins: int) -> Floats:
    """(n, bins) share of each whole number below `bins` in each row."""
    rows = np.arange(len(values))[:, None] * bins
    counts = np.bincount((values + rows).ravel(), minlength=len(values) * bins)
    return np.asarray(counts.reshape(-1, bins) / values.shape[1])
