"""Scored cases to tables: figures with intervals, comparisons, ranks, subgroups. One plain document for all outputs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

import hepar
from hepar.metrics.figures import Figure, FigureSpec, ProtocolScores, figure
from hepar.metrics.protocols import Protocol
from hepar.metrics.protocols.deviations import COUNTERPARTS, HEADER
from hepar.study.statistics import bootstrap_interval, paired_test, rank_stability, with_holm

SEED, DRAWS = 2018, 2000
# Rounding of sums that are equal on paper.
SAME = 1e-9
FEW = "none, as they need at least two methods scored on the same cases; give a second folder of predictions"


@dataclass(frozen=True)
class ScoredCase:
    """One case of one method: its scores by protocol, or the `error` that kept it from being scored."""

    case: str
    method: str
    scores: Mapping[str, ProtocolScores] = field(default_factory=dict)
    error: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    deviations: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    thumbnail: str | None = None
    confidence: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Scoring:
    """What was asked: protocols, methods in order, and the patient of each case where cases share one."""

    protocols: tuple[Protocol, ...]
    methods: tuple[str, ...]
    patients: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    seed: int = SEED
    draws: int = DRAWS


def scoreboard(cases: Sequence[ScoredCase], scoring: Scoring) -> dict[str, Any]:
    """The whole comparison as plain values, NaN for what is not defined."""
    tables = _Tables(cases, scoring)
    return {
        "hepar": hepar.__version__,
        "disclaimer": hepar.DISCLAIMER,
        "command": scoring.command,
        "bootstrap": {"draws": scoring.draws, "seed": scoring.seed, "unit": "patient", "level": 0.95},
        "methods": list(scoring.methods),
        "protocols": [tables.protocol(protocol) for protocol in scoring.protocols],
        "official_against_corrected": tables.official_against_corrected(),
        "comparisons": tables.comparisons(),
        "comparison_note": tables.comparison_note(),
        "ranks": tables.ranks(),
        "subgroups": tables.subgroups(),
        "cases": [tables.case(case) for case in cases],
    }


class _Tables:
    def __init__(self, cases: Sequence[ScoredCase], scoring: Scoring) -> None:
        self.scoring = scoring
        self.by_method = {
            method: [case for case in cases if case.method == method and case.error is None]
            for method in scoring.methods
        }

    def figure(self, protocol: str, spec: FigureSpec, cases: Sequence[ScoredCase]) -> Figure:
        return figure(spec, [_scores(case, protocol) for case in cases])

    def interval(self, found: Figure, cases: Sequence[ScoredCase]) -> tuple[float, float]:
        patients = [self.scoring.patients.get(case.case, case.case) for case in cases]
        both = bootstrap_interval(
            found.numerators, found.denominators, found.spec.finish, patients, self.scoring.draws, self.scoring.seed
        )
        return both.low, both.high

    def row(self, protocol: str, spec: FigureSpec, method: str, cases: Sequence[ScoredCase]) -> dict[str, Any]:
        found = self.figure(protocol, spec, cases)
        low, high = self.interval(found, cases)
        return {
            "method": method,
            "name": spec.name,
            "title": spec.title,
            "unit": spec.unit,
            "better": spec.better,
            "main": spec.main,
            "value": found.value,
            "low": low,
            "high": high,
            "count": found.count,
            "excluded": found.excluded,
            "missed": found.missed,
        }

    def protocol(self, protocol: Protocol) -> dict[str, Any]:
        return {
            "name": protocol.name,
            "definition": protocol.definition,
            "empty_rule": protocol.empty_rule,
            "left_out": self.left_out(protocol.name),
            "figures": [
                self.row(protocol.name, spec, method, cases)
                for spec in protocol.figures
                for method, cases in self.by_method.items()
            ],
        }

    def left_out(self, protocol: str) -> list[dict[str, Any]]:
        """Reason and cases that the protocol's own program could not have scored, whichever method's."""
        reasons: dict[str, dict[str, None]] = {}
        for cases in self.by_method.values():
            for case in cases:
                if crash := _scores(case, protocol).crash:
                    reasons.setdefault(crash, {})[case.case] = None
        return [{"reason": reason, "cases": list(cases)} for reason, cases in reasons.items()]

    def official_against_corrected(self) -> list[dict[str, Any]]:
        """Official figure, corrected figure, difference and what lies between, where both protocols were asked for.

        Once over all cases (`case` None), and once for each case, with the
        case's own reason where there is one.
        """
        asked = {protocol.name: {spec.name: spec for spec in protocol.figures} for protocol in self.scoring.protocols}
        if not {"lits-codalab", "lits"} <= asked.keys():
            return []
        rows = []
        for method, cases in self.by_method.items():
            for names in COUNTERPARTS:
                specs = asked["lits-codalab"][names[0]], asked["lits"][names[1]]
                rows.append(
                    {"method": method, "case": None, **self._difference(specs, cases, _with_spacing(names, cases))}
                )
                rows += [
                    {"method": method, "case": case.case, **self._difference(specs, [case], _reason(case, names))}
                    for case in cases
                ]
        return rows

    def _difference(
        self, specs: tuple[FigureSpec, FigureSpec], cases: Sequence[ScoredCase], reason: str
    ) -> dict[str, Any]:
        here, there = self.figure("lits-codalab", specs[0], cases), self.figure("lits", specs[1], cases)
        # One case alone has no figure of the cohort to fall back to.
        official = here.value if len(cases) > 1 or here.count else math.nan
        difference = there.value - official
        same = abs(difference) < SAME
        return {
            "official_name": specs[0].name,
            "corrected_name": specs[1].name,
            "official": official,
            "corrected": there.value,
            "difference": difference,
            "reason": "" if same else reason,
        }

    def shared(self) -> list[str]:
        """Cases that every method has scored."""
        sets = [{case.case for case in cases} for cases in self.by_method.values()]
        return [case for case in dict.fromkeys(c.case for cases in self.by_method.values() for c in cases)
                if all(case in own for own in sets)]  # fmt: skip

    def comparison_note(self) -> str:
        if len(self.scoring.methods) < 2 or not self.shared():
            return FEW
        return (
            "Differences of per-case values over the cases where both methods are defined, first minus second; "
            "two-sided tests, Holm-corrected over all comparisons of a protocol."
        )

    def tested(self, protocol: Protocol) -> list[FigureSpec]:
        """Main figures that are means over cases: pooled ones have no per-case values to pair."""
        return [spec for spec in protocol.figures if spec.main and spec.better and self._is_mean(protocol.name, spec)]

    def _is_mean(self, protocol: str, spec: FigureSpec) -> bool:
        if spec.finish != "ratio":
            return False
        found = [self.figure(protocol, spec, cases).denominators for cases in self.by_method.values()]
        return all(np.isin(denominators, (0, 1)).all() for denominators in found)

    def values(self, protocol: str, spec: FigureSpec, names: Sequence[str]) -> dict[str, list[float]]:
        """Per-case values of each method on the named cases."""
        found = {}
        for method, cases in self.by_method.items():
            own = {case.case: _scores(case, protocol).value(spec) for case in cases}
            found[method] = [own[name] for name in names]
        return found

    def comparisons(self) -> list[dict[str, Any]]:
        names = self.shared()
        if len(self.scoring.methods) < 2 or not names:
            return []
        return [row for protocol in self.scoring.protocols for row in self._compared(protocol, names)]

    def _compared(self, protocol: Protocol, names: Sequence[str]) -> list[dict[str, Any]]:
        patients = [self.scoring.patients.get(name, name) for name in names]
        rows = []
        for spec in self.tested(protocol):
            values = self.values(protocol.name, spec, names)
            for first, second in combinations(self.scoring.methods, 2):
                test = paired_test(np.array(values[first]), np.array(values[second]), patients, self.scoring.seed)
                rows.append(
                    {
                        "protocol": protocol.name,
                        "figure": spec.name,
                        "first": first,
                        "second": second,
                        "cases": test.cases,
                        **test.row(),
                    }
                )
        return with_holm(rows)

    def ranks(self) -> list[dict[str, Any]]:
        names = self.shared()
        if len(self.scoring.methods) < 2 or not names:
            return []
        patients = [self.scoring.patients.get(name, name) for name in names]
        rows = []
        for protocol in self.scoring.protocols:
            for spec in self.tested(protocol):
                table = np.array(list(self.values(protocol.name, spec, names).values()))
                kept = ~np.isnan(table).any(axis=0)
                if kept.sum() < 2:
                    continue
                own = [patient for patient, keep in zip(patients, kept, strict=True) if keep]
                found = rank_stability(
                    table[:, kept], spec.better == "high", own, self.scoring.draws, self.scoring.seed
                )
                for place, method in enumerate(self.scoring.methods):
                    rows.append(
                        {
                            "protocol": protocol.name,
                            "figure": spec.name,
                            "method": method,
                            "cases": int(kept.sum()),
                            "mean_rank": float(found.mean_ranks[place]),
                            "first_share": float(found.first_share[place]),
                            "kendall_tau": float(found.kendall_tau),
                        }
                    )
        return rows

    def subgroups(self) -> list[dict[str, Any]]:
        """The corrected protocol's main figures by lesion size, slice thickness and burden of the truth."""
        protocol = next((p for p in self.scoring.protocols if p.name == "lits"), None)
        if protocol is None:
            return []
        wanted = ("liver_dice", "tumour_dice", "liver_assd_mm", "lesion_recall_any", "lesion_precision_any")
        specs = [spec for spec in protocol.figures if spec.name in wanted]
        rows = []
        for by, group_of in SUBGROUPS.items():
            for method, cases in self.by_method.items():
                groups = _grouped(cases, group_of)
                for spec in specs:
                    for group, own in groups.items():
                        row = self.row("lits", spec, method, own)
                        kept = {key: row[key] for key in ("method", "value", "low", "high", "count")}
                        rows.append({"protocol": "lits", "figure": spec.name, "by": by, "group": group,
                                     "cases": len(own), **kept})  # fmt: skip
        return rows

    def case(self, case: ScoredCase) -> dict[str, Any]:
        values = {
            protocol.name: {spec.name: _scores(case, protocol.name).value(spec) for spec in protocol.figures}
            for protocol in self.scoring.protocols
            if case.error is None
        }
        return {
            "case": case.case,
            "method": case.method,
            "error": case.error,
            "facts": dict(case.facts),
            "values": values,
            "details": {name: dict(scores.details) for name, scores in case.scores.items()},
            "deviations": list(case.deviations),
            "notes": list(case.notes),
            "thumbnail": case.thumbnail,
        }


