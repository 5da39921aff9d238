"""The page of a bench from a made-up document: each figure in its column, each doubt beside it."""

from __future__ import annotations

import math
import re
from html import unescape
from typing import Any

import pytest

from hepar.report.bench_page import bench_page, shown

RULE = {"rule": "none", "unit": "", "title": "Liver Dice", "left_out": 0}


def figure(mean: float, patients: int = 9, **changes: Any) -> dict[str, Any]:
    return {**RULE, "mean": mean, "mean_low": mean - 0.05, "mean_high": mean + 0.05, "median": mean + 0.01,
            "median_low": math.nan, "median_high": math.nan, "patients": patients, "missed": 0} | changes  # fmt: skip


def method(name: str, **changes: Any) -> dict[str, Any]:
    cost = {
        "minutes": 9.9, "minutes_all": 12.0, "updates": 50.0, "updates_asked": 4000.0, "seconds_a_scan": 30.0,
        "seconds_a_slice": 1.5, "peak_mb_training": 2000.0, "peak_mb_segmenting": math.nan, "parameters": 2_104_898,
        "card_parameters": None, "gflop": 40.52, "gflop_parts": {}, "device": "cpu", "machine": "cpu",
    }  # fmt: skip
    row = {
        "method": name, "title": "Somebody 2017", "kind": "2D joint", "input": "one slice <of> many",
        "liver_only": False,
        "state": "finished, not converged", "folds": [0], "patients": 9, "converged": False, "why": "cut short",
        "differs": ["50 of 4000 updates"], "cost": cost,
        "figures": {"liver_dice": figure(0.9123), "tumour_dice": figure(0.4567, 3, missed=2),
                    "liver_assd_mm": figure(4.04), "tumour_assd_mm": figure(12.0, 0)},
        "lesions": {
            "lesion_recall": {"value": 0.45, "low": 0.3, "high": 0.6, "top": 9.0, "bottom": 20.0, "patients": 9,
                              "rule": ""},
            "lesion_precision": {"value": math.nan, "low": math.nan, "high": math.nan, "top": 0.0, "bottom": 0.0,
                                 "patients": 0, "rule": ""},
        },
    }  # fmt: skip
    return row | changes


def not_run(name: str) -> dict[str, Any]:
    nothing = {key: None for key in ("liver_dice", "tumour_dice", "liver_assd_mm", "tumour_assd_mm")}
    return method(name, state="not run", folds=[], patients=0, converged=None, why=None, differs=[], figures=nothing,
                  lesions={"lesion_recall": None, "lesion_precision": None}, cost={"card_parameters": 5})  # fmt: skip


def third(name: str, **changes: Any) -> dict[str, Any]:
    published = [{"structure": "liver", "dice": 0.95, "data": "105 / 15", "note": ""},
                 {"structure": "tumour", "dice": None, "data": "105 / 15", "note": "not reported"}]  # fmt: skip
    row = {"method": name, "title": "Somebody et al. [8]", "published": published, "correction": "100/15 & not 105",
           "ours": {"liver": figure(0.9123), "tumour": None}, "state": "finished",
           "differs": ["a budget of 10 minutes"]}  # fmt: skip
    return row | changes


def document(**changes: Any) -> dict[str, Any]:
    patients = [
        {"group": "g", "patient": f"p{n}", "method": name, "liver_dice": 0.9 - n / 100, "tumour_dice": 0.3 + n / 10,
         "truth_tumour_ml": float(n)}
        for n in range(6) for name in ("first", "livers")
    ]  # fmt: skip
    made = {
        "schema": 1, "hepar": "1.2.3", "disclaimer": "Research use only.", "label": "made-up <data>",
        "order": {"budget_minutes": 10.0, "folds": "folds.json"}, "data": {"evidence": ["real"]},
        "empty_rule": "Both empty: left out.", "bootstrap": {"draws": 2000, "seed": 2018}, "folds_sha256": "ab" * 32,
        "notes": ["One table.", "Minutes are processor time.", "Stacks.", "Memory: resident."],
        "versions": {"hepar": "1.2.3", "torch": "2"},
        "methods": [
            not_run("absent"), method("first"),
            method("livers", liver_only=True, state="1 of 4 folds", converged=True, why="flat", lesions={},
                   figures={"liver_dice": figure(0.8), "liver_assd_mm": figure(9.0)}),
            not_run("broken") | {"state": "failed: no luck"},
        ],
        "table2": [third("first"), third("absent", state="not run", ours={"liver": None, "tumour": None}, differs=[])],
        "others": [third("livers", published=[], correction="")],
        "cells": [
            {"id": "first/fold0", "state": "finished", "error": None, "seed": 2018, "training_patients": ["p7", "p8"],
             "test_patients": ["p0"], "machine": "cpu", "command": "hepar study bench"},
            {"id": "broken/fold0", "state": "failed", "error": "no luck", "seed": 2018},
        ],
        "patients": patients,
    }  # fmt: skip
    return made | changes


@pytest.fixture(scope="module")
def page() -> str:
    return bench_page(document(), ["bench.json", "bench.csv"])


