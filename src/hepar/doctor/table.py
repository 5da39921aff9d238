"""A diagnosis for people: one line for each kind of finding, however many cases share it; and as JSON."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hepar.doctor.findings import SEVERITIES, Diagnosis, Finding, Severity

if TYPE_CHECKING:
    from rich.console import RenderableType

# A line shows details of up to this many cases; to_json has all.
SHOWN_DETAILS = 3
COLOURS: dict[Severity, str] = {"error": "red", "warning": "yellow", "note": "dim"}


@dataclass(frozen=True)
class Row:
    """Findings of one kind. `cases` is compressed: `volume-28..47 (20)`; empty for the set as a whole."""

    severity: Severity
    kind: str
    cases: str
    message: str
    repair: str
    repairable: int


def rows(diagnosis: Diagnosis) -> list[Row]:
    """Worst first; findings with the same kind, message and chance of repair share a row."""
    groups: dict[tuple[Severity, str, str, bool], list[Finding]] = {}
    for finding in diagnosis.findings:
        groups.setdefault((finding.severity, finding.kind, finding.message, finding.repairable), []).append(finding)
    return [
        Row(
            severity,
            kind,
            _named(diagnosis, [finding.case for finding in group if finding.case]),
            message + _details(group),
            _repairs(group),
            len(group) if repairable else 0,
        )
        for (severity, kind, message, repairable), group in groups.items()
    ]


def _named(diagnosis: Diagnosis, cases: Sequence[str]) -> str:
    """`all 26`, `all 99 of slices256`, or the names."""
    everyone = {subject.id for subject in diagnosis.subjects}
    if len(everyone) > 1 and set(cases) == everyone:
        return f"all {len(everyone)}"
    for folder in dict.fromkeys(subject.folder for subject in diagnosis.subjects if subject.folder):
        mine = {subject.id for subject in diagnosis.subjects if subject.folder == folder}
        if len(mine) > 1 and set(cases) == mine:
            return f"all {len(mine)} of {folder}"
    return compressed(cases)


def _details(group: Sequence[Finding]) -> str:
    told = list(dict.fromkeys(finding.detail for finding in group if finding.detail))
    if not told:
        return ""
    if len(told) == 1:
        return f": {told[0]}"
    named = {finding.case or str(place): finding.detail for place, finding in enumerate(group)}
    shown = [f"{case}: {detail}" if group[0].case else detail for case, detail in list(named.items())[:SHOWN_DETAILS]]
    more = f"; and {len(named) - SHOWN_DETAILS} more" if len(named) > SHOWN_DETAILS else ""
    return f" ({'; '.join(shown)}{more})"


def _repairs(group: Sequence[Finding]) -> str:
    told = list(dict.fromkeys(finding.repair for finding in group if finding.repair))
    return told[0] + (f" (and {len(told) - 1} alike)" if len(told) > 1 else "") if told else ""


def compressed(cases: Sequence[str]) -> str:
    """`volume-1, volume-2, volume-3` as `volume-1..3 (3)`; the last number of a name counts."""
    runs: list[tuple[str, str, int, int, str]] = []
    for case in dict.fromkeys(cases):
        parts = re.fullmatch(r"(.*?)(\d+)(\D*)", case)
        if not parts:
            runs.append((case, "", 0, 0, ""))
            continue
        head, digits, tail = parts.groups()
        if runs and runs[-1][0] == head and runs[-1][4] == tail and runs[-1][3] + 1 == int(digits):
            runs[-1] = (head, runs[-1][1], runs[-1][2], int(digits), tail)
        else:
            runs.append((head, digits, int(digits), int(digits), tail))
    shown, last = [], ("", "")
    for head, digits, first, end, tail in runs:
        # A head that was just shown is not shown again: volume-3, 5, 8..10.
        name = digits if digits and (head, tail) == last else f"{head}{digits}"
        shown.append(f"{name}{f'..{end:0{len(digits)}d}' if end > first else ''}{'' if (head, tail) == last else tail}")
        last = (head, tail)
    count = len(set(cases))
    return ", ".join(shown) + (f" ({count})" if count > 2 else "")


def render(diagnosis: Diagnosis) -> RenderableType:
    """Summary and table for a rich console."""
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Column, Table
    from rich.text import Text

    told = rows(diagnosis)
    table = Table(Column("what", overflow="fold"), Column("cases", overflow="fold"), "repair", show_lines=True)
    for row in told:
        colour = COLOURS[row.severity]
        what = f"[{colour}]{row.severity}[/{colour}] {escape(row.kind)}\n{escape(row.message)}"
        table.add_row(what, escape(row.cases) or "the whole set", escape(row.repair))
    lines: list[RenderableType] = [Text(summary(diagnosis))]
    return Group(*lines, table) if told else Group(*lines)


def summary(diagnosis: Diagnosis) -> str:
    """One line: what it is, how much was found, how much can be repaired."""
    counts = ", ".join(_plural(diagnosis.count(severity), severity) for severity in SEVERITIES)
    text = f"{diagnosis.layout}: {_plural(len(diagnosis.subjects), 'case')} of {_plural(diagnosis.patients, 'patient')}"
    if not diagnosis.findings:
        return f"{text}; nothing found"
    repairable = len(diagnosis.repairable)
    return f"{text}; {counts}" + (f"; {repairable} can be repaired (--repair FOLDER)" if repairable else "")


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def to_json(diagnosis: Diagnosis) -> dict[str, Any]:
    """Every finding with all its details; case names only, no paths."""
    return {
        "data_set": diagnosis.root.resolve().name,
        "layout": diagnosis.layout,
        "cases": len(diagnosis.subjects),
        "patients": diagnosis.patients,
        "findings": [
            {
                "case": finding.case or None,
                "kind": finding.kind,
                "severity": finding.severity,
                "message": finding.message,
                "detail": finding.detail,
                "repairable": finding.repairable,
                "repair": finding.repair,
            }
            for finding in diagnosis.findings
        ],
    }
