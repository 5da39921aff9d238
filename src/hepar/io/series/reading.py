"""A diagnosed series to a volume: straight, even and in HU, with its findings as notes, or an error that names them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepar.errors import BadInput, GeometryMismatch
from hepar.io.dicom import hounsfield
from hepar.io.series import findings as f
from hepar.io.series.diagnosis import Diagnosed, even_step_mm
from hepar.io.series.hounsfield import hounsfield_finding
from hepar.io.series.slices import Slice
from hepar.io.series.stack import Stack
from hepar.io.series.straighten import Straightening, straightening
from hepar.io.stored import INT16, Stored, require_plausible_size
from hepar.volume import LabelMap, Volume


@dataclass(frozen=True, eq=False)
class SeriesReading:
    """A volume and the way back to the slices of its files, which `slices` lists in the order of `on_slices`."""

    volume: Volume
    stack: Stack
    findings: tuple[f.Finding, ...]
    way: Straightening

    @property
    def slices(self) -> tuple[Slice, ...]:
        return self.stack.slices

    def on_slices(self, labels: LabelMap) -> NDArray[np.uint8]:
        """Labels of the volume on the slices as the files have them, (n, y, x), in the order of `slices`.

        Nearest pixel where a tilt was undone, nearest slice where spacing was
        made even; exactly the volume's labels where nothing was repaired.
        Raises GeometryMismatch for labels of another grid.
        """
        if not labels.geometry.same_grid(self.volume.geometry):
            raise GeometryMismatch(
                f"labels lie on {labels.geometry}, the scan on {self.volume.geometry}; pass labels of this scan"
            )
        return self.way.back(labels.labels)


def read_series(one: Diagnosed) -> SeriesReading:
    """The series in HU, z along the slice normal; int16 where the rescale keeps whole numbers in its range.

    Raises BadInput that names every finding which is an error, and for files
    that cannot be decoded.
    """
    name = one.series.name
    if not one.is_readable:
        raise BadInput(f"{name} cannot be read: {'; '.join(str(error) for error in one.errors)}")
    way = _way(one)
    require_plausible_size(name, way.grid.shape, 0, 0, compressed=True)
    values = hounsfield(one.series, one.stack.slices)
    judged = hounsfield_finding(values, one.stack.slices)
    if isinstance(judged, f.RescaleMade):
        values = _added(values, judged.intercept)
    elif judged:
        raise BadInput(f"{name} cannot be read: {judged}")
    if way.grid.shape != values.shape or way.shifts.any() or not _is_whole(way.at):
        values = way.apply(values)
    findings = (*one.findings, judged) if judged else one.findings
    stored = Stored(values, way.grid, notes=tuple(str(each) for each in findings if each.weight != "fact"))
    return SeriesReading(stored.as_volume(name), one.stack, findings, way)


def _way(one: Diagnosed) -> Straightening:
    stack = one.stack
    uneven = one.has(f.UnevenSpacing)
    return straightening(stack, even_step_mm(stack) if uneven else stack.usual_gap_mm, tilted=one.has(f.GantryTilt))


def _is_whole(at: NDArray[np.float64]) -> bool:
    return bool(np.array_equal(at, np.arange(len(at))))


def _added(values: NDArray[Any], intercept: float) -> NDArray[Any]:
    moved = values.astype(np.float32) + np.float32(intercept)
    fits = values.dtype == np.int16 and moved.min() >= INT16.min and moved.max() <= INT16.max
    return moved.astype(np.int16) if fits else moved
