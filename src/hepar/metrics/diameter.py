"""The longest axial diameter of a lesion and the one across it, in mm: what a radiologist measures for RECIST.

In each axial slice the lesion's outline runs halfway between a voxel of the
lesion and its neighbour outside, through the middles of the voxels' sides. The
diameter is the largest distance between two such middles in one slice, over
all slices (RECIST 1.1, Eisenhauer et al. 2009: longest diameter in the plane of
measurement). So one voxel measures its longer side, a bar of n voxels n of
them, and a disc its diameter to within a voxel; distances between voxel centres
alone would be a voxel short. All of a lesion in one slice counts, also where it
falls into two parts there.

On an oblique scan the slices are those nearest to axial, as they were stored.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hepar.geometry import Geometry

# The four middles of a voxel's sides in its slice, in voxels (y, x).
SIDES = np.array([(0, -0.5), (0, 0.5), (-0.5, 0), (0.5, 0)])
# The width in the best of n directions, 180 / n degrees apart, is at least cos(90 / n) of the diameter: 99.5 % for 16.
DIRECTIONS = 16
# Up to here comparing every two points is faster than finding their hull.
FEW = 100


def axial_diameters_mm(
    lesion: NDArray[np.int32], index: tuple[NDArray[np.intp], ...], grid: Geometry
) -> NDArray[np.float64]:
    """The diameter of each lesion 1..n, from the number of each lesion voxel and its index (z, y, x) on an axial grid.

    Voxels stand in the order of the array.
    """
    ends = _row_ends(lesion, index)
    lesion, (z, y, x) = lesion[ends], (axis[ends] for axis in index)
    order = np.lexsort((z, lesion))
    lesion, z = lesion[order], z[order]
    points = _outline_mm(np.stack([y[order], x[order]], axis=-1), grid)
    # Slices of lesions, in order of lesion: where their voxels begin.
    starts = np.flatnonzero(np.r_[True, (np.diff(lesion) != 0) | (np.diff(z) != 0)])
    stops = np.r_[starts[1:], len(lesion)]
    owner = lesion[starts] - 1
    least = _widest_mm(points, starts)
    best = np.zeros(int(lesion.max()))
    np.maximum.at(best, owner, least)
    # Only slices that could hold the longest diameter are measured out, the most promising first.
    most = least / np.cos(np.pi / 2 / DIRECTIONS)
    longest = np.zeros(len(best))
    for slice_ in np.argsort(-most, kind="stable"):
        if most[slice_] >= max(best[owner[slice_]], longest[owner[slice_]]):
            exact = _longest_mm(points[starts[slice_] : stops[slice_]].reshape(-1, 2))
            longest[owner[slice_]] = max(longest[owner[slice_]], exact)
    return longest


def _row_ends(lesion: NDArray[np.int32], index: tuple[NDArray[np.intp], ...]) -> NDArray[np.bool_]:
    """Voxels at which a lesion's run along x begins or ends: no other lies on the hull of its slice."""
    z, y, x = index
    breaks = (np.diff(lesion) != 0) | (np.diff(z) != 0) | (np.diff(y) != 0) | (np.diff(x) != 1)
    return np.asarray(np.r_[True, breaks] | np.r_[breaks, True])


def _outline_mm(index: NDArray[np.intp], grid: Geometry) -> NDArray[np.float64]:
    """Places (n, 4, 2) in mm, in the plane of a slice, of the middles of the voxels' sides."""
    # The plane's own orthonormal axes: a slice may lie obliquely and its rows and columns need not be square.
    plane = np.linalg.qr(grid.affine[:3, 1:3])[1]
    return np.asarray((index[:, None, :] + SIDES) @ plane.T)


def _widest_mm(points: NDArray[np.float64], starts: NDArray[np.intp]) -> NDArray[np.float64]:
    """The largest width of each slice over `DIRECTIONS`: never above its diameter."""
    angles = np.arange(DIRECTIONS) * np.pi / DIRECTIONS
    along = points @ np.stack([np.cos(angles), np.sin(angles)])
    high = np.maximum.reduceat(along.max(axis=1), starts)
    low = np.minimum.reduceat(along.min(axis=1), starts)
    return np.asarray((high - low).max(axis=1))


