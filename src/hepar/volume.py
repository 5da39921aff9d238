"""A CT scan and a label map: numbers that travel with their place."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepar.errors import BadInput, GeometryMismatch
from hepar.geometry import Geometry

BACKGROUND, LIVER, TUMOUR = 0, 1, 2
LABEL_NAMES = {BACKGROUND: "background", LIVER: "liver", TUMOUR: "tumour"}


@dataclass(frozen=True, eq=False)
class Volume:
    """A CT scan. `values` is int16 or float32 (z, y, x) in Hounsfield units, all finite.

    `notes` are remarks of the reader that a report should repeat; they never
    hold patient data. Raises BadInput on another shape or type.
    """

    values: NDArray[Any]
    geometry: Geometry
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if self.values.shape != self.geometry.shape:
            raise BadInput(f"values have shape {self.values.shape} but the grid is {self.geometry.shape}")
        if self.values.dtype not in (np.int16, np.float32):
            raise BadInput(f"values are {self.values.dtype}; a Volume holds int16 or float32 Hounsfield units")

    def with_values(self, values: NDArray[Any]) -> Volume:
        return replace(self, values=values)

    def slab(self, start: int, stop: int) -> Volume:
        """Slices `start` up to `stop` along z, on their own place in the patient."""
        affine = self.geometry.affine.copy()
        affine[:3, 3] = self.geometry.position_mm((start, 0, 0))
        shape = (min(stop, self.values.shape[0]) - start, *self.values.shape[1:])
        return replace(self, values=self.values[start:stop], geometry=Geometry(shape, affine))

    def axial(self) -> Volume:
        """The same voxels with axes flipped and swapped to the radiologist's axial view."""
        turn = self.geometry.axial()
        return replace(self, values=turn.apply(self.values), geometry=turn.geometry)


@dataclass(frozen=True, eq=False)
class LabelMap:
    """Labels of a scan, uint8 (z, y, x): 0 background, 1 liver, 2 tumour."""

    labels: NDArray[np.uint8]
    geometry: Geometry

    def __post_init__(self) -> None:
        if self.labels.shape != self.geometry.shape:
            raise BadInput(f"labels have shape {self.labels.shape} but the grid is {self.geometry.shape}")
        if self.labels.dtype != np.uint8:
            raise BadInput(f"labels are {self.labels.dtype}; a LabelMap holds uint8")
        if self.labels.size and self.labels.max() > TUMOUR:
            found = np.unique(self.labels)[:10].tolist()
            raise BadInput(
                f"labels are {found}; expected 0 background, 1 liver, 2 tumour. Map other labels onto these first"
            )

    @property
    def liver(self) -> NDArray[np.bool_]:
        """Liver including its tumours (a tumour voxel is also a liver voxel, as LiTS scores it)."""
        return np.asarray(self.labels >= LIVER)

    @property
    def tumour(self) -> NDArray[np.bool_]:
        return np.asarray(self.labels == TUMOUR)

    def with_labels(self, labels: NDArray[np.uint8]) -> LabelMap:
        return replace(self, labels=labels)

    def axial(self) -> LabelMap:
        """The same voxels with axes flipped and swapped to the radiologist's axial view."""
        turn = self.geometry.axial()
        return replace(self, labels=turn.apply(self.labels), geometry=turn.geometry)

    def volume_ml(self, label: int) -> float:
        """Volume of one label in mL; tumour is not counted into label 1."""
        return float(np.count_nonzero(self.labels == label)) * self.geometry.voxel_volume_mm3 / 1000

    def onto(self, grid: Geometry) -> LabelMap:
        """Nearest-neighbour labels on another grid; outside the own grid is background."""
        if self.geometry.same_grid(grid):
            return replace(self, geometry=grid)
        out = np.zeros(grid.shape, dtype=np.uint8)
        rows = np.stack(np.meshgrid(np.arange(grid.shape[1]), np.arange(grid.shape[2]), indexing="ij"), axis=-1)
        # One slice at a time: a whole volume of float64 coordinates would need 24 bytes a voxel.
        for z in range(grid.shape[0]):
            index = np.concatenate([np.full((*rows.shape[:2], 1), z), rows], axis=-1)
            nearest = np.rint(self.geometry.index_of(grid.position_mm(index))).astype(np.int64)
            inside = ((nearest >= 0) & (nearest < self.labels.shape)).all(axis=-1)
            out[z][inside] = self.labels[tuple(nearest[inside].T)]
        return LabelMap(out, grid)


def require_same_grid(truth: LabelMap, found: LabelMap) -> None:
    """Raises GeometryMismatch unless both maps lie on one grid."""
    if not truth.geometry.same_grid(found.geometry):
        raise GeometryMismatch(
            f"truth lies on {truth.geometry}, prediction on {found.geometry}; "
            "both files must lie on one grid; in Python bring the prediction back with `found.onto(truth.geometry)`"
        )
