"""A dense conditional random field over a volume, solved by mean field (Krähenbühl and Koltun 2011).

Every voxel is tied to all others near it, by a Gaussian of the distance in mm
and by one of distance and difference in HU together; ties to other labels cost
what the Gaussians say (Potts). What is further away than `REACH` standard
deviations along an axis is left out. A difference of HU is written as a sum of
cosines, so that the second kernel becomes some twenty separable Gaussians
(Chaudhury, Sage and Unser 2011) instead of a sum over pairs; the error is below
a thousandth. Slices stream through one update after the other, each of which
holds no more of them than it reaches.

Own code, since no kept library does this on a CPU without compiling.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hepar.errors import BadInput
from hepar.geometry import Triple

Floats = NDArray[np.float32]
# First slice, and channels (slices, channel, y, x).
Slab = tuple[int, Floats]

# In standard deviations; what lies beyond weighs less than a twentieth of the middle.
REACH = 2.5
# What is beyond looks alike: fat and air, contrast medium and bone.
LOW_HU, HIGH_HU = -40.0, 160.0
# Cosines repeat themselves: in so many standard deviations from the largest difference, and as many are summed up.
SAFE_SD = 4.0
# A Gaussian whose neighbours share less than this ties nothing.
LEAST_SHARE = 1e-3


@dataclass(frozen=True)
class DenseCrf:
    """How strongly voxels are tied.

    `near` is what a voxel's log-odds gain when all neighbours of a Gaussian of
    `near_mm` have one label; `alike` the same for neighbours of a Gaussian of
    `alike_mm` whose HU are equal, less where they differ by more than
    `alike_hu`. Raises BadInput for numbers that mean nothing.
    """

    near: float = 1.0
    near_mm: float = 2.0
    alike: float = 3.0
    alike_mm: float = 6.0
    alike_hu: float = 20.0
    updates: int = 5

    def __post_init__(self) -> None:
        sizes = (self.near_mm, self.alike_mm, self.alike_hu, self.updates)
        finite = all(math.isfinite(number) for number in (self.near, self.alike, *sizes))
        if not finite or min(self.near, self.alike) < 0 or min(sizes) <= 0:
            raise BadInput(f"{self}; near and alike must be at least 0, every other number above 0, all finite")

    @property
    def ties(self) -> bool:
        """Whether anything is tied at all."""
        return max(self.near, self.alike) > 0


def messages(slabs: Iterator[Slab], spacing_mm: Triple, crf: DenseCrf) -> Iterator[Slab]:
    """What is added to every slice's log-probabilities after all updates: (slices, label, y, x), 0 for label 0.

    `slabs` follow each other without a gap; their channels are the
    log-probabilities of the labels, and HU as the last. Other slabs come out
    than go in, but the same slices in the same order.
    """
    states: Iterator[Slab] = (
        (start, np.concatenate([values, _shares(values[:, :-1])], axis=1)) for start, values in slabs
    )
    for _ in range(crf.updates - 1):
        states = _updated(states, spacing_mm, crf)
    for start, _, told in _told(states, spacing_mm, crf):
        yield start, told


def with_halo(slabs: Iterator[Slab], reach: int) -> Iterator[tuple[int, Floats, slice]]:
    """First slice, values of these slices and up to `reach` on either side, and which of them are these slices.

    At either end of the stack there are none beside. No more slices are held
    than a slab and twice the reach.
    """
    held, first, done = None, 0, 0
    for start, values in slabs:
        if held is None:
            held, first, done = values, start, start
        else:
            held = np.concatenate([held, values])
        ready = start + len(values) - reach
        if ready > done:
            yield done, held, slice(done - first, ready - first)
            done = ready
            kept = max(first, done - reach)
            held, first = held[kept - first :], kept
    if held is not None:
        yield done, held, slice(done - first, len(held))


def cosines(sd: float, span: float) -> tuple[float, Floats]:
    """Frequency and amplitudes a_k: a Gaussian of `sd` at d is the sum of a_k cos(k frequency d), for |d| <= `span`."""
    half_period = (span + SAFE_SD * sd) / 2
    frequency = math.pi / half_period
    k = np.arange(math.ceil(SAFE_SD / (frequency * sd)) + 1)
    amplitudes = sd * math.sqrt(2 * math.pi) / half_period * np.exp(-0.5 * (k * frequency * sd) ** 2)
    amplitudes[0] /= 2
    return frequency, amplitudes.astype(np.float32)


def _updated(states: Iterator[Slab], spacing_mm: Triple, crf: DenseCrf) -> Iterator[Slab]:
    """States after one update of all voxels at once."""
    for start, own, told in _told(states, spacing_mm, crf):
        labels = told.shape[1]
        given = own[:, : labels + 1]
        yield start, np.concatenate([given, _shares(given[:, :labels] + told)], axis=1)


def _told(states: Iterator[Slab], spacing_mm: Triple, crf: DenseCrf) -> Iterator[tuple[int, Floats, Floats]]:
    """First slice, state and messages of each slab.

    A state is (slices, channel, y, x): log-probabilities, HU, and what each label has of the voxel now.
    """
    used = [sd for weight, sd in ((crf.near, crf.near_mm), (crf.alike, crf.alike_mm)) if weight]
    reach = max((_reach(sd, spacing_mm[0]) for sd in used), default=0)
    for start, held, own in with_halo(states, reach):
        labels = held.shape[1] // 2
        now = held[:, labels + 1 :]
        # Only differences between labels count, and shares sum to 1: label 0 is measured against.
        ahead = now[:, 1:] - now[:, :1]
        told = np.zeros((own.stop - own.start, labels, *held.shape[2:]), np.float32)
        if crf.near:
            told[:, 1:] += np.float32(crf.near) * _near(ahead, own, spacing_mm, crf.near_mm)
        if crf.alike:
            hu = np.clip(held[:, labels : labels + 1], LOW_HU, HIGH_HU)
            told[:, 1:] += np.float32(crf.alike) * _alike(ahead, hu, own, spacing_mm, crf)
        yield start, held[own], told


def _near(values: Floats, own: slice, spacing_mm: Triple, sd_mm: float) -> Floats:
    """Mean of the neighbours' values under a Gaussian that has no middle; what is not there is 0."""
    blurred, middle = _blurred(values, own, spacing_mm, sd_mm)
    if 1 - middle < LEAST_SHARE:
        return np.zeros_like(blurred)
    return np.asarray((blurred - np.float32(middle) * values[own]) / np.float32(1 - middle))


