"""A scoreboard as one self-contained HTML page: tables with their rules, plots, tests, and the worst cases first.

The page needs no network, no scripts and no other file. It shows what the
scoreboard document holds (`hepar.study.scoreboard`), whose numbers may be
None or NaN where nothing is defined.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hepar.files import write_text
from hepar.report.digits import UNDEFINED, digits, interval, is_known, number, probability, scaled
from hepar.report.plots import bland_altman_plot, box_plots, froc_plot, reliability_plot
from hepar.report.scoreboard_cases import MEASURES, Board, card, source_of, value_of, worst_first
from hepar.report.thumbnail import LEGEND
from hepar.study.statistics import bland_altman, smallest_possible_p

Row = dict[str, Any]

# Cases open on the page; the others stand behind a click, still worst first.
SHOWN_CASES = 12
SIGNIFICANT = 0.05
# Resamples of two cases have three different means; their interval would look like knowledge.
FEWEST_FOR_INTERVAL = 5
SAME = "0.000"
_BETTER = {"high": "higher is better", "low": "lower is better"}
_AGREEMENTS = (
    ("Liver volume", "mL", "truth_liver_ml", "found_liver_ml", 1.0),
    ("Tumour volume", "mL", "truth_tumour_ml", "found_tumour_ml", 1.0),
    ("Tumour burden (tumour / liver)", "%", "truth_burden", "found_burden", 100.0),
)


def write_page(board: Board, path: Path) -> None:
    """Write the page whole or not at all. Raises OutputError when it cannot be written."""
    write_text(path, page(board))


def page(board: Board) -> str:
    """The page as HTML; the same board gives the same text."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("hepar.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("scoreboard.html.j2").render(
        board=board,
        bootstrap=board.get("bootstrap"),
        notes=board.get("notes", []),
        overview=_overview(board),
        unmatched=board.get("unmatched") or [],
        protocols=[_protocol(board, protocol) for protocol in board["protocols"]],
        official=_official(board),
        boxes=_boxes(board),
        agreements=_agreements(board),
        comparisons=_comparisons(board),
        ranks=_ranks(board),
        subgroups=_subgroups(board),
        fewest_for_interval=FEWEST_FOR_INTERVAL,
        froc=froc_plot(board["froc"]) if board.get("froc") else "",
        calibration=reliability_plot(board["calibration"]) if board.get("calibration") else "",
        sources=[source for source in (source_of(board, names) for _, _, names in MEASURES) if source],
        cases=[card(board, case) for case in worst_first(board)],
        shown_cases=SHOWN_CASES,
        failed=[case for case in board["cases"] if case["error"]],
        legend=LEGEND,
    )


def _overview(board: Board) -> list[Row]:
    """Per method: cases scored and failed, truths without prediction, predictions without truth."""
    rows = []
    for method in board["methods"]:
        own = [case for case in board["cases"] if case["method"] == method]
        lone = [row["side"] for row in board.get("unmatched") or [] if row["method"] in (method, None)]
        failed = sum(bool(case["error"]) for case in own)
        rows.append(
            {
                "method": method,
                "scored": len(own) - failed,
                "failed": failed,
                **{side: lone.count(side) for side in ("truth", "found", "ambiguous")},
            }
        )
    return rows


def _protocol(board: Board, protocol: Mapping[str, Any]) -> Row:
    rows = [
        {
            "title": _title(own[0]),
            "name": name,
            "better": _BETTER.get(own[0]["better"], ""),
            "main": own[0].get("main", True),
            "cells": [_cell(next((row for row in own if row["method"] == m), None)) for m in board["methods"]],
        }
        for name, own in _grouped(protocol["figures"], "name")
    ]
    return {
        "name": protocol["name"],
        "definition": protocol["definition"],
        "empty_rule": protocol["empty_rule"],
        "left_out": protocol.get("left_out", []),
        "main": [row for row in rows if row["main"]],
        "other": [row for row in rows if not row["main"]],
    }


def _cell(row: Mapping[str, Any] | None) -> Row:
    if row is None:
        return {"value": UNDEFINED, "interval": "", "counts": ""}
    unit = row.get("unit", "")
    counts = [f"n {row['count']}"]
    counts += [f"{row[key]} {words}" for key, words in (("excluded", "not defined"), ("missed", "missed")) if row[key]]
    return {
        "value": number(row["value"], unit),
        "interval": _interval(row, row["count"], unit),
        "counts": ", ".join(counts),
    }


def _interval(row: Mapping[str, Any], cases: int, unit: str) -> str:
    return interval(row["low"], row["high"], unit) if cases >= FEWEST_FOR_INTERVAL else ""


def _official(board: Board) -> list[Row]:
    """Official against corrected figures by method: those that differ, those that do not, and the cases that do."""
    rows = [
        {
            **row,
            "official": number(row["official"]),
            "corrected": number(row["corrected"]),
            "difference": number(row["difference"], signed=True),
        }
        for row in board.get("official_against_corrected", [])
    ]
    tables = []
    for method, own in _grouped(rows, "method"):
        cohort, cases = ([row for row in own if (row.get("case") is None) is whole] for whole in (True, False))
        tables.append(
            {
                "method": method,
                "different": [row for row in cohort if row["difference"] != SAME],
                "same": [row for row in cohort if row["difference"] == SAME],
                "cases": [row for row in cases if row["reason"] and row["difference"] != SAME],
            }
        )
    return tables


