"""Truth and prediction of one case, read and brought onto one grid, or an error that shows how the grids differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hepar.errors import GeometryMismatch
from hepar.geometry import Geometry, Triple
from hepar.predictions.source import LabelSource, StoredLabels
from hepar.predictions.transform import Inset, Transform, inset, place, reordered, transform
from hepar.volume import LabelMap

Resample = Literal["none", "nearest", "by-index"]


@dataclass(frozen=True, eq=False)
class PairOfLabels:
    """Both maps on the truth's grid; `header_spacing_mm` (z, y, x) is the truth's; `notes` say what was done."""

    truth: LabelMap
    found: LabelMap
    header_spacing_mm: Triple
    notes: tuple[str, ...] = ()


def read_pair(truth: LabelSource, found: LabelSource, resample: Resample = "none") -> PairOfLabels:
    """Read both sides of a case.

    Where the grids differ: "none" is an error, "nearest" takes the prediction
    onto the truth's grid (exactly, where the same voxels are only stored in
    another order), "by-index" trusts voxel indices over headers where shapes
    are equal, as the official LiTS scorer does. A DICOM SEG, which leaves empty
    slices out, is set into the truth's grid without being asked.

    Raises GeometryMismatch, which shows the transform between the grids, and BadInput as reading does.
    """
    here, there = truth.read(), found.read()
    notes = (*here.notes, *there.notes)
    ours, theirs = here.labels, there.labels
    # By index, headers are not believed: a label map of the truth's shape is taken as it stands.
    by_index = resample == "by-index" and ours.geometry.shape == theirs.geometry.shape
    sparse = (here.sparse or there.sparse) and not ours.geometry.same_grid(theirs.geometry)
    if sparse and not by_index and (joined := _joined(here, there)):
        ours, theirs = joined
        notes += (f"{found.file if there.sparse else truth.file}: set into the scan's slices by its positions",)
    if not ours.geometry.same_grid(theirs.geometry):
        theirs, note = _brought(ours, theirs, found.file, resample)
        notes += (note,)
    return PairOfLabels(ours, theirs, here.header_spacing_mm, notes)


def _brought(truth: LabelMap, found: LabelMap, file: str, resample: Resample) -> tuple[LabelMap, str]:
    """The prediction on the truth's grid, and a note of how."""
    how = transform(truth.geometry, found.geometry)
    if resample == "by-index" and truth.geometry.shape == found.geometry.shape:
        return LabelMap(found.labels, truth.geometry), f"{file}: voxels taken by index, though its header says {how}"
    if resample == "nearest":
        if how.reorders_only:
            moved = reordered(found, how)
            return LabelMap(moved.labels, truth.geometry), f"{file}: reordered without interpolation; {how}"
        return found.onto(truth.geometry), f"{file}: resampled to the truth's grid by nearest neighbour; {how}"
    raise GeometryMismatch(_refusal(how, file, resample))


def _refusal(how: Transform, file: str, resample: Resample) -> str:
    text = f"'{file}' lies on another grid than its truth: {how}. "
    if resample == "by-index":
        return text + "Voxels can be taken by index only where shapes are equal; use --resample nearest"
    text += "Write predictions on the scan's grid, or use --resample nearest"
    if how.truth.shape == how.found.shape and not how.reorders_only:
        text += (
            "; if only the header is wrong and voxel indices agree, --resample by-index (the official scorer does so)"
        )
    return text


def _joined(here: StoredLabels, there: StoredLabels) -> tuple[LabelMap, LabelMap] | None:
    """Both on one grid where a sparse side's voxels are voxels of the other's lattice; None where they are not.

    The grid is that of the side that is not sparse; of two sparse sides, the
    truth's, made as large as both need.
    """
    dense, other = (here, there) if not here.sparse else (there, here)
    how = transform(dense.labels.geometry, other.labels.geometry)
    turned = reordered(other.labels, how)
    grid = dense.labels.geometry
    at = inset(grid, turned.geometry)
    if at is None:
        return None
    ends = [s + k * (n - 1) + 1 for s, k, n in zip(at.start, at.step, turned.labels.shape, strict=True)]
    low, high = np.minimum(at.start, 0), np.maximum(ends, grid.shape)
    kept = dense.labels
    if low.any() or tuple(high) != grid.shape:
        if not dense.sparse:
            return None
        grid = _larger(grid, low, high)
        kept = place(kept, Inset(_back(low), (1, 1, 1)), grid)
        at = Inset(_back(low, at.start), at.step)
    placed = place(turned, at, grid)
    return (kept, placed) if dense is here else (placed, kept)


def _back(low: NDArray[Any], start: tuple[int, int, int] = (0, 0, 0)) -> tuple[int, int, int]:
    """Indices counted from `low`."""
    z, y, x = (int(s - n) for s, n in zip(start, low, strict=True))
    return z, y, x


def _larger(grid: Geometry, low: NDArray[Any], high: NDArray[Any]) -> Geometry:
    affine = grid.affine.copy()
    affine[:3, 3] = grid.position_mm(low)
    z, y, x = (int(n) for n in high - low)
    return Geometry((z, y, x), affine)
