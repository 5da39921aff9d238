"""How two grids differ, in words, and labels brought from one lattice to another without interpolation.

Directions are the patient's. What is called mirrored has its voxels in other
places; axes that are only stored the other way round are called reversed.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations, product

import numpy as np
from numpy.typing import NDArray

from hepar.geometry import Geometry
from hepar.volume import LabelMap

AXES = ("z", "y", "x")
# By row of LPS.
PATIENT = ("left-right", "front-back", "head-foot")
# Voxel indices count as whole within this; positions in headers carry their writer's rounding.
WHOLE_VOXEL = 0.02
# Below these, headers differ by rounding.
LEAST_DEGREES = 0.01
LEAST_MM = 0.005


@dataclass(frozen=True, eq=False)
class Transform:
    """From the truth's grid to the prediction's.

    `order[a]` is the found axis that runs most nearly along truth axis a, in
    the other sense where `reversed_[a]`; `degrees` is the rotation that is left
    then, `aligned` the found grid with its axes so ordered.
    """

    truth: Geometry
    found: Geometry
    order: tuple[int, int, int]
    reversed_: tuple[bool, bool, bool]
    degrees: float
    aligned: Geometry

    @property
    def reorders_only(self) -> bool:
        """The same voxels in the same places, stored in another order."""
        return self.truth.same_grid(self.aligned)

    @property
    def shift_mm(self) -> NDArray[np.float64]:
        """From the truth to the prediction in LPS mm: of the first voxel where axes and spacing agree, else centre."""
        here, there = self.truth, self.aligned
        if self.degrees < LEAST_DEGREES and np.allclose(here.spacing_mm, there.spacing_mm, rtol=1e-4):
            return np.asarray(there.affine[:3, 3] - here.affine[:3, 3])
        return _middle_mm(there) - _middle_mm(here)

    @property
    def is_mirrored(self) -> bool:
        """Axes run the other way, and the box does not lie where the truth's lies."""
        apart = np.linalg.norm(_middle_mm(self.aligned) - _middle_mm(self.truth))
        return any(self.reversed_) and bool(apart > max(self.truth.spacing_mm))

    def __str__(self) -> str:
        said = [*self._sizes(), *self._directions()]
        shift = self.shift_mm
        if np.abs(shift).max() > LEAST_MM and not self.reorders_only:
            which = ", ".join(f"{round(float(s), 3) + 0.0:g}" for s in shift)
            said.append(f"shifted by ({which}) mm (left, back, head)")
        return "; ".join(said) or "equal but for small differences that add up over the scan"

    def _sizes(self) -> list[str]:
        said = []
        if self.truth.shape != self.found.shape:
            said.append(f"shape {self.found.shape} against {self.truth.shape} of the truth (z, y, x)")
        ordered = self.aligned.spacing_mm
        if not np.allclose(self.truth.spacing_mm, ordered, rtol=1e-6):
            here, there = (" x ".join(f"{s:.6g}" for s in spacing) for spacing in (self.truth.spacing_mm, ordered))
            said.append(f"spacing {there} mm against {here} mm")
        return said

    def _directions(self) -> list[str]:
        said = []
        if self.order != (0, 1, 2):
            ours = ", ".join(AXES[a] for a in self.order)
            said.append(f"axes swapped: the truth's z, y, x are the prediction's {ours}")
        if any(self.reversed_):
            turned = [a for a in range(3) if self.reversed_[a]]
            if self.is_mirrored:
                named = (PATIENT[int(np.argmax(np.abs(self.truth.directions[:, a])))] for a in turned)
                said.append(f"mirrored along patient {' and '.join(named)}")
            else:
                said.append(f"stored in reverse along {', '.join(AXES[a] for a in turned)}")
        if self.degrees >= LEAST_DEGREES:
            said.append(f"rotated by {self.degrees:.3g} degrees")
        if self.reorders_only:
            said.append("the voxels lie in the same places")
        return said


def _middle_mm(grid: Geometry) -> NDArray[np.float64]:
    return grid.position_mm((np.array(grid.shape) - 1) / 2)


def transform(truth: Geometry, found: Geometry) -> Transform:
    """What leads from the truth's grid to the prediction's."""
    along = truth.directions.T @ found.directions
    order = max(permutations(range(3)), key=lambda p: sum(abs(along[a, p[a]]) for a in range(3)))
    turned = (bool(along[0, order[0]] < 0), bool(along[1, order[1]] < 0), bool(along[2, order[2]] < 0))
    affine = np.eye(4)
    affine[:3, 3] = found.affine[:3, 3]
    for new, (old, flip) in enumerate(zip(order, turned, strict=True)):
        step = found.affine[:3, old]
        affine[:3, new] = -step if flip else step
        if flip:
            affine[:3, 3] += step * (found.shape[old] - 1)
    shape = (found.shape[order[0]], found.shape[order[1]], found.shape[order[2]])
    aligned = Geometry(shape, affine)
    return Transform(truth, found, (order[0], order[1], order[2]), turned, _degrees(truth, aligned), aligned)


def _degrees(truth: Geometry, aligned: Geometry) -> float:
    """The angle of the nearest rotation between two sets of axes."""
    left, _, right = np.linalg.svd(aligned.directions @ np.linalg.inv(truth.directions))
    turn = left @ right
    # The sine is exact for small angles, where the cosine is flat.
    sine = np.linalg.norm([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]]) / 2
    return float(np.degrees(np.arctan2(sine, (np.trace(turn) - 1) / 2)))


def reordered(found: LabelMap, how: Transform) -> LabelMap:
    """The same labels in the same places, stored in the truth's order of axes."""
    labels = np.transpose(found.labels, how.order)
    labels = labels[tuple(slice(None, None, -1 if flip else 1) for flip in how.reversed_)]
    return LabelMap(np.ascontiguousarray(labels), how.aligned)


@dataclass(frozen=True)
class Inset:
    """Where a lattice lies in another: its first voxel (z, y, x) there, and every how many-th slice it has."""

    start: tuple[int, int, int]
    step: tuple[int, int, int]


def inset(here: Geometry, there: Geometry) -> Inset | None:
    """`there`'s place in `here`'s voxel indices when all its voxels are voxels of `here`'s lattice, else None.

    Axes must run alike (see `Transform.aligned`); an axis of one voxel has no spacing to compare.
    """
    start = here.index_of(there.affine[:3, 3])
    first = np.rint(start).astype(int)
    last = np.array(there.shape) - 1
    steps = np.linalg.solve(here.affine[:3, :3], there.affine[:3, :3])
    whole = np.where(last > 0, np.rint(np.diag(steps)).astype(int), 1)
    if (whole < 1).any():
        return None
    for corner in product(*((0, int(n)) for n in last)):
        meant = first + whole * np.array(corner)
        if np.abs(start + steps @ np.array(corner) - meant).max() > WHOLE_VOXEL:
            return None
    z, y, x = (int(n) for n in first)
    return Inset((z, y, x), (int(whole[0]), int(whole[1]), int(whole[2])))


def place(found: LabelMap, at: Inset, grid: Geometry) -> LabelMap:
    """Labels set into a larger grid of the same lattice; the rest is background."""
    labels = np.zeros(grid.shape, np.uint8)
    ends = [s + k * (n - 1) + 1 for s, k, n in zip(at.start, at.step, found.labels.shape, strict=True)]
    labels[tuple(slice(s, e, k) for s, e, k in zip(at.start, ends, at.step, strict=True))] = found.labels
    return LabelMap(labels, grid)
