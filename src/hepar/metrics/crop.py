"""The smallest box that holds what is labelled, so that everything after it touches few voxels.

A liver fills a tenth of an abdominal scan or less. Outside the scan counts as
outside every mask, just as background does, so cropping changes no number.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepar.geometry import Geometry
from hepar.volume import LabelMap

Box = tuple[slice, slice, slice]
NOTHING: Box = (slice(0, 0), slice(0, 0), slice(0, 0))


def box_of(*masks: NDArray[Any]) -> Box:
    """The smallest box (z, y, x) around all that is not 0 in any of the masks; `NOTHING` when that is nothing.

    Masks are bool or unsigned whole numbers (z, y, x).
    """
    boxes = [box for box in map(_box, masks) if box != NOTHING]
    if not boxes:
        return NOTHING
    z, y, x = (slice(min(s.start for s in axis), max(s.stop for s in axis)) for axis in zip(*boxes, strict=True))
    return z, y, x


def cropped(labels: LabelMap, box: Box) -> LabelMap:
    """The labels inside a box, in their own place in the patient; of an empty box, its first voxel."""
    z, y, x = (slice(s.start, max(s.stop, s.start + 1)) for s in box)
    inside = np.ascontiguousarray(labels.labels[z, y, x])
    affine = labels.geometry.affine.copy()
    affine[:3, 3] = labels.geometry.position_mm((z.start, y.start, x.start))
    return LabelMap(inside, Geometry((inside.shape[0], inside.shape[1], inside.shape[2]), affine))


def within(outer: Box, inner: Box) -> Box:
    """A box given relative to `outer`, relative to what `outer` lies in."""
    z, y, x = (slice(o.start + i.start, o.start + i.stop) for o, i in zip(outer, inner, strict=True))
    return z, y, x


def shared_box(one: Box, other: Box) -> Box:
    """The box that two boxes share; `NOTHING` when they do not meet."""
    z, y, x = (slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one, other, strict=True))
    return (z, y, x) if all(s.start < s.stop for s in (z, y, x)) else NOTHING


def places_of(mask: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Indices (n, 3) of a mask's voxels in the order of the array: `argwhere` in a quarter of its time."""
    return np.stack(np.unravel_index(np.flatnonzero(mask), mask.shape), axis=-1)


def _box(mask: NDArray[Any]) -> Box:
    # max() runs along memory and is vectorised for uint8, where any() is not: 5 ms for 512 x 512 x 300 voxels,
    # against 60 of scipy's find_objects.
    z = _span(mask.max(axis=(1, 2), initial=0))
    footprint = mask[z].max(axis=0, initial=0)
    y, x = _span(footprint.any(axis=1)), _span(footprint.any(axis=0))
    return NOTHING if z.stop == 0 else (z, y, x)


def _span(line: NDArray[Any]) -> slice:
    at = np.flatnonzero(line)
    return slice(int(at[0]), int(at[-1]) + 1) if at.size else slice(0, 0)
