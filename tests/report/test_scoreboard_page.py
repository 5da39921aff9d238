"""The scoreboard page: rules beside numbers, worst cases first, nothing from outside, nothing that runs."""

from __future__ import annotations

import copy
import math
import re
from html.parser import HTMLParser

import pytest
from invented_scoreboard import invented_board

from hepar.errors import OutputError
from hepar.report.digits import number, probability
from hepar.report.scoreboard_cases import worst_first
from hepar.report.scoreboard_page import page, write_page
from hepar.report.thumbnail import LEGEND

VOID = {"meta", "link", "img", "br", "use", "path"}


@pytest.fixture(scope="module")
def made() -> dict:
    return invented_board()


@pytest.fixture
def board(made) -> dict:
    return copy.deepcopy(made)


class Reader(HTMLParser):
    """Checks that elements close in order; collects text, ids and links."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] not in (["style"], ["title"]):
            self.text.append(data)


def said(board: dict) -> str:
    """What a reader reads, spaces collapsed."""
    return " ".join(" ".join(Reader(page(board)).text).split())


def test_the_page_needs_nothing_from_outside_and_runs_nothing(board):
    board["froc"] = {"a": {"false_positives_per_scan": [0, 1], "sensitivity": [0, 0.5], "mean_sensitivity": 0.4}}
    text = page(board)
    assert not re.search(r"https?:|<script|<link|@import|<iframe|\son\w+=", text)
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)", text))
    assert {src[:22] for src in re.findall(r'src="([^"]*)"', text)} == {"data:image/png;base64,"}
    assert "default-src 'none'" in text


def test_elements_close_ids_are_unique_and_links_lead_somewhere(board):
    text = page(board)
    ids = Reader(text).ids
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', text)) <= set(ids)


def test_the_disclaimer_and_the_command_stand_on_top(board):
    words = said(board)
    assert 0 < words.index("For research use only.") < words.index("What was compared")
    assert "hepar evaluate labels nnunet.zip cdnn" in words


def test_every_protocol_stands_with_definition_and_empty_rule_above_its_numbers(board):
    words = said(board)
    for before, after in (
        ("The official scorer.", "lesion_dice_per_case"),
        ("Both empty: 1.", "lesion_dice_per_case"),
        ("Cases 32, 34: it crashes on a truth without lesion", "lesion_dice_per_case"),
        ("One-to-one matching.", "Liver Dice per case"),
        ("Both empty: not defined.", "Liver Dice per case"),
    ):
        assert words.index(before) < words.index(after, words.index(before))


def test_a_figure_stands_with_interval_and_counts(board):
    board["protocols"][1]["figures"][2] |= {"value": 0.60123, "low": 0.5, "high": 0.7004, "count": 10}
    assert "0.601 [0.500, 0.700] n 10, 2 not defined, 1 missed" in said(board)
    board["protocols"][1]["figures"][2] |= {"low": math.nan, "high": None, "excluded": 0, "missed": 0}
    assert "0.601 n 10 " in said(board)


def test_an_interval_over_fewer_than_five_cases_is_not_shown(board):
    row = board["protocols"][1]["figures"][2]
    row |= {"value": 0.60123, "low": 0.5, "high": 0.7004, "count": 4}
    assert "0.601 n 4" in said(board)
    row["count"] = 5
    assert "0.601 [0.500, 0.700] n 5" in said(board)
    assert "over fewer than 5 none is shown" in said(board)


def test_a_title_tells_its_unit_once(board):
    board["protocols"][1]["figures"][0] |= {"title": "Liver: ASSD per case, mm", "unit": "mm"}
    words = said(board)
    assert "Liver: ASSD per case, mm liver_dice" in words
    assert "Liver ASSD (mm) liver_assd_mm" in words


def test_figures_that_are_not_main_stand_behind_a_click_and_a_missing_method_is_a_dash(board):
    text = page(board)
    assert text.index("Liver ASSD") < text.index("1 more figure") < text.index("Liver RVD (signed)")
    board["protocols"][0]["figures"] = board["protocols"][0]["figures"][:1]
    assert "<b>–</b>" in page(board)


def test_what_was_compared_counts_scored_failed_and_lone_files(board):
    board["cases"][0] |= {"error": "7.nii.gz is cut short", "values": {}, "facts": {}, "thumbnail": None}
    words = said(board)
    assert "nnU-Net 3d_fullres 4 1 1 0" in words
    assert "cdnn_alex 5 0 0 0" in words
    assert "segmentation-9.nii" in words
    assert words.index("Failed cases", words.index("Cases, worst first", 400)) < words.index("7.nii.gz is cut short")


def test_without_failed_cases_there_is_no_such_heading(board):
    assert "Failed cases" not in said(board)


def test_cases_come_worst_first_and_undefined_ones_last(board):
    dice = {"0": (0.9, 0.9), "1": (None, 0.95), "2": (0.1, 0.99), "3": (0.1, 0.5), "4": (math.nan, 0.9)}
    board["cases"] = board["cases"][:5]
    for case in board["cases"]:
        case["values"]["lits"]["tumour_dice"], case["values"]["lits"]["liver_dice"] = dice[case["case"]]
    assert [case["case"] for case in worst_first(board)] == ["3", "2", "0", "4", "1"]
    assert re.findall(r"<h3>(\d) <span>", page(board)) == ["3", "2", "0", "4", "1"]


def test_a_case_tells_its_measures_facts_and_where_the_official_scorer_differs(board):
    case = board["cases"][0]
    case["facts"] |= {"truth_liver_ml": 1500.2, "found_liver_ml": 1480.0, "truth_burden": 0.013, "found_burden": None}
    case["facts"] |= {"lesions": 1, "found_lesions": 2}
    words = said(board)
    for fact in (
        "1 lesion, 2 found; largest 23 mm",
        "liver 1500 → 1480 mL",
        "burden 1.3 → – %",
        "5.00 × 0.70 × 0.70 mm (z, y, x)",
        "1 difference of the official scorer IoU > 0.5: official says TP -1",
    ):
        assert fact in words


def test_the_first_twelve_cases_are_open_and_all_are_there(board):
    board["cases"] = [case | {"case": str(n)} for n, case in enumerate(board["cases"] * 4)]
    text = page(board)
    assert text.count('<article class="case">') == 40
    assert text[: text.index("The other 28, worst first")].count('<article class="case">') == 12


def test_the_legend_names_the_colours_of_the_pictures(board):
    text = page(board)
    for name, (red, green, blue) in LEGEND:
        assert f"rgb({red}, {green}, {blue})" in text
        assert name in text


def test_plots_show_dice_distance_and_agreement_of_each_method(board):
    text = page(board)
    for title in ("Tumour Dice", "Liver Dice", "Liver ASSD", "Liver volume", "Tumour volume", "Tumour burden"):
        assert re.search(rf'<svg role="img" aria-label="[^"]*{title}', text), title
    assert "lits/tumour_dice" in said(board)


def test_plots_fall_back_to_the_official_figure_where_nothing_else_was_asked_for(board):
    board["protocols"] = board["protocols"][:1]
    for case in board["cases"]:
        del case["values"]["lits"]
    board |= {"comparisons": [], "ranks": [], "subgroups": []}
    words = said(board)
    assert "lits-codalab/lesion_dice_per_case" in words
    assert "lits/tumour_dice" not in words


def test_comparisons_tell_raw_and_corrected_p_and_effects(board):
    words = said(board)
    assert "+0.042 [−0.010, 0.080] 0.012 0.037 < 0.001 0.300 +0.41 −0.25" in words
    assert "<b>0.037</b>" in page(board)
    assert "<b>0.300</b>" not in page(board)
    # Five cases: 2 of 2^5 sign patterns; three comparisons.
    assert "With 5 patients no p can be below 0.062" in words
    assert "the smallest of 3 comparisons not below 0.19 after correction" in words


def test_comparisons_without_a_pair_do_not_count_for_the_smallest_p(board):
    board["comparisons"][0] |= {"cases": 0, "wilcoxon_p": None, "wilcoxon_holm": None}
    board["comparisons"][1] |= {"patients": 4}
    assert "With 4 patients no p can be below 0.12, and the smallest of 2" in said(board)
    for row in board["comparisons"]:
        row["wilcoxon_p"] = math.nan
    assert "Nothing could be tested" in said(board)


def test_the_official_scorer_is_told_over_all_cases_and_where_a_case_differs(board):
    first = board["official_against_corrected"][0]
    board["official_against_corrected"] += [
        first | {"case": "2", "reason": "official says TP -1"},
        first | {"case": "3", "difference": 0.0, "reason": "should not be shown"},
        first | {"official_name": "liver_voe", "official": 0.039, "corrected": 0.039, "difference": 0.0002},
    ]
    words = said(board)
    assert "nnU-Net 3d_fullres Official name official corrected difference what lies between lesion_assd 1.234" in words
    assert "1 difference, case by case" in words
    assert "lesion_assd 2 1.234 5.600 +4.366 official says TP -1" in words
    assert "should not be shown" not in words
    assert "No difference in three digits. liver_voe 0.039." in words


def test_the_pair_is_named_once_for_two_methods_and_in_each_row_for_more(board):
    assert said(board).count("nnU-Net 3d_fullres − cdnn_alex") == 1
    board["methods"].append("third")
    assert said(board).count("nnU-Net 3d_fullres − cdnn_alex") == 3


def test_with_many_cases_nothing_is_said_about_the_smallest_p(board):
    for row in board["comparisons"]:
        row["cases"] = 50
    assert "no p can be below" not in said(board)


def test_ranks_tell_how_often_each_is_first(board):
    assert "Tumour Dice per case lits 5 1.25 (first in 75 %) 1.25 (first in 75 %) 0.50" in said(board)


def test_one_method_has_no_comparisons_and_the_page_says_why():
    words = said(invented_board(("ours",)))
    assert "comparisons need at least two methods" in words
    assert "Wilcoxon" not in words
    assert "Kendall" not in words


def test_subgroups_are_named_with_their_counts(board):
    words = said(board)
    assert "By lesion size" in words
    assert "Tumour Dice per case largest <10 mm 0.500 n 3" in words


def test_confidence_plots_appear_when_given(board):
    assert "FROC" not in page(board)
    board["froc"] = {"a": {"false_positives_per_scan": [0, 1], "sensitivity": [0, 0.5], "mean_sensitivity": 0.4}}
    board["calibration"] = {"a": {"confidence": [0.1, 0.9], "frequency": [0.2, 0.8], "ece": 0.1}}
    assert 'aria-label="FROC' in page(board)
    assert 'aria-label="Reliability' in page(board)


EVIL = '"><script>alert(1)</script>{{ 7 * 7 }}'


def test_whatever_a_name_holds_is_shown_and_never_run(board):
    board = board | {"command": EVIL, "comparison_note": EVIL, "notes": [EVIL], "methods": [EVIL, "cdnn_alex"]}
    for case in board["cases"][:5]:
        case |= {"method": EVIL, "case": EVIL, "deviations": [EVIL], "notes": [EVIL], "thumbnail": EVIL}
    board["cases"][4] |= {"error": EVIL}
    for row in (*board["protocols"][1]["figures"], *board["ranks"], *board["subgroups"], *board["unmatched"]):
        row["method"] = EVIL if row["method"] == "nnU-Net 3d_fullres" else row["method"]
    for row in board["comparisons"]:
        row["first"] = EVIL
    board["protocols"][0] |= {"name": EVIL, "definition": EVIL, "empty_rule": EVIL}
    text = page(board)
    assert "<script" not in text
    assert EVIL in said(board)


def test_numbers_that_are_not_defined_may_be_null_or_nan_anywhere(board):
    for nothing in (None, math.nan):
        for row in (*board["protocols"][1]["figures"], *board["comparisons"], *board["ranks"], *board["subgroups"]):
            row.update({key: nothing for key, value in row.items() if isinstance(value, float)})
        for case in board["cases"]:
            case["facts"] = {key: nothing for key in case["facts"] if key != "spacing_mm"}
            case["values"] = {"lits": dict.fromkeys(case["values"]["lits"], nothing)}
        words = said(board)
        assert "nan" not in words.lower().split()
        assert "None" not in words
        assert "No case has a value to draw." in words


def test_a_board_without_a_scored_case_is_a_page_too(board):
    for case in board["cases"]:
        case |= {"error": "cut short", "values": {}, "facts": {}}
    assert "No case was scored." in said(board)


def test_optional_parts_may_be_missing(board):
    for key in ("bootstrap", "official_against_corrected", "notes"):
        del board[key]
    del board["protocols"][0]["left_out"]
    for row in board["protocols"][1]["figures"]:
        del row["main"]
    words = said(board)
    assert "Official scorer against corrected protocol" not in words
    assert "more figure" not in words


def test_the_same_board_gives_the_same_page(board):
    assert page(board) == page(copy.deepcopy(board))


def test_131_cases_of_two_methods_stay_far_below_10_mb():
    assert len(page(invented_board(count=131)).encode()) < 3e6


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (0.95449, "", "0.954"),
        (2.345, "mm", "2.35"),
        (23.456, "mL", "23.5"),
        (123.456, "mm", "123.5"),
        (9001.0, "", "9001"),
        (-0.5, "", "−0.500"),
        (-0.0001, "", "0.000"),
        (None, "", "–"),
        (math.nan, "mm", "–"),
    ],
)
def test_numbers_have_as_many_digits_as_a_reader_can_use(value, unit, shown):
    assert number(value, unit) == shown


def test_a_p_is_never_zero():
    assert [probability(p) for p in (0.0, 0.0004, 0.0123, 1.0, None)] == ["< 0.001", "< 0.001", "0.012", "1.000", "–"]


def test_the_page_is_written_whole_or_not_at_all(board, tmp_path):
    write_page(board, tmp_path / "scores.html")
    assert (tmp_path / "scores.html").read_text(encoding="utf-8") == page(board)
    blocker = tmp_path / "folder"
    blocker.write_text("a file, not a folder")
    with pytest.raises(OutputError, match=r"scores\.html"):
        write_page(board, blocker / "scores.html")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder", "scores.html"]
