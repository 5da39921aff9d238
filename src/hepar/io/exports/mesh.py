"""Surfaces of liver and lesions: closed, facing outward, as large as their voxels.

    surface = surface_of(labels.liver, labels.geometry, "Liver")
    write_mesh([surface], path)                # mesh_files: .stl, .ply or .glb

The mask is smoothed a little, and the level of its surface is chosen so that
the surface holds the volume of the voxels. It is cut from the grid tetrahedron
by tetrahedron (Doi and Koide 1991), each cube in six around its diagonal (Kuhn
1960): unlike marching cubes that has no ambiguous case, so the surface is
always closed and no two sheets share an edge. Pieces thinner than the smoothing
may be lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from hepar.errors import BadInput, GeometryMismatch
from hepar.geometry import Geometry

Colour = tuple[int, int, int, int]
GREEN, RED = (80, 200, 90, 110), (230, 60, 50, 255)
# In voxels of the grid that is cut; takes the stairs off.
SMOOTH_VOXELS = 0.7
# Finer steps show pixels, not livers, and a file of a million triangles.
STEP_MM, FINE_BELOW_MM = 1.5, 30.0
CLOSE_ENOUGH, NEAR = 0.002, 0.05
# A corner of the surface keeps off the grid's points, where triangles would have no area.
OFF_THE_GRID = 0.02
MARGIN = 3
# Corners of a cube by number 4 z + 2 y + x, and the six tetrahedra around its diagonal.
TETRAHEDRA = tuple((0, a, a + b, 7) for a, b, _ in permutations((4, 2, 1)))
Edges = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


@dataclass(frozen=True, eq=False)
class Surface:
    """`vertices` (n, 3) in LPS mm and `triangles` (m, 3) of their numbers, counter-clockwise from outside.

    `voxels_ml` is the volume of the voxels that it stands for; `colour` is red, green, blue, opacity.
    """

    name: str
    vertices: NDArray[np.float64]
    triangles: NDArray[np.int64]
    voxels_ml: float
    colour: Colour = RED

    @property
    def volume_ml(self) -> float:
        """Enclosed volume by the divergence theorem; negative where triangles face inward."""
        return enclosed_ml(self.vertices, self.triangles)


def enclosed_ml(vertices: NDArray[np.float64], triangles: NDArray[np.int64]) -> float:
    if not len(triangles):
        return 0.0
    a, b, c = ((vertices - vertices.mean(axis=0))[triangles[:, k]] for k in range(3))
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6000)


def is_closed(triangles: NDArray[np.int64]) -> bool:
    """Each edge has one triangle on either side, and both walk it in opposite directions."""
    start, stop = triangles.ravel(), np.roll(triangles, -1, axis=1).ravel()
    many = int(triangles.max()) + 1 if len(triangles) else 1
    there, back = np.sort(start * many + stop), np.sort(stop * many + start)
    return bool(len(there)) and bool((np.diff(there) > 0).all()) and np.array_equal(there, back)


def surface_of(mask: NDArray[np.bool_], grid: Geometry, name: str, colour: Colour = RED) -> Surface:
    """The surface of a mask (z, y, x) on a grid.

    Raises BadInput for an empty mask, GeometryMismatch for one of another shape.
    """
    if mask.shape != grid.shape:
        raise GeometryMismatch(f"the mask has shape {mask.shape}, its grid {grid.shape}; pass the mask's own grid")
    if not mask.any():
        raise BadInput(f"{name} has no voxel, so it has no surface")
    voxels_ml = float(np.count_nonzero(mask)) * grid.voxel_volume_mm3 / 1000
    soft, affine = _smoothed(mask, grid)
    vertices, triangles = _cut_at_volume(soft, affine, voxels_ml)
    return Surface(name, vertices, triangles, voxels_ml, colour)


def _smoothed(mask: NDArray[np.bool_], grid: Geometry) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Share of mask in blocks of voxels around it, smoothed, and the affine of its index to LPS mm."""
    from scipy.ndimage import gaussian_filter

    from hepar.metrics.crop import box_of

    box = box_of(mask)
    part = mask[box].astype(np.float64)
    size_mm = np.array(part.shape) * grid.spacing_mm
    block = np.where(size_mm < FINE_BELOW_MM, 1, np.ceil(STEP_MM / np.array(grid.spacing_mm))).astype(int)
    short = -np.array(part.shape) % block
    part = np.pad(part, [(MARGIN * b, MARGIN * b + s) for b, s in zip(block.tolist(), short.tolist(), strict=True)])
    z, y, x = np.array(part.shape) // block
    means = part.reshape(z, block[0], y, block[1], x, block[2]).mean(axis=(1, 3, 5))
    first = np.array([axis.start for axis in box]) - MARGIN * block + (block - 1) / 2
    affine = np.eye(4)
    affine[:3, :3] = grid.affine[:3, :3] * block
    affine[:3, 3] = grid.position_mm(first)
    return gaussian_filter(means, SMOOTH_VOXELS, mode="constant"), affine