def _scores(case: ScoredCase, protocol: str) -> ProtocolScores:
    return case.scores.get(protocol, ProtocolScores({}))


def _reason(case: ScoredCase, names: tuple[str, str, str]) -> str:
    """Why the official figure of one case differs: what happened in it, else what always lies between."""
    crash = _scores(case, "lits-codalab").crash
    if crash:
        return crash
    if names[0].startswith(("lesion_precision", "lesion_recall")):
        overlap = "IoU > 0:" if names[0].endswith("_greater_zero") else "IoU > 0.5"
        return next((text for text in case.deviations if text.startswith(overlap)), names[2])
    return _with_spacing(names, [case])


def _with_spacing(names: tuple[str, str, str], cases: Sequence[ScoredCase]) -> str:
    """A distance's reason, with the header's spacing where it differs from the affine's."""
    told = any(text.startswith(HEADER) for case in cases for text in case.deviations)
    return f"{names[2]}; header and affine tell other spacings" if told and names[1].endswith("_mm") else names[2]


def _grouped(cases: Sequence[ScoredCase], group_of: Any) -> dict[str, list[ScoredCase]]:
    groups: dict[str, list[ScoredCase]] = {}
    for case in cases:
        name = group_of(case.facts)
        if name:
            groups.setdefault(name, []).append(case)
    return dict(sorted(groups.items(), key=lambda item: ORDER.index(item[0])))


