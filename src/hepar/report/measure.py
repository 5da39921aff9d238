"""CT and labels -> the numbers of a report: volumes, tumour burden, a table of tumours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.distance import pdist

from hepar.errors import GeometryMismatch
from hepar.volume import LIVER, TUMOUR, LabelMap, Volume

COMPONENT_RULE = "A tumour is one group of tumour voxels that share faces (6-connectivity)."
CONFIDENCE_RULE = "Confidence: the mean of the model's tumour probability over the tumour's voxels."
DIAMETER_RULE = "Longest diameter: the greatest distance across the tumour within one axial slice, outer voxel edges."


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
    slice that it lies in, counted from 1 at the feet as in the pictures;
    `mean_hu` is the mean over its voxels. `confidence` is the mean of the
    model's tumour probability, 0 to 1; None where only labels are known.
    """

    number: int
    volume_ml: float
    longest_axial_diameter_mm: float
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
    pieces, count = ndimage.label(labels.tumour)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)[1:]
    # Equal sizes keep the order of the scan, so that numbers do not depend on the sort.
    order = np.argsort(-sizes, kind="stable")[:most]
    boxes = ndimage.find_objects(pieces)
    rows = []
    for number, piece in enumerate(order.tolist(), start=1):
        box = boxes[piece]
        mask = pieces[box] == piece + 1
        centre = np.add(ndimage.center_of_mass(mask), [s.start for s in box])
        position = ct.geometry.position_mm(centre).tolist()
        rows.append(
            TumourRow(
                number=number,
                volume_ml=float(sizes[piece]) * ct.geometry.voxel_volume_mm3 / 1000,
                longest_axial_diameter_mm=_longest_axial_mm(mask, ct),
                mean_hu=float(ct.values[box][mask].mean(dtype=np.float64)),
                position_mm=(position[0], position[1], position[2]),
                axial_slice=round(float(centre[0])) + 1,
                confidence=None if probability is None else float(probability[box][mask].mean() / 255),
            )
        )
    return rows


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


def _longest_axial_mm(mask: NDArray[np.bool_], ct: Volume) -> float:
    """Over the slices of an axial mask (z, y, x), the greatest in-plane distance in mm."""
    in_plane = ct.geometry.affine[:3, 1:3]
    return max(_longest_in_slice_mm(part, in_plane) for part in mask if part.any())


def _longest_in_slice_mm(part: NDArray[np.bool_], in_plane: NDArray[np.float64]) -> float:
    # Only the first and last pixel of each row can lie furthest away.
    rows = np.flatnonzero(part.any(axis=1))
    first = part[rows].argmax(axis=1)
    last = part.shape[1] - 1 - part[rows, ::-1].argmax(axis=1)
    ends = np.concatenate([np.column_stack([rows, first]), np.column_stack([rows, last])]).astype(float)
    # The middles of the pixel's edges: a row of n pixels is n pixels long.
    half = np.array([(0.5, 0), (-0.5, 0), (0, 0.5), (0, -0.5)])
    points = np.unique((ends[:, None] + half).reshape(-1, 2), axis=0) @ in_plane.T
    if len(points) > 60:
        points = _hull(points, in_plane)
    return float(pdist(points).max())


def _hull(points: NDArray[np.float64], in_plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """The corners of the convex hull of points (n, 3) that lie in one plane."""
    flat = points @ np.linalg.pinv(in_plane).T
    try:
        return np.asarray(points[ConvexHull(flat).vertices])
    except QhullError:
        return points
