"""Anyone's predictions are scored: a bad case stops nothing, an interrupted run goes on, a table says what it is."""

from __future__ import annotations

import csv
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from hepar.errors import BadInput, OutputError, SomeCasesFailed
from hepar.geometry import Geometry
from hepar.io import write
from hepar.predictions import open_truth
from hepar.service import referee
from hepar.service.referee import Entry, Options, RefereeOrder, Task, judge
from hepar.service.scoring import Outputs, Reading, require_all_scored, score_predictions
from hepar.volume import LabelMap

GRID = Geometry.from_spacing((6, 20, 24), (5, 0.8, 0.8))
ALONE = Options(workers=1, thumbnails=False)


def labels(shift: int = 0, tumours: int = 2) -> LabelMap:
    values = np.zeros(GRID.shape, np.uint8)
    values[1:5, 3:17, 3:20] = 1
    for n in range(tumours):
        values[2:4, 5 : 8 + n, 5 + 7 * n : 9 + 7 * n] = 2
    return LabelMap(np.roll(values, shift, axis=2), GRID)


@pytest.fixture
def folders(tmp_path) -> Path:
    for case in range(4):
        tumours = 0 if case == 3 else 2
        write(labels(tumours=tumours), tmp_path / "truth" / f"segmentation-{case}.nii.gz")
        write(labels(1 + case % 2, tumours), tmp_path / "near" / f"segmentation-{case}.nii.gz")
        write(labels(3, 1), tmp_path / "far" / f"segmentation-{case}.nii.gz")
    return tmp_path


def order(root: Path, *methods: str, out: str | None = None, options: Options = ALONE) -> RefereeOrder:
    entries = tuple(Entry(name, root / name) for name in methods)
    return RefereeOrder(Entry("truth", root / "truth"), entries, root / out if out else None, options)


def score(root: Path, *methods: str, outputs: Outputs | None = None, reading: Reading | None = None):
    typed = [str(root / name) for name in methods]
    return score_predictions(root / "truth", typed, reading or Reading(), ALONE, outputs or Outputs(), lambda *_: None)


def test_every_case_of_every_method_is_scored_under_three_protocols(folders):
    verdict = judge(order(folders, "near", "far"))
    assert [(case.method, case.case) for case in verdict.cases] == [
        (method, str(case)) for method in ("near", "far") for case in range(4)
    ]
    assert all(set(case.scores) == {"lits-codalab", "lits", "paper"} for case in verdict.cases)
    assert verdict.failures == ()


def test_workers_find_what_one_process_finds(folders):
    alone = judge(order(folders, "near"))
    many = judge(order(folders, "near", options=Options(workers=2, thumbnails=False)))
    assert [case.scores for case in alone.cases] == [case.scores for case in many.cases]


def test_a_damaged_case_is_told_and_the_others_are_scored(folders):
    damaged = folders / "near" / "segmentation-2.nii.gz"
    damaged.write_bytes(damaged.read_bytes()[:80])
    verdict = judge(order(folders, "near"))
    assert [case.error is None for case in verdict.cases] == [True, True, False, True]
    assert "segmentation-2.nii.gz" in verdict.cases[2].error
    with pytest.raises(SomeCasesFailed, match="1 of 4 cases"):
        require_all_scored(verdict)


@dataclass(frozen=True)
class Deadly:
    """A label source that takes its process with it, as running out of memory does."""

    case: str = "9"
    file: str = "deadly.nii"

    def fingerprint(self) -> str:
        return "deadly"

    def read(self):
        os._exit(9)


def test_a_process_that_dies_fails_its_own_case_only(folders):
    truth = open_truth(folders / "truth").sources
    good = [Task(case, "near", source, source, ALONE) for case, source in truth.items()]
    bad = Task("9", "near", truth["0"], Deadly(), ALONE)
    tasks = [*good[:2], bad, *good[2:]]
    tasks = [Task(t.case, t.method, t.truth, t.found, Options(workers=2, thumbnails=False)) for t in tasks]
    cases, errors = referee._all_scored(tasks, None, lambda *_: None)
    assert [case.error is None for case in cases] == [True, True, False, True, True]
    assert "died" in cases[2].error
    assert len(errors) == 1


def test_an_interrupted_run_goes_on_where_it_stopped(folders):
    def stop(_, done, __):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        judge(order(folders, "near", out="scores"), stop)
    kept = {path: path.stat().st_mtime_ns for path in (folders / "scores").rglob("*.json")}
    assert len(kept) == 3
    resumed = judge(order(folders, "near", out="scores"))
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    fresh = judge(order(folders, "near"))
    assert [case.scores for case in resumed.cases] == [case.scores for case in fresh.cases]


