"""Painting with implicit surfaces: coordinates in mm, level sets, tubes, smooth chance fields.

A level is a float32 array, about the distance to a surface in mm, below 0
inside. Positions are (x, y, z) along LPS: x to the patient's left, y to
posterior, z to superior, with the origin in the middle of the abdomen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from hepar.geometry import Shape, Triple

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
Box = tuple[slice, slice, slice]
Point = tuple[float, float, float]

# Largest displacement by which the warp may carry a surface out of its unwarped box.
WARP_REACH_MM = 16.0


@dataclass(frozen=True, eq=False)
class Place:
    """A box of the canvas and the warped position of its voxels in mm, three arrays (z, y, x)."""

    box: Box
    x: Floats
    y: Floats
    z: Floats

    def within(self, mask: Mask) -> tuple[Floats, Floats, Floats]:
        return self.x[mask], self.y[mask], self.z[mask]


class Canvas:
    """HU under construction. A voxel that an organ has taken is no longer `free`."""

    def __init__(self, shape: Shape, spacing_mm: Triple, rng: np.random.Generator, warp_mm: float) -> None:
        self.spacing_mm = spacing_mm
        self.hu: Floats = np.full(shape, -1000, dtype=np.float32)
        self.free: Mask = np.zeros(shape, dtype=bool)
        axes = [(np.arange(n, dtype=np.float32) - (n - 1) / 2) * s for n, s in zip(shape, spacing_mm, strict=True)]
        self._axes = axes
        grids = np.meshgrid(*axes, indexing="ij", sparse=True)
        warps = [smooth_field(rng, (4, 6, 6), shape, warp_mm) for _ in range(3)]
        z, y, x = (np.asarray(g + w, dtype=np.float32) for g, w in zip(grids, warps, strict=True))
        self._whole = Place((slice(None), slice(None), slice(None)), x, y, z)

    @property
    def voxel_ml(self) -> float:
        return float(np.prod(self.spacing_mm)) / 1000

    def whole(self) -> Place:
        return self._whole

    def around(self, low: ArrayLike, high: ArrayLike) -> Place:
        """The box between two corners (x, y, z) in mm, with room for the warp; it may be empty."""
        corners = zip(reversed(np.asarray(low).tolist()), reversed(np.asarray(high).tolist()), strict=True)
        limits = [(lo - WARP_REACH_MM, hi + WARP_REACH_MM) for lo, hi in corners]
        box = tuple(
            slice(int(np.searchsorted(axis, lo)), int(np.searchsorted(axis, hi, side="right")))
            for axis, (lo, hi) in zip(self._axes, limits, strict=True)
        )
        return self.place(box)  # type: ignore[arg-type]

    def place(self, box: Box) -> Place:
        return Place(box, self._whole.x[box], self._whole.y[box], self._whole.z[box])

    def fill(self, place: Place, level: Floats, hu: ArrayLike, margin_mm: float = 0.0) -> Mask:
        """Paint where `level` < 0 and still free; others keep `margin_mm` away. Returns what was painted."""
        inside = (level < 0) & self.free[place.box]
        self.hu[place.box][inside] = np.broadcast_to(hu, inside.shape)[inside]
        self.free[place.box] &= level >= margin_mm
        return inside

    def tube(self, points: Sequence[ArrayLike], radii: Sequence[float], hu: float, margin_mm: float = 0.0) -> None:
        """A tube through `points` (x, y, z) with one radius in mm each, painted where free."""
        place = self.around(*reach(points, max(radii) + margin_mm))
        self.fill(place, tube_level(place, points, radii), hu, margin_mm)

    def recolour(self, place: Place, mask: Mask, hu: ArrayLike) -> None:
        """Paint over what is already there."""
        self.hu[place.box][mask] = np.broadcast_to(hu, mask.shape)[mask]


def reach(points: Sequence[ArrayLike], radius: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """The corners (x, y, z) of the box that holds balls of `radius` around `points`."""
    stacked = np.asarray([np.asarray(p, dtype=float) for p in points])
    return stacked.min(axis=0) - radius, stacked.max(axis=0) + radius


def smooth_field(rng: np.random.Generator, knots: Shape, shape: Shape, sigma: float) -> Floats:
    """A smooth random field of about `sigma` standard deviation, cubic between `knots` (z, y, x)."""
    field = np.clip(rng.normal(0, 1, knots), -2, 2) * sigma
    for axis, (coarse, fine) in enumerate(zip(knots, shape, strict=True)):
        # Interpolation is linear in its data: zooming the unit vectors gives its matrix.
        matrix = ndimage.zoom(np.eye(coarse), (fine / coarse, 1), order=3)
        field = np.moveaxis(np.tensordot(matrix.astype(np.float32), field.astype(np.float32), (1, axis)), 0, axis)
    return np.asarray(field, dtype=np.float32)


def ellipsoid(place: Place, centre: Point, radii: Point, tilt_deg: float = 0.0) -> Floats:
    """Level of an ellipsoid; `tilt_deg` turns it about z, from x towards y."""
    turn = np.deg2rad(tilt_deg)
    dx, dy, dz = place.x - centre[0], place.y - centre[1], place.z - centre[2]
    if tilt_deg:
        dx, dy = dx * np.cos(turn) + dy * np.sin(turn), dy * np.cos(turn) - dx * np.sin(turn)
    norm = np.sqrt((dx / radii[0]) ** 2 + (dy / radii[1]) ** 2 + (dz / radii[2]) ** 2)
    return np.asarray((norm - 1) * float(np.prod(radii)) ** (1 / 3), dtype=np.float32)


def tube_level(place: Place, points: Sequence[ArrayLike], radii: Sequence[float]) -> Floats:
    """Level of a tube through `points` (x, y, z); its radius changes linearly between them."""
    level = np.full(place.x.shape, np.inf, dtype=np.float32)
    for p, q, r, s in zip(points, points[1:], radii, radii[1:], strict=False):
        start, step = np.asarray(p, dtype=np.float32), np.subtract(q, p).astype(np.float32)
        offset = (place.x - start[0], place.y - start[1], place.z - start[2])
        along = (offset[0] * step[0] + offset[1] * step[1] + offset[2] * step[2]) / max(float(step @ step), 1e-6)
        along = np.clip(along, 0, 1)
        squares = [(o - along * d) ** 2 for o, d in zip(offset, step, strict=True)]
        level = np.minimum(level, np.sqrt(squares[0] + squares[1] + squares[2]) - (r + along * (s - r)))
    return np.asarray(level, dtype=np.float32)


def star(place: Place, centre: Point, base_mm: float, lobes: Iterable[tuple[Point, float, float]]) -> Floats:
    """Level of a star-shaped surface: `base_mm` plus lobes of (direction, height in mm, sharpness).

    A lobe adds height * exp(sharpness * (cos(angle) - 1)) to the radius, a
    notch has negative height.
    """
    dx, dy, dz = place.x - centre[0], place.y - centre[1], place.z - centre[2]
    distance = np.sqrt(dx * dx + dy * dy + dz * dz) + np.float32(1e-3)
    radius = np.full(distance.shape, base_mm, dtype=np.float32)
    for direction, height, sharpness in lobes:
        u = np.asarray(direction, dtype=np.float32) / np.float32(np.linalg.norm(direction))
        cosine = (dx * u[0] + dy * u[1] + dz * u[2]) / distance
        radius += np.float32(height) * np.exp(np.float32(sharpness) * (cosine - 1))
    return np.asarray(distance - np.maximum(radius, 2), dtype=np.float32)


def smooth_union(a: Floats, b: Floats, blend_mm: float) -> Floats:
    """The union of two levels with a rounded seam of `blend_mm`."""
    h = np.clip(0.5 + 0.5 * (b - a) / blend_mm, 0, 1)
    return np.asarray(b + (a - b) * h - blend_mm * h * (1 - h), dtype=np.float32)


def scanned(canvas: Canvas, rng: np.random.Generator, noise_hu: float) -> NDArray[np.int16]:
    """The canvas as a scanner would give it: blurred, with correlated noise, int16 HU.

    In-plane blur 0.9 mm and 0.35 slices along z (partial volume). Noise after
    filtered back-projection has little power at low frequencies (a ramp) and
    at high ones (the kernel): a difference of two Gaussians.
    """
    in_plane = 0.9 / canvas.spacing_mm[1]
    hu = ndimage.gaussian_filter(canvas.hu, (0.35, in_plane, in_plane), truncate=2.5)
    noise = rng.standard_normal(hu.shape, dtype=np.float32)
    fine = ndimage.gaussian_filter(noise, (0.3, 0.75, 0.75), truncate=2.5)
    noise = fine - np.float32(0.8) * ndimage.uniform_filter(fine, (1, 5, 5))
    hu += noise * np.float32(noise_hu / noise.std())
    return np.asarray(np.clip(np.rint(hu), -1024, 3071), dtype=np.int16)
