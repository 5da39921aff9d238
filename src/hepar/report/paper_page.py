"""The page of a study: claims, tables, figures, readings, discrepancies, in one file without scripts or network."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import hepar
from hepar.report.digits import digits, probability
from hepar.report.paper_figures import Drawing
from hepar.study.reproduce.arm_results import MEASURES, NO_VALUE, ArmResult, Measure, Value
from hepar.study.reproduce.claims import Claim
from hepar.study.reproduce.documents import PaperDocuments
from hepar.study.reproduce.tables import Comparison, PaperTable, TableRow
from hepar.study.reproduce.writing import digits_of, has_splits, measures_of, spread_rows
from hepar.study.statistics import Interval

Row = dict[str, Any]
# Pictures of CT weigh less as PNG than as SVG, which would hold them all the same.
PICTURES = {"fig2", "fig5"}
PUBLISHED_PLACES = {"": 3, "mm": 2}


@dataclass(frozen=True, eq=False)
class Captioned:
    """A figure with the text below it."""

    drawing: Drawing
    caption: str


@dataclass(frozen=True, eq=False)
class Shown:
    """What stands on the page beside the documents: figures in their order, files beside the page, version."""

    figures: Sequence[Captioned]
    files: Sequence[str]
    version: str


def paper_page(documents: PaperDocuments, shown: Shown) -> str:
    """The page as HTML; the same study gives the same text."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("hepar.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    ran = [arm for arm in documents.arms.values() if arm.cells]
    spreads, others = _spreads(documents)
    return environment.get_template("paper.html.j2").render(
        documents=documents,
        disclaimer=hepar.DISCLAIMER,
        version=shown.version,
        files=shown.files,
        measures=[{"title": m.title, "unit": m.spec.unit} for m in MEASURES],
        claims=[_claim(claim) for claim in documents.claims if claim.answers],
        not_asked=[claim.question.text for claim in documents.claims if not claim.answers],
        tables=[_table(table) for table in (documents.table1, documents.table2, documents.ablations)],
        trained=[_trained(arm) for arm in ran],
        figures=[{"said": f.drawing.said, "caption": f.caption, **_picture(f.drawing)} for f in shown.figures],
        spreads=spreads,
        other_spreads=others,
        sheet=documents.discrepancies,
    )


def _claim(claim: Claim) -> Row:
    """A claim with a cell for each measure that has an answer."""
    answers = {answer.measure.name: answer for answer in claim.answers}
    cells: list[Row | None] = []
    for measure in MEASURES:
        answer = answers.get(measure.name)
        if answer is None:
            cells.append(None)
            continue
        cells.append({
            "difference": digits(answer.test.mean_difference, digits_of(measure), signed=True),
            "interval": _interval(answer.test.interval, digits_of(measure), signed=True),
            "patients": answer.test.patients,
            "verdict": answer.verdict,
        })  # fmt: skip
    return {
        "text": claim.question.text,
        "paper": claim.question.paper,
        "note": claim.question.note,
        "state": claim.state,
        "cells": cells,
    }


def _table(table: PaperTable) -> Row:
    """Rows that were run or published; the names of the others."""
    measures = measures_of(table)
    printed = {m.name for m in measures if any(m.name in row.published for row in table.rows)}
    kept = [row for row in table.rows if row.published or row.ours]
    return {
        "title": table.title,
        "measures": [{"title": m.title, "unit": m.spec.unit, "printed": m.name in printed} for m in measures],
        "rows": [_row(row, measures, printed) for row in kept],
        "missing": [f"{row.title} ({row.preprocessing}): {row.state}" for row in table.rows if row not in kept],
        "splits": has_splits(table),
        "tests": [_test(test) for test in table.tests],
    }


