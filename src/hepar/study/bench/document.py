"""A bench as one document of plain values: methods with their figures and costs, Table 2 in its third form, cells.

write_bench(bench_document(read_bench(Path("bench"))), Path("bench"))     # of `writing`
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import hepar
from hepar import methods
from hepar.metrics.protocols.lits import EMPTY_RULE
from hepar.study.bench.results import BenchResults
from hepar.study.bench.third_column import differences, others, table2
from hepar.study.crossval_table import EVERYBODY, TUMOUR, Row, crossval_document
from hepar.study.reproduce.arm_results import ArmResult
from hepar.study.reproduce.results import CellResult

NOT_RUN = "not run"
# Names of figures with the subset of patients that they are of, as the table of left-out patients has them.
FIGURES = {
    "liver_dice": EVERYBODY,
    "tumour_dice": TUMOUR,
    "liver_assd_mm": EVERYBODY,
    "tumour_assd_mm": TUMOUR,
}
LESIONS = ("lesion_recall", "lesion_precision")
LESION_OVERLAP = "any"
LIVER_ONLY = "liver only"
NOTES = (
    "One table for one question: what each method reaches in the same time, on the same patients, by the same scorer. "
    "A method cut short says so; its figures are those of an unfinished training and say nothing of what it can do.",
    "Minutes of a budget are processor time shared out over the threads, so of a machine with nothing else to do; "
    "on a GPU they are the clock's. Other minutes and seconds are the clock's, as the machine was loaded.",
    "2D methods learn from slices; methods that look along z get the slices of a scan as one stack.",
    "Memory: the largest resident set of the process that trained, and of the one that labelled.",
)


def bench_document(results: BenchResults) -> dict[str, Any]:
    """Everything, also of a bench that has not finished; NaN and None where nothing is known."""
    ran = [name for name, arm in results.methods.items() if arm.cells]
    tables = crossval_document(results.fold_cases(), ran)
    facts = results.facts
    rows = [_method(arm, tables) for arm in results.methods.values()]
    by_name = {row["method"]: row for row in rows}
    return {
        "schema": 1,
        "hepar": hepar.__version__,
        "disclaimer": hepar.DISCLAIMER,
        "label": facts.get("label", ""),
        "order": facts["order"],
        "data": {
            key: facts.get(key) for key in ("evidence", "patients", "patients_with_tumour", "slices", "window_hu")
        },
        "fold_sizes": facts.get("fold_sizes", []),
        "folds_sha256": facts.get("folds_sha256"),
        "commands": facts.get("commands", []),
        "versions": facts.get("versions", {}),
        "empty_rule": EMPTY_RULE,
        "bootstrap": tables["bootstrap"],
        "notes": [*NOTES, *tables["notes"]],
        "methods": rows,
        "table2": table2(by_name, facts),
        "others": others(by_name, facts),
        "cells": [_cell(cell) for cell in results.cells],
        "figures": _told(tables["figures"], by_name),
        "lesions": _told(tables["lesions"], by_name),
        "false_alarms": _told(tables["false_alarms"], by_name),
        "comparisons": [
            row for row in tables["comparisons"] if row["figure"] == "liver_dice" or not _deaf(row, by_name)
        ],
        "patients": tables["patients"],
    }


def _method(arm: ArmResult, tables: Mapping[str, Any]) -> Row:
    """A row of the main table."""
    card = methods.card(arm.arm.split("/")[0])
    liver_only = bool(card and LIVER_ONLY in card.kind)
    first = arm.cells[0].facts if arm.cells else {}
    return {
        "method": arm.arm,
        "title": f"{card.authors.split(',')[0]} {card.year}" if card else "",
        "kind": card.kind if card else "",
        "input": card.input if card else "",
        "liver_only": liver_only,
        "state": arm.state,
        "folds": [int(cell.facts["fold"]) for cell in arm.cells],
        "patients": arm.patients,
        "converged": arm.converged if arm.cells else None,
        "why": next((c.facts["convergence"] for c in arm.cells if not c.facts["converged"]), first.get("convergence")),
        "differs": differences(arm.cells),
        "figures": {name: _figure(arm.arm, name, tables) for name in FIGURES if not (liver_only and "tumour" in name)},
        "lesions": {} if liver_only else {name: _lesions(arm.arm, name, tables) for name in LESIONS},
        "cost": _cost(arm.cells, card.parameters if card else None),
    }


def _figure(method: str, name: str, tables: Mapping[str, Any]) -> Row | None:
    """Mean and median with intervals and counts; None where the method has none."""
    keep = ("mean", "mean_low", "mean_high", "median", "median_low", "median_high", "patients", "left_out", "missed",
            "rule", "unit", "title")  # fmt: skip
    for row in tables["figures"]:
        if (row["method"], row["figure"], row["subset"]) == (method, name, FIGURES[name]):
            return {key: row[key] for key in keep}
    return None


def _lesions(method: str, name: str, tables: Mapping[str, Any]) -> Row | None:
    keep = ("value", "low", "high", "top", "bottom", "patients", "rule")
    for row in tables["lesions"]:
        found = (row["method"], row["figure"], row["subset"], row["overlap"])
        if found == (method, name, EVERYBODY, LESION_OVERLAP):
            return {key: row[key] for key in keep}
    return None


def _cost(cells: Sequence[CellResult], card_parameters: int | None) -> Row:
    """What it takes, the mean over finished folds; memory is the largest."""
    if not cells:
        return {"card_parameters": card_parameters}
    facts = [cell.facts for cell in cells]
    means = ("minutes", "minutes_all", "updates", "updates_asked", "seconds_a_scan", "seconds_a_slice")
    peaks = {name: [row[name] for row in facts if row[name] is not None] for name in PEAKS}
    gflops = [part["gflop"] for part in facts[0]["gflop"].values()]
    return {
        **{name: fmean(row[name] for row in facts) for name in means},
        **{name: max(found) if found else math.nan for name, found in peaks.items()},
        "parameters": facts[0]["parameters"],
        "card_parameters": card_parameters,
        "gflop": sum(gflops) if gflops and None not in gflops else math.nan,
        "gflop_parts": facts[0]["gflop"],
        "device": facts[0]["device"],
        "machine": facts[0]["machine"],
    }


PEAKS = ("peak_mb_training", "peak_mb_segmenting")


def _cell(cell: CellResult) -> Row:
    """What a cell says of itself, without its method's whole settings and losses."""
    return {key: value for key, value in cell.facts.items() if key not in ("settings", "networks", "schema")}


def _told(rows: Sequence[Row], by_name: Mapping[str, Row]) -> list[Row]:
    """Rows that say something: a method that looks for livers only has no tumour figures."""
    return [row for row in rows if not (by_name[row["method"]]["liver_only"] and _of_tumours(row))]


def _deaf(row: Row, by_name: Mapping[str, Row]) -> bool:
    return any(by_name[row[side]]["liver_only"] for side in ("first", "second"))


def _of_tumours(row: Row) -> bool:
    return not str(row.get("figure", "lesions")).startswith("liver")
