"""A bench's document as JSON, CSV and Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hepar.files import write_json, write_text
from hepar.study.crossval_text import FEWEST_FOR_INTERVAL, patients_csv
from hepar.study.reproduce.writing import csv_of, flat, markdown_table, number

Row = Mapping[str, Any]
NONE = "–"
HEAD = ("method", "paper", "kind", "state", "liver Dice, mean [95 %]; median", "tumour Dice, mean [95 %]; median",
        "liver ASSD, mm", "tumour ASSD, mm", "lesion recall", "lesion precision")  # fmt: skip
COST_HEAD = ("method", "training, min", "in all, min", "updates", "s a slice", "s a scan", "peak MB, training",
             "peak MB, labelling", "parameters", "GFLOP", "converged")  # fmt: skip
THIRD_HEAD = ("method", "published: liver / tumour Dice", "what the sources say", "this bench: liver", "tumour",
              "state", "what differs")  # fmt: skip


def write_tables(document: Row, folder: Path) -> list[Path]:
    """`bench.json`, `bench.csv`, `bench_patients.csv` and `bench.md`; gives what was written."""
    write_json(folder / "bench.json", document)
    texts = {"bench.md": markdown(document), "bench.csv": methods_csv(document)}
    if document["patients"]:
        texts["bench_patients.csv"] = patients_csv(document)
    for name, text in texts.items():
        write_text(folder / name, text)
    return [folder / name for name in ("bench.json", *texts)]


def markdown(document: Row) -> str:
    """Everything on one page of text."""
    order = document["order"]
    parts = [
        f"# Bench: {document['label']}",
        f"{order['budget_minutes']:.3g} minutes of training a cell, folds of {order['folds']}. "
        f"{document['disclaimer']}",
        f"Empty rule: {document['empty_rule']}",
        *document["notes"],
        "## Methods",
        markdown_table(HEAD, [method_cells(row) for row in document["methods"]]),
        "## What they take",
        markdown_table(COST_HEAD, [cost_cells(row) for row in document["methods"] if row["folds"]]),
        "## The paper's Table 2: published, this bench, what differs",
        markdown_table(THIRD_HEAD, [third_cells(row) for row in document["table2"]]),
        "## The other methods",
        markdown_table(THIRD_HEAD, [third_cells(row) for row in document["others"]]),
    ]
    return "\n\n".join(parts) + "\n"


def method_cells(row: Row) -> list[str]:
    """The main table's cells of a method."""
    figures, lesions = row["figures"], row["lesions"]
    return [
        row["method"],
        row["title"],
        row["kind"],
        row["state"],
        *(figure_text(figures, name, 3) for name in ("liver_dice", "tumour_dice")),
        *(figure_text(figures, name, 1) for name in ("liver_assd_mm", "tumour_assd_mm")),
        *(lesion_text(lesions, name, row) for name in ("lesion_recall", "lesion_precision")),
    ]


def cost_cells(row: Row) -> list[str]:
    """What a method takes, mean over its finished folds."""
    cost = row["cost"]
    whole = [number(cost[name], 1) for name in ("minutes", "minutes_all")]
    return [
        row["method"],
        *whole,
        updates_text(cost),
        number(cost["seconds_a_slice"], 2),
        number(cost["seconds_a_scan"], 1),
        *(number(cost[name], 0) for name in ("peak_mb_training", "peak_mb_segmenting")),
        parameters_text(cost["parameters"]),
        number(cost["gflop"], 1),
        "yes" if row["converged"] else f"no: {row['why']}",
    ]


def third_cells(row: Row) -> list[str]:
    """A row of Table 2's third form."""
    return [
        f"{row['title']} ({row['method']})",
        "; ".join(published_text(one) for one in row["published"]) or NONE,
        row["correction"] or NONE,
        *(ours_text(row, structure) for structure in ("liver", "tumour")),
        row["state"],
        "; ".join(row["differs"]) or NONE,
    ]


def figure_text(figures: Row, name: str, places: int) -> str:
    """ "0.912 [0.880, 0.931]; 0.921 (n 9, 1 missed)"; n/a where the method does not answer, a dash without a cell."""
    if name not in figures:
        return "n/a"
    found = figures[name]
    if found is None or not found["patients"]:
        return NONE
    interval = interval_text(found["mean_low"], found["mean_high"], places, found["patients"])
    missed = f", {found['missed']} missed" if found["missed"] else ""
    middle = number(found["median"], places)
    return f"{number(found['mean'], places)}{interval}; {middle} (n {found['patients']}{missed})"


def lesion_text(lesions: Row, name: str, row: Row) -> str:
    """ "0.45 [0.30, 0.60] (9 of 20)"."""
    if row["liver_only"]:
        return "n/a"
    found = lesions.get(name)
    if not found or found["value"] is None or math.isnan(found["value"]):
        return NONE
    interval = interval_text(found["low"], found["high"], 2, found["patients"])
    return f"{number(found['value'], 2)}{interval} ({found['top']:g} of {found['bottom']:g})"


def ours_text(row: Row, structure: str) -> str:
    """This bench's Dice, or that there is none."""
    found = row["ours"][structure]
    if not found or not found["patients"]:
        return "not run" if row["state"] == "not run" else NONE
    interval = interval_text(found["mean_low"], found["mean_high"], 3, found["patients"])
    return f"{number(found['mean'], 3)}{interval} (n {found['patients']})"


def published_text(one: Row) -> str:
    """ "liver 0.950 (LiTS, server; the note)"."""
    note = f"; {one['note']}" if one["note"] else ""
    return f"{one['structure']} {number(one['dice'], 3)} ({one['data']}{note})"


def interval_text(low: float | None, high: float | None, places: int, patients: int) -> str:
    if low is None or high is None or math.isnan(low) or patients < FEWEST_FOR_INTERVAL:
        return ""
    return f" [{number(low, places)}, {number(high, places)}]"


def updates_text(cost: Row) -> str:
    """Updates of all networks, of those that the recipes ask for where these are more."""
    done, asked = round(cost["updates"]), round(cost["updates_asked"])
    return f"{done} of {asked}" if done < asked else str(done)


def parameters_text(count: int) -> str:
    return f"{count / 1e6:.2f} M" if count else NONE


def methods_csv(document: Row) -> str:
    """One line a method at full precision; its differences in one cell."""
    rows = []
    for row in document["methods"]:
        cost = {key: value for key, value in row["cost"].items() if key != "gflop_parts"}
        plain = {**row, "cost": cost, "folds": " ".join(map(str, row["folds"])), "differs": "; ".join(row["differs"])}
        rows.append(flat(plain))
    return csv_of(rows)
