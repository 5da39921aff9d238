"""The official LiTS scorer's figures, to the ninth decimal, and each of its defects in a case of one line."""

from __future__ import annotations

import zipfile

import nibabel
import numpy as np
import pytest
from lines import line_pair

from hepar.io import read_labels
from hepar.metrics.figures import figure
from hepar.metrics.pair import pair_of
from hepar.metrics.protocols import lits_codalab
from hepar.metrics.protocols.codalab_matching import official_match

SPECS = {spec.name: spec for spec in lits_codalab.FIGURES}


def counts(truth: str, found: str, overlap: str = "0.5") -> tuple[int, int, int]:
    """TP, FP, FN as the official program counts them."""
    details = lits_codalab.score(line_pair(truth, found)).details
    hit = details["detected"][overlap]
    return hit, details["found_lesions"] - hit, details["lesions"] - hit


def kinds(truth: str, found: str) -> list[str]:
    return [event["kind"] for event in lits_codalab.score(line_pair(truth, found)).details["events"]["0.5"]]


def value(name: str, *cases: tuple[str, str]) -> float:
    return figure(SPECS[name], [lits_codalab.score(line_pair(*case)) for case in cases]).value


def test_the_official_scores_of_the_sample_submission_are_reproduced_to_nine_decimals(shared_data, tmp_path):
    folder = shared_data / "lits_scorer"
    for side in ("reference", "submission"):
        with zipfile.ZipFile(folder / f"{side}.zip") as archive:
            archive.extractall(tmp_path / side)
    cases = []
    for truth in sorted((tmp_path / "reference").iterdir()):
        header = tuple(float(s) for s in nibabel.load(truth).header.get_zooms()[::-1])
        found = read_labels(tmp_path / "submission" / truth.name)
        cases.append(lits_codalab.score(pair_of(read_labels(truth), found, header)))
    lines = (folder / "expected_scores.txt").read_text().strip().splitlines()
    expected = dict(line.split(": ") for line in lines)
    assert {spec.name: f"{figure(spec, cases).value:.9f}" for spec in lits_codalab.FIGURES} == expected


def test_one_prediction_over_two_lesions_can_give_minus_one_hit():
    truth, found = "LTLLLLLLLLTL", "TTTTTTTTTTTT"
    assert counts(truth, found) == (-1, 2, 3)
    assert kinds(truth, found) == ["merged", "penalty"]
    assert value("lesion_recall", (truth, found)) == -0.5


def test_an_overlap_of_four_hundredths_counts_as_detected_when_component_numbers_differ():
    truth, found = "T" + "." * 25 + "TL", "." * 2 + "T" * 25 + "L"
    assert counts(truth, found) == (1, 0, 1)
    scored = lits_codalab.score(line_pair(truth, found))
    (event,) = scored.details["events"]["0.5"]
    assert event["kind"] == "wrong_union"
    assert (event["used"], event["right"]) == (1.0, 1 / 25)
    # Its Dice then enters the mean over "detected" lesions.
    assert scored.terms["lesion_dice"] == (2 / 26, 1.0)


def test_the_same_overlap_is_missed_when_component_numbers_agree():
    assert counts("." * 26 + "TL", "." * 2 + "T" * 25 + "L") == (0, 1, 1)


def test_fragments_of_one_lesion_are_one_hit_and_false_alarms():
    truth, found = "LTTTTTTTTTTL", "LTTTTTLTTTTL"
    assert counts(truth, found) == (1, 1, 0)
    assert kinds(truth, found) == ["fragments"]


def test_a_prediction_without_label_one_has_no_liver_and_a_burden_error_of_nine_thousand():
    case = ("LLTTLL", "TTTTTT")
    assert value("liver_dice_per_case", case) == 0
    assert value("liver_assd", case) == 9001
    assert value("liver_voe", case) == 1
    assert value("liver_dice_global", case) == 0
    assert value("MAXERROR_Tumorburden", case) == pytest.approx(2 / 6 - 9001)
    assert value("RMSE_Tumorburden", case) == pytest.approx(9001 - 2 / 6)


