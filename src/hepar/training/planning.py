"""What nnU-Net's planner works out from the training cases, by its published rules (Isensee et al. 2021, ResEnc 2024).

A fingerprint (spacings, sizes, grey values inside the labels) becomes a plan:
window, spacing, patch, stages and batch. Here slices have square pixels and
patches are square in plane, since CT's are; elsewhere the rules are theirs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hepar.cases import Case
from hepar.errors import BadInput
from hepar.volume import LIVER

# Voxels of each case's labels that are looked at: every case counts the same.
VOXELS_A_CASE = 10_000
LOW_PERCENTILE, HIGH_PERCENTILE = 0.5, 99.5
# An axis this many times coarser than the others is anisotropic.
ANISOTROPY = 3.0
FINEST_PERCENTILE = 10
# A patch before memory has a say: as many voxels as these sides hold.
START_SIDE = {2: 2048, 3: 256}
LEAST_EDGE = 4
LEAST_BATCH = 2
MOST_CHANNELS = {2: 512, 3: 320}
CHANNELS = 32
BLOCKS = (1, 3, 4, 6)
# Batches that the references below stand for.
REFERENCE_BATCH = {2: 12, 3: 2}
Axes = tuple[int, ...]


@dataclass(frozen=True)
class Fingerprint:
    """Spacings (z, pixel) in mm and sizes (z, y, x) of the cases; grey values inside the labels, in HU."""

    spacing_mm: tuple[tuple[float, float], ...]
    shapes: tuple[tuple[int, int, int], ...]
    mean_hu: float
    std_hu: float
    low_hu: float
    high_hu: float


@dataclass(frozen=True)
class Memory:
    """How much a training may take, as feature map values of a batch of 12 slices or 2 blocks.

    nnU-Net's reference values for its presets: ResEnc M fits a GPU of 8 GB, L one of 24 GB.
    """

    values_2d: float = 135e6
    values_3d: float = 680e6

    def times(self, share: float) -> Memory:
        """As if the GPU had `share` of the memory."""
        return Memory(self.values_2d * share, self.values_3d * share)


RESENC_M, RESENC_L = Memory(), Memory(380e6, 2100e6)


@dataclass(frozen=True)
class Plan:
    """What is trained, on what. Axes are (y, x) or (z, y, x); `patch` and `batch` in pixels or voxels and images."""

    spacing_mm: tuple[float, ...]
    patch: Axes
    batch: int
    channels: Axes
    blocks: Axes
    strides: tuple[Axes, ...]
    kernels: tuple[Axes, ...]
    low_hu: float
    high_hu: float
    mean_hu: float
    std_hu: float

    @property
    def multiple(self) -> int:
        """In-plane sizes must be multiples of this."""
        return math.prod(stride[-1] for stride in self.strides)

    @property
    def grey(self) -> tuple[float, float]:
        """Mean and spread in grey values, 0..255 over the window."""
        width = self.high_hu - self.low_hu
        return 255 * (self.mean_hu - self.low_hu) / width, 255 * self.std_hu / width

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Plan:
        """What `to_json` gave, JSON's lists made tuples again."""
        return cls(**{key: _tuples(value) for key, value in row.items()})


@dataclass(frozen=True)
class Topology:
    """Strides and kernels of each stage for a patch, which is padded to what the strides divide."""

    patch: Axes
    strides: tuple[Axes, ...]
    kernels: tuple[Axes, ...]

    @property
    def multiples(self) -> Axes:
        return tuple(math.prod(axis) for axis in zip(*self.strides, strict=True))


def fingerprint_of(cases: Sequence[Case], seed: int) -> Fingerprint:
    """Reads every case once. Raises BadInput without cases or without any label."""
    rng = np.random.default_rng(seed)
    spacings, shapes, values = [], [], []
    for case in cases:
        ct, truth = case.ct.axial(), case.truth.axial()
        z_mm, y_mm, x_mm = ct.geometry.spacing_mm
        spacings.append((z_mm, (y_mm + x_mm) / 2))
        shapes.append(ct.geometry.shape)
        inside = ct.values[truth.labels >= LIVER]
        if inside.size:
            values.append(rng.choice(inside, min(VOXELS_A_CASE, inside.size)).astype(np.float64))
    if not values:
        raise BadInput("no training case shows liver; a plan needs grey values inside labels, check the labels")
    grey = np.concatenate(values)
    low, high = np.percentile(grey, (LOW_PERCENTILE, HIGH_PERCENTILE)).tolist()
    # A constant organ (a phantom without noise) still needs a window.
    high, std = max(high, low + 1), max(float(grey.std()), 1e-2)
    return Fingerprint(tuple(spacings), tuple(shapes), float(grey.mean()), std, low, high)


def plan_of(seen: Fingerprint, dims: int, memory: Memory = RESENC_M, width: float = 1.0, blocks: Axes = BLOCKS) -> Plan:
    """The plan of slices (`dims` 2) or blocks (3). `width` thins channels, the last of `blocks` repeats."""
    target = target_spacing(seen)
    sizes = [_resampled(*pair, target) for pair in zip(seen.shapes, seen.spacing_mm, strict=True)]
    median = np.median(sizes, axis=0).tolist()
    square = (median[0], max(median[1:]), max(median[1:]))[-dims:]
    spacing = (target[0], target[1], target[1])[-dims:]
    limit = memory.values_2d if dims == 2 else memory.values_3d
    found = topology(spacing, _first_patch(spacing, square))
    while (values := _feature_values(found, dims, width, blocks)) > limit:
        smaller = _reduced(found, spacing, square)
        if smaller.patch == found.patch:
            break
        found = smaller
    channels, stage_blocks = _stages(len(found.strides), dims, blocks)
    by_memory = round(limit / values * REFERENCE_BATCH[dims])
    by_data = round(math.prod(median) * len(seen.shapes) / math.prod(found.patch))
    return Plan(
        tuple(round(mm, 4) for mm in spacing),
        found.patch,
        max(LEAST_BATCH, min(by_memory, by_data)),
        channels,
        stage_blocks,
        found.strides,
        found.kernels,
        seen.low_hu,
        seen.high_hu,
        seen.mean_hu,
        seen.std_hu,
    )


