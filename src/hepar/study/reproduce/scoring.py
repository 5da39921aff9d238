"""One test case under every protocol and both conditions."""

from __future__ import annotations

from typing import Any

import numpy as np

from hepar.cases import Case
from hepar.metrics.lesions import find_lesions
from hepar.metrics.pair import LabelPair, pair_of
from hepar.metrics.protocols import PROTOCOLS
from hepar.study.reproduce.results import CONDITIONS, Condition
from hepar.volume import LIVER, TUMOUR, LabelMap


def score_case(case: Case, truth: LabelMap, found: LabelMap) -> dict[str, Any]:
    """An entry of `scores.json` without its seconds. Raises GeometryMismatch where the grids differ."""
    seen, marked = truth.axial(), found.axial()
    shown = np.flatnonzero(seen.liver.any(axis=(1, 2)))
    pairs = {condition: _pair(case, seen, marked, condition) for condition in CONDITIONS}
    return {
        "case": case.id,
        "patient": case.patient,
        "evidence": case.evidence,
        "labels": case.labels,
        "slices": len(seen.labels),
        "labelled_slices": len(shown),
        "facts": _facts(pairs["all_slices"]),
        "conditions": {
            condition: {name: protocol.score(pair).to_json() for name, protocol in PROTOCOLS.items()}
            for condition, pair in pairs.items()
        },
    }


def on_labelled_slices(truth: LabelMap, found: LabelMap) -> LabelMap:
    """`found`, empty on axial slices where the truth shows nothing; both maps in the axial view.

    Slices that are empty in both change no figure, so this is as if only the others were tested.
    """
    shown = truth.liver.any(axis=(1, 2), keepdims=True)
    return found.with_labels(np.where(shown, found.labels, np.uint8(0)))


def _pair(case: Case, truth: LabelMap, found: LabelMap, condition: Condition) -> LabelPair:
    tested = found if condition == "all_slices" else on_labelled_slices(truth, found)
    return pair_of(truth, tested, labels=case.labels)


def _facts(pair: LabelPair) -> dict[str, Any]:
    """Volumes in mL, lesions and spacing: what tables group and explain cases by. No tumour where truth cannot tell."""
    facts: dict[str, Any] = {"spacing_mm": list(pair.scan.spacing_mm), "shape": list(pair.scan.shape)}
    for side, labels in (("truth", pair.truth), ("found", pair.found)):
        facts[f"{side}_liver_ml"] = labels.volume_ml(LIVER) + labels.volume_ml(TUMOUR)
        if pair.labels == "full":
            facts[f"{side}_tumour_ml"] = labels.volume_ml(TUMOUR)
    if pair.labels == "full":
        lesions = find_lesions(pair.truth).lesions
        facts["lesions"] = len(lesions)
        facts["largest_lesion_mm"] = max((lesion.diameter_mm for lesion in lesions), default=0.0)
    return facts
