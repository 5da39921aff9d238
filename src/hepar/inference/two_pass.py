"""A coarse pass finds the liver, a fine one looks at its box only: more detail for the same work."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hepar.geometry import Geometry
from hepar.inference.blocks import BlockSegmenter
from hepar.inference.segmenter import Progress, SlabSegmenter
from hepar.volume import Volume

Box = tuple[slice, slice, slice]
# A score that no later step takes for liver.
SURE = 30.0
# The first pass looks at a slice every so often: between two of them a liver's outline moves by less than the margin.
SEARCH_MM = 5.0
# The left lobe's tip is thin, and a coarse pass ends up to 41 mm before it (3 of 28 scans, `studies/range_search`).
LEFT_TIP_MM = 25.0


@dataclass(frozen=True, eq=False)
class TwoPassSegmenter(SlabSegmenter):
    """`first` finds the liver; this segmenter's own network sees its box with `margin_mm` around.

    Outside the box all is background. Memory is that of the larger pass.
    """

    first: SlabSegmenter | None = None
    margin_mm: float = 20.0

    def scores(self, ct: Volume, progress: Progress | None = None) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """As every segmenter's, of the slices that the box touches; none where the first pass finds no liver."""
        assert self.first is not None
        axial = ct.axial()
        box = self.searched(axial)
        if box is None:
            return
        rows, y, x = box
        seen = self.pipeline.neighbours.within(rows)
        inside = replace(self, pipeline=replace(self.pipeline, neighbours=seen))
        for start, part in super(TwoPassSegmenter, inside).scores(part_of(axial, box), progress):
            whole = np.zeros((*part.shape[:2], *axial.geometry.shape[1:]), np.float32)
            # Two channels are liver against background, three begin with background.
            whole[:, 0] = -SURE if part.shape[1] == 2 else SURE
            whole[:, :, y, x] = part
            yield start + rows.start, whole

    def searched(self, axial: Volume) -> Box | None:
        """Where the first pass saw liver, with the margin; None where it saw none."""
        assert self.first is not None
        if isinstance(self.first, BlockSegmenter):
            return box_around(self.first.segment(axial).liver, axial.geometry, self.margin_mm)
        rows = spread_rows(axial.geometry, SEARCH_MM)
        return box_on_scan(largest(self.first.sampled(axial, rows) > 0), rows, axial.geometry, self.margin_mm)


def spread_rows(grid: Geometry, every_mm: float) -> NDArray[np.int64]:
    """Slices no further apart than `every_mm`, where the grid has such; the last one included."""
    step = max(1, int(every_mm / grid.spacing_mm[0] + 1e-4))
    return np.unique(np.append(np.arange(0, grid.shape[0], step), grid.shape[0] - 1))


def largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest face-connected part; all of an empty mask."""
    from scipy.ndimage import label

    parts, count = label(mask)
    return mask if count < 2 else np.asarray(parts == 1 + int(np.bincount(parts.ravel())[1:].argmax()))


def box_on_scan(found: NDArray[np.bool_], rows: NDArray[np.int64], grid: Geometry, margin_mm: float) -> Box | None:
    """The box on the scan around what was found in slices `rows` (k, h, w) of it, on coarser or finer pixels.

    It reaches the next slice that was looked at without finding anything, and
    from there on every side by the margin, and further to the patient's left.
    The scan lies in its axial view.
    """
    box = []
    for axis, size in enumerate(grid.shape):
        at = np.flatnonzero(found.any(axis=tuple(a for a in range(3) if a != axis)))
        if not at.size:
            return None
        if axis == 0:
            low, high = rows[max(0, at[0] - 1)], rows[min(len(rows) - 1, at[-1] + 1)] + 1
        else:
            scale = size / found.shape[axis]
            low, high = np.floor(at[0] * scale), np.ceil((at[-1] + 1) * scale)
        before, behind = margin_mm, margin_mm + (LEFT_TIP_MM if axis == 2 else 0.0)
        less, more = (int(np.ceil(mm / grid.spacing_mm[axis])) for mm in (before, behind))
        box.append(slice(max(0, int(low) - less), min(size, int(high) + more)))
    return box[0], box[1], box[2]


def box_around(mask: NDArray[np.bool_], grid: Geometry, margin_mm: float) -> Box | None:
    """The smallest box (z, y, x) around `mask` with a margin on every side, inside the grid; None for an empty mask."""
    box = []
    for axis in range(3):
        at = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        if not at.size:
            return None
        more = int(np.ceil(margin_mm / grid.spacing_mm[axis]))
        box.append(slice(max(0, int(at[0]) - more), min(grid.shape[axis], int(at[-1]) + 1 + more)))
    return box[0], box[1], box[2]


def part_of(ct: Volume, box: Box) -> Volume:
    """The voxels inside a box, on their own place in the patient."""
    return Volume(ct.values[box], part_of_grid(ct.geometry, box), ct.notes)


def part_of_grid(grid: Geometry, box: Box) -> Geometry:
    z, y, x = box
    affine = grid.affine.copy()
    affine[:3, 3] = grid.position_mm((z.start, y.start, x.start))
    return Geometry((z.stop - z.start, y.stop - y.start, x.stop - x.start), affine)