def _longest_mm(points: NDArray[np.float64]) -> float:
    """The largest distance between two of the points (n, 2)."""
    from scipy.spatial import ConvexHull
    from scipy.spatial.distance import pdist

    if len(points) > FEW:
        points = points[ConvexHull(points).vertices]
    return float(pdist(points).max())


@dataclass(frozen=True)
class AxialAxes:
    """Both axes of a lesion in one axial slice, as a reader would measure them with calipers.

    `slice` is the array's z, ends are places (y, x) in voxels. `short_mm` is
    the longest way across the outline's hull at a right angle to the longest
    diameter (RECIST's and the WHO's perpendicular diameter), so it is never the
    larger one.
    """

    long_mm: float
    short_mm: float
    slice: int
    long_ends: tuple[tuple[float, float], tuple[float, float]]
    short_ends: tuple[tuple[float, float], tuple[float, float]]


def axial_axes(lesion: NDArray[np.bool_], grid: Geometry) -> AxialAxes:
    """The axes of one lesion (z, y, x), not empty, on an axial grid, in the slice of its longest diameter.

    Of slices with equal diameters the first. Outlines and diameters are those
    of `axial_diameters_mm`.
    """
    plane = np.linalg.qr(grid.affine[:3, 1:3])[1]
    longest: tuple[float, int, NDArray[np.float64]] = (-1.0, 0, np.empty((0, 2)))
    for z in np.flatnonzero(lesion.any(axis=(1, 2))).tolist():
        corners = _hull(_outline(lesion[z]) @ plane.T)
        diameter = _longest_of(corners)[0]
        # Rounding must not make a later slice of the same size the longest.
        if diameter > longest[0] + 1e-9:
            longest = diameter, z, corners
    _, z, corners = longest
    long_mm, start, stop = _longest_of(corners)
    across = _widest_chord(corners, (stop - start) / long_mm)
    back = np.linalg.inv(plane).T
    long_ends, short_ends = ((np.stack(ends) @ back).tolist() for ends in ((start, stop), across))
    short_mm = float(np.linalg.norm(across[1] - across[0]))
    return AxialAxes(long_mm, short_mm, z, _pair(long_ends), _pair(short_ends))


def _pair(ends: list[list[float]]) -> tuple[tuple[float, float], tuple[float, float]]:
    (a, b), (c, d) = ends
    return (a, b), (c, d)


def _outline(part: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Middles of the sides (n, 2) of the first and last pixel of each row, in voxels (y, x)."""
    rows = np.flatnonzero(part.any(axis=1))
    first = part[rows].argmax(axis=1)
    last = part.shape[1] - 1 - part[rows, ::-1].argmax(axis=1)
    ends = np.concatenate([np.column_stack([rows, first]), np.column_stack([rows, last])])
    return np.asarray((ends[:, None, :] + SIDES).reshape(-1, 2), dtype=np.float64)


def _hull(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """The corners of the convex hull in order; side middles never all lie on one line."""
    from scipy.spatial import ConvexHull

    return np.asarray(points[ConvexHull(points).vertices])


def _longest_of(corners: NDArray[np.float64]) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    apart = np.linalg.norm(corners[:, None] - corners[None], axis=-1)
    i, j = np.unravel_index(apart.argmax(), apart.shape)
    return float(apart[i, j]), corners[i], corners[j]


def _widest_chord(
    corners: NDArray[np.float64], along: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ends of the longest chord of a convex polygon at a right angle to the unit vector `along`.

    The chord's length is concave and linear between corners, so it is longest at one.
    """
    across = np.array([-along[1], along[0]])
    t, v = corners @ along, corners @ across
    next_t, next_v = np.roll(t, -1), np.roll(v, -1)
    best = (corners[0], corners[0], -1.0)
    for at in t:
        meets = (np.minimum(t, next_t) <= at + 1e-12) & (at - 1e-12 <= np.maximum(t, next_t))
        run = next_t - t
        share = np.divide(at - t, run, out=np.zeros_like(t), where=np.abs(run) > 1e-12)
        # An edge at a right angle to the axis is met as a whole: both its ends count, as corners.
        places = (v + np.clip(share, 0, 1) * (next_v - v))[meets]
        low, high = float(places.min()), float(places.max())
        if high - low > best[2]:
            best = (at * along + low * across, at * along + high * across, high - low)
    return best[0], best[1]
