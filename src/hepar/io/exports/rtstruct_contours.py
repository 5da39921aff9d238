"""Masks of single slices to closed polygons, and polygons back to masks.

A polygon runs halfway between a pixel inside and its neighbour outside, so each
pixel's middle lies where the mask has it. A hole is joined to its outline by a
channel of no width, walked once each way (the keyhole of PS3.3 C.8.8.6.3):
readers that fill by winding, by parity or by XOR see the same area.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]


def outlines(mask: NDArray[np.bool_]) -> list[Points]:
    """Polygons (k, 2) of (row, column) around what is set in a slice, not closed; pixels that meet at a corner are two.

    An empty mask has none.
    """
    from contourpy import FillType, contour_generator

    if not mask.any():
        return []
    padded = np.pad(mask, 1).astype(np.float64)
    made: Any = contour_generator(z=padded, fill_type=FillType.OuterOffset).filled(0.5, 2.0)
    found = []
    for points, starts in zip(*made, strict=True):
        # Columns come first there, each ring repeats its first point, and the padding moved all by one.
        rings = [np.asarray(points[a : b - 1, ::-1] - 1.0, np.float64) for a, b in pairwise(starts)]
        found.append(_corners(_keyholed(rings) if len(rings) > 1 else rings[0]))
    return found


def _corners(ring: Points) -> Points:
    """Without points on a straight run; halves of pixels are exact, so the test is too."""
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    turns = before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]
    return np.asarray(ring[turns], dtype=np.float64)


def _keyholed(rings: list[Points]) -> Points:
    """One polygon of an outline and its holes.

    From the leftmost point of each hole a channel runs along the row to the
    first ring on its left. That is the outline or a hole that begins further to
    the left, so all hang together and no channel crosses a ring.
    """
    on_row: dict[float, list[tuple[float, int, int]]] = {}
    for ring, points in enumerate(rings):
        for at, (row, column) in enumerate(points.tolist()):
            on_row.setdefault(row, []).append((column, ring, at))
    lefts = [int(points[:, 1].argmin()) for points in rings]
    walks: dict[tuple[int, int], list[Points]] = {}
    # The rightmost first: what hangs on a hole is there before the hole is joined itself.
    for ring in sorted(range(1, len(rings)), key=lambda k: -float(rings[k][lefts[k], 1])):
        row, column = rings[ring][lefts[ring]].tolist()
        _, parent, at = max(place for place in on_row[row] if place[0] < column)
        walks.setdefault((parent, at), []).append(_walk(rings, ring, lefts[ring], walks))
    return _walk(rings, 0, 0, walks)[:-1]


def _walk(rings: list[Points], ring: int, start: int, walks: dict[tuple[int, int], list[Points]]) -> Points:
    """Around a ring from a point and back to it, into every hole on the way and out again."""
    points = rings[ring]
    count, path = len(points), []
    for step in range(count):
        at = (start + step) % count
        path.append(points[at : at + 1])
        for hole in walks.pop((ring, at), ()):
            path += [hole, points[at : at + 1]]
    return np.concatenate([*path, points[start : start + 1]])


def filled(polygons: list[Points], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Pixels whose middle lies within an odd number of outlines; `polygons` as `outlines` gives them."""
    flips = np.zeros((shape[0], shape[1] + 1), np.int64)
    for points in polygons:
        start, stop = points, np.roll(points, -1, axis=0)
        # Both ways along a channel must cross a row at the very same number.
        up = start[:, :1] <= stop[:, :1]
        low, high = np.where(up, start, stop), np.where(up, stop, start)
        first, last = np.ceil(low[:, 0]).astype(int), np.ceil(high[:, 0]).astype(int)
        edge = np.repeat(np.arange(len(points)), last - first)
        row = np.arange(len(edge)) - np.repeat(np.cumsum(last - first) - (last - first), last - first) + first[edge]
        share = (row - low[edge, 0]) / (high[edge, 0] - low[edge, 0])
        column = np.ceil(low[edge, 1] + share * (high[edge, 1] - low[edge, 1])).astype(int)
        seen = (row >= 0) & (row < shape[0])
        np.add.at(flips, (row[seen], np.clip(column[seen], 0, shape[1])), 1)
    return np.asarray(np.cumsum(flips, axis=1)[:, :-1] % 2 == 1)
