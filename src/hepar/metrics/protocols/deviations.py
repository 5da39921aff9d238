"""Why the official LiTS figures of a case differ from the corrected ones, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hepar.metrics.figures import ProtocolScores
from hepar.metrics.pair import LabelPair

# Official figure, corrected figure, and what always lies between them.
COUNTERPARTS: tuple[tuple[str, str, str], ...] = (
    ("lesion_precision", "lesion_precision_half", "one-to-one matching instead of merging; TP can be negative there"),
    ("lesion_recall", "lesion_recall_half", "one-to-one matching instead of merging; TP can be negative there"),
    ("lesion_precision_greater_zero", "lesion_precision_any", "one-to-one matching instead of merging"),
    ("lesion_recall_greater_zero", "lesion_recall_any", "one-to-one matching instead of merging"),
    ("lesion_dice", "tumour_dice", "official: detected lesions only; corrected: the whole tumour mask of every case"),
    ("lesion_voe", "tumour_voe", "official: detected lesions only; corrected: the whole tumour mask of every case"),
    ("lesion_assd", "tumour_assd_mm", "official: detected lesions only, surface by 18 neighbours instead of 6"),
    ("lesion_rmsd", "tumour_rmsd_mm", "official: detected lesions only, surface by 18 neighbours instead of 6"),
    ("lesion_msd", "tumour_mssd_mm", "official: detected lesions only"),
    ("lesion_dice_per_case", "tumour_dice", "official counts an empty pair as 1; corrected leaves it out"),
    ("lesion_dice_global", "tumour_dice_global", "official stops at a tumour-free truth"),
    ("liver_dice_per_case", "liver_dice", "official is 0 without a voxel of label 1"),
    ("liver_dice_global", "liver_dice_global", "official drops a prediction without label 1"),
    ("liver_voe", "liver_voe", "official is 1 without a voxel of label 1"),
    ("liver_rvd", "liver_rvd", "official: (truth - found) / found; corrected: (found - truth) / truth"),
    ("liver_assd", "liver_assd_mm", "surface by 18 neighbours instead of 6"),
    ("liver_rmsd", "liver_rmsd_mm", "surface by 18 neighbours instead of 6"),
    ("liver_msd", "liver_mssd_mm", "surface by 18 neighbours instead of 6"),
    ("RMSE_Tumorburden", "burden_rmse", "official counts a prediction without label 1 as an error of about 9001"),
    ("MAXERROR_Tumorburden", "burden_max", "official takes the maximum of signed differences"),
)


def deviations(pair: LabelPair, official: ProtocolScores, corrected: ProtocolScores) -> tuple[str, ...]:
    """One sentence for each way in which the official program judges this case differently."""
    if official.crash:
        return (f"official: {official.crash}",)
    said = []
    for overlap in ("0.0", "0.5"):
        said += _counts(overlap, official.details, corrected.details)
    said += _liver(official)
    said += _spacing(pair)
    return tuple(said)


HEADER = "official measures with the header's spacing"


def _counts(overlap: str, official: Mapping[str, Any], corrected: Mapping[str, Any]) -> list[str]:
    hit = official["detected"][overlap]
    theirs = (hit, official["found_lesions"] - hit, official["lesions"] - hit)
    ours = corrected["detection"][overlap]
    own = (ours["true_positives"], ours["false_positives"], ours["false_negatives"])
    reasons = [_reason(event) for event in official["events"][overlap]]
    if theirs == own and not any(event["kind"] == "wrong_union" for event in official["events"][overlap]):
        return []
    said = f"IoU > {float(overlap):g}: official says {_tally(theirs)}, corrected {_tally(own)}"
    if theirs == own:
        said = f"IoU > {float(overlap):g}: official and corrected both say {_tally(own)}, by errors that cancel"
    return [said + (": " + "; ".join(reasons) if reasons else ": predictions are matched one to one")]


def _tally(counts: Sequence[int]) -> str:
    hit, false, lost = (str(n).replace("-", "−") for n in counts)
    return f"TP {hit} FP {false} FN {lost}"


def _reason(event: Mapping[str, Any]) -> str:
    truths, founds = _numbers("true lesion", event["truths"]), _numbers("found lesion", event["founds"])
    kind = event["kind"]
    if kind == "merged":
        return f"{founds} spans {truths}, which the official scorer takes for one"
    if kind == "fragments":
        return f"{founds} are taken for one hit of {truths}, and the rest count as FP"
    if kind == "penalty":
        return f"{truths} was merged and overlaps too little, so {event['used']:g} are taken from TP for one match"
    if kind == "wrapped":
        return f"{truths} is numbered above 255 and lost in the official 8-bit mask"
    verdict = "detected" if event["used"] > event["right"] else "missed"
    return (
        f"the official union mixes up component numbers: {founds} on {truths} has IoU {event['right']:.2f}, "
        f"official takes {event['used']:.2f} and calls it {verdict}"
    )


def _numbers(noun: str, numbers: Sequence[int]) -> str:
    words = ", ".join(str(number) for number in numbers)
    return f"{noun}{'s' if len(numbers) > 1 else ''} {words}"


def _liver(official: ProtocolScores) -> list[str]:
    if official.details["liver_label_predicted"]:
        return []
    burden = official.terms["MAXERROR_Tumorburden"][0]
    return [
        "official scores the liver 0 because no voxel of label 1 was predicted, however large the tumour label; "
        f"its burden error is {burden:.0f}".replace("-", "−")
    ]


def _spacing(pair: LabelPair) -> list[str]:
    header, own = pair.header_spacing_mm, pair.scan.spacing_mm
    if all(abs(a - b) <= 1e-3 * max(a, b) for a, b in zip(header, own, strict=True)):
        return []
    shown = [" x ".join(f"{s:.4g}" for s in spacing) for spacing in (header, own)]
    return [f"{HEADER} {shown[0]} mm, the affine says {shown[1]} mm (z, y, x)"]
