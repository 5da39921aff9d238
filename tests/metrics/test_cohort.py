"""Folders are scored case by case; what does not match is said, and nothing stops the rest."""

from __future__ import annotations

import csv
import json
import math

import nibabel
import numpy as np
import pytest

from hepar.errors import BadInput, OutputError
from hepar.geometry import Geometry
from hepar.metrics import CaseScores, evaluate, evaluate_folder, summary_rows, write_csv, write_json
from hepar.metrics.cohort import case_id
from hepar.volume import LabelMap

GRID = Geometry.from_spacing((4, 8, 8), (5, 2, 1))


def labels(tumour: bool = True, shift: int = 0) -> np.ndarray:
    values = np.zeros(GRID.shape, np.uint8)
    values[1:3, 2:6, 2:6] = 1
    values[1:3, 3:5, 3:5] = 2 if tumour else 1
    return np.roll(values, shift, axis=2)


def save(path, values: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values.T, GRID.to_nifti()), path)


def case(name: str, truth: np.ndarray, found: np.ndarray, kind="full") -> CaseScores:
    return CaseScores(name, evaluate(LabelMap(truth, GRID), LabelMap(found, GRID), kind))


def mean_of(cases, structure: str, metric: str):
    (row,) = [row for row in summary_rows(cases) if (row.structure, row.metric) == (structure, metric)]
    return row


@pytest.mark.parametrize(
    ("name", "case"),
    [
        ("segmentation-7.nii", "7"),
        ("volume-7.nii.gz", "7"),
        ("test-segmentation-12.nii.gz", "12"),
        ("ircad01_label.nii.gz", "ircad01"),
        ("ircad01_ct_seg.nii.gz", "ircad01"),
        ("ircad01_ct.mha", "ircad01"),
        ("liver_001.nii.gz", "liver_001"),
        ("patient.one_seg.nrrd", "patient.one"),
        ("_seg.nii", "_seg"),
    ],
)
def test_a_files_case_is_its_name_without_what_tools_put_around_it(name, case):
    assert case_id(name) == case


def test_different_cases_keep_different_ids():
    names = ["segmentation-1.nii", "segmentation-11.nii", "liver_1.nii", "liver_01.nii"]
    assert len({case_id(name) for name in names}) == 4


def test_folders_are_matched_by_case_in_natural_order(tmp_path):
    for number in (10, 2):
        save(tmp_path / "truth" / f"segmentation-{number}.nii", labels())
        save(tmp_path / "truth" / f"volume-{number}.nii", np.full(GRID.shape, 40, np.int16))
        save(tmp_path / "found" / f"volume-{number}.nii.gz", labels(shift=4 if number == 10 else 0))
    cases = evaluate_folder(tmp_path / "truth", tmp_path / "found")
    assert [c.case for c in cases] == ["2", "10"]
    assert [c.error for c in cases] == [None, None]
    assert cases[0].scores.liver.dice == 1
    assert cases[1].scores.liver.dice == 0


def test_one_bad_case_never_stops_the_others(tmp_path):
    for name in ("a", "b", "c", "d"):
        save(tmp_path / "truth" / f"{name}_label.nii.gz", labels())
        save(tmp_path / "found" / f"{name}_seg.nii.gz", labels())
    (tmp_path / "found" / "a_seg.nii.gz").write_bytes(b"not an image")
    save(tmp_path / "found" / "b_seg.nii.gz", labels()[:, :, 1:])
    (tmp_path / "found" / "c_seg.nii.gz").unlink()
    save(tmp_path / "found" / "e_seg.nii.gz", labels())
    errors = {c.case: c.error for c in evaluate_folder(tmp_path / "truth", tmp_path / "found")}
    assert errors["a"]
    assert "found.onto" in errors["b"]
    assert errors["c"] == "expected one prediction of case c, found none"
    assert errors["d"] is None
    assert errors["e"] == "expected one truth of case e, found none"


def test_two_files_for_one_case_are_not_guessed_between(tmp_path):
    save(tmp_path / "truth" / "a.nii", labels())
    save(tmp_path / "found" / "a_seg.nii", labels())
    save(tmp_path / "found" / "a_pred.nii", labels())
    (row,) = evaluate_folder(tmp_path / "truth", tmp_path / "found")
    assert row.error == "expected one prediction of case a, found a_pred.nii, a_seg.nii"


