"""The official LiTS scorer (P. Christ, lits-challenge-scoring, 2017-09), number for number, defects included.

The challenge server has not answered for years; figures published against it
can only be compared with figures computed the same way. What is odd here is
odd on purpose: `DEFECTS` lists it, and `lits` is the corrected protocol.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepar.geometry import Triple
from hepar.metrics.crop import box_of, places_of
from hepar.metrics.figures import FigureSpec, ProtocolScores, Term
from hepar.metrics.pair import LabelPair
from hepar.metrics.protocols.codalab_matching import OfficialMatch, official_match
from hepar.metrics.structures import Mask
from hepar.volume import LIVER

NAME = "lits-codalab"
DEFINITION = (
    "The official LiTS scorer of 2017, defects included. Liver = labels 1 and 2, lesion = label 2, lesions are "
    "6-connected components. Lesion figures other than 'per case' and 'global' are means over detected lesions "
    "(IoU > .5) only, the liver's are means over cases. Surface = mask without its erosion by 18 neighbours, "
    "spacing from the truth's header. Precision and recall pool counts over cases. MAXERROR is the maximum of "
    "signed differences."
)
EMPTY_RULE = (
    "Lesion Dice per case: both empty 1, one empty 0. Liver: no voxel of label 1 predicted gives Dice 0, VOE 1, "
    "distances 9001. No lesion detected in the whole cohort: 0, 1 and 9001 likewise. The official program crashes on "
    "a truth without lesion: such cases are named and left out of this table."
)
# Stands for "could not be measured" in the official scorer.
LARGE = 9001.0
MEASURES = ("dice", "jaccard", "voe", "rvd", "assd", "rmsd", "msd")
NOT_MEASURED = dict(zip(MEASURES, (0.0, 0.0, 1.0, LARGE, LARGE, LARGE, LARGE), strict=True))
NO_LESION = "the official program crashes on a truth without lesion (its detection returns five values, three expected)"
NOT_FULL = "needs a truth that tells tumour from liver"


def _specs() -> tuple[FigureSpec, ...]:
    specs = [
        FigureSpec(f"lesion_{name}", f"Lesion {name.replace('_', ' ')}", when_empty=0.0, main=True)
        for name in ("precision", "recall", "precision_greater_zero", "recall_greater_zero")
    ]
    for structure in ("lesion", "liver"):
        for measure in MEASURES:
            better: Any = "high" if measure in ("dice", "jaccard") else None if measure == "rvd" else "low"
            unit = "mm" if measure in ("assd", "rmsd", "msd") else ""
            title = f"{structure.capitalize()} {measure.upper() if measure != 'dice' else 'Dice'}"
            detected = " (detected lesions)" if structure == "lesion" else ""
            specs.append(
                FigureSpec(f"{structure}_{measure}", title + detected, unit, better, "ratio", NOT_MEASURED[measure])
            )
        for kind in ("per_case", "global"):
            title = f"{structure.capitalize()} Dice {kind.replace('_', ' ')}"
            specs.append(FigureSpec(f"{structure}_dice_{kind}", title, main=True))
    return (
        *specs,
        FigureSpec("RMSE_Tumorburden", "Tumour burden RMSE", "", "low", "root", main=True),
        FigureSpec("MAXERROR_Tumorburden", "Tumour burden maximum (signed)", "", None, "max"),
    )


FIGURES = _specs()


def score(pair: LabelPair) -> ProtocolScores:
    """One case as the official program scores it; its crashes become `crash`, never an exception."""
    # The official arrays are (x, y, z): component numbers, and so its decisions, depend on that order.
    truth, found = pair.truth.labels.T, pair.found.labels.T
    if pair.labels != "full":
        return ProtocolScores({}, crash=NOT_FULL)
    spacing = pair.header_spacing_mm[::-1]
    if not (truth == 2).any():
        return ProtocolScores({}, crash=NO_LESION)
    lesions = _Lesions.of(truth == 2, found == 2)
    matches = {overlap: official_match(lesions.table, overlap) for overlap in (0.0, 0.5)}
    terms: dict[str, Term] = {}
    for overlap, ending in ((0.0, "_greater_zero"), (0.5, "")):
        terms |= _detection_terms(matches[overlap].detected, lesions, ending)
    terms |= _lesion_terms(lesions, matches[0.5], spacing)
    has_liver = bool((found == LIVER).any())
    terms |= _liver_terms(truth >= LIVER, found >= LIVER, has_liver, spacing)
    terms |= _case_terms(truth, found, has_liver)
    return ProtocolScores(terms, details=_details(lesions, matches, has_liver))


class _Lesions:
    """Components of both maps in a common crop, numbered as the official program does, and their overlaps."""

    def __init__(self, truth: NDArray[np.int32], found: NDArray[np.int32]) -> None:
        self.truth, self.found = truth, found
        self.truths, self.founds = int(truth.max()), int(found.max())
        width = self.truths + 1
        flat = np.bincount((found * width + truth).ravel(), minlength=width * (self.founds + 1))
        self.table = flat.reshape(self.founds + 1, width).astype(np.int64)

    @classmethod
    def of(cls, truth: Mask, found: Mask) -> _Lesions:
        from scipy.ndimage import label

        box = box_of(truth | found)
        # Numbered by the first voxel in C order, which a crop does not change.
        here, there = (label(np.ascontiguousarray(mask[box]), output=np.int32)[0] for mask in (truth, found))
        return cls(here, there)


def _detection_terms(detected: int, lesions: _Lesions, ending: str) -> dict[str, Term]:
    # TP + FP is the number of predictions, whatever TP is: FP is what is left.
    return {
        f"lesion_precision{ending}": (float(detected), float(lesions.founds)),
        f"lesion_recall{ending}": (float(detected), float(lesions.truths)),
    }


def _lesion_terms(lesions: _Lesions, match: OfficialMatch, spacing: Triple) -> dict[str, Term]:
    """Sums over detected lesions; nothing at all where TP is not above 0, however many lesions were matched."""
    if match.detected <= 0:
        return {}
    truth, found = match.truth_as[lesions.truth], match.found_as[lesions.found]
    rows = [_measured(truth == number, found == number, spacing) for number in np.unique(match.found_as) if number]
    return {f"lesion_{m}": (float(sum(row[m] for row in rows)), float(len(rows))) for m in MEASURES if rows}


def _liver_terms(truth: Mask, found: Mask, has_liver: bool, spacing: Triple) -> dict[str, Term]:
    row = _measured(truth, found, spacing) if has_liver else NOT_MEASURED
    return {f"liver_{measure}": (row[measure], 1.0) for measure in MEASURES}


def _case_terms(truth: NDArray[np.uint8], found: NDArray[np.uint8], has_liver: bool) -> dict[str, Term]:
    terms: dict[str, Term] = {}
    for name, least in (("lesion", 2), ("liver", 1)):
        here, there = truth >= least, found >= least
        shared, total = int(np.count_nonzero(here & there)), int(np.count_nonzero(here))
        if name == "lesion" or has_liver:
            total += int(np.count_nonzero(there))
        else:
            shared = 0
        terms[f"{name}_dice_per_case"] = (2 * shared / total, 1.0)
        terms[f"{name}_dice_global"] = (2.0 * shared, float(total))
    difference = _burden(truth) - (_burden(found) if has_liver else LARGE)
    return terms | {"RMSE_Tumorburden": (difference**2, 1.0), "MAXERROR_Tumorburden": (difference, 1.0)}


def _burden(labels: NDArray[np.uint8]) -> float:
    return float(np.count_nonzero(labels == 2) / np.count_nonzero(labels))


def _measured(truth: Mask, found: Mask, spacing: Triple) -> dict[str, float]:
    """The seven measures of one object; RVD is relative to the prediction, as the official call has it."""
    if not (truth.any() and found.any()):
        return NOT_MEASURED
    box = box_of(truth | found)
    truth, found = truth[box], found[box]
    sizes = int(np.count_nonzero(truth)), int(np.count_nonzero(found))
    dice = 2.0 * int(np.count_nonzero(truth & found)) / sum(sizes)
    jaccard = dice / (2.0 - dice)
    rvd = (sizes[0] - sizes[1]) / sizes[1]
    distances = _distances(_contour(truth), _contour(found), spacing)
    assd, rmsd, msd = distances.mean(), np.sqrt(np.mean(distances**2)), distances.max()
    return dict(zip(MEASURES, map(float, (dice, jaccard, 1.0 - jaccard, rvd, assd, rmsd, msd)), strict=True))


def _distances(truth: Mask, found: Mask, spacing: Triple) -> NDArray[np.float64]:
    """Distances in mm of all surface voxels of both to the other surface, pooled."""
    from scipy.spatial import cKDTree

    # A voxel on both surfaces has distance 0; only the others are searched for.
    apart = []
    for here, there in ((truth, found), (found, truth)):
        tree = cKDTree(places_of(there) * spacing, balanced_tree=False, compact_nodes=False)
        apart.append(tree.query(places_of(here & ~there) * spacing)[0])
    shared = 2 * int(np.count_nonzero(truth & found))
    return np.concatenate([*apart, np.zeros(shared)])


def _contour(mask: Mask) -> Mask:
    """Voxels with at least one of 18 neighbours outside; beyond the box is outside."""
    # The 18 neighbours are three 3x3 squares, one a plane; each square is two passes along an axis.
    alone = [_shrunk(mask, axis) for axis in range(3)]
    core = _shrunk(alone[0], 1) & _shrunk(alone[1], 2) & _shrunk(alone[2], 0)
    return mask & ~core


def _shrunk(mask: Mask, axis: int) -> Mask:
    """Erosion by the two neighbours along one axis."""
    inner = np.zeros_like(mask)
    take = [slice(None)] * 3

    def at(start: int | None, stop: int | None) -> tuple[slice, ...]:
        return (*take[:axis], slice(start, stop), *take[axis + 1 :])

    inner[at(1, -1)] = mask[at(1, -1)] & mask[at(None, -2)] & mask[at(2, None)]
    return inner


def _details(lesions: _Lesions, matches: dict[float, OfficialMatch], has_liver: bool) -> dict[str, Any]:
    """Counts and events for the explanation of differences."""
    return {
        "lesions": lesions.truths,
        "found_lesions": lesions.founds,
        "liver_label_predicted": has_liver,
        "detected": {str(overlap): match.detected for overlap, match in matches.items()},
        "events": {str(overlap): [vars(event) for event in match.events] for overlap, match in matches.items()},
    }
