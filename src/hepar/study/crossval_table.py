"""Scored predictions of all folds to one document: what each method reaches on patients it never saw.

A patient is the unit. A patient's Dice is twice the shared voxels over both
sides' voxels, summed over all of the patient's cases of a group; for one scan
that is its Dice. Distances, volumes and lesion counts are averaged over the
patient's cases first, so a scan that several folds tested weighs as one.
Everything is taken from the terms of the `lits` protocol.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

import hepar
from hepar.metrics.figures import NOTHING, ProtocolScores
from hepar.metrics.protocols.lits import EMPTY_RULE, OVERLAPS
from hepar.study.left_out import STACKS, VOLUMES
from hepar.study.statistics import bootstrap_interval, paired_test, with_holm
from hepar.study.statistics.bootstrap import DRAWS, SEED
from hepar.study.statistics.counts import poisson_interval, rate
from hepar.study.statistics.medians import median, median_interval

Row = dict[str, Any]
# Slices of these lie in their scan, so that lesions, distances and volumes mean something in 3D.
PLACED = (STACKS, VOLUMES)
ALL_SCANS = "all scans"
# LiTS 4 holds 70 % of all tumour pixels; LiTS 39 is labelled outside the liver.
OUTLIERS = ("lits004", "lits039")
SMALL_ML, LARGE_ML = 2.0, 20.0
EVERYBODY, TUMOUR = "all patients", "patients with tumour"
BUT = "without " + " and ".join(OUTLIERS)
DICE_RULE = "both empty: left out; one empty: 0"
DISTANCE_RULE = "no truth: left out; missed: the scan's diagonal"
LESION_RULE = "no lesion on either side: counts for nothing"


@dataclass(frozen=True)
class FoldCase:
    """One case of one method, scored under the `lits` protocol; `facts` are the referee's."""

    fold: int
    case: str
    patient: str
    group: str
    method: str
    scores: ProtocolScores
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Measure:
    """A number of each patient whose mean and median are shown; `rule` is its empty-mask policy in short."""

    name: str
    title: str
    unit: str
    better: str
    rule: str


LIVER_DICE = Measure("liver_dice", "Liver Dice", "", "high", DICE_RULE)
TUMOUR_DICE = Measure("tumour_dice", "Tumour Dice", "", "high", DICE_RULE)
LIVER_ASSD = Measure("liver_assd_mm", "Liver ASSD", "mm", "low", DISTANCE_RULE)
TUMOUR_ASSD = Measure("tumour_assd_mm", "Tumour ASSD", "mm", "low", DISTANCE_RULE)
COMPARED = (LIVER_DICE, TUMOUR_DICE)
NOTES = (
    "Unit: patient. Intervals: 95 %, percentile bootstrap over patients, shown from 5 patients on and too narrow below "
    "20 or so.",
    "Stacks hold every second slice of a scan, with gaps. Loose slices have no place in their scan: Dice only.",
    "slices512 holds greys without a scale; -1000 to 1000 HU was guessed for all of them.",
    "Lesions: 6-connected components, matched one to one; found at IoU > 0 and, more strictly, IoU > 0.5.",
    "False alarms: lesions found in patients without tumour, with Garwood's exact Poisson interval; where several "
    "folds' models tested one scan, their counts are not independent and the interval is too narrow.",
)


def crossval_document(
    cases: Sequence[FoldCase], methods: Sequence[str], draws: int = DRAWS, seed: int = SEED
) -> dict[str, Any]:
    """All tables as plain values; NaN where nothing is defined."""
    patients = patient_rows(cases)
    tables = _Tables(patients, methods, draws, seed)
    sections = sections_of(patients)
    return {
        "hepar": hepar.__version__,
        "disclaimer": hepar.DISCLAIMER,
        "empty_rule": EMPTY_RULE,
        "notes": list(NOTES),
        "bootstrap": {"draws": draws, "seed": seed, "unit": "patient", "level": 0.95},
        "methods": list(methods),
        "sections": list(sections),
        "figures": [row for s, groups in sections.items() for row in tables.figures(s, groups)],
        "lesions": [row for s, groups in sections.items() for row in tables.lesions(s, groups)],
        "false_alarms": [row for s, groups in sections.items() for row in tables.false_alarms(s, groups)],
        "comparisons": [row for s, groups in sections.items() for row in tables.comparisons(s, groups)],
        "without": _without(cases, methods),
        "patients": patients,
    }