def _alike(values: Floats, hu: Floats, own: slice, spacing_mm: Triple, crf: DenseCrf) -> Floats:
    """The same, each neighbour less the more its HU differ."""
    frequency, amplitudes = cosines(crf.alike_hu, HIGH_HU - LOW_HU)
    total, middle = np.zeros_like(values[own]), 1.0
    for k, amplitude in enumerate(amplitudes):
        angle = np.float32(k * frequency) * hu
        for wave in (np.cos(angle), np.sin(angle)) if k else (np.ones_like(hu),):
            blurred, middle = _blurred(wave * values, own, spacing_mm, crf.alike_mm)
            total += amplitude * wave[own] * blurred
    if 1 - middle < LEAST_SHARE:
        return np.zeros_like(total)
    return np.asarray((total - np.float32(middle * amplitudes.sum()) * values[own]) / np.float32(1 - middle))


def _blurred(values: Floats, own: slice, spacing_mm: Triple, sd_mm: float) -> tuple[Floats, float]:
    """Gaussian sums of `values` (slices, channel, y, x) at the slices `own`, and the middle's part in a full one."""
    sds = [sd_mm / mm for mm in spacing_mm]
    slices, h, w = values.shape[0], *values.shape[2:]
    along_z, along_y, along_x = (
        _weights(rows, np.arange(n), sd)
        for rows, n, sd in zip((np.arange(slices)[own], np.arange(h), np.arange(w)), (slices, h, w), sds, strict=True)
    )
    found = np.matmul(np.matmul(along_y, np.tensordot(along_z, values, 1)), along_x)
    return found, math.prod(1 / _full_sum(sd) for sd in sds)


def _weights(rows: NDArray[np.int64], columns: NDArray[np.int64], sd: float) -> Floats:
    """(row, column) of a Gaussian that sums to 1 where it is not cut off by the border."""
    away = rows[:, None] - columns
    return np.asarray(
        np.exp(-0.5 * (away / sd) ** 2) * (np.abs(away) <= _reach(sd, 1)) / _full_sum(sd), dtype=np.float32
    )


def _full_sum(sd: float) -> float:
    away = np.arange(-_reach(sd, 1), _reach(sd, 1) + 1)
    return float(np.exp(-0.5 * (away / sd) ** 2).sum())


def _reach(sd: float, spacing: float) -> int:
    """Voxels."""
    return math.floor(REACH * sd / spacing)


def _shares(logs: Floats) -> Floats:
    """(slices, label, y, x) that sum to 1 over labels."""
    parts = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray(parts / parts.sum(axis=1, keepdims=True), dtype=np.float32)
