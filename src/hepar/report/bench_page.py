"""The page of a bench: figures, costs, Table 2 in its third form, cells; one file without scripts or network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from hepar.report.digits import digits
from hepar.report.plots import box_plots
from hepar.study.bench.writing import COST_HEAD, cost_cells
from hepar.study.crossval_text import FEWEST_FOR_INTERVAL

Row = Mapping[str, Any]
# Figures of the main table with their heads and digits.
FIGURES = (
    ("liver_dice", "liver Dice", 3),
    ("tumour_dice", "tumour Dice", 3),
    ("liver_assd_mm", "liver ASSD, mm", 1),
    ("tumour_assd_mm", "tumour ASSD, mm", 1),
)
LESIONS = (("lesion_recall", "lesion recall"), ("lesion_precision", "lesion precision"))
NOTHING = "–"


def bench_page(document: Row, files: Sequence[str]) -> str:
    """The page as HTML of what `hepar.study.bench.document` gives; the same document gives the same text."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("hepar.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    ran = [row for row in document["methods"] if row["folds"]]
    return environment.get_template("bench.html.j2").render(
        document=document,
        budget=f"{document['order']['budget_minutes']:.3g}",
        phantoms=document["data"]["evidence"] == ["phantom"],
        fewest=FEWEST_FOR_INTERVAL,
        heads=[title for _, title, _ in FIGURES] + [title for _, title in LESIONS],
        # What was run comes first.
        methods=[_method(row) for row in sorted(document["methods"], key=lambda row: not row["folds"])],
        plots=_plots(document, [row["method"] for row in ran]),
        cost_heads=COST_HEAD,
        costs=[{"cells": cost_cells(row)[:-1], "converged": row["converged"], "why": row["why"] or ""} for row in ran],
        table2=[_third(row) for row in document["table2"]],
        others=[_third(row) for row in document["others"]],
        cells=[_cell(cell) for cell in document["cells"]],
        files=files,
    )


def _method(row: Row) -> dict[str, Any]:
    cells = [_figure(row["figures"], name, places) for name, _, places in FIGURES]
    cells += [_lesions(row, name) for name, _ in LESIONS]
    return {**{key: row[key] for key in ("method", "title", "kind", "input", "state", "patients")}, "cells": cells}


def _figure(figures: Row, name: str, places: int) -> dict[str, Any]:
    """A mean with interval, median and counts, or the word that stands for none."""
    if name not in figures:
        return {"value": "", "word": "n/a"}
    return shown(figures[name], places, middle=True)


def shown(found: Row | None, places: int, middle: bool = False) -> dict[str, Any]:
    """A figure as the page prints it, with its interval, median and patients below."""
    if not found or not found["patients"]:
        return {"value": "", "word": NOTHING}
    missed = f", {found['missed']} missed" if found["missed"] else ""
    lines = [_interval(found["mean_low"], found["mean_high"], places, found["patients"])]
    lines += [f"median {digits(found['median'], places)}"] if middle else []
    lines += [f"n {found['patients']}{missed}"]
    return {"value": digits(found["mean"], places), "lines": [line for line in lines if line], "word": ""}


def _lesions(row: Row, name: str) -> dict[str, Any]:
    if row["liver_only"]:
        return {"value": "", "word": "n/a"}
    found = row["lesions"].get(name)
    if not found or not found["bottom"]:
        return {"value": "", "word": NOTHING}
    lines = [_interval(found["low"], found["high"], 2, found["patients"]), f"{found['top']:g} of {found['bottom']:g}"]
    return {"value": digits(found["value"], 2), "lines": [line for line in lines if line], "word": ""}


def _interval(low: float | None, high: float | None, places: int, patients: int) -> str:
    known = low is not None and high is not None and math.isfinite(low) and math.isfinite(high)
    return f"[{digits(low, places)}, {digits(high, places)}]" if known and patients >= FEWEST_FOR_INTERVAL else ""


def _plots(document: Row, ran: Sequence[str]) -> list[dict[str, str]]:
    """Dice of every patient by method, of liver and of tumour."""
    silent = {row["method"] for row in document["methods"] if row["liver_only"]}
    found = []
    for name, title in (("liver_dice", "Liver Dice"), ("tumour_dice", "Tumour Dice")):
        able = [method for method in ran if not (name == "tumour_dice" and method in silent)]
        values = {method: _values(document, method, name) for method in able}
        if values:
            caption = (
                f"{title}: each point a patient, box: quartiles and median, diamond: mean. A dot at 0 is a miss or a "
                "false alarm; patients in whom neither side shows any take no part."
            )
            found.append({"svg": box_plots(values, title), "caption": caption})
    return found


def _values(document: Row, method: str, name: str) -> list[float]:
    """Of tumours those of patients with tumour, as in the table."""
    rows = [row for row in document["patients"] if row["method"] == method]
    if name == "tumour_dice":
        rows = [row for row in rows if row["truth_tumour_ml"] > 0]
    return [row[name] for row in rows]


def _third(row: Row) -> dict[str, Any]:
    own = {structure: shown(row["ours"][structure], 3) for structure in ("liver", "tumour")}
    published = [{**one, "dice": digits(one["dice"], 3)} for one in row["published"]]
    return {**{key: row[key] for key in ("title", "method", "correction", "state", "differs")}, **own,
            "published": published}  # fmt: skip


def _cell(cell: Row) -> dict[str, Any]:
    return {
        **{key: cell[key] for key in ("id", "state", "error", "seed")},
        "trained": cell.get("training_patients", []),
        "tested": cell.get("test_patients", []),
        "machine": cell.get("machine", NOTHING),
        "command": cell.get("command", NOTHING),
    }