def test_two_files_are_compared_whatever_their_names(tmp_path):
    save(tmp_path / "reader.nii", labels())
    save(tmp_path / "machine.nii", labels())
    (row,) = evaluate_folder(tmp_path / "reader.nii", tmp_path / "machine.nii")
    assert (row.case, row.scores.tumour.dice) == ("reader", 1)


def test_a_file_beside_a_folder_asks_about_one_case(tmp_path):
    save(tmp_path / "b_label.nii", labels())
    for name in ("a", "b"):
        save(tmp_path / "found" / f"{name}.nii", labels())
    (row,) = evaluate_folder(tmp_path / "b_label.nii", tmp_path / "found")
    assert (row.case, row.error) == ("b", None)


def test_union_labels_are_scored_as_union(tmp_path):
    save(tmp_path / "truth" / "a.nii", labels(tumour=False))
    save(tmp_path / "found" / "a.nii", labels())
    (row,) = evaluate_folder(tmp_path / "truth", tmp_path / "found", labels="liver_union")
    assert row.scores.tumour is None
    assert row.scores.liver.dice == 1


def test_a_path_that_holds_nothing_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="empty holds no label map"):
        evaluate_folder(tmp_path / "empty", tmp_path / "empty")
    with pytest.raises(BadInput, match=r"^missing does not exist"):
        evaluate_folder(tmp_path / "missing", tmp_path / "empty")


COHORT = [
    case("right", labels(), labels()),
    case("missed", labels(), labels(tumour=False)),
    case("free", labels(tumour=False), labels(tumour=False)),
    case("alarm", labels(tumour=False), labels()),
    CaseScores("broken", error="truncated"),
]


def test_means_are_over_defined_values_and_count_the_rest():
    dice = mean_of(COHORT, "tumour", "dice")
    assert (dice.mean, dice.median, dice.count, dice.excluded) == (pytest.approx(1 / 3), 0, 3, 1)
    assd = mean_of(COHORT, "tumour", "assd_mm")
    assert (assd.mean, assd.count, assd.excluded) == (0, 1, 3)
    alarm = mean_of(COHORT, "tumour", "false_positive_ml")
    assert (alarm.mean, alarm.count, alarm.excluded) == (pytest.approx(0.04), 2, 2)


def test_a_mean_over_nothing_is_not_a_number():
    row = mean_of([case("free", labels(tumour=False), labels(tumour=False))], "tumour", "dice")
    assert math.isnan(row.mean)
    assert (row.count, row.excluded) == (0, 1)
    assert summary_rows([CaseScores("broken", error="truncated")]) == []


def test_union_cases_count_for_the_liver_alone():
    mixed = [*COHORT, case("union", labels(tumour=False), labels(), "liver_union")]
    assert mean_of(mixed, "liver", "dice").count == 5
    assert mean_of(mixed, "tumour", "dice") == mean_of(COHORT, "tumour", "dice")
    assert mean_of(mixed, "tumour", "false_positive_ml") == mean_of(COHORT, "tumour", "false_positive_ml")


def test_tables_are_written_whole(tmp_path):
    write_json(COHORT, tmp_path / "scores.json")
    write_csv(COHORT, tmp_path / "scores.csv")
    document = json.loads((tmp_path / "scores.json").read_text())
    assert document["empty_rule"].startswith("Empty masks")
    assert [row["case"] for row in document["cases"]] == ["right", "missed", "free", "alarm", "broken"]
    assert document["cases"][1]["scores"]["tumour"]["assd_mm"] is None
    rows = list(csv.DictReader((tmp_path / "scores.csv").read_text().splitlines()))
    assert float(rows[0]["liver_dice"]) == 1
    assert rows[1]["tumour_assd_mm"] == ""
    assert float(rows[3]["false_positive_ml"]) == pytest.approx(0.08)
    assert rows[4] | {"case": "broken", "error": "truncated", "liver_dice": ""} == rows[4]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scores.csv", "scores.json"]


@pytest.mark.parametrize("write", [write_json, write_csv])
def test_an_unwritable_table_leaves_nothing_behind(tmp_path, write):
    (tmp_path / "taken").mkdir()
    with pytest.raises(OutputError, match="taken"):
        write(COHORT, tmp_path / "taken")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
