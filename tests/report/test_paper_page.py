"""The page of a study from made-up documents: every figure in its column, every doubt beside it."""

from __future__ import annotations

import base64
import math
import re
from html import unescape
from types import SimpleNamespace
from typing import Any

import pytest

from hepar.report.paper_figures import Drawing
from hepar.report.paper_page import Captioned, Shown, paper_page
from hepar.study.reproduce.aggregation import Aggregation, Reading
from hepar.study.reproduce.arm_results import MEASURES, Value
from hepar.study.reproduce.claims import Answer, Claim, Question
from hepar.study.reproduce.discrepancies import Discrepancy
from hepar.study.reproduce.tables import Comparison, PaperTable, TableRow
from hepar.study.statistics import Interval, PairedTest

LIVER_DSC, LIVER_ASSD = MEASURES[0], MEASURES[1]
NONE = Shown((), ("tables.md",), "1.2.3")
KEY = ("cdnn_alex", "with")


def paired(difference: float, low: float, high: float, p: float = 0.0004) -> PairedTest:
    return PairedTest(26, 26, difference, Interval(low, high), p, 0.25, -0.5, 0.1)


def question(text: str, paper: str | None = "Table 1") -> Question:
    return Question(text, KEY, ("cdnn_alex", "without"), paper, "a note")


def cell_of(**changes: Any) -> SimpleNamespace:
    facts = {
        "recipe": "practical", "epochs_used": 9, "epochs_asked": 40, "updates": 90, "batch": 8, "minutes": 3.0,
        "learning_rate": 1e-3, "converged": True, "convergence": "flat enough", "encoder": {"source": "none"},
        "window_hu": {"asked": [-100, 400], "used": [-40, 160], "testable": False},
    }  # fmt: skip
    return SimpleNamespace(facts=facts | changes)


def arm_of(*cells: SimpleNamespace) -> SimpleNamespace:
    flat = all(cell.facts["converged"] for cell in cells)
    return SimpleNamespace(title="CDNN-Alex", preprocessing="with", cells=cells, folds=4, converged=flat)


def documents(**changes: Any) -> Any:
    """One row of Table 1, its test, a claim answered for one measure and one not answered, one discrepancy."""
    ours = {"liver_dice": Value(0.9123, Interval(0.88, 0.93), 26, 2), "liver_assd": Value(4.04, Interval(3, 5), 26, 0)}
    row = TableRow("CDNN-Alex", "with", {"liver_dice": 0.904, "liver_assd": 2.65}, ours, "finished", 26, "long words")
    test = Comparison("first", "second", "liver_dice", paired(0.02, 0.01, 0.03), 0.0016)
    empty = TableRow("CDNN-Alex", "equalise", {}, {}, "not run", 0, "")
    readings = tuple(
        Reading("liver DSC", name, "paper", f"{value}", "all slices", value, 26, 0)
        for name in ("CDNN-Alex (with)", "Another (with)")
        for value in (0.5, 0.75)
    )
    made = {
        "label": "made-up <data>", "headline": "Ours: made up.", "empty_rule": "None.", "facts": {},
        "arms": {KEY: arm_of(cell_of())},
        "table1": PaperTable("Table 1", (row,), (test,)), "table2": PaperTable("Table 2", ()),
        "ablations": PaperTable("Other arms", (empty,)), "aggregation": Aggregation(readings),
        "claims": (
            Claim(question("It helps"), (Answer(LIVER_DSC, paired(0.02, 0.01, 0.03), "supported"),), "finished"),
            Claim(question("It was asked", None), (), "not run"),
        ),
        "discrepancies": (Discrepancy("8 times", "32 & more", "none", "counted"),),
    }  # fmt: skip
    return SimpleNamespace(**made | changes)


def section(page: str, name: str) -> str:
    found = re.search(rf'<section id="{name}">(.*?)</section>', page, re.DOTALL)
    assert found
    return found.group(1)


def texts(markup: str) -> list[str]:
    """The text of every cell and paragraph of it."""
    cells = re.findall(r"<(?:td|p)\b[^>]*>(.*?)</(?:td|p)>", markup, re.DOTALL)
    return [" ".join(unescape(re.sub(r"<[^>]*>", " ", cell)).split()) for cell in cells]


def test_published_ours_and_their_difference_stand_side_by_side_with_interval_and_counts():
    found = texts(section(paper_page(documents(), NONE), "table1"))
    assert found[:8] == [
        "CDNN-Alex", "with",
        "0.904", "0.912 [0.880, 0.930] n 26, 2 missed", "+0.008",
        "2.65", "4.0 [3.0, 5.0] n 26", "+1.4",
    ]  # fmt: skip


