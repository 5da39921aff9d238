"""A tilted, holed or uneven stack to a straight and even one, and labels back onto the slices.

Tilt shifts each slice in its own plane: slices are moved back, never
interpolated between each other, so nothing blurs along the normal. The grid
grows by what the slices stand out. It stays parallel to the slices, that is,
oblique in the patient by the tilt. Where slices are missing or uneven, new ones
are linear between their neighbours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepar.geometry import Geometry
from hepar.io.series.stack import Stack

AIR_HU = -1024
# Nearer than this share of a step, a slice is where the grid wants it.
ON_THE_SPOT = 0.02


@dataclass(frozen=True, eq=False)
class Straightening:
    """From n slices of one size to an even stack on `grid`.

    Slice k lies at z index `at[k]` of the grid, its pixel (r, c) at row
    `r + shifts[k, 0]` and column `c + shifts[k, 1]`; shifts are 0 or above.
    """

    grid: Geometry
    at: NDArray[np.float64]
    shifts: NDArray[np.float64]

    def apply(self, values: NDArray[Any]) -> NDArray[Any]:
        """Slices (n, y, x) of int16 or float32 to the grid, same type; what no slice shows is air."""
        out = np.full(self.grid.shape, AIR_HU, dtype=values.dtype)
        for z in range(len(out)):
            below = int(np.clip(np.searchsorted(self.at, z, side="right") - 1, 0, max(0, len(self.at) - 2)))
            above = min(below + 1, len(self.at) - 1)
            share = (z - self.at[below]) / (self.at[above] - self.at[below]) if above > below else 0.0
            if share <= ON_THE_SPOT:
                out[z] = self._moved(values[below], below)
            elif share >= 1 - ON_THE_SPOT:
                out[z] = self._moved(values[above], above)
            else:
                mixed = (1 - share) * self._moved(values[below], below) + share * self._moved(values[above], above)
                out[z] = _as(mixed, values.dtype)
        return out

    def back(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Labels on the grid to labels (n, y, x) of the slices: nearest slice, nearest pixel."""
        rows, columns = self._size
        places = np.rint(self.at).astype(int)
        starts = np.rint(self.shifts).astype(int)
        return np.stack([labels[z, r : r + rows, c : c + columns] for z, (r, c) in zip(places, starts, strict=True)])

    @property
    def _size(self) -> tuple[int, int]:
        grown = np.ceil(self.shifts.max(axis=0) - 1e-9).astype(int)
        return self.grid.shape[1] - int(grown[0]), self.grid.shape[2] - int(grown[1])

    def _moved(self, picture: NDArray[Any], place: int) -> NDArray[Any]:
        """A slice (y, x) moved by its shift onto the grid's rows and columns, linear between pixels."""
        moved = picture
        for axis in (0, 1):
            moved = _along(moved, axis, float(self.shifts[place, axis]), self.grid.shape[1 + axis])
        return _as(moved, picture.dtype)


def straightening(stack: Stack, step_mm: float, *, tilted: bool) -> Straightening:
    """For slices in order: to a spacing of about `step_mm` along the normal, both ends kept.

    Without `tilted` the stack is straight but for rounding, which its z axis
    then carries.
    """
    first = stack.slices[0]
    height = float(stack.heights_mm[-1])
    count = max(2, round(height / step_mm) + 1) if height > 0 else 1
    step = height / (count - 1) if count > 1 else step_mm
    at = stack.heights_mm / step
    near = np.abs(at - np.rint(at)) <= ON_THE_SPOT
    at = np.where(near, np.rint(at), at)
    row, column, size = first.orientation[:3], first.orientation[3:], first.pixel_spacing_mm
    affine = np.eye(4)
    affine[:3, 1], affine[:3, 2] = column * size[0], row * size[1]
    affine[:3, 3] = first.position_mm
    shifts = np.zeros((len(at), 2))
    if tilted:
        shifts = stack.shifts_mm / size
        lead = np.floor(shifts.min(axis=0))
        shifts = shifts - lead
        affine[:3, 0] = stack.normal * step
        affine[:3, 3] += affine[:3, 1:3] @ lead
    elif count > 1:
        affine[:3, 0] = (stack.slices[-1].position_mm - first.position_mm) / (count - 1)
    else:
        affine[:3, 0] = stack.normal * step
    grown = np.ceil(shifts.max(axis=0) - 1e-9).astype(int)
    shape = (count, first.rows + int(grown[0]), first.columns + int(grown[1]))
    return Straightening(Geometry(shape, affine), at, shifts)


def _along(picture: NDArray[Any], axis: int, shift: float, size: int) -> NDArray[Any]:
    """Moved by `shift` pixels of an axis into `size` pixels; float32 unless the shift is whole."""
    whole = math.floor(shift + 1e-9)
    share = max(0.0, shift - whole)
    placed = _placed(picture, axis, whole, size)
    if share < 1e-6:
        return placed
    further = _placed(picture, axis, whole + 1, size)
    return np.asarray((1 - share) * placed + share * further, dtype=np.float32)


def _placed(picture: NDArray[Any], axis: int, start: int, size: int) -> NDArray[Any]:
    shape = list(picture.shape)
    shape[axis] = size
    out = np.full(shape, AIR_HU, dtype=picture.dtype)
    fits = min(picture.shape[axis], size - start)
    target: list[slice] = [slice(None), slice(None)]
    source: list[slice] = [slice(None), slice(None)]
    target[axis], source[axis] = slice(start, start + fits), slice(0, fits)
    out[tuple(target)] = picture[tuple(source)]
    return out


def _as(values: NDArray[Any], kind: np.dtype[Any]) -> NDArray[Any]:
    return np.asarray(np.rint(values) if kind.kind == "i" else values, dtype=kind)
