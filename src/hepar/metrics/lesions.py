"""Single lesions: found as components, matched one to one, counted.

A lesion is a 6-connected component of label 2, as in LiTS. Two label maps'
lesions are paired so that the total IoU is as large as can be, each lesion at
most once; so one prediction spread over three lesions detects one of them, and
of three fragments in one lesion two are false positives.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hepar.errors import GeometryMismatch
from hepar.geometry import Geometry, Triple
from hepar.metrics.crop import Box, box_of, cropped, shared_box, within
from hepar.metrics.diameter import axial_diameters_mm
from hepar.volume import TUMOUR, LabelMap

# Lower and upper bound in mm of the longest axial diameter; both 10 and 20 mm belong to the middle class.
# 10 mm is the smallest target lesion of RECIST 1.1 (Eisenhauer et al. 2009, section 3.1.1).
SIZE_CLASSES = {"<10 mm": (0.0, 10.0), "10-20 mm": (10.0, 20.0), ">20 mm": (20.0, math.inf)}


@dataclass(frozen=True)
class Lesion:
    """One component of tumour.

    `diameter_mm` is its longest axial diameter (`hepar.metrics.diameter`).
    `centre_mm` is the centre of its voxels in patient coordinates LPS, as
    `Geometry.position_mm` gives them: mm to the left, to posterior, to superior.
    """

    number: int
    voxels: int
    volume_ml: float
    diameter_mm: float
    centre_mm: Triple


@dataclass(frozen=True, eq=False)
class Lesions:
    """All lesions of a label map, numbered 1..n from the feet up (then from anterior, from the patient's right).

    `labels` is int32 (z, y, x), 0 or a lesion's number, and covers `box` of the
    map's `geometry` only; without lesions both are empty. Numbers do not depend
    on how the array is stored.
    """

    labels: NDArray[np.int32]
    box: Box
    lesions: tuple[Lesion, ...]
    geometry: Geometry

    def __len__(self) -> int:
        return len(self.lesions)

    def __iter__(self) -> Iterator[Lesion]:
        return iter(self.lesions)


@dataclass(frozen=True)
class Match:
    """A true and a found lesion, by number, that share `shared` voxels."""

    truth: int
    found: int
    iou: float
    shared: int


@dataclass(frozen=True)
class Detection:
    """Counts of lesions. Add those of several scans, then take the ratios: a mean of ratios would drop scans
    where nothing was found, and so reward a miss."""

    true_positives: int
    false_positives: int
    false_negatives: int

    @property
    def precision(self) -> float:
        """Share of the found lesions that are true; NaN when nothing was found."""
        return _ratio(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float:
        """Share of the true lesions that were found; NaN when there is none."""
        return _ratio(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def f1(self) -> float:
        """2 TP / (2 TP + FP + FN); NaN when there is no lesion and none was found."""
        return _ratio(2 * self.true_positives, 2 * self.true_positives + self.false_positives + self.false_negatives)

    def __add__(self, other: Detection) -> Detection:
        return Detection(
            self.true_positives + other.true_positives,
            self.false_positives + other.false_positives,
            self.false_negatives + other.false_negatives,
        )


def find_lesions(labels: LabelMap) -> Lesions:
    """The 6-connected components of label 2; two voxels that meet at an edge or corner are two lesions."""
    from scipy.ndimage import label

    outer = box_of(labels.labels)
    tumour = labels.labels[outer] == TUMOUR
    inner = box_of(tumour)
    box = within(outer, inner)
    if not tumour.any():
        return Lesions(np.zeros((0, 0, 0), np.int32), box, (), labels.geometry)
    # Numbered and measured in the axial view, however the scan is stored.
    turn = cropped(labels, box).geometry.axial()
    numbers, _ = label(np.ascontiguousarray(turn.apply(tumour[inner])))
    stored = np.ascontiguousarray(turn.undo(numbers), dtype=np.int32)
    return Lesions(stored, box, _measured(numbers, turn.geometry), labels.geometry)


def match_lesions(truth: Lesions, found: Lesions, min_iou: float = 0.0) -> tuple[Match, ...]:
    """One-to-one pairs with the largest total IoU, in order of the true lesion; only pairs with IoU above `min_iou`.

    Match anew for each threshold: of pairs chosen for their total, one that
    alone is above a threshold may have been given up for two that are not.

    Raises GeometryMismatch when the two lie on different grids.
    """
    if not truth.geometry.same_grid(found.geometry):
        raise GeometryMismatch(
            f"true lesions lie on {truth.geometry}, found ones on {found.geometry}; find both on one grid"
        )
    true_numbers, found_numbers, shared = _overlaps(truth, found)
    sizes = [np.array([0, *(lesion.voxels for lesion in side)]) for side in (truth, found)]
    iou = shared / (sizes[0][true_numbers] + sizes[1][found_numbers] - shared)
    near = iou > min_iou
    true_numbers, found_numbers, shared, iou = (values[near] for values in (true_numbers, found_numbers, shared, iou))
    chosen = [
        k for group in _groups(true_numbers, found_numbers) for k in _best(true_numbers, found_numbers, iou, group)
    ]
    return tuple(
        Match(int(true_numbers[k]), int(found_numbers[k]), float(iou[k]), int(shared[k])) for k in sorted(chosen)
    )


def detection(truth: Lesions, found: Lesions, matches: tuple[Match, ...], min_iou: float = 0.0) -> Detection:
    """How many lesions were found: a match counts when its IoU is above `min_iou`."""
    hits = sum(match.iou > min_iou for match in matches)
    return Detection(hits, len(found) - hits, len(truth) - hits)


def detection_by_size(
    truth: Lesions, found: Lesions, matches: tuple[Match, ...], min_iou: float = 0.0
) -> dict[str, Detection]:
    """As `detection`, per class of `SIZE_CLASSES`.

    A true lesion, found or missed, counts in the class of its own diameter; a
    false one in the class of the diameter that was found.
    """
    hits = [match for match in matches if match.iou > min_iou]
    hit_truth, hit_found = {match.truth for match in hits}, {match.found for match in hits}
    return {
        name: Detection(
            sum(size_class(lesion) == name for lesion in truth if lesion.number in hit_truth),
            sum(size_class(lesion) == name for lesion in found if lesion.number not in hit_found),
            sum(size_class(lesion) == name for lesion in truth if lesion.number not in hit_truth),
        )
        for name in SIZE_CLASSES
    }


def size_class(lesion: Lesion) -> str:
    """The class of `SIZE_CLASSES` that a lesion belongs to."""
    # Ten pixels of 1 mm should be 10 mm whatever the rounding of the header's directions.
    diameter = round(lesion.diameter_mm, 6)
    small, middle, large = SIZE_CLASSES
    if diameter < SIZE_CLASSES[middle][0]:
        return small
    return middle if diameter <= SIZE_CLASSES[middle][1] else large


def _measured(numbers: NDArray[np.int32], grid: Geometry) -> tuple[Lesion, ...]:
    """Lesions of a numbered axial array on its grid."""
    places = np.flatnonzero(numbers)
    lesion = numbers.ravel()[places]
    voxels = np.bincount(lesion)[1:]
    index = np.unravel_index(places, numbers.shape)
    centre = np.stack([np.bincount(lesion, weights=axis)[1:] / voxels for axis in index], axis=-1)
    diameters = axial_diameters_mm(lesion, index, grid)
    volume_ml = grid.voxel_volume_mm3 / 1000
    rows = zip(voxels.tolist(), diameters.tolist(), grid.position_mm(centre).tolist(), strict=True)
    return tuple(
        Lesion(number, size, size * volume_ml, diameter, (at[0], at[1], at[2]))
        for number, (size, diameter, at) in enumerate(rows, start=1)
    )


def _overlaps(truth: Lesions, found: Lesions) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """True number, found number and shared voxels of every two lesions that meet."""
    box = shared_box(truth.box, found.box)
    here, there = (side.labels[_relative(side.box, box)] for side in (truth, found))
    both = (here > 0) & (there > 0)
    pair, shared = np.unique(here[both].astype(np.int64) * (len(found) + 1) + there[both], return_counts=True)
    return pair // (len(found) + 1), pair % (len(found) + 1), shared.astype(np.int64)


def _groups(truth: NDArray[np.int64], found: NDArray[np.int64]) -> list[NDArray[np.intp]]:
    """Overlaps sorted into groups that share no lesion: each is a small problem of its own, whatever the noise."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not truth.size:
        return []
    first = int(truth.max()) + 1
    size = first + int(found.max()) + 1
    graph = coo_array((np.ones(len(truth)), (truth, first + found)), shape=(size, size))
    group = connected_components(graph, directed=False)[1][truth]
    order = np.argsort(group, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(group[order])) + 1)


def _best(
    truth: NDArray[np.int64], found: NDArray[np.int64], iou: NDArray[np.float64], group: NDArray[np.intp]
) -> list[int]:
    """Of a group of overlaps, those that use each lesion at most once and have the largest total IoU."""
    from scipy.optimize import linear_sum_assignment

    if len(group) == 1:
        return [int(group[0])]
    row, column = (np.unique(numbers[group], return_inverse=True)[1] for numbers in (truth, found))
    table = np.zeros((row.max() + 1, column.max() + 1))
    table[row, column] = iou[group]
    overlap = np.full(table.shape, -1)
    overlap[row, column] = group
    return [int(k) for k in overlap[linear_sum_assignment(table, maximize=True)] if k >= 0]


def _relative(outer: Box, inner: Box) -> Box:
    z, y, x = (slice(i.start - o.start, i.stop - o.start) for o, i in zip(outer, inner, strict=True))
    return z, y, x


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