def test_a_small_p_is_never_printed_as_nothing():
    found = texts(section(paper_page(documents(), NONE), "table1"))
    assert "< 0.001" in found
    assert "0.002" in found
    assert "+0.020 [+0.010, +0.030]" in found


def test_an_arm_without_figures_is_named_below_its_table_and_makes_no_row():
    found = section(paper_page(documents(), NONE), "table3")
    assert "<tr>" not in found
    assert texts(found) == ["Without figures here. CDNN-Alex (equalise): not run."]


@pytest.mark.parametrize("verdict", ["supported", "contradicted", "undecided", "no claim: not converged"])
def test_a_verdict_is_a_word_and_not_a_colour_alone(verdict):
    claim = Claim(question("It helps"), (Answer(LIVER_DSC, paired(0.02, 0.01, 0.03), verdict),), "finished")
    found = texts(section(paper_page(documents(claims=(claim,)), NONE), "claims"))
    assert f"{verdict} +0.020 [+0.010, +0.030] 26 patients" in found
    assert "It helps Table 1; a note. finished." in found


def test_a_claim_that_is_not_answered_is_named_and_ours_is_not_called_the_papers():
    asked = Claim(question("Ours", None), (Answer(LIVER_ASSD, paired(1, -1, 3), "undecided"),), "finished")
    found = texts(section(paper_page(documents(claims=(*documents().claims, asked)), NONE), "claims"))
    assert "Not answered, an arm was not run. It was asked." in found
    assert "Ours our question, not the paper's; a note. finished." in found


def test_a_study_without_a_finished_fold_is_a_page_all_the_same():
    nothing = documents(arms={}, claims=(), table1=PaperTable("Table 1", ()), aggregation=Aggregation(()))
    page = paper_page(nothing, NONE)
    assert "No two arms of a claim have finished yet." in page
    assert "No fold has finished yet." in page


def test_how_an_arm_was_trained_says_what_its_data_cannot_test():
    found = texts(section(paper_page(documents(), NONE), "trained"))
    assert "−40 to 160 HU asks for −100 to 400 HU: window not testable on these data" in found
    assert {"9 of 40", "90 × 8", "random", "yes flat enough", "1 of 4", "3.0"} <= set(found)


def test_of_several_folds_the_one_that_did_not_converge_is_told_and_minutes_are_a_mean():
    arm = arm_of(cell_of(minutes=1.0), cell_of(converged=False, convergence="still falling"))
    found = texts(section(paper_page(documents(arms={KEY: arm}), NONE), "trained"))
    assert "not converged still falling" in found
    assert {"2 of 4", "2.0"} <= set(found)


def test_a_window_that_was_had_is_not_called_untestable():
    window = {"asked": [-100, 400], "used": [-100, 400], "testable": True}
    page = paper_page(documents(arms={KEY: arm_of(cell_of(window_hu=window))}), NONE)
    assert "−100 to 400 HU" in texts(section(page, "trained"))
    assert "not testable" not in page


def test_the_spread_of_an_arm_of_table_1_is_in_sight_and_others_are_folded():
    before, _, folded = section(paper_page(documents(), NONE), "readings").partition("<details>")
    assert texts(before)[1:4] == ["liver DSC", "CDNN-Alex (with)", "0.500"]
    assert "0.250" in texts(before)
    assert "Another (with)" in texts(folded)
    assert "Another" not in before


def test_text_of_a_study_is_text_and_missing_numbers_are_dashes():
    nan = TableRow("CDNN-Alex", "with", {"liver_dice": None}, {"liver_dice": Value(math.nan, Interval(0, 1), 0, 0)},
                   "failed: out of <memory>", 0, "")  # fmt: skip
    page = paper_page(documents(table1=PaperTable("Table 1", (nan,))), NONE)
    assert "made-up &lt;data&gt;" in page
    assert "32 &amp; more" in page
    assert texts(section(page, "table1"))[2:6] == ["–", "–", "–", "failed: out of <memory>"]


def test_pictures_are_embedded_and_drawings_are_drawn():
    figures = [Captioned(Drawing("fig5", "<svg>5</svg>", b"picture", "said of 5"), "<5>"),
               Captioned(Drawing("fig3", "<svg>3</svg>", b"drawing", "said of 3"), "the third")]  # fmt: skip
    found = section(paper_page(documents(), Shown(figures, (), "1")), "figures")
    assert f'<img alt="said of 5" src="data:image/png;base64,{base64.b64encode(b"picture").decode()}">' in found
    assert "<svg>3</svg>" in found
    assert "<svg>5</svg>" not in found
    assert "<figcaption>&lt;5&gt;</figcaption>" in found
