"""Numbers of a study as text: nothing lost, nothing that looks more exact than it is."""

from __future__ import annotations

import csv
import io
import math
import re
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepar.study.reproduce.aggregation import Aggregation, Reading
from hepar.study.reproduce.arm_results import MEASURES, Value
from hepar.study.reproduce.claims import Answer, Claim, Question, verdict_of
from hepar.study.reproduce.discrepancies import Discrepancy
from hepar.study.reproduce.tables import Comparison, PaperTable, TableRow
from hepar.study.reproduce.writing import (
    MINUS,
    claims_rows,
    comparison_rows,
    csv_files,
    head_of,
    latex_files,
    markdown,
    measures_of,
    number,
    ours_text,
    rows_of,
    sheet_rows,
    spread_rows,
)
from hepar.study.statistics import Interval, PairedTest, paired_test
from hepar.study.statistics.bootstrap import NO_INTERVAL

VALUE = Value(0.9041, Interval(0.88, 0.921), 26, 0)
PRINTED = {"liver_dice": 0.904, "liver_assd": 2.65}
TABLE = PaperTable(
    "Table 1",
    (
        TableRow(
            "CDNN-Alex", "with", {"liver_dice": 0.904, "liver_assd": 2.65}, {"liver_dice": VALUE}, "finished", 26, "p"
        ),
        TableRow("50 % & more_", "without", {"liver_dice": 0.885}, {}, "not run", 0, ""),
    ),
)


def paired_with(differences: list[float]) -> PairedTest:
    return paired_test(differences, [0.0] * len(differences))


def documents(**changes: object) -> SimpleNamespace:
    """What the writers read of a study's documents."""
    empty = PaperTable("Table 2", ())
    reading = Reading("liver DSC", "CDNN-Alex (with)", "paper", "DSC per case", "all slices", 0.9, 26, 0)
    other = Reading("liver DSC", "CDNN-Alex (with)", "lits", "Dice | case", "all slices", 0.8, 25, 1)
    made = {
        "table1": TABLE, "table2": empty, "ablations": empty, "claims": (),
        "aggregation": Aggregation((reading, other)),
        "discrepancies": (Discrepancy("a", "b", "c", "counted"),), "label": "made-up", "headline": "Ours: means.",
        "empty_rule": "none count",
    }  # fmt: skip
    return SimpleNamespace(**(made | changes))


@given(st.floats(-1e4, 1e4))
def test_a_number_reads_back_within_its_digits(value):
    assert float(number(value, 3).replace(MINUS, "-")) == pytest.approx(value, abs=5.1e-4)


@pytest.mark.parametrize("nothing", [None, math.nan])
def test_what_is_not_there_is_a_dash(nothing):
    assert number(nothing) == "–"


def test_a_value_has_its_interval_count_and_misses():
    assert ours_text(VALUE, 3) == "0.904 [0.880, 0.921] (n 26)"
    assert ours_text(Value(12.34, NO_INTERVAL, 4, 2), 1) == "12.3 (n 4, 2 missed)"
    assert ours_text(Value(math.nan, NO_INTERVAL, 0, 0), 1) == "–"


def test_a_table_has_published_ours_and_their_difference_for_each_printed_measure():
    head = head_of(TABLE)
    assert [measure.name for measure in measures_of(TABLE)] == ["liver_dice", "liver_assd"]
    assert head[4:7] == ["Liver DSC, published", "Liver DSC, ours here", "difference"]
    assert "Liver ASSD, mm, ours here" in head
    first, second = rows_of(TABLE)
    assert len(first) == len(second) == len(head)
    assert first[4:7] == ["0.904", "0.904 [0.880, 0.921] (n 26)", "0.000"]
    # Measured nothing: published stays, and no difference is made up.
    assert second[4:7] == ["0.885", "–", "–"]
    assert first[7:10] == ["2.65", "–", "–"]


def test_a_table_without_published_figures_has_ours_alone():
    table = PaperTable("Other arms", (TableRow("x", "with", {}, {"liver_dice": VALUE}, "finished", 26, "p"),))
    assert not [name for name in head_of(table) if "published" in name or name == "difference"]
    assert len(measures_of(table)) == len(MEASURES)


