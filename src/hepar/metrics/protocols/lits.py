"""The LiTS protocol as its authors meant it: the official scorer's defects corrected, every deviation said.

Lesions are matched one to one by maximum total IoU, tumour-free cases are
scored, burden errors are absolute, RVD has the textbook sign, surfaces are
those of MONAI and MedPy. See `deviations` for the difference to the official
figures, case by case.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hepar.metrics.burden import tumour_burden
from hepar.metrics.figures import FigureSpec, ProtocolScores, Term
from hepar.metrics.lesions import (
    SIZE_CLASSES,
    Detection,
    Lesions,
    Match,
    detection,
    detection_by_size,
    find_lesions,
    match_lesions,
)
from hepar.metrics.pair import LabelPair
from hepar.metrics.structures import Mask
from hepar.metrics.surface import (
    SurfaceDistances,
    assd_mm,
    hausdorff95_mm,
    mask_distances,
    mssd_mm,
    rmsd_mm,
    surface_dice,
)

NAME = "lits"
DEFINITION = (
    "LiTS corrected. Liver = labels 1 and 2, tumour = label 2, 3D on the scan's own voxels, distances in mm from the "
    "affine. Surface = voxels with one of 6 neighbours outside. Lesions = 6-connected components, matched one to one "
    "by maximum total IoU, for each threshold anew; counts are pooled over cases. Size = longest axial diameter, of a "
    "true lesion its own, of a false one that found. RVD = (found - truth) / truth. "
    "Burden = tumour / liver with tumour; its errors are absolute."
)
EMPTY_RULE = (
    "Both empty: Dice, IoU, VOE and distances are not defined (left out and counted). Truth empty but something "
    "found: Dice 0, distances left out. Truth present but nothing found (missed, counted): Dice 0, every distance "
    "is the diagonal of the scan's field of view, so that no miss can improve a mean per case. No liver found: "
    "burden error 1. "
    "Tumour-free cases also report false-alarm lesions and volume."
)
TOLERANCES_MM = (1, 2, 3)
OVERLAPS = {"any": 0.0, "half": 0.5}
DISTANCES = ("assd_mm", "rmsd_mm", "mssd_mm", "hd95_mm")


def _structure_specs(name: str, title: str) -> list[FigureSpec]:
    low: dict[str, Any] = {"better": "low"}
    return [
        FigureSpec(f"{name}_dice", f"{title} Dice per case", main=True),
        FigureSpec(f"{name}_dice_global", f"{title} Dice global", main=True),
        FigureSpec(f"{name}_iou", f"{title} IoU"),
        FigureSpec(f"{name}_voe", f"{title} VOE", **low),
        FigureSpec(f"{name}_rvd", f"{title} RVD (signed)", better=None),
        FigureSpec(f"{name}_abs_rvd", f"{title} RVD (absolute)", **low),
        FigureSpec(f"{name}_assd_mm", f"{title} ASSD", "mm", main=True, **low),
        FigureSpec(f"{name}_rmsd_mm", f"{title} RMSD", "mm", **low),
        FigureSpec(f"{name}_mssd_mm", f"{title} MSSD", "mm", **low),
        FigureSpec(f"{name}_hd95_mm", f"{title} HD95", "mm", main=True, **low),
        *(
            FigureSpec(f"{name}_surface_dice_{t}mm", f"{title} surface Dice at {t} mm", main=t == 2)
            for t in TOLERANCES_MM
        ),
        FigureSpec(f"{name}_volume_difference_ml", f"{title} volume difference (signed)", "mL", None),
        FigureSpec(f"{name}_abs_volume_difference_ml", f"{title} volume difference (absolute)", "mL", main=True, **low),
    ]


def _lesion_specs() -> list[FigureSpec]:
    specs = []
    for ending, overlap in OVERLAPS.items():
        for measure in ("precision", "recall", "f1"):
            title = f"Lesion {measure.upper() if measure == 'f1' else measure} (IoU > {overlap:g})"
            specs.append(FigureSpec(f"lesion_{measure}_{ending}", title, main=True))
            specs += [
                FigureSpec(f"lesion_{measure}_{ending}_{_plain(size)}", f"{title}, {size}") for size in SIZE_CLASSES
            ]
    return specs


def _plain(size: str) -> str:
    """A size class as part of a name: "<10 mm" is lt10mm."""
    return size.replace("<", "lt").replace(">", "gt").replace("-", "to").replace(" ", "")


FIGURES: tuple[FigureSpec, ...] = (
    *_structure_specs("liver", "Liver"),
    *_structure_specs("tumour", "Tumour"),
    *_lesion_specs(),
    FigureSpec("false_alarm_lesions", "False-alarm lesions per tumour-free case", "", "low", main=True),
    FigureSpec("false_alarm_ml", "False-alarm volume per tumour-free case", "mL", "low"),
    FigureSpec("false_lesions", "False lesions per case (IoU > 0)", "", "low"),
    FigureSpec("burden_error", "Tumour burden error, mean absolute", "", "low"),
    FigureSpec("burden_rmse", "Tumour burden RMSE", "", "low", "root", main=True),
    FigureSpec("burden_max", "Tumour burden error, maximum absolute", "", "low", "max"),
)


def score(pair: LabelPair) -> ProtocolScores:
    """One case; see `EMPTY_RULE` for what is missing on either side."""
    terms, missed = _structure_terms(pair, "liver")
    if pair.labels != "full":
        return ProtocolScores(terms, tuple(missed), details={"labels": pair.labels})
    own, also = _structure_terms(pair, "tumour")
    truth, found = find_lesions(pair.truth), find_lesions(pair.found)
    matches = {overlap: match_lesions(truth, found, overlap) for overlap in OVERLAPS.values()}
    details = _lesion_details(truth, found, matches)
    burden, burden_missed = _burden_terms(pair, details)
    terms |= own | _lesion_terms(truth, found, matches) | _false_alarm_terms(pair, truth, found) | burden
    return ProtocolScores(terms, (*missed, *also, *burden_missed), details=details)


def _structure_terms(pair: LabelPair, structure: Any) -> tuple[dict[str, Term], list[str]]:
    here, there = pair.masks(structure)
    sizes = [int(np.count_nonzero(mask)) for mask in (here, there, here & there)]
    truth, found, shared = sizes
    ml = pair.truth.geometry.voxel_volume_mm3 / 1000
    difference = (found - truth) * ml
    values = {"volume_difference_ml": difference, "abs_volume_difference_ml": abs(difference)}
    missed: list[str] = []
    if truth + found:
        dice, iou = 2 * shared / (truth + found), shared / (truth + found - shared)
        values |= {"dice": dice, "iou": iou, "voe": 1 - iou}
    if truth:
        values |= {"rvd": (found - truth) / truth, "abs_rvd": abs(found - truth) / truth}
        values |= _distances(pair, here, there) if found else _missed_distances(pair)
        missed = [] if found else [f"{structure}_{name}" for name in ("dice", *_missed_distances(pair))]
    terms: dict[str, Term] = {f"{structure}_{name}": (value, 1.0) for name, value in values.items()}
    terms[f"{structure}_dice_global"] = (2.0 * shared, float(truth + found))
    return terms, missed


def _distances(pair: LabelPair, here: Mask, there: Mask) -> dict[str, float]:
    distances: SurfaceDistances = mask_distances(here, there, pair.truth.geometry)
    values = (assd_mm(distances), rmsd_mm(distances), mssd_mm(distances), hausdorff95_mm(distances))
    near = {f"surface_dice_{t}mm": surface_dice(distances, t) for t in TOLERANCES_MM}
    return dict(zip(DISTANCES, values, strict=True)) | near


def _missed_distances(pair: LabelPair) -> dict[str, float]:
    far = dict.fromkeys(DISTANCES, pair.diagonal_mm)
    return far | {f"surface_dice_{t}mm": 0.0 for t in TOLERANCES_MM}


Matches = dict[float, tuple[Match, ...]]


def _lesion_terms(truth: Lesions, found: Lesions, matches: Matches) -> dict[str, Term]:
    terms: dict[str, Term] = {}
    for ending, overlap in OVERLAPS.items():
        terms |= _detection_terms(detection(truth, found, matches[overlap], overlap), ending)
        for size, own in detection_by_size(truth, found, matches[overlap], overlap).items():
            terms |= _detection_terms(own, f"{ending}_{_plain(size)}")
    return terms


def _detection_terms(found: Detection, ending: str) -> dict[str, Term]:
    hit, false, lost = found.true_positives, found.false_positives, found.false_negatives
    return {
        f"lesion_precision_{ending}": (float(hit), float(hit + false)),
        f"lesion_recall_{ending}": (float(hit), float(hit + lost)),
        f"lesion_f1_{ending}": (2.0 * hit, float(2 * hit + false + lost)),
    }


def _false_alarm_terms(pair: LabelPair, truth: Lesions, found: Lesions) -> dict[str, Term]:
    false = detection(truth, found, match_lesions(truth, found)).false_positives
    terms: dict[str, Term] = {"false_lesions": (float(false), 1.0)}
    if not truth.lesions:
        ml = int(np.count_nonzero(pair.found.tumour)) * pair.truth.geometry.voxel_volume_mm3 / 1000
        terms |= {"false_alarm_lesions": (float(len(found.lesions)), 1.0), "false_alarm_ml": (ml, 1.0)}
    return terms


def _burden_terms(pair: LabelPair, details: dict[str, Any]) -> tuple[dict[str, Term], list[str]]:
    truth, found = tumour_burden(pair.truth), tumour_burden(pair.found)
    details["truth_burden"], details["found_burden"] = _defined(truth), _defined(found)
    if math.isnan(truth):
        return {}, []
    names = ("burden_error", "burden_rmse", "burden_max")
    missed = math.isnan(found)
    error = 1.0 if missed else abs(found - truth)
    terms = dict(zip(names, ((error, 1.0), (error**2, 1.0), (error, 1.0)), strict=True))
    return terms, list(names) if missed else []


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else value


def _lesion_details(truth: Lesions, found: Lesions, matches: Matches) -> dict[str, Any]:
    best = {match.truth: match for match in matches[0.0]}
    hits = {match.found for match in matches[0.0]}
    return {
        "lesions": [
            {
                "number": lesion.number,
                "volume_ml": lesion.volume_ml,
                "diameter_mm": lesion.diameter_mm,
                "found_as": best[lesion.number].found if lesion.number in best else None,
                "iou": best[lesion.number].iou if lesion.number in best else 0.0,
            }
            for lesion in truth.lesions
        ],
        "found_lesions": [
            {
                "number": lesion.number,
                "volume_ml": lesion.volume_ml,
                "diameter_mm": lesion.diameter_mm,
                "hit": lesion.number in hits,
            }
            for lesion in found.lesions
        ],
        "detection": {
            str(overlap): vars(detection(truth, found, matches[overlap], overlap)) for overlap in OVERLAPS.values()
        },
    }