def _boxes(board: Board) -> list[str]:
    plots = []
    for title, unit, names in MEASURES:
        key = source_of(board, names)
        values = {
            method: [value_of(case, key) for case in board["cases"] if case["method"] == method and not case["error"]]
            for method in board["methods"]
        }
        if any(not math.isnan(value) for own in values.values() for value in own):
            plots.append(box_plots(values, title, unit))
    return plots


def _agreements(board: Board) -> list[str]:
    plots = []
    for title, unit, truth, found, factor in _AGREEMENTS:
        by_method = {}
        for method in board["methods"]:
            own = [case["facts"] for case in board["cases"] if case["method"] == method and not case["error"]]
            here, there = ([scaled(facts.get(side), factor) for facts in own] for side in (truth, found))
            by_method[method] = bland_altman(here, there)
        if any(len(own.difference) for own in by_method.values()):
            plots.append(bland_altman_plot(by_method, title, unit))
    return plots


def _comparisons(board: Board) -> list[Row]:
    """One table a protocol, with a note where there are too few cases for a small p."""
    tables = []
    for protocol, rows in _grouped(board["comparisons"], "protocol"):
        figures = _figures(board, protocol)
        note = _least_p([row for row in rows if is_known(row["wilcoxon_p"])])
        compared = [_comparison(row, figures.get(row["figure"], {})) for row in rows]
        tables.append({"protocol": protocol, "note": note, "rows": compared})
    return tables


def _least_p(tested: Sequence[Mapping[str, Any]]) -> str:
    """What no p can fall below, where that is more than a significant one; empty where all can be small."""
    if not tested:
        return "Nothing could be tested: a test needs two cases that both methods have."
    # What was tested are patients; a board that does not count them has one case each.
    fewest = min(row.get("patients", row["cases"]) for row in tested)
    least = smallest_possible_p(fewest)
    if least * len(tested) <= SIGNIFICANT:
        return ""
    corrected = min(1.0, least * len(tested))
    return (
        f"With {fewest} patients no p can be below {least:.2g}, and the smallest of {len(tested)} comparisons "
        f"not below {corrected:.2g} after correction."
    )


def _comparison(row: Mapping[str, Any], figure: Mapping[str, Any]) -> Row:
    unit = figure.get("unit", "")
    return {
        "title": _title(figure) if figure else row["figure"],
        "better": _BETTER.get(figure.get("better", ""), ""),
        "pair": f"{row['first']} − {row['second']}",
        "cases": row["cases"],
        "difference": number(row["difference"], unit, signed=True),
        "interval": _interval(row, row["cases"], unit),
        "tests": [
            {
                "raw": probability(row[f"{test}_p"]),
                "holm": probability(row[f"{test}_holm"]),
                "small": is_known(row[f"{test}_holm"]) and row[f"{test}_holm"] < SIGNIFICANT,
            }
            for test in ("wilcoxon", "permutation")
        ],
        "effects": [digits(row[name], 2, signed=True) for name in ("effect_dz", "rank_biserial")],
    }


def _ranks(board: Board) -> list[Row]:
    """A row a figure, a cell a method."""
    rows = []
    for protocol, of_protocol in _grouped(board["ranks"], "protocol"):
        figures = _figures(board, protocol)
        for name, own in _grouped(of_protocol, "figure"):
            by_method = {row["method"]: row for row in own}
            rows.append(
                {
                    "protocol": protocol,
                    "title": figures.get(name, {}).get("title", name),
                    "cases": own[0].get("cases", UNDEFINED),
                    "cells": [_rank_cell(by_method.get(method)) for method in board["methods"]],
                    "tau": digits(own[0].get("kendall_tau"), 2),
                }
            )
    return rows


def _rank_cell(row: Mapping[str, Any] | None) -> str:
    if row is None or not is_known(row["mean_rank"]):
        return UNDEFINED
    return f"{digits(row['mean_rank'], 2)} (first in {digits(scaled(row['first_share'], 100), 0)} %)"


def _subgroups(board: Board) -> list[Row]:
    """One table for each way of grouping: a row a figure and group, a cell a method."""
    tables = []
    for by, of_by in _grouped(board["subgroups"], "by"):
        rows = []
        for (protocol, name), of_figure in _grouped(of_by, "protocol", "figure"):
            figure = _figures(board, protocol).get(name, {})
            for group, own in _grouped(of_figure, "group"):
                told = {"unit": figure.get("unit", ""), "excluded": 0, "missed": 0}
                cells = {row["method"]: {**row, **told} for row in own}
                rows.append(
                    {
                        "title": _title(figure) if figure else name,
                        "group": group,
                        "cells": [_cell(cells.get(method)) for method in board["methods"]],
                    }
                )
        tables.append({"by": by, "rows": rows})
    return tables


def _title(figure: Mapping[str, Any]) -> str:
    """The figure's title with its unit, unless it tells that itself."""
    title, unit = figure["title"], figure["unit"]
    return f"{title} ({unit})" if unit and not title.endswith(f" {unit}") else title


def _figures(board: Board, protocol: str) -> dict[str, Mapping[str, Any]]:
    """Title, unit and direction of a protocol's figures by name."""
    return {row["name"]: row for own in board["protocols"] if own["name"] == protocol for row in own["figures"]}


def _grouped(rows: Iterable[Mapping[str, Any]], *keys: str) -> list[tuple[Any, list[Mapping[str, Any]]]]:
    """Rows by the values of `keys`, in order of first appearance; one key gives its bare value."""
    groups: dict[Any, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row[keys[0]] if len(keys) == 1 else tuple(row[key] for key in keys), []).append(row)
    return list(groups.items())
