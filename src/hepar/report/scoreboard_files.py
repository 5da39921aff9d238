"""The scoreboard as JSON and CSV: full precision, null or an empty field for what is not defined."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hepar import files


def write_board_json(board: Mapping[str, Any], path: Path) -> None:
    """The whole board; besides, each protocol's figures by name under the protocol's own name.

    `document["lits-codalab"]["lesion_dice_per_case"]` is a number where one set
    of predictions was scored, and a dict by method where several were.
    Raises OutputError when it cannot be written.
    """
    files.write_json(path, {**by_protocol(board), **without_pictures(board)})


def by_protocol(board: Mapping[str, Any]) -> dict[str, Any]:
    """Figures by protocol and name, and by method where there are several."""
    found: dict[str, Any] = {}
    for protocol in board["protocols"]:
        own: dict[str, dict[str, float]] = {method: {} for method in board["methods"]}
        for row in protocol["figures"]:
            own[row["method"]][row["name"]] = row["value"]
        found[protocol["name"]] = own if len(board["methods"]) > 1 else own[board["methods"][0]]
    return found


def without_pictures(board: Mapping[str, Any]) -> dict[str, Any]:
    cases = [{key: value for key, value in case.items() if key != "thumbnail"} for case in board["cases"]]
    return {**board, "cases": cases}


def write_figures_csv(board: Mapping[str, Any], path: Path) -> None:
    """One line per protocol, figure and method, with interval and counts."""
    columns = ["protocol", "method", "name", "title", "unit", "value", "low", "high", "count", "excluded", "missed"]
    rows = [{"protocol": p["name"], **row} for p in board["protocols"] for row in p["figures"]]
    _write(path, columns, rows)


def write_cases_csv(board: Mapping[str, Any], path: Path) -> None:
    """One line per method and case: facts, then each figure's value as PROTOCOL/FIGURE."""
    facts = list(dict.fromkeys(key for case in board["cases"] for key in case["facts"]))
    figures = [
        (p["name"], name) for p in board["protocols"] for name in dict.fromkeys(row["name"] for row in p["figures"])
    ]
    rows = []
    for case in board["cases"]:
        row = {"method": case["method"], "case": case["case"], "error": case["error"]}
        row |= {key: _flat(value) for key, value in case["facts"].items()}
        row |= {f"{p}/{name}": case["values"].get(p, {}).get(name) for p, name in figures}
        rows.append(row | {"deviations": " | ".join(case["deviations"])})
    columns = ["method", "case", *facts, *(f"{p}/{name}" for p, name in figures), "deviations", "error"]
    _write(path, columns, rows)


def write_differences_csv(board: Mapping[str, Any], path: Path) -> None:
    """Official, corrected, difference and reason: one line a method, case (empty: all cases) and figure."""
    columns = ["method", "case", "official_name", "corrected_name", "official", "corrected", "difference", "reason"]
    _write(path, columns, board["official_against_corrected"])


def _flat(value: Any) -> Any:
    return " x ".join(f"{v:.6g}" for v in value) if isinstance(value, (list, tuple)) else value


def _write(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: "" if _undefined(value) else value for key, value in row.items()})
    files.write_text(path, text.getvalue())


def _undefined(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
