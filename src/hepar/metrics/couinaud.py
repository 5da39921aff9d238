"""Couinaud segments of the liver: their map, their volumes, which of them a lesion lies in, agreement with a reference.

Numbers 1 to 8 are Couinaud's I to VIII (Couinaud 1957; Brisbane terminology,
Strasberg 2000): 1 the caudate lobe, 2 to 4 the left liver, 5 to 8 the right.
4a and 4b are one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepar.errors import BadInput, GeometryMismatch
from hepar.geometry import Geometry
from hepar.volume import LabelMap

SEGMENTS = tuple(range(1, 9))
ROMAN = dict(zip(SEGMENTS, ("I", "II", "III", "IV", "V", "VI", "VII", "VIII"), strict=True))
# A segment that holds less of a lesion is a matter of the border's last pixels, not of the lesion.
LEAST_SHARE = 0.05
LESION_RULE = "Segments of a tumour: those that hold at least 5 % of its voxels, the largest part first."


@dataclass(frozen=True, eq=False)
class SegmentMap:
    """Couinaud segments, uint8 (z, y, x): 1 to 8 inside the liver, tumours included; 0 elsewhere."""

    labels: NDArray[np.uint8]
    geometry: Geometry

    def __post_init__(self) -> None:
        if self.labels.shape != self.geometry.shape:
            raise BadInput(f"segments have shape {self.labels.shape} but the grid is {self.geometry.shape}")
        if self.labels.dtype != np.uint8:
            raise BadInput(f"segments are {self.labels.dtype}; a SegmentMap holds uint8")
        if self.labels.size and self.labels.max() > SEGMENTS[-1]:
            raise BadInput(f"segments go up to {self.labels.max()}; expected 0 outside the liver and 1 to 8")

    @property
    def liver(self) -> NDArray[np.bool_]:
        return np.asarray(self.labels > 0)

    def with_labels(self, labels: NDArray[np.uint8]) -> SegmentMap:
        return replace(self, labels=labels)

    def axial(self) -> SegmentMap:
        """The same voxels with axes flipped and swapped to the radiologist's axial view."""
        turn = self.geometry.axial()
        return replace(self, labels=turn.apply(self.labels), geometry=turn.geometry)

    def volumes_ml(self) -> dict[int, float]:
        """Volume of every segment in mL, tumours included; 0 where a segment is not there."""
        counts = np.bincount(self.labels.ravel(), minlength=SEGMENTS[-1] + 1)
        return {s: float(counts[s]) * self.geometry.voxel_volume_mm3 / 1000 for s in SEGMENTS}


@dataclass(frozen=True)
class LesionSegments:
    """The segments of one lesion and the share of its voxels in each, the largest first; none outside of all segments.

    `number` is the lesion's in `hepar.report.measure.tumour_table`: 1 for the largest.
    """

    number: int
    shares: dict[int, float]

    @property
    def main(self) -> int | None:
        return next(iter(self.shares), None)


def lesion_segments(labels: LabelMap, segments: SegmentMap) -> list[LesionSegments]:
    """Where every tumour of `labels` lies, by `LESION_RULE`; tumours are groups of face-connected voxels.

    Raises GeometryMismatch when the two maps lie on different grids.
    """
    from scipy import ndimage

    if not labels.geometry.same_grid(segments.geometry):
        raise GeometryMismatch(
            f"labels lie on {labels.geometry}, segments on {segments.geometry}; both must lie on one grid"
        )
    tumour, places = labels.axial().tumour, segments.axial().labels
    pieces, count = ndimage.label(tumour)
    # Rows are lesions, columns segments: how many voxels of the one lie in the other.
    table = np.bincount(pieces[tumour] * 9 + places[tumour].astype(np.intp), minlength=9 * (count + 1))
    table = table.reshape(-1, 9)[1:]
    # Equal sizes keep the order of the axial view, as in the report's table.
    order = np.argsort(-table.sum(axis=1), kind="stable")
    return [LesionSegments(number, _shares(table[row])) for number, row in enumerate(order.tolist(), start=1)]


def confusion(truth: SegmentMap, found: SegmentMap, known: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
    """Voxels by true (row) and found (column) segment, (9, 9), 0 being outside the liver.

    `known` (z,) leaves out slices whose true segments nobody drew. Raises
    GeometryMismatch when the maps lie on different grids.
    """
    if not truth.geometry.same_grid(found.geometry):
        raise GeometryMismatch(f"truth lies on {truth.geometry}, what was found on {found.geometry}; expected one grid")
    rows = slice(None) if known is None else known
    pairs = truth.labels[rows].astype(np.intp) * 9 + found.labels[rows]
    return np.bincount(pairs.ravel(), minlength=81).reshape(9, 9).astype(np.int64)


def segment_dice(table: NDArray[Any]) -> dict[int, float]:
    """Dice of each segment from its `confusion`; NaN for a segment that the truth has not."""
    sums = table.sum(axis=0) + table.sum(axis=1)
    return {s: float(2 * table[s, s] / sums[s]) if table[s].any() else math.nan for s in SEGMENTS}


def share_in_place(table: NDArray[Any]) -> float:
    """Share of the voxels that lie in both livers whose segment is right; NaN when the livers share none."""
    inside = table[1:, 1:]
    return float(np.trace(inside) / inside.sum()) if inside.any() else math.nan


def _shares(row: NDArray[Any]) -> dict[int, float]:
    shares = {s: float(row[s] / row.sum()) for s in SEGMENTS}
    kept = {s: share for s, share in shares.items() if share >= LEAST_SHARE}
    return dict(sorted(kept.items(), key=lambda pair: -pair[1]))
