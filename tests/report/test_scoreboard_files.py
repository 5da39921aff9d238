"""The scoreboard as files: full precision, what is not defined left empty, no pictures among numbers."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pytest
from invented_scoreboard import invented_board

from hepar.errors import OutputError
from hepar.report.scoreboard_files import (
    by_protocol,
    write_board_json,
    write_cases_csv,
    write_differences_csv,
    write_figures_csv,
)


@pytest.fixture
def board() -> dict:
    return invented_board()


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_one_method_has_a_number_where_several_have_one_each(board):
    alone = by_protocol(invented_board(("cdnn_alex",)))["lits"]["liver_dice"]
    both = by_protocol(board)["lits"]
    assert isinstance(alone, float)
    assert both.keys() == {"nnU-Net 3d_fullres", "cdnn_alex"}
    assert both["cdnn_alex"]["liver_dice"] == board["protocols"][1]["figures"][1]["value"]
    assert both["cdnn_alex"]["liver_dice"] != both["nnU-Net 3d_fullres"]["liver_dice"]


def test_json_has_every_digit_null_for_nan_and_no_picture(board, tmp_path):
    board["protocols"][1]["figures"][0] |= {"value": 1 / 3, "low": math.nan}
    write_board_json(board, tmp_path / "scores.json")
    told = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))
    assert told["lits"]["nnU-Net 3d_fullres"]["liver_dice"] == 1 / 3
    assert told["protocols"][1]["figures"][0]["low"] is None
    assert not any("thumbnail" in case for case in told["cases"])
    # The page still needs the pictures of the board that it shares.
    assert all("thumbnail" in case for case in board["cases"])


def test_figures_read_back_to_the_last_bit_and_say_whose_they_are(board, tmp_path):
    write_figures_csv(board, tmp_path / "figures.csv")
    rows = rows_of(tmp_path / "figures.csv")
    given = [(p["name"], row) for p in board["protocols"] for row in p["figures"]]
    assert [(r["protocol"], r["method"], r["name"]) for r in rows] == [(p, g["method"], g["name"]) for p, g in given]
    assert [float(row["value"]) for row in rows] == [float(g["value"]) for _, g in given]
    assert {(row["excluded"], row["missed"]) for row in rows} == {("2", "1")}


def test_a_figure_without_an_interval_has_empty_ends_not_nan(board, tmp_path):
    board["protocols"][0]["figures"][0] |= {"low": math.nan, "high": None}
    write_figures_csv(board, tmp_path / "figures.csv")
    row = rows_of(tmp_path / "figures.csv")[0]
    assert (row["low"], row["high"]) == ("", "")
    assert row["value"] != ""


def test_each_case_of_each_method_is_a_line_with_its_facts_values_and_deviations(board, tmp_path):
    board["cases"][0]["deviations"] = ["one", "two, with a comma"]
    write_cases_csv(board, tmp_path / "cases.csv")
    rows = rows_of(tmp_path / "cases.csv")
    assert [(row["method"], row["case"]) for row in rows] == [(c["method"], c["case"]) for c in board["cases"]]
    assert rows[0]["spacing_mm"] == "5 x 0.7 x 0.7"
    assert float(rows[0]["lits/liver_dice"]) == board["cases"][0]["values"]["lits"]["liver_dice"]
    assert rows[0]["deviations"] == "one | two, with a comma"


def test_a_case_that_failed_keeps_its_line_with_its_error_and_empty_values(board, tmp_path):
    board["cases"][3] |= {"error": "labels of 4 classes", "facts": {}, "values": {}, "deviations": []}
    write_cases_csv(board, tmp_path / "cases.csv")
    row = rows_of(tmp_path / "cases.csv")[3]
    told = {key: value for key, value in row.items() if value}
    assert told == {"method": "nnU-Net 3d_fullres", "case": "3", "error": "labels of 4 classes"}


def test_a_fact_that_only_a_later_case_has_is_a_column_for_all(board, tmp_path):
    board["cases"][-1]["facts"]["scanner"] = "B30f"
    write_cases_csv(board, tmp_path / "cases.csv")
    assert [row["scanner"] for row in rows_of(tmp_path / "cases.csv")] == [""] * 9 + ["B30f"]


def test_differences_name_the_official_figure_beside_the_corrected_one(board, tmp_path):
    board["official_against_corrected"][1]["case"] = "4"
    write_differences_csv(board, tmp_path / "differences.csv")
    overall, own = rows_of(tmp_path / "differences.csv")
    assert (overall["case"], own["case"]) == ("", "4")
    assert (own["official_name"], own["corrected_name"]) == ("lesion_assd", "tumour_assd_mm")
    assert float(own["corrected"]) - float(own["official"]) == pytest.approx(float(own["difference"]))


def test_a_table_that_cannot_be_written_is_named_without_its_folder(board, tmp_path):
    (tmp_path / "full").write_text("a file")
    with pytest.raises(OutputError, match=r"cannot write figures.csv") as told:
        write_figures_csv(board, tmp_path / "full" / "figures.csv")
    assert str(tmp_path) not in str(told.value)
