"""What a scan's numbers look like, measured alike on real and on synthetic CT.

Liver figures need a liver's label only, so they can be taken from real slices
windowed to -40..160 HU as well; the others need whole HU.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hepar.datasets.phantom.canvas import Mask
from hepar.datasets.synthetic.organ_map import Organ
from hepar.volume import LabelMap, Volume

# Noise is what is left after a mean over this many pixels a side; a vessel is brighter than the liver by more.
SMOOTH_PIXELS, VESSEL_HU = 5, 25.0
EDGE_PIXELS = 3
FAT_HU, SOFT_HU = (-150.0, -50.0), (0.0, 250.0)
SLICES = 12


def liver_figures(ct: Volume, truth: LabelMap) -> dict[str, float]:
    """HU of liver and tumour, noise, and how noise goes with that of its neighbours, over slices with much liver.

    `noise` is robust (1.4826 MAD), `ahead_1` and `ahead_2` are the noise's
    correlation over one and two pixels in plane; NaN where nothing is left
    to measure. `tumour_contrast` is NaN without tumour.
    """
    values: list[NDArray[np.float32]] = []
    noise: list[NDArray[np.float32]] = []
    lags: list[tuple[float, float]] = []
    for z in _slices((truth.labels == 1).sum(axis=(1, 2))):
        hu = ct.values[z].astype(np.float32)
        mask = ndimage.binary_erosion(truth.labels[z] == 1, iterations=EDGE_PIXELS)
        residual = hu - ndimage.uniform_filter(hu, SMOOTH_PIXELS)
        smooth = ndimage.uniform_filter(hu, 3)
        if mask.sum() < 100:
            continue
        mask &= np.abs(smooth - np.median(hu[mask])) < VESSEL_HU
        values.append(hu[mask])
        noise.append(residual[mask])
        lags.append((_lag(residual, mask, 1), _lag(residual, mask, 2)))
    if not values:
        return dict.fromkeys(("liver", "liver_sd", "noise", "ahead_1", "ahead_2", "tumour_contrast"), math.nan)
    liver, left = np.concatenate(values), np.concatenate(noise)
    ahead_1, ahead_2 = np.nanmean(lags, axis=0)
    tumour = truth.labels == 2
    contrast = float(np.mean(ct.values[tumour]) - liver.mean()) if tumour.any() else math.nan
    return {
        "liver": float(liver.mean()),
        "liver_sd": float(liver.std()),
        "noise": float(1.4826 * np.median(np.abs(left - np.median(left)))),
        "ahead_1": float(ahead_1),
        "ahead_2": float(ahead_2),
        "tumour_contrast": contrast,
    }


def body_figures(ct: Volume, body: Mask, organs: NDArray[np.uint8]) -> dict[str, float]:
    """Fat, soft tissue, gas and bone in the undrawn part of the body, on slices that show liver.

    `fat` and `muscle` are the peaks' places in HU, the shares are of the
    undrawn body (organ number 1).
    """
    chosen = _slices((organs == Organ.LIVER).sum(axis=(1, 2)))
    undrawn = ((organs == Organ.BODY) & body)[chosen]
    hu = ct.values[chosen][undrawn].astype(np.float32)
    return {
        "fat": _peak(hu, *FAT_HU),
        "muscle": _peak(hu, *SOFT_HU),
        "fat_share": float(np.mean((hu > FAT_HU[0]) & (hu < FAT_HU[1]))),
        "between_share": float(np.mean((hu >= FAT_HU[1]) & (hu < SOFT_HU[0]))),
        "soft_share": float(np.mean((hu >= SOFT_HU[0]) & (hu < SOFT_HU[1]))),
        "gas_share": float(np.mean(hu < -300)),
    }


def organ_figures(ct: Volume, organs: NDArray[np.uint8], wanted: Sequence[Organ]) -> dict[str, tuple[float, float]]:
    """Mean and deviation in HU of each organ that was drawn, without its edge."""
    found = {}
    for organ in wanted:
        inner = ndimage.binary_erosion(organs == organ, np.ones((1, 3, 3)))
        if inner.sum() > 100:
            hu = ct.values[inner].astype(np.float32)
            found[organ.name.lower()] = (float(hu.mean()), float(hu.std()))
    return found


def _slices(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Up to `SLICES` of the slices with at least a third of the most, evenly."""
    good = np.flatnonzero(counts > counts.max() / 3)
    return good[np.unique(np.linspace(0, len(good) - 1, SLICES).astype(int))] if len(good) else good


def _lag(residual: NDArray[np.float32], mask: Mask, step: int) -> float:
    """Correlation of the residual with itself `step` pixels on, mean over both directions in plane."""
    found = []
    for axis in (0, 1):
        here = [slice(None)] * 2
        there = [slice(None)] * 2
        here[axis], there[axis] = slice(None, -step), slice(step, None)
        both = mask[tuple(here)] & mask[tuple(there)]
        one, two = residual[tuple(here)][both], residual[tuple(there)][both]
        found.append(np.corrcoef(one, two)[0, 1] if both.sum() > 50 else np.nan)
    return float(np.nanmean(found))


def _peak(hu: NDArray[np.float32], low: float, high: float) -> float:
    """The most frequent HU of a range, from a smoothed histogram; NaN for an empty range."""
    counts, edges = np.histogram(hu, np.arange(low, high + 1, 2.0))
    if not counts.any():
        return math.nan
    return float(edges[int(np.argmax(ndimage.gaussian_filter1d(counts.astype(float), 3)))] + 1)
