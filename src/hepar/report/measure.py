"""CT and labels -> the numbers of a report: volumes, tumour burden, a table of tumours."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hepar.errors import GeometryMismatch
from hepar.metrics.diameter import axial_axes
from hepar.volume import LIVER, TUMOUR, LabelMap, Volume

COMPONENT_RULE = "A tumour is one group of tumour voxels that share faces (6-connectivity)."
CONFIDENCE_RULE = "Confidence: the mean of the model's tumour probability over the tumour's voxels."
DIAMETER_RULE = (
    "Longest diameter: the greatest distance across the tumour within one axial slice, outer voxel edges. "
    "Perpendicular: the longest way across its outline's hull in the same slice, at a right angle to it."
)


@dataclass(frozen=True)
class Volumes:
    """mL, and tumour in percent of the whole liver; NaN burden when there is no liver at all."""

    liver_ml: float
    tumour_ml: float
    burden_percent: float

    @property
    def healthy_ml(self) -> float:
        return self.liver_ml - self.tumour_ml


@dataclass(frozen=True)
class TumourRow:
    """One tumour.

    `position_mm` is its centre of mass in LPS (x, y, z), `axial_slice` the
    slice that it lies in, `diameter_slice` the one in which both diameters are
    measured, counted from 1 at the feet as in the pictures;
    `mean_hu` is the mean over its voxels. `confidence` is the mean of the
    model's tumour probability, 0 to 1; None where only labels are known.
    """

    number: int
    volume_ml: float
    longest_axial_diameter_mm: float
    perpendicular_axial_diameter_mm: float
    diameter_slice: int
    mean_hu: float
    position_mm: tuple[float, float, float]
    axial_slice: int
    confidence: float | None = None


def volumes(labels: LabelMap) -> Volumes:
    """Volumes in mL; liver includes its tumours."""
    tumour_ml = labels.volume_ml(TUMOUR)
    liver_ml = labels.volume_ml(LIVER) + tumour_ml
    return Volumes(liver_ml, tumour_ml, 100 * tumour_ml / liver_ml if liver_ml else math.nan)


def tumour_table(
    ct: Volume, labels: LabelMap, most: int | None = None, probability: NDArray[np.uint8] | None = None
) -> list[TumourRow]:
    """Every tumour, largest first, at most `most` of them; numbers start at 1.

    `probability` (z, y, x) is that of tumour in 255ths, on the labels' grid.
    Raises GeometryMismatch when CT and labels lie on different grids.
    """
    require_grid_of(ct, labels)
    if probability is not None:
        probability = labels.geometry.axial().apply(probability)
    ct, labels = ct.axial(), labels.axial()
    tumours = tumours_of(labels)
    rows = []
    for number, (box, mask) in enumerate(tumours.masks(most), start=1):
        centre = np.add(ndimage.center_of_mass(mask), [s.start for s in box])
        position = ct.geometry.position_mm(centre).tolist()
        axes = axial_axes(mask, ct.geometry)
        rows.append(
            TumourRow(
                number=number,
                volume_ml=float(np.count_nonzero(mask)) * ct.geometry.voxel_volume_mm3 / 1000,
                longest_axial_diameter_mm=axes.long_mm,
                perpendicular_axial_diameter_mm=axes.short_mm,
                diameter_slice=box[0].start + axes.slice + 1,
                mean_hu=float(ct.values[box][mask].mean(dtype=np.float64)),
                position_mm=(position[0], position[1], position[2]),
                axial_slice=round(float(centre[0])) + 1,
                confidence=None if probability is None else float(probability[box][mask].mean() / 255),
            )
        )
    return rows


@dataclass(frozen=True, eq=False)
class Tumours:
    """The groups of face-connected tumour voxels in the axial view, largest first.

    `pieces` (z, y, x) is 0 or a group's number by place in the scan, `order`
    those numbers by size. Equal sizes keep the order of the scan, so that
    numbers of a table do not depend on the sort.
    """

    pieces: NDArray[np.int32]
    order: NDArray[np.intp]
    boxes: tuple[tuple[slice, slice, slice], ...]

    def masks(self, most: int | None = None) -> Iterator[tuple[tuple[slice, slice, slice], NDArray[np.bool_]]]:
        """Box and mask within it of each tumour, at most `most` of them."""
        for piece in self.order[:most].tolist():
            box = self.boxes[piece - 1]
            yield box, self.pieces[box] == piece

    def numbered(self, most: int) -> NDArray[np.uint8]:
        """1 for the largest tumour and so on up to `most`, `most` + 1 for all others, 0 elsewhere; `most` below 255."""
        lookup = np.zeros(len(self.order) + 1, np.uint8)
        lookup[self.order] = np.minimum(np.arange(1, len(self.order) + 1), most + 1)
        return np.asarray(lookup[self.pieces])


def tumours_of(axial: LabelMap) -> Tumours:
    """Single tumours of a map in the axial view (`LabelMap.axial`)."""
    pieces, count = ndimage.label(axial.tumour)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)[1:]
    return Tumours(pieces, np.argsort(-sizes, kind="stable") + 1, tuple(ndimage.find_objects(pieces)))


def require_grid_of(ct: Volume, labels: LabelMap) -> None:
    """Raises GeometryMismatch unless the labels lie on the grid of the scan."""
    if not ct.geometry.same_grid(labels.geometry):
        raise GeometryMismatch(
            f"the scan lies on {ct.geometry}, the labels on {labels.geometry}; "
            "bring the labels back with `labels.onto(ct.geometry)`"
        )


def measurements_of(measured: Volumes, tumours: Sequence[TumourRow]) -> dict[str, Any]:
    """The report's numbers as plain values for JSON; undefined numbers are NaN."""
    return {
        "volumes": {**asdict(measured), "healthy_ml": measured.healthy_ml},
        "tumours": [asdict(row) for row in tumours],
        "rules": {"tumour": COMPONENT_RULE, "longest_axial_diameter_mm": DIAMETER_RULE, "confidence": CONFIDENCE_RULE},
    }