def target_spacing(seen: Fingerprint) -> tuple[float, float]:
    """(z, pixel) in mm: medians; where slices are far thicker than pixels and few, z's tenth percentile."""
    z_mm, pixel_mm = np.median(np.array(seen.spacing_mm), axis=0).tolist()
    depth, rows, columns = np.median(np.array(seen.shapes), axis=0).tolist()
    if z_mm > ANISOTROPY * pixel_mm and ANISOTROPY * depth < min(rows, columns):
        finest = float(np.percentile([z for z, _ in seen.spacing_mm], FINEST_PERCENTILE))
        z_mm = max(finest, pixel_mm)
    return z_mm, pixel_mm


def topology(spacing: Sequence[float], patch: Sequence[int]) -> Topology:
    """Halve every axis whose voxels are less than twice the smallest, down to edges of 4; kernels follow."""
    mm, size = list(spacing), list(patch)
    strides, kernels, kernel = [(1,) * len(size)], [], [1] * len(size)
    while True:
        able = [i for i, n in enumerate(size) if n >= 2 * LEAST_EDGE]
        finest = min((mm[i] for i in able), default=0.0)
        able = [i for i in able if mm[i] < 2 * finest]
        # One axis alone is halved only while enough is left.
        if not able or (len(able) == 1 and size[able[0]] < 3 * LEAST_EDGE):
            break
        kernel = [3 if k == 3 or side < 2 * min(mm) else 1 for k, side in zip(kernel, mm, strict=True)]
        kernels.append(tuple(kernel))
        strides.append(tuple(2 if i in able else 1 for i in range(len(size))))
        for i in able:
            mm[i], size[i] = 2 * mm[i], math.ceil(size[i] / 2)
    kernels.append((3,) * len(size))
    found = Topology(tuple(patch), tuple(strides), tuple(kernels))
    padded = tuple(-(-n // m) * m for n, m in zip(patch, found.multiples, strict=True))
    return Topology(padded, found.strides, found.kernels)


def feature_values(patch: Sequence[int], channels: Axes, blocks: Axes, strides: Sequence[Axes]) -> int:
    """Outputs of all convolutions for one image, which memory grows with; 3 classes, scored at full size."""
    sizes, size, before = [], list(patch), channels[0]
    total = channels[0] * math.prod(size)
    for c, count, stride in zip(channels, blocks, strides, strict=True):
        size = [n // step for n, step in zip(size, stride, strict=True)]
        one = c * math.prod(size)
        total += 2 * count * one + (one if c != before or max(stride) > 1 else 0)
        sizes.append(size)
        before = c
    # On the way up each stage has a transposed convolution and another.
    total += sum(2 * c * math.prod(n) for c, n in zip(channels[:-1], sizes[:-1], strict=True))
    return total + 3 * math.prod(sizes[0])


def _feature_values(found: Topology, dims: int, width: float, blocks: Axes) -> float:
    channels, stage_blocks = _stages(len(found.strides), dims, blocks)
    return width * feature_values(found.patch, channels, stage_blocks, found.strides)


def _stages(count: int, dims: int, blocks: Axes) -> tuple[Axes, Axes]:
    channels = tuple(min(CHANNELS * 2**stage, MOST_CHANNELS[dims]) for stage in range(count))
    return channels, tuple(blocks[min(stage, len(blocks) - 1)] for stage in range(count))


def _first_patch(spacing: Sequence[float], median: Sequence[float]) -> Axes:
    """As large as the median case, in the shape of a cube in mm."""
    dims = len(spacing)
    side_mm = START_SIDE[dims] * math.prod(spacing) ** (1 / dims)
    return tuple(max(LEAST_EDGE, min(round(side_mm / mm), round(n))) for mm, n in zip(spacing, median, strict=True))


def _reduced(found: Topology, spacing: Sequence[float], median: Sequence[float]) -> Topology:
    """One step less along z or in plane, whichever covers more of the median case; as it was where nothing is left."""
    shares = [n / whole for n, whole in zip(found.patch, median, strict=True)]
    flat = len(shares) == 2 or max(shares[1:]) >= shares[0]
    axes = tuple(range(len(shares) - 2, len(shares))) if flat else (0,)

    def less(patch: Axes, by: Axes) -> Axes:
        return tuple(n - by[i] if i in axes else n for i, n in enumerate(patch))

    # A smaller patch may have fewer strides, hence a smaller step: sizes between must not be skipped.
    trial = less(found.patch, found.multiples)
    if min(trial) < LEAST_EDGE:
        return found
    return topology(spacing, less(found.patch, topology(spacing, trial).multiples))


def _resampled(shape: Sequence[int], spacing: Sequence[float], target: Sequence[float]) -> tuple[int, ...]:
    scales = (spacing[0] / target[0], spacing[1] / target[1], spacing[1] / target[1])
    return tuple(round(n * scale) for n, scale in zip(shape, scales, strict=True))


def _tuples(value: Any) -> Any:
    return tuple(_tuples(one) for one in value) if isinstance(value, list | tuple) else value
