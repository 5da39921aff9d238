"""LabelMap -> LabelMap: cleaning what a network found.

Each step is a small frozen value. Components are face-connected in 3D; slices
lie along array axis 0, so bring a map to its axial view first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepar.errors import BadInput
from hepar.preprocess.stored import Row, rows_of, steps_of
from hepar.volume import BACKGROUND, LIVER, LabelMap

Clean = Callable[[LabelMap], LabelMap]
Mask = NDArray[np.bool_]

# Neighbours of a pixel within its own slice: 4, none above or below.
IN_SLICE = np.array([[[0] * 3] * 3, [[0, 1, 0], [1, 1, 1], [0, 1, 0]], [[0] * 3] * 3])


@dataclass(frozen=True)
class KeepLargestLiver:
    """Keep the largest component of liver and tumour together; the rest becomes background."""

    def __call__(self, found: LabelMap) -> LabelMap:
        from scipy.ndimage import label

        box = _box(found.liver)
        if box is None:
            return found
        parts, count = label(found.liver[box])
        if count == 1:
            return found
        sizes = np.bincount(parts.ravel())
        sizes[0] = 0
        labels = np.zeros_like(found.labels)
        labels[box] = np.where(parts == sizes.argmax(), found.labels[box], np.uint8(BACKGROUND))
        return found.with_labels(labels)


@dataclass(frozen=True)
class FillLiverHoles:
    """Background that liver or tumour encloses within an axial slice becomes liver."""

    def __call__(self, found: LabelMap) -> LabelMap:
        from scipy.ndimage import label

        box = _box(found.liver)
        if box is None:
            return found
        # One ring of background around each slice joins everything that is not enclosed.
        outside = np.pad(~found.liver[box], ((0, 0), (1, 1), (1, 1)), constant_values=True)
        parts, _ = label(outside, structure=IN_SLICE)
        ring = parts[:, :1, :1]
        holes = (outside & (parts != ring))[:, 1:-1, 1:-1]
        labels = found.labels.copy()
        labels[box][holes] = LIVER
        return found.with_labels(labels)


@dataclass(frozen=True)
class DropSmallTumours:
    """Tumours smaller than `min_ml` mL become liver. Raises BadInput when `min_ml` is negative or not finite."""

    min_ml: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.min_ml) and self.min_ml >= 0):
            raise BadInput(f"min_ml is {self.min_ml}; expected a volume of 0 mL or more")

    def __call__(self, found: LabelMap) -> LabelMap:
        from scipy.ndimage import label

        box = _box(found.tumour)
        if box is None:
            return found
        parts, _ = label(found.tumour[box])
        volumes_ml = np.bincount(parts.ravel()) * found.geometry.voxel_volume_mm3 / 1000
        # A tumour of exactly min_ml stays, whatever a header's float32 spacing makes of it.
        small = volumes_ml < self.min_ml * (1 - 1e-6)
        small[0] = False
        labels = found.labels.copy()
        labels[box][small[parts]] = LIVER
        return found.with_labels(labels)


STEPS: dict[str, type] = {cls.__name__: cls for cls in (KeepLargestLiver, FillLiverHoles, DropSmallTumours)}


def steps_to_json(steps: Iterable[Clean]) -> list[Row]:
    """Steps as JSON rows {"step": name, settings...}. Raises BadInput for a step that hepar does not ship."""
    return rows_of(steps, STEPS)


def steps_from_json(rows: Any) -> tuple[Clean, ...]:
    """The steps that `steps_to_json` wrote. Raises BadModel on an unknown step or setting."""
    return steps_of(rows, STEPS)


def _box(mask: Mask) -> tuple[slice, slice, slice] | None:
    """The smallest box around a mask, or None when it is empty; components need not look further."""
    from scipy.ndimage import find_objects

    boxes = find_objects(mask.view(np.uint8))
    return boxes[0] if boxes else None