def patient_rows(cases: Sequence[FoldCase]) -> list[Row]:
    """One row a group, patient and method."""
    own: dict[tuple[str, str, str], list[FoldCase]] = {}
    for case in cases:
        own.setdefault((case.group, case.patient, case.method), []).append(case)
    return [_patient(key, own[key]) for key in sorted(own)]


def sections_of(patients: Sequence[Row]) -> dict[str, tuple[str, ...]]:
    """The groups that there are, each a section, and all scans together where stacks and volumes are there."""
    there = {row["group"] for row in patients}
    first = [group for group in PLACED if group in there]
    joined = {ALL_SCANS: tuple(first)} if len(first) > 1 else {}
    return {group: (group,) for group in first} | joined | {g: (g,) for g in sorted(there - set(PLACED))}


def _patient(key: tuple[str, str, str], cases: Sequence[FoldCase]) -> Row:
    group, patient, method = key
    found: Row = {"group": group, "patient": patient, "method": method}
    found |= {"folds": sorted({case.fold for case in cases}), "cases": len(cases)}
    found |= {f"{s}_dice": _summed(cases, f"{s}_dice_global") for s in ("liver", "tumour")}
    for side in ("truth", "found"):
        found |= {f"{side}_{s}_ml": _mean_fact(cases, f"{side}_{s}_ml") for s in ("liver", "tumour")}
    found |= {
        f"{s}_dice_missed": found[f"truth_{s}_ml"] > 0 and not found[f"found_{s}_ml"] for s in ("liver", "tumour")
    }
    if group not in PLACED:
        # Pixel size and slice spacing are not known there.
        return found
    for name in ("liver_assd_mm", "tumour_assd_mm"):
        found[name] = _summed(cases, name)
        found[f"{name}_missed"] = any(name in case.scores.missed for case in cases)
    return found | _lesion_counts(cases)


def _summed(cases: Sequence[FoldCase], name: str) -> float:
    terms = [case.scores.terms.get(name, NOTHING) for case in cases]
    bottom = sum(term[1] for term in terms)
    return sum(term[0] for term in terms) / bottom if bottom else math.nan


def _mean_fact(cases: Sequence[FoldCase], name: str) -> float:
    """NaN where the truth cannot tell, as with union labels."""
    known = [case.facts[name] for case in cases if case.facts.get(name) is not None]
    return float(np.mean(known)) if known else math.nan


def _lesion_counts(cases: Sequence[FoldCase]) -> Row:
    """Hits, losses and false alarms a scan; the sums over all scans for the exact interval."""
    told = [case.scores.details for case in cases if "detection" in case.scores.details]
    if not told:
        return {}
    counts: Row = {"scans": len(told)}
    for name, overlap in OVERLAPS.items():
        for kind in ("true_positives", "false_positives", "false_negatives"):
            counts[f"{kind}_{name}"] = float(np.mean([one["detection"][str(overlap)][kind] for one in told]))
    small = [lesion for one in told for lesion in one["lesions"] if lesion["volume_ml"] < SMALL_ML]
    hits = sum(lesion["found_as"] is not None for lesion in small)
    counts |= {"small": len(small) / len(told), "small_hit": hits / len(told)}
    return counts | {"found_lesions": sum(len(one["found_lesions"]) for one in told)}


def subset_of(row: Row, name: str) -> bool:
    """Whether a patient belongs to a subset: burden of the truth, outliers left out."""
    ml = float(row["truth_tumour_ml"])
    kept = row["patient"] not in OUTLIERS
    belongs = {
        EVERYBODY: True,
        BUT: kept,
        TUMOUR: ml > 0,
        f"{TUMOUR}, {BUT}": ml > 0 and kept,
        **{size: ml > 0 and size_of(ml) == size for size in SIZES},
    }
    return bool(belongs[name])