def test_the_largest_burden_error_is_signed_so_too_much_tumour_never_shows():
    assert value("MAXERROR_Tumorburden", ("LLLT", "LTTT"), ("LLTT", "LTTT")) == pytest.approx(-0.25)


def test_a_truth_without_lesion_stops_the_official_program():
    scored = lits_codalab.score(line_pair("LLLL", "LLTL"))
    assert "crashes" in scored.crash
    assert scored.terms == {}
    assert lits_codalab.score(line_pair("....", "LLTL")).crash


def test_rvd_is_relative_to_the_prediction_with_the_sign_turned():
    assert value("liver_rvd", ("LLLT", "LT..")) == 1.0
    assert value("liver_rvd", ("LT..", "LLLT")) == -0.5


def test_nothing_detected_anywhere_gives_the_officials_worst_numbers():
    case = ("LLTTLL......", "LLLLLL.TT...")
    assert value("lesion_dice", case) == 0
    assert value("lesion_voe", case) == 1
    assert value("lesion_assd", case) == value("lesion_rvd", case) == 9001
    assert value("lesion_dice_per_case", case) == 0


def test_lesion_measures_are_means_over_detected_lesions_of_all_cases():
    good, lost = ("LTTTTL", "LTTT.L"), ("LTTTTL", "L....L")
    assert value("lesion_dice", good, lost) == pytest.approx(6 / 7)
    assert value("lesion_dice_per_case", good, lost) == pytest.approx(3 / 7)


def test_matched_lesions_go_unmeasured_where_the_count_of_hits_is_not_above_zero():
    merged, fine = "LTLLLLLLLLTL", ".TT."
    scored = lits_codalab.score(line_pair(merged + fine, "TTTTTTTTTTTT" + fine))
    assert scored.details["detected"]["0.5"] == 0
    assert "lesion_dice" not in scored.terms


def test_lesions_beyond_the_255th_spoil_others_in_the_official_eight_bit_mask():
    many = "L" + "T." * 300
    scored = lits_codalab.score(line_pair(many, many))
    # Lesion 257 is written as 1, so lesion 1 has twice its size there and, with an overlap of one half, counts as
    # missed; so do 2 to 44. Of a perfect copy of 300 lesions, 256 are detected and 211 measured.
    assert scored.details["detected"]["0.5"] == 256
    assert scored.terms["lesion_dice"] == (211, 211)


def test_distances_use_the_headers_spacing():
    near, far = (lits_codalab.score(line_pair("LLLT.", "LLLLT", header=h)) for h in ((1, 1, 1), (1, 1, 3)))
    assert far.terms["liver_msd"][0] == 3 * near.terms["liver_msd"][0] == 3


def test_surfaces_take_18_neighbours():
    # The middle of a 3-cube is surface once an edge neighbour is missing; a corner does not matter.
    cube = np.ones((3, 3, 3), bool)
    assert not lits_codalab._contour(cube)[1, 1, 1]
    corner, edge = cube.copy(), cube.copy()
    corner[0, 0, 0] = edge[0, 0, 1] = False
    assert not lits_codalab._contour(corner)[1, 1, 1]
    assert lits_codalab._contour(edge)[1, 1, 1]


def test_component_numbers_follow_the_files_own_order():
    """The official arrays are (x, y, z): of two lesions, the one with the smaller x has the smaller number."""
    truth, found = np.zeros((2, 2, 40), np.uint8), np.zeros((2, 2, 40), np.uint8)
    truth[1, 0, 0], truth[0, 0, 30:32] = 2, 2
    found[0, 0, 10:32] = 2
    truth[1, 1, :] = found[1, 1, :] = 1
    from hepar.geometry import Geometry
    from hepar.volume import LabelMap

    grid = Geometry.from_spacing(truth.shape, (1, 1, 1))
    scored = lits_codalab.score(pair_of(LabelMap(truth, grid), LabelMap(found, grid)))
    # True lesion 2 and found lesion 1: the numbers differ, the overlap of 2 in 22 counts as detected.
    assert scored.details["detected"]["0.5"] == 1


def test_matching_leaves_the_table_as_it_was():
    table = np.array([[0, 3, 2], [5, 1, 1]])
    kept = table.copy()
    official_match(table, 0.5)
    assert np.array_equal(table, kept)
