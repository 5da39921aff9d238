"""One scan of a comparison: its labels, its lesions measured, and its CT where that is known."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hepar.metrics.diameter import axial_axes
from hepar.report.measure import Volumes, require_grid_of, tumours_of, volumes
from hepar.volume import LIVER, LabelMap, Volume


@dataclass(frozen=True, eq=False)
class FollowedLesion:
    """A lesion with its voxels' places (n, 3) in LPS mm; `number` as in the scan's own report, largest first.

    `mean_hu` is None without a CT.
    """

    number: int
    volume_ml: float
    long_mm: float
    short_mm: float
    mean_hu: float | None
    places_mm: NDArray[np.float64]

    @property
    def centre_mm(self) -> NDArray[np.float64]:
        return np.asarray(self.places_mm.mean(axis=0))


@dataclass(frozen=True, eq=False)
class TimePoint:
    """`why_not_assessed` is empty where tumours were assessed; otherwise it has no lesions.

    Raises GeometryMismatch when CT and labels lie on different grids.
    """

    name: str
    labels: LabelMap
    ct: Volume | None = None
    why_not_assessed: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.ct is not None:
            require_grid_of(self.ct, self.labels)

    @cached_property
    def shown(self) -> LabelMap:
        """In the axial view, without tumours where these were not assessed."""
        axial = self.labels.axial()
        if not self.why_not_assessed:
            return axial
        return axial.with_labels(np.minimum(axial.labels, np.uint8(LIVER)))

    @cached_property
    def volumes(self) -> Volumes:
        whole = volumes(self.labels)
        nan = float("nan")
        return Volumes(whole.liver_ml, nan, nan) if self.why_not_assessed else whole

    @cached_property
    def pieces(self) -> NDArray[np.int32]:
        """Each voxel's lesion by number, 0 elsewhere, on the grid of `shown`."""
        found = tumours_of(self.shown)
        lookup = np.zeros(len(found.order) + 1, np.int32)
        lookup[found.order] = np.arange(1, len(found.order) + 1)
        return np.asarray(lookup[found.pieces])

    @cached_property
    def lesions(self) -> tuple[FollowedLesion, ...]:
        grid, ct = self.shown.geometry, self.ct.axial() if self.ct else None
        rows = []
        for number, (box, mask) in enumerate(tumours_of(self.shown).masks(), start=1):
            axes = axial_axes(mask, grid)
            index = np.argwhere(mask) + [axis.start for axis in box]
            rows.append(
                FollowedLesion(
                    number,
                    len(index) * grid.voxel_volume_mm3 / 1000,
                    axes.long_mm,
                    axes.short_mm,
                    None if ct is None else float(ct.values[box][mask].mean(dtype=np.float64)),
                    grid.position_mm(index),
                )
            )
        return tuple(rows)
