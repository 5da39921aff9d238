"""A surface that starts from a probability map and moves to the best place (after Hu et al. 2016).

Where the map is unsure, global appearance (HU inside against HU in a ring
outside) and local appearance (mean HU nearby, inside against outside) decide;
edges are where the surface likes to lie. For given appearance the surface is
the globally best one; appearance is then measured anew, a few times.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hepar.classical.convex import Solution, solve
from hepar.errors import BadInput

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

# Probabilities that teach the first appearance, inside and outside.
SURE_IN, SURE_OUT = 0.9, 0.1
# The outside that matters: neighbours, not the table.
RING_MM = 20.0
BINS_HU = np.linspace(-100.0, 400.0, 65)
# In bins of 8 HU; noise must not decide.
HISTOGRAM_SIGMA = 1.5
LEAST_SHARE = 1e-3
LEAST_PROBABILITY = 1e-3
# The smoothing before edges are measured, in voxels.
EDGE_SIGMA = 1.0


@dataclass(frozen=True)
class Evolution:
    """Weights of the energy, and when to stop.

    `data` weighs region against surface, in 1/mm; `histogram` and `local`
    weigh global and local appearance. A surface costs half where HU change by
    `edge_hu_per_mm`. `local_mm`: the Gaussian of local means. Appearance is
    measured at most `updates` times, the convex problem solved to a gap of
    `tolerance`, at most `most_steps` steps. Raises BadInput for numbers that
    mean nothing.
    """

    data: float = 0.25
    histogram: float = 0.5
    local: float = 0.5
    edge_hu_per_mm: float = 15.0
    local_mm: float = 5.0
    updates: int = 10
    tolerance: float = 1e-3
    most_steps: int = 400

    def __post_init__(self) -> None:
        above = (self.data, self.edge_hu_per_mm, self.local_mm, self.tolerance, self.updates, self.most_steps)
        if min(above) <= 0 or min(self.histogram, self.local) < 0:
            raise BadInput(f"{self}; histogram and local must be at least 0, every other number above 0")


@dataclass(frozen=True, eq=False)
class Evolved:
    """The region (z, y, x), and the solution of every update of the appearance."""

    mask: Mask
    solutions: tuple[Solution, ...]


def evolve(hu: Floats, probability: Floats, voxel_mm: float, settings: Evolution) -> Evolved:
    """The region for `hu` and `probability` (0 to 1), both (z, y, x) on a grid of cubes of `voxel_mm`.

    Its largest face-connected component; empty where no probability is above
    one half. Ends early when an update changes less than a thousandth of it.
    """
    mask = probability > 0.5
    if not mask.any():
        return Evolved(mask, ())
    edge = edge_weight(hu, voxel_mm, settings.edge_hu_per_mm)
    inside, outside = _first_guess(probability, mask, voxel_mm)
    u, solutions = probability.astype(np.float32), []
    for _ in range(settings.updates):
        region = region_term(hu, probability, inside, outside, voxel_mm, settings)
        # Areas count in voxel faces, volumes in voxels: a region's weight grows with the voxel.
        scaled = np.float32(settings.data * voxel_mm) * region
        found = solve(edge, scaled, u, settings.tolerance, settings.most_steps)
        solutions.append(found)
        u, before, mask = found.u, mask, found.u > 0.5
        if not mask.any() or (mask ^ before).sum() <= 1e-3 * mask.sum():
            break
        inside, outside = mask, ring(mask, voxel_mm)
    return Evolved(_largest(mask), tuple(solutions))


def edge_weight(hu: Floats, voxel_mm: float, half_at: float) -> Floats:
    """g (z, y, x): 1 where nothing changes, 1/2 where smoothed HU change by `half_at` a mm."""
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(hu.astype(np.float32), EDGE_SIGMA, mode="nearest")
    # An axis of one voxel has no slope.
    slopes = [np.gradient(smooth, voxel_mm, axis=axis) for axis in range(3) if smooth.shape[axis] > 1]
    steep = np.sum([slope**2 for slope in slopes], axis=0) if slopes else np.zeros_like(smooth)
    return np.asarray(1 / (1 + steep / half_at**2), dtype=np.float32)


def region_term(
    hu: Floats, probability: Floats, inside: Mask, outside: Mask, voxel_mm: float, settings: Evolution
) -> Floats:
    """r (z, y, x), negative where the voxel should belong to the region.

    The map speaks where it is sure, appearance where it is not: w = |2P - 1|
    weighs logit P against `histogram` times the log ratio of HU frequencies
    plus `local` times how much nearer the HU is to the local mean inside.
    """
    p = np.clip(probability, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY).astype(np.float32)
    sure = np.abs(2 * p - 1)
    seen = np.zeros_like(p)
    if settings.histogram:
        seen += np.float32(settings.histogram) * log_ratio(hu, inside, outside)
    if settings.local:
        seen += np.float32(settings.local) * nearer_inside(hu, inside, outside, settings.local_mm / voxel_mm)
    return np.asarray(-(sure * np.log(p / (1 - p)) + (1 - sure) * seen), dtype=np.float32)


def log_ratio(hu: Floats, inside: Mask, outside: Mask) -> Floats:
    """Logarithm of how much more often a voxel's HU occurs inside than outside; 0 when either is empty."""
    from scipy.ndimage import gaussian_filter1d

    if not (inside.any() and outside.any()):
        return np.zeros(hu.shape, np.float32)
    bins = np.clip(np.digitize(hu, BINS_HU) - 1, 0, len(BINS_HU) - 2)
    shares = []
    for mask in (inside, outside):
        counts = np.bincount(bins[mask], minlength=len(BINS_HU) - 1).astype(np.float64)
        shares.append(gaussian_filter1d(counts / counts.sum(), HISTOGRAM_SIGMA, mode="nearest") + LEAST_SHARE)
    return np.asarray(np.log(shares[0] / shares[1]).astype(np.float32)[bins])