SIZES = (f"tumour < {SMALL_ML:g} mL", f"tumour {SMALL_ML:g}-{LARGE_ML:g} mL", f"tumour > {LARGE_ML:g} mL")


def size_of(tumour_ml: float) -> str:
    """The class of a patient's labelled tumour volume; both 2 and 20 mL belong to the middle one."""
    return SIZES[0] if tumour_ml < SMALL_ML else SIZES[1] if tumour_ml <= LARGE_ML else SIZES[2]


@dataclass(frozen=True)
class _Tables:
    patients: Sequence[Row]
    methods: Sequence[str]
    draws: int
    seed: int

    def rows(self, groups: Sequence[str], method: str, subset: str) -> list[Row]:
        return [
            row
            for row in self.patients
            if row["group"] in groups and row["method"] == method and subset_of(row, subset)
        ]

    def figures(self, section: str, groups: tuple[str, ...]) -> list[Row]:
        placed = groups[0] in PLACED
        sizes = SIZES if placed else ()
        wanted = [(LIVER_DICE, (EVERYBODY, BUT)), (TUMOUR_DICE, (TUMOUR, f"{TUMOUR}, {BUT}", *sizes))]
        wanted += [(LIVER_ASSD, (EVERYBODY,)), (TUMOUR_ASSD, (TUMOUR,))] if placed else []
        return [
            {"section": section, "subset": subset, **self._figure(measure, method, self.rows(groups, method, subset))}
            for measure, subsets in wanted
            for subset in subsets
            if self._tells_something(groups, subset)
            for method in self.methods
        ]

    def _tells_something(self, groups: Sequence[str], subset: str) -> bool:
        """False for a subset without patients, and for one that leaves out outliers where there are none."""
        there = {row["patient"] for method in self.methods for row in self.rows(groups, method, EVERYBODY)}
        rows = [row for method in self.methods for row in self.rows(groups, method, subset)]
        return bool(rows) and (BUT not in subset or bool(there & set(OUTLIERS)))

    def _figure(self, measure: Measure, method: str, rows: Sequence[Row]) -> Row:
        values = np.array([row.get(measure.name, math.nan) for row in rows], np.float64)
        counts = np.isfinite(values)
        known = values[counts]
        names = [row["patient"] for row in rows]
        mean = bootstrap_interval(
            np.where(counts, values, 0.0), counts.astype(np.float64), "ratio", names, self.draws, self.seed
        ) if rows else None  # fmt: skip
        middle = median_interval(known, self.draws, self.seed)
        return {
            "figure": measure.name,
            "title": measure.title,
            "unit": measure.unit,
            "better": measure.better,
            "rule": measure.rule,
            "method": method,
            "mean": float(known.mean()) if len(known) else math.nan,
            "mean_low": mean.low if mean else math.nan,
            "mean_high": mean.high if mean else math.nan,
            "median": median(known),
            "median_low": middle.low,
            "median_high": middle.high,
            "patients": int(counts.sum()),
            "left_out": int((~counts).sum()),
            "missed": sum(bool(row.get(f"{measure.name}_missed")) for row in rows),
        }

    def lesions(self, section: str, groups: tuple[str, ...]) -> list[Row]:
        """Pooled recall, precision and F1, and recall below 2 mL by lesion and by patient."""
        found = []
        for subset in (EVERYBODY, BUT, SIZES[0]):
            if not self._tells_something(groups, subset):
                continue
            for overlap in OVERLAPS:
                for name, terms in RATIOS.items():
                    if subset == SIZES[0] and name != "recall":
                        continue
                    found += self._ratios(section, groups, (subset, overlap, f"lesion_{name}"), terms(overlap))
        small = (EVERYBODY, "any", "small_lesion_recall")
        return found + self._ratios(section, groups, small, ({"small_hit": 1}, {"small": 1}))

    def _ratios(self, section: str, groups: tuple[str, ...], what: tuple[str, str, str], terms: Terms) -> list[Row]:
        subset, overlap, name = what
        found = []
        for method in self.methods:
            rows = [row for row in self.rows(groups, method, subset) if "scans" in row]
            if not rows:
                continue
            tops, bottoms = (np.array([sum(row[k] * n for k, n in t.items()) for row in rows]) for t in terms)
            names = [row["patient"] for row in rows]
            both = bootstrap_interval(tops, bottoms, "ratio", names, self.draws, self.seed)
            total = float(bottoms.sum())
            row: Row = {"section": section, "subset": subset, "figure": name, "overlap": overlap, "method": method}
            row |= {"value": float(tops.sum()) / total if total else math.nan, "low": both.low, "high": both.high}
            row |= {"top": float(tops.sum()), "bottom": total, "patients": int(np.count_nonzero(bottoms))}
            found.append(row | {"rule": LESION_RULE})
        return found

    def false_alarms(self, section: str, groups: tuple[str, ...]) -> list[Row]:
        """Lesions found in patients whose truth has none."""
        found = []
        for method in self.methods:
            free = [r for r in self.rows(groups, method, EVERYBODY) if r.get("scans") and r["truth_tumour_ml"] == 0]
            if not free:
                continue
            events, scans = sum(row["found_lesions"] for row in free), sum(row["scans"] for row in free)
            both = poisson_interval(events, scans)
            found.append(
                {
                    "section": section,
                    "method": method,
                    "patients": len(free),
                    "scans": scans,
                    "lesions": events,
                    "per_scan": rate(events, scans),
                    "low": both.low,
                    "high": both.high,
                    "ml_per_scan": sum(r["found_tumour_ml"] * r["scans"] for r in free) / scans,
                }
            )
        return found

    def comparisons(self, section: str, groups: tuple[str, ...]) -> list[Row]:
        """Paired tests over the patients that both methods have; Holm within the section."""
        rows = []
        for measure, subset in zip(COMPARED, (EVERYBODY, TUMOUR), strict=True):
            values = {m: _by_patient(self.rows(groups, m, subset), measure.name) for m in self.methods}
            for first, second in combinations(self.methods, 2):
                names = sorted(values[first].keys() & values[second].keys())
                if not names:
                    continue
                one, two = (np.array([values[m][name] for name in names]) for m in (first, second))
                test = paired_test(one, two, [name[1] for name in names], self.seed)
                rows.append(
                    {
                        "section": section,
                        "figure": measure.name,
                        "title": measure.title,
                        "subset": subset,
                        "first": first,
                        "second": second,
                        **test.row(),
                    }
                )
        return with_holm(rows)


