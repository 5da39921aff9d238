"""Lesion shapes in 3D: distance fields in a cube, made once, cut at any angle and size when painted.

A shape is float32 (z, y, x) on `SIDE`^3 points over +-`REACH` in units of the
radius of a ball of its volume: the distance to the surface, positive inside.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hepar.volume import LabelMap

SIDE, REACH = 40, 2.2
Array = NDArray[np.float32]
# A real lesion of fewer voxels has no shape worth keeping.
_LEAST_VOXELS, _LEAST_ACROSS = 60, 5
_INVENTED = 64


@dataclass(frozen=True, eq=False)
class ShapeLibrary:
    """`fields` float32 (shape, z, y, x), as in the module's head."""

    fields: Array

    def __len__(self) -> int:
        return len(self.fields)

    def joined(self, other: ShapeLibrary) -> ShapeLibrary:
        return ShapeLibrary(np.concatenate([self.fields, other.fields]))


@lru_cache(maxsize=2)
def invented_shapes(seed: int = 2018, count: int = _INVENTED) -> ShapeLibrary:
    """Deformed ellipsoids: plain, lobulated, confluent clusters, and ones with satellites, in turn."""
    rng = np.random.default_rng(seed)
    return ShapeLibrary(np.stack([_invent(i % 4, rng) for i in range(count)]))


def shapes_from(maps: Iterable[LabelMap], most: int = 200) -> ShapeLibrary:
    """Each connected tumour (label 2) of the maps that fits the cube, the largest `most` of them.

    Empty when there is none. Pass only maps of patients that train: a shape is training data.
    """
    from scipy import ndimage

    found: list[tuple[int, Array]] = []
    for labels in maps:
        seen = labels.axial()
        pieces, _ = ndimage.label(seen.tumour)
        for number, box in enumerate(ndimage.find_objects(pieces), start=1):
            mask = pieces[box] == number
            size = int(mask.sum())
            # Few slices are a stack of outlines: cut along z it would show corners.
            if size >= _LEAST_VOXELS and min(mask.shape) >= _LEAST_ACROSS:
                field = _from_mask(mask, seen.geometry.spacing_mm, rounding=1.2)
                found += [] if field is None else [(size, field)]
    found.sort(key=lambda item: -item[0])
    empty = np.zeros((0, SIDE, SIDE, SIDE), np.float32)
    return ShapeLibrary(np.stack([field for _, field in found[:most]]) if found else empty)


def _from_mask(mask: NDArray[np.bool_], spacing_mm: tuple[float, float, float], rounding: float = 0.7) -> Array | None:
    """None for shapes much longer than thick, which the cube would cut; `rounding` smooths, in the cube's points."""
    from scipy import ndimage

    spacing = np.asarray(spacing_mm)
    radius = (3 * mask.sum() * spacing.prod() / (4 * math.pi)) ** (1 / 3)
    # Soft edges reach beyond the surface, so distances must go on there.
    padded = np.pad(mask, [(math.ceil(radius / step) + 2,) * 2 for step in spacing_mm])
    points = np.argwhere(padded)
    centre = points.mean(axis=0)
    if (np.abs(points - centre).max(axis=0) * spacing / radius > REACH - 0.1).any():
        return None
    inside = ndimage.distance_transform_edt(padded, sampling=spacing_mm)
    outside = ndimage.distance_transform_edt(~padded, sampling=spacing_mm)
    # Half a voxel: the surface runs between the last voxel inside and the first outside.
    distance = (inside - outside - 0.5 * spacing.min() * np.sign(inside - outside)) / radius
    step = 2 * REACH / (SIDE - 1) * radius / spacing
    offset = centre - step * (SIDE - 1) / 2
    field = ndimage.affine_transform(distance, step, offset, (SIDE,) * 3, order=1, mode="nearest")
    return np.asarray(ndimage.gaussian_filter(field, rounding), np.float32)


def _invent(kind: int, rng: np.random.Generator) -> Array:
    from scipy import ndimage

    axis = np.linspace(-REACH, REACH, SIDE)
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"))
    # A smooth random displacement of space bends whatever is drawn in it.
    coarse = rng.normal(0, (0.2, 0.17, 0.14, 0.14)[kind], (3, 7, 7, 7))
    bumps = np.exp(-0.5 * ((np.arange(SIDE)[:, None] / (SIDE - 1) * 6 - np.arange(7)) / 0.7) ** 2)
    bumps /= bumps.sum(axis=1, keepdims=True)
    grid = grid + np.einsum("nabc,za,yb,xc->nzyx", coarse, bumps, bumps, bumps, optimize=True)
    body = np.full((SIDE,) * 3, -np.inf)
    for centre, radii in _balls(kind, rng):
        scaled = np.sqrt((((grid - centre[:, None, None, None]) / radii[:, None, None, None]) ** 2).sum(axis=0))
        body = np.maximum(body, (1 - scaled) * radii.min())
    # Small lobes and dents of the surface itself.
    rough = ndimage.gaussian_filter(rng.normal(size=body.shape), 2.2)
    body = body + rough / rough.std() * rng.uniform(0.01, 0.06)
    spacing = 2 * REACH / (SIDE - 1)
    field = _from_mask(body > 0, (spacing,) * 3)
    return _invent(kind, rng) if field is None else field


def _balls(kind: int, rng: np.random.Generator) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Centres and radii of the ellipsoids that make one shape."""
    main = np.exp(rng.normal(0, 0.2, 3)) * 0.8
    if kind == 0:
        return [(np.zeros(3), main)]
    if kind == 1:
        lobes = [_direction(rng) * 0.55 for _ in range(rng.integers(3, 7))]
        return [(np.zeros(3), main * 0.85), *((c, np.full(3, rng.uniform(0.3, 0.55))) for c in lobes)]
    if kind == 2:
        count = int(rng.integers(3, 7))
        return [(_direction(rng) * rng.uniform(0.2, 0.75), np.full(3, rng.uniform(0.35, 0.6))) for _ in range(count)]
    near = [_direction(rng) * rng.uniform(0.95, 1.3) for _ in range(rng.integers(1, 4))]
    return [(np.zeros(3), main * 0.85), *((c, np.full(3, rng.uniform(0.15, 0.3))) for c in near)]


def _direction(rng: np.random.Generator) -> NDArray[np.float64]:
    vector = rng.normal(size=3)
    return vector / max(1e-9, float(np.linalg.norm(vector)))
