"""Which lesion of the first scan is which of the second, and what became of it.

Lesions are linked where, after registration, a tenth of either's voxels lies in
the other; what stays alone is linked to the nearest lone lesion within 10 mm
between centres. Linked groups are one lesion to one (grown, shrunk, stable),
one to several (split), several to one (merged), or both. What the other scan
does not show is neither new nor vanished.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hepar.geometry import Geometry
from hepar.io.exports.marked import NOT_ASSESSED
from hepar.report.comparison.registration import Motion, register
from hepar.report.comparison.time_point import FollowedLesion, TimePoint

Kind = Literal[
    "new", "vanished", "grown", "shrunk", "stable", "split", "merged", "merged and split", "not in the other scan"
]
Way = Callable[[NDArray[np.float64]], NDArray[np.float64]]
LEAST_SHARE, NEAR_MM = 0.1, 10.0
# Set by hand: below a quarter more or a fifth less, two drawings of one lesion differ as much.
GROWN, SHRUNK = 1.25, 0.8
LEAST_COVERED = 0.9
DOUBTFUL_DICE = 0.8
# RECIST 1.1 (Eisenhauer et al. 2009): at most two target lesions an organ, 10 mm or more at the first scan.
TARGETS, TARGET_MM = 2, 10.0
MATCH_RULE = (
    "Lesions are one where, after registration, a tenth of either lies in the other, else where their centres are at "
    "most 10 mm apart. Grown: volume up by a quarter or more; shrunk: down by a fifth or more."
)
SUM_RULE = (
    "Sums in the manner of RECIST 1.1: longest axial diameters of the (at most) two largest lesions of 10 mm or more "
    "in the first scan, and of what became of them. For research: no response category follows from them."
)


@dataclass(frozen=True, eq=False)
class Change:
    """Lesions of the first and of the second scan that are one; `by` is overlap, distance or empty."""

    kind: Kind
    first: tuple[FollowedLesion, ...]
    second: tuple[FollowedLesion, ...]
    by: str = ""

    @property
    def volumes_ml(self) -> tuple[float, float]:
        """0 where there is no lesion."""
        return sum(one.volume_ml for one in self.first), sum(one.volume_ml for one in self.second)

    @property
    def volume_change_percent(self) -> float:
        """NaN for a lesion of one scan alone."""
        before, after = self.volumes_ml
        return 100 * (after / before - 1) if self.first and self.second else math.nan


@dataclass(frozen=True)
class DiameterSums:
    """mm; NaN in `second_mm` where a lesion is not in the second scan, in both without a lesion of 10 mm."""

    lesions: tuple[int, ...]
    first_mm: float
    second_mm: float

    @property
    def change_percent(self) -> float:
        return 100 * (self.second_mm / self.first_mm - 1) if self.first_mm else math.nan


@dataclass(frozen=True, eq=False)
class Comparison:
    first: TimePoint
    second: TimePoint
    motion: Motion
    changes: tuple[Change, ...]

    @property
    def is_assessed(self) -> bool:
        return not (self.first.why_not_assessed or self.second.why_not_assessed)

    @cached_property
    def sums(self) -> DiameterSums | None:
        """None where no lesion of the first scan is large enough, or tumours were not assessed."""
        if not self.is_assessed:
            return None
        by_size = sorted(self.first.lesions, key=lambda one: (-one.long_mm, one.number))
        targets = [one for one in by_size if one.long_mm >= TARGET_MM][:TARGETS]
        if not targets:
            return None
        wanted = {one.number for one in targets}
        # A group counts once, also where two targets have merged in it.
        groups = [one for one in self.changes if wanted & {lesion.number for lesion in one.first}]
        lost = any(one.kind == "not in the other scan" for one in groups)
        after = math.nan if lost else sum(lesion.long_mm for one in groups for lesion in one.second)
        return DiameterSums(tuple(sorted(wanted)), sum(one.long_mm for one in targets), after)

    @property
    def notes(self) -> tuple[str, ...]:
        """What limits the comparison."""
        found = [f"{one.name}: {note}" for one in (self.first, self.second) for note in one.notes]
        found += [
            f"{one.name}: {NOT_ASSESSED}: {one.why_not_assessed}"
            for one in (self.first, self.second)
            if one.why_not_assessed
        ]
        if self.motion.liver_dice < DOUBTFUL_DICE:
            found.append(
                f"the livers overlap by a Dice of {self.motion.liver_dice:.2f} only after registration: which lesion "
                "is which is doubtful"
            )
        return tuple(found)

    @property
    def headline(self) -> str:
        if not self.is_assessed:
            return f"{NOT_ASSESSED} in one scan or both, so lesions are not compared."
        if not self.changes:
            return "No tumour was found in either scan, which does not mean that there is none."
        count: dict[str, int] = {}
        for one in self.changes:
            count[one.kind] = count.get(one.kind, 0) + 1
        return "Lesions: " + ", ".join(f"{count[kind]} {kind}" for kind in KINDS if kind in count) + "."


KINDS: tuple[Kind, ...] = (
    "new", "grown", "merged", "merged and split", "split", "stable", "shrunk", "vanished", "not in the other scan",
)  # fmt: skip


def compare(first: TimePoint, second: TimePoint) -> Comparison:
    """`second` is the later scan. Raises BadInput where a scan has no liver."""
    motion = register(first, second)
    assessed = not (first.why_not_assessed or second.why_not_assessed)
    return Comparison(first, second, motion, changes_between(first, second, motion) if assessed else ())


def changes_between(first: TimePoint, second: TimePoint, motion: Motion) -> tuple[Change, ...]:
    """Groups of lesions, as `KINDS` orders them, then the largest first."""
    shares = np.maximum(
        _shares(first, second, motion.there), _shares(second, first, motion.back).T
    )  # of lesions of the first, of the second
    links = {(i, j): "overlap" for i, j in np.argwhere(shares >= LEAST_SHARE).tolist()}
    links |= {pair: "distance" for pair in _near(first, second, motion, links)}
    found = []
    for befores, afters in _groups(links, len(first.lesions), len(second.lesions)):
        by = next((how for (i, _), how in links.items() if i in befores), "") if befores else ""
        before, after = tuple(first.lesions[i] for i in befores), tuple(second.lesions[j] for j in afters)
        found.append(Change(_kind(before, after, (first, second), motion), before, after, by))
    return tuple(sorted(found, key=lambda one: (KINDS.index(one.kind), -max(one.volumes_ml))))


def _shares(one: TimePoint, other: TimePoint, way: Way) -> NDArray[np.float64]:
    """Of each lesion of `one`, the share of voxels in each lesion of `other`."""
    out = np.zeros((len(one.lesions), len(other.lesions)))
    for row, lesion in enumerate(one.lesions):
        index, inside = _index(other.shown.geometry, way(lesion.places_mm))
        hit = other.pieces[tuple(index[inside].T)]
        out[row] = np.bincount(hit, minlength=len(other.lesions) + 1)[1:] / len(lesion.places_mm)
    return out


def _index(grid: Geometry, places_mm: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    index = np.rint(grid.index_of(places_mm)).astype(np.intp)
    return index, np.asarray(((index >= 0) & (index < grid.shape)).all(axis=-1))


def _near(
    first: TimePoint, second: TimePoint, motion: Motion, links: dict[tuple[int, int], str]
) -> list[tuple[int, int]]:
    """Pairs of lesions that overlap with none, the nearest first."""
    taken = ({i for i, _ in links}, {j for _, j in links})
    pairs = [
        (float(np.linalg.norm(motion.there(a.centre_mm) - b.centre_mm)), i, j)
        for i, a in enumerate(first.lesions) if i not in taken[0]
        for j, b in enumerate(second.lesions) if j not in taken[1]
    ]  # fmt: skip
    found: list[tuple[int, int]] = []
    for away, i, j in sorted(pairs):
        if away <= NEAR_MM and all(i != a and j != b for a, b in found):
            found.append((i, j))
    return found


def _groups(links: dict[tuple[int, int], str], befores: int, afters: int) -> list[tuple[list[int], list[int]]]:
    """Connected lesions, each in exactly one group."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    size = befores + afters
    if not size:
        return []
    rows, columns = [i for i, _ in links], [befores + j for _, j in links]
    table = coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(size, size))
    count, group = connected_components(table, directed=False)
    members = [np.flatnonzero(group == k).tolist() for k in range(count)]
    return [([k for k in one if k < befores], [k - befores for k in one if k >= befores]) for one in members]


def _kind(
    before: tuple[FollowedLesion, ...],
    after: tuple[FollowedLesion, ...],
    points: tuple[TimePoint, TimePoint],
    motion: Motion,
) -> Kind:
    first, second = points
    if not after:
        covered = _index(second.shown.geometry, motion.there(before[0].places_mm))[1].mean() >= LEAST_COVERED
        return "vanished" if covered else "not in the other scan"
    if not before:
        covered = _index(first.shown.geometry, motion.back(after[0].places_mm))[1].mean() >= LEAST_COVERED
        return "new" if covered else "not in the other scan"
    if len(before) > 1 or len(after) > 1:
        if len(before) > 1 and len(after) > 1:
            return "merged and split"
        return "merged" if len(before) > 1 else "split"
    ratio = after[0].volume_ml / before[0].volume_ml
    return "grown" if ratio >= GROWN else "shrunk" if ratio <= SHRUNK else "stable"