def test_a_kept_case_is_scored_again_when_a_file_or_an_option_changes(folders):
    first = judge(order(folders, "near", out="scores"))
    write(labels(7), folders / "near" / "segmentation-1.nii.gz")
    second = judge(order(folders, "near", out="scores"))
    assert [a.scores == b.scores for a, b in zip(first.cases, second.cases, strict=True)] == [True, False, True, True]
    lits = judge(order(folders, "near", out="scores", options=Options(("lits",), workers=1, thumbnails=False)))
    assert set(lits.cases[0].scores) == {"lits"}


def test_a_damaged_kept_file_is_scored_again(folders):
    judge(order(folders, "near", out="scores"))
    (kept, *_) = (folders / "scores").rglob("*.json")
    kept.write_text("{", encoding="utf-8")
    assert judge(order(folders, "near", out="scores")).failures == ()
    assert json.loads(kept.read_text(encoding="utf-8"))["key"]


def test_nothing_that_matches_is_an_error_that_shows_names(folders):
    for path in (folders / "far").iterdir():
        path.rename(path.with_name(f"x{path.name}"))
    with pytest.raises(BadInput, match=r"no prediction matches a truth.*xsegmentation"):
        judge(order(folders, "far"))


def test_official_names_are_keys_under_the_official_protocol(folders):
    score(folders, "near", outputs=Outputs(json=folders / "scores.json"))
    document = json.loads((folders / "scores.json").read_text(encoding="utf-8"))
    assert 0 < document["lits-codalab"]["lesion_dice_per_case"] < 1
    assert {row["name"] for row in document["protocols"][0]["figures"]} == set(document["lits-codalab"])
    assert str(folders) not in json.dumps(document)


def test_several_methods_are_keyed_by_method_and_compared(folders):
    board, _ = score(folders, "near", "far", outputs=Outputs(json=folders / "scores.json"))
    document = json.loads((folders / "scores.json").read_text(encoding="utf-8"))
    assert set(document["lits"]) == {"near", "far"}
    (row,) = [r for r in board["comparisons"] if (r["protocol"], r["figure"]) == ("lits", "liver_dice")]
    assert (row["first"], row["second"], row["cases"]) == ("near", "far", 4)
    assert row["difference"] > 0
    assert row["permutation_holm"] >= row["permutation_p"]
    ranks = {(r["protocol"], r["figure"], r["method"]): r["mean_rank"] for r in board["ranks"]}
    assert ranks["lits", "liver_dice", "near"] == 1


def test_one_method_says_that_comparisons_need_two(folders):
    board, _ = score(folders, "near")
    assert board["comparisons"] == board["ranks"] == []
    assert "at least two methods" in board["comparison_note"]


def test_the_case_where_the_official_program_crashes_is_left_out_and_named(folders):
    board, _ = score(folders, "near")
    official, corrected = board["protocols"][0], board["protocols"][1]
    assert [group["cases"] for group in official["left_out"]] == [["3"]]
    assert "crashes" in official["left_out"][0]["reason"]
    counts = {row["name"]: row["count"] for row in official["figures"]}
    assert counts["liver_dice_per_case"] == 3
    assert {row["name"]: row["count"] for row in corrected["figures"]}["liver_dice"] == 4


def test_cases_of_one_patient_are_one_observation(folders):
    (folders / "patients.csv").write_text("case,patient\n0,a\n1,a\n2,a\n3,a\n", encoding="utf-8")
    one, _ = score(folders, "near", reading=Reading(patients=folders / "patients.csv"))
    four, _ = score(folders, "near")
    (here,), (there,) = (
        [r for r in board["protocols"][1]["figures"] if r["name"] == "liver_dice"] for board in (one, four)
    )
    assert here["value"] == there["value"]
    assert math.isnan(here["low"])
    assert there["low"] < there["value"] < there["high"]


def test_a_list_of_patients_without_its_columns_is_refused(folders):
    (folders / "patients.csv").write_text("name\n0\n", encoding="utf-8")
    with pytest.raises(BadInput, match="columns case and patient"):
        score(folders, "near", reading=Reading(patients=folders / "patients.csv"))


