"""A whole volume through a 3D network, block by block, in bounded memory.

The scan's grid changes as for slice networks, and along z as well: grey values
go to stacks of `slice_mm`, scores come back to the scan's slices before they
become labels. Blocks overlap; where they do, their logits are averaged under a
Gaussian that trusts a block's middle most (as nnU-Net does).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
from numpy.typing import NDArray

from hepar.inference.segmenter import Predictor, Progress, SlabSegmenter
from hepar.preprocess.intensity import Step
from hepar.preprocess.spatial import InPlanePlan, linear_weights
from hepar.volume import Volume

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
# Slices resampled at once: arithmetic stays small beside the scan itself.
PIECE = 16
# Voxels of a block along z, y and x; one number for a cube.
Side = int | tuple[int, int, int]
# nnU-Net's Gaussian: an eighth of the block; its corners still count a little, so that no weight is 0.
SIGMA, LEAST_TRUST = 1 / 8, 1e-3


@dataclass(frozen=True, eq=False)
class BlockSegmenter(SlabSegmenter):
    """A trained 3D network that keeps the scan's grid; only where scores come from differs from slices.

    Beside the scan and its labels, memory holds its 8-bit copy on the network's
    grid and the logits of one layer of blocks, whatever the scan's length.
    """

    side: Side = 128
    slice_mm: float = 1.5
    overlap: float = 0.5

    def scores(self, ct: Volume, progress: Progress | None = None) -> Iterator[tuple[int, Floats]]:
        """First slice and the decision's scores (slices, channel, y, x) of every slab of the axial view."""
        axial = ct.axial()
        count = axial.geometry.shape[0]
        plan = self.pipeline.grid.plan(axial.geometry)
        there, back = stack_weights(count, axial.geometry.spacing_mm[0], self.slice_mm)
        grey = grey_blocks(axial, self.pipeline.prepare, plan, there)
        layers = finished_layers(grey, self.predict, self.side, self.overlap)
        for start, logits in on_slices(layers, back, self.slab):
            yield start, plan.to_scan(self.pipeline.decision.scores(logits))
            if progress:
                progress(start + len(logits), count)


def stack_weights(count: int, z_mm: float, slice_mm: float) -> tuple[Floats, Floats]:
    """Matrices from `count` slices of `z_mm` to stacks of `slice_mm`, (k, count), and back, (count, k)."""
    scale = 1.0 if abs(slice_mm / z_mm - 1) < 1e-5 else slice_mm / z_mm
    k = max(1, round(count / scale))
    return linear_weights(count, k, scale), linear_weights(k, count, 1 / scale)


def grey_blocks(axial: Volume, prepare: Sequence[Step], plan: InPlanePlan, there: Floats) -> Bytes:
    """Prepared 8-bit grey (k, h, w) on the network's grid."""
    small = np.empty((len(axial.values), *plan.padded_size), np.uint8)
    for start in range(0, len(small), PIECE):
        part = axial.slab(start, start + PIECE)
        for step in prepare:
            part = step(part)
        small[start : start + PIECE] = _rounded(plan.to_net(part.values.astype(np.float32)))
    grey = np.empty((len(there), *plan.padded_size), np.uint8)
    for start in range(0, len(there), PIECE):
        rows, near = _needed(there[start : start + PIECE])
        grey[start : start + PIECE] = _rounded(np.tensordot(rows, small[near].astype(np.float32), 1))
    return grey


def label_blocks(labels: Bytes, plan: InPlanePlan, there: Floats) -> Bytes:
    """Labels (z, y, x) on the network's grid: in plane, then along z, the label with the largest share.

    At a tie the higher label wins, so that small tumours do not vanish first.
    """
    small = plan.labels_to_net(labels)
    found = np.zeros((len(there), *small.shape[1:]), np.uint8)
    for start in range(0, len(there), PIECE):
        rows, near = _needed(there[start : start + PIECE])
        best = np.zeros((len(rows), *small.shape[1:]), np.float32)
        for value in range(int(small.max(initial=0)) + 1):
            share = np.tensordot(rows, (small[near] == value).astype(np.float32), 1)
            wins = share >= best - 1e-5
            found[start : start + PIECE][wins], best[wins] = value, share[wins]
    return found


