"""The cases of a scoreboard: which are worst, and what is told of each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from hepar.report.digits import digits, is_known, number, scaled

Board = Mapping[str, Any]

# What a case is shown by, with the names it has under each protocol, the first one asked for first.
MEASURES: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...] = (
    (
        "Tumour Dice",
        "",
        (("lits", "tumour_dice"), ("lits-codalab", "lesion_dice_per_case"), ("paper", "tumour_dice_case")),
    ),
    (
        "Liver Dice",
        "",
        (("lits", "liver_dice"), ("lits-codalab", "liver_dice_per_case"), ("paper", "liver_union_dice_case")),
    ),
    (
        "Liver ASSD",
        "mm",
        (("lits", "liver_assd_mm"), ("lits-codalab", "liver_assd"), ("paper", "liver_union_assd_case_mm")),
    ),
)


def worst_first(board: Board) -> list[Mapping[str, Any]]:
    """Scored cases by tumour Dice, then liver Dice, lowest first; where Dice is not defined, last."""
    keys = [source_of(board, names) for _, _, names in MEASURES[:2]]

    def place(case: Mapping[str, Any]) -> list[tuple[bool, float]]:
        values = [value_of(case, key) for key in keys]
        return [(math.isnan(value), 0.0 if math.isnan(value) else value) for value in values]

    return sorted((case for case in board["cases"] if not case["error"]), key=place)


def source_of(board: Board, names: Sequence[tuple[str, str]]) -> tuple[str, str] | None:
    """The first protocol and figure of `names` that any case has."""
    scored = [case["values"] for case in board["cases"] if not case["error"]]
    return next((key for key in names if any(key[1] in values.get(key[0], {}) for values in scored)), None)


def value_of(case: Mapping[str, Any], key: tuple[str, str] | None) -> float:
    found = case["values"].get(key[0], {}).get(key[1]) if key else None
    return math.nan if found is None else float(found)


def card(board: Board, case: Mapping[str, Any]) -> dict[str, Any]:
    """One scored case: its three measures, what is known of it in words, and where the official scorer differs."""
    measures = [(title, number(value_of(case, source_of(board, names)), unit), unit) for title, unit, names in MEASURES]
    return {
        "case": case["case"],
        "method": case["method"],
        "thumbnail": case.get("thumbnail"),
        "measures": measures,
        "facts": _facts(case["facts"]),
        "deviations": case.get("deviations", []),
        "notes": case.get("notes", []),
    }


def _facts(facts: Mapping[str, Any]) -> list[str]:
    """Sentences without a verb: lesions, volumes reference to found, burden, grid."""
    told = []
    if is_known(facts.get("lesions")):
        words = "no lesion" if not facts["lesions"] else f"{facts['lesions']} lesion{'s' * (facts['lesions'] != 1)}"
        if facts.get("found_lesions") is not None:
            words += f", {facts['found_lesions']} found"
        if facts["lesions"] and is_known(facts.get("largest_lesion_mm")):
            words += f"; largest {digits(facts['largest_lesion_mm'], 0)} mm"
        told.append(words)
    for name, key, factor, places, unit in (
        ("liver", "{}_liver_ml", 1.0, 0, "mL"),
        ("tumour", "{}_tumour_ml", 1.0, 1, "mL"),
        ("burden", "{}_burden", 100.0, 1, "%"),
    ):
        here, there = (scaled(facts.get(key.format(side)), factor) for side in ("truth", "found"))
        if is_known(here) or is_known(there):
            told.append(f"{name} {digits(here, places)} → {digits(there, places)} {unit}")
    if facts.get("spacing_mm"):
        told.append(" × ".join(digits(step, 2) for step in facts["spacing_mm"]) + " mm (z, y, x)")
    return told
