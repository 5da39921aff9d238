"""Slices in order along their common normal, and how evenly they lie (DICOM PS3.3 C.7.6.2).

File names, instance numbers and slice locations order nothing here: scanners
and archives write them in any order. Only places count.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hepar.io.series.slices import Slice

# Positions are decimal strings and carry their writer's rounding.
GAP_TOLERANCE = 0.01
GAP_TOLERANCE_MM = 0.01
# Slices up to so far off the straight line are rounding; a tenth of a millimetre is below any pixel.
OFF_LINE_MM = 0.1


@dataclass(frozen=True, eq=False)
class Stack:
    """Slices by their height along the normal, lowest first.

    `heights_mm` (n,) are those heights, `shifts_mm` (n, 2) how far each slice
    is displaced in its own plane, along (rows, columns), both from the first slice.
    """

    slices: tuple[Slice, ...]
    heights_mm: NDArray[np.float64]
    shifts_mm: NDArray[np.float64]

    @property
    def normal(self) -> NDArray[np.float64]:
        first = self.slices[0]
        return normal_of(first)

    @property
    def gaps_mm(self) -> NDArray[np.float64]:
        """From each slice to the next, (n - 1,)."""
        return np.diff(self.heights_mm)

    @property
    def usual_gap_mm(self) -> float:
        """The median gap between different heights; the thickness of a lone slice, 0 where that is unknown."""
        gaps = self.gaps_mm[self.gaps_mm >= GAP_TOLERANCE_MM]
        if not gaps.size:
            return max(0.0, self.slices[0].thickness_mm)
        return float(np.median(gaps))

    @property
    def tolerance_mm(self) -> float:
        """Gaps that differ by less are equal."""
        return max(GAP_TOLERANCE * self.usual_gap_mm, GAP_TOLERANCE_MM)

    @property
    def doubled(self) -> int:
        """How many slices lie where another lies."""
        return int(np.count_nonzero(self.gaps_mm < GAP_TOLERANCE_MM))

    @property
    def is_even(self) -> bool:
        return not self.doubled and bool((np.abs(self.gaps_mm - self.usual_gap_mm) <= self.tolerance_mm).all())

    @property
    def drift(self) -> NDArray[np.float64]:
        """Displacement in plane along (rows, columns) for each mm of height, by least squares; 0 for one slice."""
        height = self.heights_mm
        square = float(height @ height)
        return np.zeros(2) if square == 0 else np.asarray(height @ self.shifts_mm / square)

    @property
    def tilt_degrees(self) -> float:
        """Between the normal and the way from slice to slice; 0 for a straight stack."""
        return math.degrees(math.atan(float(np.linalg.norm(self.drift))))

    @property
    def off_line_mm(self) -> float:
        """How far the slice furthest off lies from the straight line through all."""
        away = self.shifts_mm - np.outer(self.heights_mm, self.drift)
        return float(np.linalg.norm(away, axis=1).max())

    def levels(self) -> list[list[Slice]]:
        """Slices grouped by height."""
        groups: list[list[Slice]] = []
        for place, one in enumerate(self.slices):
            if place and self.gaps_mm[place - 1] < GAP_TOLERANCE_MM:
                groups[-1].append(one)
            else:
                groups.append([one])
        return groups


def normal_of(one: Slice) -> NDArray[np.float64]:
    normal = np.cross(one.orientation[:3], one.orientation[3:])
    return np.asarray(normal / np.linalg.norm(normal))


def stacked(slices: Iterable[Slice]) -> Stack:
    """The slices sorted along their normal; those at one height by instance number, then by file name.

    All must be of one direction. Never empty.
    """
    unsorted = list(slices)
    first = min(unsorted, key=lambda one: str(one.file))
    normal = normal_of(first)
    height = {id(one): float(one.position_mm @ normal) for one in unsorted}
    # Heights that differ by rounding are one height, so that instance numbers can order the slices at it.
    by_height = sorted(unsorted, key=lambda one: height[id(one)])
    level, levels = 0, {}
    for before, one in zip([by_height[0], *by_height], by_height, strict=False):
        level += height[id(one)] - height[id(before)] >= GAP_TOLERANCE_MM
        levels[id(one)] = level
    ordered = sorted(
        by_height,
        key=lambda one: (levels[id(one)], one.tags.instance is None, one.tags.instance or 0, str(one.file)),
    )
    places = np.array([one.position_mm for one in ordered]) - ordered[0].position_mm
    in_plane = np.stack([first.orientation[3:], first.orientation[:3]], axis=1)
    return Stack(tuple(ordered), places @ normal, places @ in_plane)