def nearer_inside(hu: Floats, inside: Mask, outside: Mask, sigma: float) -> Floats:
    """(I - mean outside)^2 - (I - mean inside)^2 in its standard deviations; 0 where a mean is not known.

    Means are weighted by a Gaussian of `sigma` voxels.
    """
    means, known = [], np.ones(hu.shape, bool)
    for mask in (inside, outside):
        weight = _blurred(mask.astype(np.float32), sigma)
        near = weight > 1e-3
        means.append(_blurred(np.where(mask, hu, 0).astype(np.float32), sigma) / np.where(near, weight, 1))
        known &= near
    found = np.where(known, (hu - means[1]) ** 2 - (hu - means[0]) ** 2, 0)
    sd = float(found[known].std()) if known.any() else 0.0
    return np.asarray(found / sd if sd else np.zeros_like(found), dtype=np.float32)


def ring(mask: Mask, voxel_mm: float) -> Mask:
    """Voxels outside of `mask` up to `RING_MM` away."""
    from scipy.ndimage import distance_transform_edt

    return np.asarray((distance_transform_edt(~mask) * voxel_mm <= RING_MM) & ~mask)


def _first_guess(probability: Floats, mask: Mask, voxel_mm: float) -> tuple[Mask, Mask]:
    """Where the map is sure; its halves where it is sure of nothing."""
    near = ring(mask, voxel_mm)
    inside, outside = probability > SURE_IN, (probability < SURE_OUT) & near
    return (inside if inside.any() else mask), (outside if outside.any() else near)


def _blurred(values: Floats, sigma: float) -> Floats:
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(values, sigma, mode="nearest"))


def _largest(mask: Mask) -> Mask:
    from scipy.ndimage import label

    parts, count = label(mask)
    return np.asarray(parts == 1 + np.bincount(parts.ravel())[1:].argmax()) if count > 1 else mask