Terms = tuple[Mapping[str, int], Mapping[str, int]]
# Counts of a patient's row that stand above and below the line.
RATIOS: dict[str, Callable[[str], Terms]] = {
    "recall": lambda o: ({f"true_positives_{o}": 1}, {f"true_positives_{o}": 1, f"false_negatives_{o}": 1}),
    "precision": lambda o: ({f"true_positives_{o}": 1}, {f"true_positives_{o}": 1, f"false_positives_{o}": 1}),
    "f1": lambda o: (
        {f"true_positives_{o}": 2},
        {f"true_positives_{o}": 2, f"false_positives_{o}": 1, f"false_negatives_{o}": 1},
    ),
}


def _by_patient(rows: Sequence[Row], name: str) -> dict[tuple[str, str], float]:
    """Value by group and patient."""
    return {(row["group"], row["patient"]): row.get(name, math.nan) for row in rows}


def _without(cases: Sequence[FoldCase], methods: Sequence[str]) -> list[Row]:
    """Cases that another method has and this one lacks: nobody may win by leaving cases out."""
    own = {method: {(case.fold, case.case) for case in cases if case.method == method} for method in methods}
    every = set().union(*own.values())
    return [
        {"method": method, "fold": fold, "case": case}
        for method in methods
        for fold, case in sorted(every - own[method])
    ]
