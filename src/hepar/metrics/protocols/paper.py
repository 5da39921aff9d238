"""Dice and ASSD as Elmenabawy et al. may have computed them, in every reading the paper leaves open.

The paper (Section IV) defines DSC and ASSD but not whether they are taken per
slice, per case or pooled over the cohort, in millimetres or pixels, nor whether
"liver" includes the tumours. Every combination is a figure of its own, named
`STRUCTURE_MEASURE_AGGREGATION_UNIT`, so that a reader sees how far the reading
alone moves a result.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hepar.geometry import Geometry
from hepar.metrics.crop import places_of
from hepar.metrics.figures import FigureSpec, ProtocolScores, Term
from hepar.metrics.pair import LabelPair
from hepar.metrics.structures import Mask, Structure, scored_structures
from hepar.metrics.surface import mask_distances

NAME = "paper"
DEFINITION = (
    "DSC and ASSD of Elmenabawy et al. in the readings that the paper leaves open. slice: 2D, mean over the axial "
    "slices where the truth has the structure, all slices of all cases alike; case: 3D, mean over cases; pooled: over "
    "all voxels or surface points of the cohort. mm or px (voxel steps). Liver as union (labels 1 and 2) or exclusive "
    "(label 1, as a 3-label evaluation scores it). Surface = voxels with a face neighbour outside (4 in 2D, 6 in 3D); "
    "ASSD is read as a distance, without the paper's factor 100 %."
)
EMPTY_RULE = (
    "Slices and cases whose truth lacks the structure do not count. Where the truth has it and the prediction does "
    "not, Dice is 0 and every true surface point counts with the diagonal of the slice (2D) or scan (3D): missed, "
    "so that no miss can improve a mean per slice or case. Pooled Dice counts every voxel of every case, false alarms "
    "included."
)
NAMES: dict[Structure, str] = {"liver": "liver_union", "liver_exclusive": "liver_exclusive", "tumour": "tumour"}
TITLES = {"liver_union": "Liver with tumours", "liver_exclusive": "Liver, label 1 only", "tumour": "Tumour"}
# Farther apart than any two points of a slice, so that a neighbour is never sought in another slice.
SLICES_APART = 1e6


def _specs() -> tuple[FigureSpec, ...]:
    specs = []
    for name, title in TITLES.items():
        main = name != "liver_exclusive"
        specs += [FigureSpec(f"{name}_dice_{how}", f"{title}: DSC per {how}", main=main) for how in ("slice", "case")]
        specs.append(FigureSpec(f"{name}_dice_pooled", f"{title}: DSC pooled", main=main))
        for how in ("slice", "case", "pooled"):
            for unit in ("mm", "px"):
                words = f"{title}: ASSD {'pooled' if how == 'pooled' else f'per {how}'}, {unit}"
                specs.append(FigureSpec(f"{name}_assd_{how}_{unit}", words, unit, "low", main=main))
    return tuple(specs)


FIGURES = _specs()


def score(pair: LabelPair) -> ProtocolScores:
    """One case in all readings. Slices are axial in the patient, however the file stores its axes."""
    truth, found = pair.truth.axial(), pair.found.axial()
    pair = LabelPair(truth, found, pair.scan.axial().geometry, pair.header_spacing_mm, pair.labels)
    terms: dict[str, Term] = {}
    missed: list[str] = []
    for structure in scored_structures(pair.labels):
        here, there = pair.masks(structure)
        if not here.any():
            terms[f"{NAMES[structure]}_dice_pooled"] = (0.0, float(np.count_nonzero(there)))
            continue
        own = _dice_terms(here, there) | _distance_terms(pair, here, there)
        terms |= {f"{NAMES[structure]}_{key}": term for key, term in own.items()}
        if not there.any():
            missed += [f"{NAMES[structure]}_{key}" for key in own]
    return ProtocolScores(terms, tuple(missed))


def _dice_terms(here: Mask, there: Mask) -> dict[str, Term]:
    sizes = [np.count_nonzero(mask, axis=(1, 2)) for mask in (here, there, here & there)]
    shown = sizes[0] > 0
    slices = 2 * sizes[2][shown] / (sizes[0][shown] + sizes[1][shown])
    shared, total = 2.0 * int(sizes[2].sum()), float(sizes[0].sum() + sizes[1].sum())
    return {
        "dice_slice": (float(slices.sum()), float(len(slices))),
        "dice_case": (shared / total, 1.0),
        "dice_pooled": (shared, total),
    }


def _distance_terms(pair: LabelPair, here: Mask, there: Mask) -> dict[str, Term]:
    grid = pair.truth.geometry
    steps = Geometry.from_spacing(grid.shape, (1, 1, 1))
    terms: dict[str, Term] = {}
    for unit, own, diagonal in (
        ("mm", grid, pair.diagonal_mm),
        ("px", steps, math.sqrt(sum(n * n for n in pair.scan.shape))),
    ):
        distances = _volume_distances(here, there, own)
        if distances is None:
            points = float(np.count_nonzero(_surface(here, (0, 1, 2))))
            total, count = points * diagonal, points
        else:
            total, count = float(distances.sum()), float(len(distances))
        terms[f"assd_case_{unit}"] = (total / count, 1.0)
        terms[f"assd_pooled_{unit}"] = (total, count)
    return terms | _slice_terms(here, there, pair.scan)


def _volume_distances(here: Mask, there: Mask, grid: Geometry) -> NDArray[np.float64] | None:
    """Pooled surface distances in 3D; None where a surface is missing."""
    distances = mask_distances(here, there, grid)
    if not distances.truth_to_found.size:
        return None
    return np.concatenate([distances.truth_to_found, distances.found_to_truth])


def _slice_terms(here: Mask, there: Mask, scan: Geometry) -> dict[str, Term]:
    """(sum over slices of their 2D ASSD, number of slices where the truth has the structure), in mm and in px."""
    shown, marked = (np.asarray(mask.max(axis=(1, 2)), np.bool_) for mask in (here, there))
    both = shown & marked
    missed = int(np.count_nonzero(shown & ~both))
    edges = [_surface(mask, (1, 2)) & both[:, None, None] for mask in (here, there)]
    counts = np.count_nonzero(edges[0], axis=(1, 2)) + np.count_nonzero(edges[1], axis=(1, 2))
    # A point of both outlines is 0 away from the other; only the rest is searched for.
    searches = [(places_of(own & ~other), places_of(other)) for own, other in (edges, edges[::-1])]
    rows, columns = scan.shape[1:]
    _, y, x = scan.spacing_mm
    terms = {}
    for unit, (step_y, step_x) in {"mm": (y, x), "px": (1.0, 1.0)}.items():
        sums = sum((_nearest(a, b, (step_y, step_x), len(here)) for a, b in searches), np.zeros(len(here)))
        total = float((sums[both] / counts[both]).sum()) + missed * math.hypot(rows * step_y, columns * step_x)
        terms[f"assd_slice_{unit}"] = (total, float(np.count_nonzero(shown)))
    return terms


def _nearest(
    points: NDArray[np.intp], others: NDArray[np.intp], step: tuple[float, float], slices: int
) -> NDArray[np.float64]:
    """Sum over each slice of its points' distances to the nearest other point of the same slice."""
    from scipy.spatial import cKDTree

    if not len(points):
        return np.zeros(slices)
    scale = np.array([SLICES_APART, *step])
    tree = cKDTree(others * scale, balanced_tree=False, compact_nodes=False)
    distances = tree.query(points * scale)[0]
    return np.bincount(points[:, 0], weights=distances, minlength=slices).astype(np.float64)


def _surface(mask: Mask, axes: tuple[int, ...]) -> Mask:
    """Mask voxels with a neighbour outside along one of the axes; beyond the border is outside."""
    core = mask.copy()
    for axis in axes:
        ahead = [slice(None)] * 3
        behind = [slice(None)] * 3
        ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
        core[tuple(behind)] &= mask[tuple(ahead)]
        core[tuple(ahead)] &= mask[tuple(behind)]
        ends = np.moveaxis(core, axis, 0)
        ends[0] = ends[-1] = False
    return mask & ~core