def test_a_folder_of_results_holds_every_table_and_no_path(folders):
    score(folders, "near", "far", outputs=Outputs(out=folders / "all"))
    with (folders / "all" / "cases.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8
    assert float(rows[0]["lits/liver_dice"]) > 0.9
    assert rows[3]["lits-codalab/liver_dice"] == ""
    with (folders / "all" / "figures.csv").open(encoding="utf-8", newline="") as file:
        figures = list(csv.DictReader(file))
    assert {row["protocol"] for row in figures} == {"lits-codalab", "lits", "paper"}
    for path in (folders / "all").rglob("*.*"):
        assert str(folders) not in path.read_text(encoding="utf-8"), path.name


def test_probabilities_give_froc_and_calibration(folders):
    for case in range(4):
        found = labels(1 + case % 2, 0 if case == 3 else 2)
        softmax = np.zeros((3, *GRID.shape), np.float32)
        softmax[2] = np.where(found.tumour, 0.9, 0.05)
        (folders / "softmax").mkdir(exist_ok=True)
        np.savez(folders / "softmax" / f"segmentation-{case}.npz", probabilities=softmax)
    board, _ = score(folders, "near", reading=Reading(probabilities=(folders / "softmax",)))
    assert board["froc"]["near"]["sensitivity"][-1] == 1
    assert board["froc"]["near"]["scans"] == 4
    assert 0 < board["calibration"]["near"]["ece"] < 0.5
    with pytest.raises(BadInput, match="one a method"):
        score(folders, "near", "far", reading=Reading(probabilities=(folders / "softmax",)))


def test_two_entries_of_one_name_are_told_apart(folders):
    board, _ = score(folders, "near", "near")
    assert board["methods"] == ["near", "near_2"]
    assert not math.isnan(board["comparisons"][0]["wilcoxon_p"])


def test_references_without_a_prediction_are_listed_or_scored_as_misses(folders):
    (folders / "near" / "segmentation-1.nii.gz").unlink()
    listed, _ = score(folders, "near")
    assert [row["case"] for row in listed["unmatched"] if row["side"] == "truth"] == ["1"]
    missed, verdict = score_predictions(
        folders / "truth", [str(folders / "near")], Reading(), Options(workers=1, missing="miss"), Outputs(),
        lambda *_: None,
    )  # fmt: skip
    assert missed["unmatched"] == []
    assert sorted(case.case for case in verdict.cases) == ["0", "1", "2", "3"]

    def mean(board, name: str) -> dict:
        return next(row for row in board["protocols"][1]["figures"] if row["name"] == name)

    assert mean(missed, "tumour_dice")["value"] < mean(listed, "tumour_dice")["value"]
    assert mean(missed, "liver_assd_mm")["value"] > mean(listed, "liver_assd_mm")["value"]
    assert mean(missed, "liver_dice")["missed"] == 1
    assert "--missing miss" in missed["command"]


def test_official_corrected_and_difference_stand_side_by_side_with_a_reason_per_case(tmp_path):
    merged = np.zeros(GRID.shape, np.uint8)
    merged[1:5, 3:17, 2:22] = 1
    merged[2, 5, [3, 19]] = 2
    spanning = merged.copy()
    spanning[2, 5, 3:20] = 2
    for case, found in {"0": merged, "1": spanning}.items():
        write(LabelMap(merged, GRID), tmp_path / "truth" / f"segmentation-{case}.nii.gz")
        write(LabelMap(found, GRID), tmp_path / "near" / f"segmentation-{case}.nii.gz")
    board, _ = score(tmp_path, "near")
    rows = {(row["case"], row["official_name"]): row for row in board["official_against_corrected"]}
    bad, good = rows["1", "lesion_recall"], rows["0", "lesion_recall"]
    assert (bad["official"], bad["corrected"], bad["difference"]) == (-0.5, 0, 0.5)
    assert "official says TP −1" in bad["reason"]
    assert (good["difference"], good["reason"]) == (0, "")
    assert rows[None, "lesion_recall"]["official"] == 0.25


def test_an_output_that_cannot_be_written_is_told_before_anything_is_scored(folders):
    (folders / "file").write_text("", encoding="utf-8")
    for outputs in (Outputs(out=folders / "file"), Outputs(json=folders / "file" / "scores.json")):
        with pytest.raises(OutputError, match="'file' is a file, not a folder"):
            score(folders, "near", outputs=outputs)


def test_other_predictions_of_one_size_and_time_are_scored_anew(folders):
    for name, shift in (("one", 1), ("two", 5)):
        for case in range(4):
            path = folders / name / f"segmentation-{case}.nii"
            write(labels(shift), path)
            os.utime(path, (1, 1))
    first = judge(
        RefereeOrder(Entry("truth", folders / "truth"), (Entry("net", folders / "one"),), folders / "o", ALONE)
    )
    second = judge(
        RefereeOrder(Entry("truth", folders / "truth"), (Entry("net", folders / "two"),), folders / "o", ALONE)
    )
    assert all(a.scores != b.scores for a, b in zip(first.cases, second.cases, strict=True))