def _row(row: TableRow, measures: Sequence[Measure], printed: set[str]) -> Row:
    cells = []
    for measure in measures:
        cell = _value(row.ours.get(measure.name, NO_VALUE), digits_of(measure))
        if measure.name in printed:
            cell["published"] = digits(row.published.get(measure.name), PUBLISHED_PLACES[measure.spec.unit])
            cell["difference"] = digits(row.difference(measure.name), digits_of(measure), signed=True)
        cells.append(cell)
    return {
        "title": row.title,
        "preprocessing": row.preprocessing,
        "state": row.state,
        "patients": row.patients,
        "cells": cells,
        "split": row.split,
        "correction": row.correction,
    }


def _value(value: Value, places: int) -> Row:
    """A figure, its interval and the cases behind it."""
    counts = f"n {value.count}" + (f", {value.missed} missed" if value.missed else "")
    return {
        "value": digits(value.value if value.count else None, places),
        "interval": _interval(value.interval, places),
        "counts": counts if value.count else "",
    }


def _interval(interval: Interval, places: int, signed: bool = False) -> str:
    if not (math.isfinite(interval.low) and math.isfinite(interval.high)):
        return ""
    return f"[{digits(interval.low, places, signed)}, {digits(interval.high, places, signed)}]"


def _test(one: Comparison) -> Row:
    measure = next(m for m in MEASURES if m.name == one.measure)
    return {
        "first": one.first,
        "second": one.second,
        "title": measure.title,
        "patients": one.test.patients,
        "difference": digits(one.test.mean_difference, digits_of(measure), signed=True),
        "interval": _interval(one.test.interval, digits_of(measure), signed=True),
        "p": [probability(p) for p in (one.test.wilcoxon_p, one.p, one.test.permutation_p)],
        "effect": digits(one.test.effect_dz, 2, signed=True),
    }


def _trained(arm: ArmResult) -> Row:
    """How an arm's networks came about, in the words of its first fold; minutes are the mean over folds."""
    facts = arm.cells[0].facts
    window = facts.get("window_hu", {})
    used, asked = window.get("used"), window.get("asked")
    return {
        "title": arm.title,
        "preprocessing": arm.preprocessing,
        "folds": f"{len(arm.cells)} of {arm.folds}",
        "recipe": facts["recipe"],
        "epochs": f"{facts['epochs_used']} of {facts['epochs_asked']}",
        "updates": f"{facts['updates']} × {facts['batch']}",
        "rate": f"{facts['learning_rate']:g}",
        "minutes": digits(sum(cell.facts["minutes"] for cell in arm.cells) / len(arm.cells), 1),
        "start": {"none": "random"}.get(facts["encoder"]["source"], facts["encoder"]["source"]),
        "window": _span(used) if used else "",
        "untestable": _span(asked) if asked and not window.get("testable", True) else "",
        "converged": arm.converged,
        "why": next((c.facts.get("convergence", "") for c in arm.cells if not c.facts["converged"]),
                    facts.get("convergence", "")),
    }  # fmt: skip


def _span(window: Sequence[float]) -> str:
    return f"{digits(window[0], 0)} to {digits(window[1], 0)} HU"


def _spreads(documents: PaperDocuments) -> tuple[list[Row], list[Row]]:
    """The spread of each figure: of the arms of Table 1, and of the others."""
    names = ("kind", "arm", "lowest", "low_reading", "highest", "high_reading", "apart")
    rows = [dict(zip(names, row, strict=True)) for row in spread_rows(documents)]
    first = {
        f"{documents.arms[key].title} ({key[1]})"
        for key in documents.arms
        if key[0] in ("cdnn_alex", "cdnn_resnet18") and key[1] in ("with", "without")
    }
    ordered = sorted(rows, key=lambda row: ("ASSD" in row["kind"], row["kind"]))
    return [row for row in ordered if row["arm"] in first], [row for row in ordered if row["arm"] not in first]


def _picture(drawing: Drawing) -> Row:
    """The drawing as SVG, or a picture as data of its PNG."""
    if drawing.name in PICTURES:
        return {"svg": "", "png": base64.b64encode(drawing.png).decode()}
    return {"svg": drawing.svg, "png": ""}