def _by_lesion_size(facts: Mapping[str, Any]) -> str:
    size = facts.get("largest_lesion_mm")
    if size is None:
        return ""
    if not facts.get("lesions"):
        return "tumour-free"
    return "largest <10 mm" if size < 10 else "largest 10-20 mm" if size <= 20 else "largest >20 mm"


def _by_thickness(facts: Mapping[str, Any]) -> str:
    thickness = facts.get("slice_thickness_mm", math.nan)
    if math.isnan(thickness):
        return ""
    return "slices <=1.5 mm" if thickness <= 1.5 else "slices 1.5-3 mm" if thickness <= 3 else "slices >3 mm"


def _by_burden(facts: Mapping[str, Any]) -> str:
    burden = facts.get("truth_burden")
    if burden is None:
        return ""
    return (
        "no burden" if burden == 0 else "burden <1 %" if burden < 0.01 else
        "burden 1-10 %" if burden <= 0.1 else "burden >10 %"
    )  # fmt: skip


SUBGROUPS = {"lesion size": _by_lesion_size, "slice thickness": _by_thickness, "tumour burden": _by_burden}
ORDER = (
    "tumour-free", "largest <10 mm", "largest 10-20 mm", "largest >20 mm",
    "slices <=1.5 mm", "slices 1.5-3 mm", "slices >3 mm",
    "no burden", "burden <1 %", "burden 1-10 %", "burden >10 %",
)  # fmt: skip