def section(page: str, name: str) -> str:
    found = re.search(rf'<section id="{name}">(.*?)</section>', page, re.DOTALL)
    assert found
    return found.group(1)


def rows(page: str, name: str) -> list[list[str]]:
    """Cells of a section's table as plain words."""
    found = []
    for line in re.findall(r"<tr>(.*?)</tr>", section(page, name), re.DOTALL):
        cells = re.findall(r"<td[^>]*>(.*?)</td>", line, re.DOTALL)
        found.append([" ".join(unescape(re.sub(r"<[^>]+>", " ", cell)).split()) for cell in cells])
    return [row for row in found if row]


def test_the_page_needs_nothing_from_outside(page):
    assert "<script" not in page
    assert "default-src 'none'" in page
    assert not re.findall(r'(?:src|href)="(?!#|data:)', page)
    assert not re.findall(r"url\((?!#)", page)


def test_the_same_document_gives_the_same_page(page):
    assert bench_page(document(), ["bench.json", "bench.csv"]) == page


def test_names_are_escaped(page):
    assert "made-up <data>" not in page
    assert "made-up &lt;data&gt;" in page
    assert "one slice &lt;of&gt; many" in page


def test_the_head_says_what_where_and_by_which_rules(page):
    text = " ".join(unescape(re.sub(r"<[^>]+>", " ", page)).split())
    assert "10 minutes of training a cell; folds of folds.json. hepar 1.2.3." in text
    assert "Both empty: left out." in text
    assert "(2000 draws, seed 2018), from 5 patients on" in text
    assert "Research use only." in text
    assert "Phantoms" not in text
    assert "Phantoms: made-up bodies" in bench_page(document(data={"evidence": ["phantom"]}), [])


def test_what_was_run_comes_first_and_what_was_not_says_so(page):
    found = rows(page, "methods")
    assert [row[0].split()[0] for row in found] == ["first", "livers", "absent", "broken"]
    assert found[2][2:] == ["not run", *["–"] * 6]
    assert found[3][2] == "failed: no luck"


def test_each_figure_stands_with_interval_median_and_patients(page):
    first = rows(page, "methods")[0]
    assert first[2] == "finished, not converged 9 patients"
    assert first[3] == "0.912 [0.862, 0.962] median 0.922 n 9"
    # Three patients are too few for an interval; misses are counted.
    assert first[4] == "0.457 median 0.467 n 3, 2 missed"
    assert first[5] == "4.0 [4.0, 4.1] median 4.0 n 9"
    assert first[6] == "–"
    assert first[7] == "0.45 [0.30, 0.60] 9 of 20"
    assert first[8] == "–"


def test_livers_only_means_no_tumours(page):
    livers = rows(page, "methods")[1]
    assert (livers[4], livers[6], livers[7], livers[8]) == ("n/a",) * 4
    assert livers[3].startswith("0.800")


def test_costs_name_those_that_did_not_converge_and_why(page):
    first, livers = rows(page, "costs")
    assert first[:4] == ["first", "9.9", "12.0", "50 of 4000"]
    assert first[7] == "–"
    assert first[8:] == ["2.10 M", "40.5", "not converged cut short"]
    assert livers[-1] == "yes flat"


def test_published_and_ours_never_share_a_column(page):
    first, absent = rows(page, "table2")
    assert first[1] == "liver 0.950 105 / 15 tumour – 105 / 15; not reported"
    assert first[2] == "100/15 & not 105"
    assert first[3] == "0.912 [0.862, 0.962] n 9"
    assert first[4:] == ["–", "finished", "a budget of 10 minutes"]
    assert absent[3:] == ["–", "–", "not run", "–"]
    assert 'class="published"' in section(page, "table2")
    assert 'class="ours first"' in section(page, "table2")
    (other,) = rows(page, "others")
    assert other[1:3] == ["–", "–"]


def test_plots_show_the_patients_of_those_who_answer(page):
    found = section(page, "spread")
    assert found.count("<figure>") == 2
    liver, tumour = found.split("<figure>")[1:]
    assert "livers" in liver
    assert "livers" not in tumour
    # The patient without tumour takes no part.
    assert "n = 5" in tumour
    assert "n = 6" in liver


def test_cells_name_patients_seeds_and_failures(page):
    first, broken = rows(page, "cells")
    assert first == ["first/fold0", "finished", "p7, p8", "p0", "2018", "cpu", "hepar study bench"]
    assert broken == ["broken/fold0", "failed no luck", "", "", "2018", "–", "–"]
    assert "abababababab" in section(page, "cells")
    assert "bench.json, bench.csv" in page


def test_a_bench_without_cells_has_a_page(page):
    empty = bench_page(document(methods=[not_run("absent")], cells=[], patients=[], table2=[], others=[]), [])
    assert empty.count("No cell has finished yet.") == 2
    assert "nan" not in empty


def test_a_figure_without_patients_is_a_dash():
    assert shown(None, 3)["word"] == "–"
    assert shown(figure(0.5, 0), 3)["value"] == ""
    assert shown(figure(0.5), 3)["lines"] == ["[0.450, 0.550]", "n 9"]