def finished_layers(grey: Bytes, predict: Predictor, side: Side, overlap: float) -> Iterator[tuple[int, Floats]]:
    """First slice and logits (slices, 3, h, w) of the network's grid, from the feet up, as soon as no block adds more.

    `predict` takes (1, 1, z, y, x) of `side`. Grids smaller than a block are padded with 0, which is air.
    """
    depth, h, w = grey.shape
    sides = sides_of(side)
    deep, high, wide = sides
    padded = np.pad(grey, [(0, max(0, size - n)) for size, n in zip(sides, grey.shape, strict=True)])
    trust = gaussian(deep)[:, None, None] * gaussian(high)[:, None] * gaussian(wide)
    rows, *columns = (block_starts(n, size, overlap) for n, size in zip(padded.shape, sides, strict=True))
    sums = np.zeros((3, deep, *padded.shape[1:]), np.float32)
    weights = np.zeros(sums.shape[1:], np.float32)
    for z, following in pairwise([*rows, padded.shape[0]]):
        for y, x in product(*columns):
            block = padded[z : z + deep, y : y + high, x : x + wide].astype(np.float32)
            sums[..., y : y + high, x : x + wide] += predict(block[None, None])[0] * trust
            weights[:, y : y + high, x : x + wide] += trust
        done = following - z
        ready = min(done, depth - z)
        mean = (sums[:, :ready] / weights[:ready])[..., :h, :w]
        yield z, mean.swapaxes(0, 1).astype(np.float32, copy=False)
        for kept in (sums, weights[None]):
            kept[:, : deep - done] = kept[:, done:].copy()
            kept[:, deep - done :] = 0


def sides_of(side: int | Sequence[int]) -> tuple[int, int, int]:
    """(z, y, x) of a block; one number means a cube."""
    z, y, x = (side, side, side) if isinstance(side, int) else side
    return z, y, x


def block_starts(size: int, side: int, overlap: float) -> list[int]:
    """Where blocks begin along an axis of at least `side`: evenly, so that neighbours share `overlap` or more."""
    step = max(1, int(side * (1 - overlap)))
    count = -(-(size - side) // step) + 1
    return [round(place) for place in np.linspace(0, size - side, count)]


def gaussian(side: int) -> Floats:
    """(side,), 1 in the middle, never below the cube root of `LEAST_TRUST`."""
    place = (np.arange(side) - (side - 1) / 2) / (SIGMA * side)
    return np.asarray(np.maximum(np.exp(-0.5 * place**2), LEAST_TRUST ** (1 / 3)), dtype=np.float32)


def on_slices(layers: Iterator[tuple[int, Floats]], back: Floats, slab: int) -> Iterator[tuple[int, Floats]]:
    """Logits on the scan's slices, `slab` or fewer at a time, as soon as the layers that they lie between are there."""
    last = [int(np.flatnonzero(row)[-1]) for row in back]
    first = [int(np.flatnonzero(row)[0]) for row in back]
    base, done, held = 0, 0, None
    for start, logits in layers:
        held = logits if held is None else np.concatenate([held, logits])
        known = start + len(logits)
        while done < len(back) and last[done] < known:
            stop = done + 1
            while stop < min(len(back), done + slab) and last[stop] < known:
                stop += 1
            low, high = first[done], last[stop - 1] + 1
            on_scan = np.tensordot(back[done:stop, low:high], held[low - base : high - base], 1)
            yield done, on_scan.astype(np.float32, copy=False)
            done = stop
        if done < len(back):
            held = held[first[done] - base :]
            base = first[done]


def _needed(rows: Floats) -> tuple[Floats, slice]:
    """The rows cut to the columns that count, and which those are."""
    used = np.flatnonzero(rows.any(axis=0))
    near = slice(int(used[0]), int(used[-1]) + 1)
    return rows[:, near], near


def _rounded(values: Floats) -> Bytes:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