def test_splits_and_corrections_have_columns_where_a_row_has_them():
    row = TableRow("x", "", {"liver_dice": 0.95}, {}, "not run", 0, "", "105 / 15", "code says 100/15")
    table = PaperTable("Table 2", (row,))
    assert head_of(table)[-2:] == ["published split", "what the sources say"]
    assert rows_of(table)[0][-2:] == ["105 / 15", "code says 100/15"]


def test_tests_show_difference_interval_and_both_p():
    test = paired_with([0.1, 0.2, 0.3, 0.1, 0.2, 0.3])
    table = PaperTable("Table 1", TABLE.rows, (Comparison("a", "b", "liver_dice", test, 0.125),))
    (row,) = comparison_rows(table)
    assert row[:3] == [f"a {MINUS} b", "Liver DSC", "6"]
    assert re.fullmatch(r"0\.200 \[0\.1\d\d, 0\.2\d\d\]", row[3])
    assert (row[4], row[5]) == (number(test.wilcoxon_p), "0.125")


def test_a_claim_has_a_row_for_each_measure_and_one_where_nothing_was_run():
    question = Question("x is better", ("a", "with"), ("b", "with"), None, "confounded")
    answers = tuple(Answer(m, paired_with([0.1] * 6), "supported") for m in MEASURES)
    assert [row[2] for row in claims_rows([Claim(question, answers, "both finished")])] == [m.title for m in MEASURES]
    (row,) = claims_rows([Claim(question, (), "b: not run")])
    assert row[5:] == ["not run", "b: not run", "confounded"]
    assert row[1] == "hepar's question"


@given(st.lists(st.floats(-1, 1), min_size=5, max_size=12))
def test_a_verdict_turns_with_the_sign_of_a_distance(differences):
    dice, assd = MEASURES[0], MEASURES[1]
    test = paired_with(differences)
    opposite = {"supported": "contradicted", "contradicted": "supported", "undecided": "undecided"}
    assert verdict_of(test, assd, converged=True) == opposite[verdict_of(test, dice, converged=True)]
    assert verdict_of(test, dice, converged=False) == "no claim: not converged"


def test_an_interval_that_touches_zero_decides_nothing():
    assert verdict_of(paired_with([0.1, -0.1, 0.2, -0.2, 0.1]), MEASURES[0], converged=True) == "undecided"
    assert verdict_of(paired_with([0.1]), MEASURES[0], converged=True) == "undecided"


def test_spreads_name_both_ends():
    (row,) = spread_rows(documents())
    assert row[:2] == ["liver DSC", "CDNN-Alex (with)"]
    assert (row[2], row[4], row[6]) == ("0.800", "0.900", "0.100")
    assert row[3].startswith("lits: Dice")
    assert "(n 26)" in row[5]


def test_a_bar_in_a_name_does_not_break_a_markdown_table():
    text = markdown(documents())
    for block in re.split(r"\n\n", text):
        lines = [line for line in block.splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in lines}) <= 1
    assert "Ours: means." in text
    assert "none count" in text


def test_csv_has_a_column_for_every_number_and_reads_back():
    files = csv_files(documents())
    assert {"table1.csv", "table2.csv", "aggregation.csv", "claims.csv", "discrepancies.csv"} <= files.keys()
    first, second = csv.DictReader(io.StringIO(files["table1.csv"]))
    assert float(first["ours.liver_dice.value"]) == VALUE.value
    assert float(first["ours.liver_dice.low"]) == VALUE.interval.low
    assert second["ours.liver_dice.value"] == second["difference.liver_dice"] == ""
    assert list(csv.DictReader(io.StringIO(files["discrepancies.csv"]))) == [
        {"paper": "a", "found": "b", "consequence": "c", "how": "counted"}
    ]


def test_latex_escapes_what_latex_reads():
    text = latex_files(documents())["table1.tex"]
    assert r"50 \% \& more\_" in text
    assert "made-up" in text
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len({line.replace(r"\&", "").count("&") for line in rows}) == 1


def test_the_sheet_says_how_each_point_is_known():
    assert sheet_rows(documents()) == [["a", "b", "c", "counted"]]