def _cut_at_volume(
    soft: NDArray[np.float64], affine: NDArray[np.float64], wanted_ml: float
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The surface at the level where it encloses `wanted_ml`; volume falls as the level rises."""
    cell_ml = abs(float(np.linalg.det(affine[:3, :3]))) / 1000
    falling = np.sort(soft[soft > 0])[::-1]
    low, high = 0.0, float(falling[0])
    # About as many points above it as cells are wanted.
    level = float(falling[min(round(wanted_ml / cell_ml), len(falling) - 1)]) * (1 - 1e-9)
    for _ in range(30):
        found = cut(soft, affine, level)
        more_ml = enclosed_ml(*found) - wanted_ml
        if abs(more_ml) <= CLOSE_ENOUGH * wanted_ml:
            break
        low, high = (level, high) if more_ml > 0 else (low, level)
        # How fast volume falls is how many points lie around the level.
        near = np.count_nonzero(np.abs(falling - level) < NEAR) * cell_ml / (2 * NEAR)
        step = level + more_ml / near if near else low
        level = step if low < step < high else (low + high) / 2
    return found


def cut(
    soft: NDArray[np.float64], affine: NDArray[np.float64], level: float
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Vertices in LPS mm and triangles where values (z, y, x) pass `level`; the array's border must lie below it."""
    inside = soft > level
    steps = np.array([soft.shape[1] * soft.shape[2], soft.shape[2], 1])
    offsets = np.array([steps @ (c >> 2 & 1, c >> 1 & 1, c & 1) for c in range(8)])
    corners = np.stack([_corner(inside, c) for c in range(8)])
    mixed = np.flatnonzero(corners.any(axis=0) & ~corners.all(axis=0))
    cells = np.stack(np.unravel_index(mixed, corners.shape[1:]), axis=-1) @ steps
    set_ = corners.reshape(8, -1)[:, mixed]
    found = []
    for tetrahedron in TETRAHEDRA:
        case = sum(set_[corner].astype(int) << k for k, corner in enumerate(tetrahedron))
        for number in range(1, 15):
            chosen = cells[case == number]
            # An edge by the point where it begins and the corner that it leads to.
            found += [
                np.stack([(chosen + offsets[a]) * 8 + (b - a) for a, b in edges], axis=-1)
                for edges in TRIANGLES[tetrahedron, number]
            ]
    edges_, triangles = np.unique(np.concatenate(found).ravel(), return_inverse=True)
    start, way = edges_ // 8, edges_ % 8
    here, there = soft.ravel()[start], soft.ravel()[start + offsets[way]]
    share = np.clip((level - here) / (there - here), OFF_THE_GRID, 1 - OFF_THE_GRID)
    index = np.stack(np.unravel_index(start, soft.shape), axis=-1) + _direction(way) * share[:, None]
    turned = triangles.reshape(-1, 3).astype(np.int64)
    if np.linalg.det(affine[:3, :3]) < 0:
        turned = turned[:, ::-1]
    return index @ affine[:3, :3].T + affine[:3, 3], np.ascontiguousarray(turned)


def _corner(values: NDArray[np.bool_], corner: int) -> NDArray[np.bool_]:
    """Of every cube, whether a corner is set."""
    z, y, x = corner >> 2 & 1, corner >> 1 & 1, corner & 1
    nz, ny, nx = values.shape
    return values[z : nz - 1 + z, y : ny - 1 + y, x : nx - 1 + x]


def _direction(corner: NDArray[np.int64] | int) -> NDArray[np.float64]:
    """Of a cube's corners, (..., 3) as (z, y, x)."""
    number = np.asarray(corner)
    return np.stack([number >> 2 & 1, number >> 1 & 1, number & 1], axis=-1).astype(np.float64)


def _triangles_of(tetrahedron: tuple[int, int, int, int], case: int) -> tuple[Edges, ...]:
    """Triangles between the corners that are set (bits of `case`) and those that are not, facing the latter."""
    inner = [corner for k, corner in enumerate(tetrahedron) if case >> k & 1]
    outer = [corner for corner in tetrahedron if corner not in inner]
    if len(inner) == 2:
        (a, b), (c, d) = inner, outer
        ring = [(a, c), (a, d), (b, d), (b, c)]
    else:
        ring = [(i, o) for i in inner for o in outer]
    p, q, r = (_direction(i) + _direction(o) for i, o in ring[:3])
    outward = np.mean([_direction(o) for o in outer], axis=0) - np.mean([_direction(i) for i in inner], axis=0)
    if np.dot(np.cross(q - p, r - p), outward) < 0:
        ring.reverse()
    rising = [(min(edge), max(edge)) for edge in ring]
    return tuple((rising[0], rising[k], rising[k + 1]) for k in range(1, len(ring) - 1))


TRIANGLES = {(each, case): _triangles_of(each, case) for each in TETRAHEDRA for case in range(1, 15)}
