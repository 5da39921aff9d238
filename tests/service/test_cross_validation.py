"""From folders of predictions to the tables of a cross-validation, scored by the referee."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hepar.cases import Case
from hepar.errors import BadInput, HeparError
from hepar.io import write
from hepar.service.cross_validation import TableOrder, cross_validation, folds_in, methods_of, scored_cases
from hepar.study.arms import Trial
from hepar.study.left_out import STACKS, UNION, FoldFolder, label_cases
from hepar.volume import LabelMap


def quiet(_: str) -> None:
    """Says nothing."""


@pytest.fixture
def folder(tmp_path, small_scan):
    """Two folds of two methods: `ours` finds the truth, `peer` no tumour; one case with union labels."""
    ct, truth = small_scan
    union = LabelMap(np.minimum(truth.labels, 1), truth.geometry)
    root = tmp_path / "cv"
    for fold, patient in enumerate(("p0", "p1")):
        trials = [Trial(STACKS, Case(f"lits512-{patient}", patient, lambda: ct, lambda: truth))]
        trials.append(Trial(UNION, Case(f"u-{patient}", patient, lambda: ct, lambda: union, "liver_union")))
        for name, found in (("ours", truth), ("peer", union)):
            label_cases(trials, lambda _, found=found: found, (name, "net@1"), FoldFolder(root, fold), quiet)
    return root


def test_every_fold_and_method_is_scored_against_its_own_references(folder, tmp_path):
    document = cross_validation(TableOrder(folder), tmp_path / "out")
    assert document["methods"] == ["ours", "peer"]
    assert [(r["group"], r["patient"], r["method"], r["folds"]) for r in document["patients"]][:2] == [
        (STACKS, "p0", "ours", [0]), (STACKS, "p0", "peer", [0]),
    ]  # fmt: skip
    tumour = {r["method"]: r["mean"] for r in document["figures"] if r["figure"] == "tumour_dice"}
    assert tumour == {"ours": 1.0, "peer": 0.0}
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["figures.csv", "patients.csv", "table.json", "table.md"]
    stored = json.loads((tmp_path / "out" / "table.json").read_text())
    assert stored["sections"] == [STACKS, UNION]
    assert "## LiTS-26 stacks" in (tmp_path / "out" / "table.md").read_text()


def test_methods_come_in_the_order_asked_for_and_a_missing_one_is_told(folder, tmp_path):
    said: list[str] = []
    document = cross_validation(TableOrder(folder, ("peer", "nobody", "ours")), tmp_path / "out", say=said.append)
    assert document["methods"] == ["peer", "nobody", "ours"]
    assert said[0] == "fold 0, full: nothing of nobody"
    assert {row["case"] for row in document["without"]} == {"lits512-p0", "lits512-p1", "u-p0", "u-p1"}
    with pytest.raises(BadInput, match="cv holds no predictions of nobody"):
        scored_cases(TableOrder(folder, ("nobody",)))


def test_scores_are_kept_and_a_changed_prediction_is_scored_anew(folder, small_scan, monkeypatch):
    cases = scored_cases(TableOrder(folder))
    monkeypatch.setattr("hepar.service.referee.attempt", lambda _: pytest.fail("scored again"))
    assert scored_cases(TableOrder(folder)) == cases
    monkeypatch.undo()
    empty = LabelMap(np.zeros_like(small_scan[1].labels), small_scan[1].geometry)
    write(empty, folder / "fold0" / "full" / "ours" / "lits512-p0.nii.gz")
    again = {(c.case, c.method): c.facts["found_liver_ml"] for c in scored_cases(TableOrder(folder))}
    assert again["lits512-p0", "ours"] == 0
    assert again["lits512-p1", "ours"] > 0


def test_a_case_that_cannot_be_scored_stops_the_table(folder):
    (folder / "fold0" / "full" / "ours" / "lits512-p0.nii.gz").write_bytes(b"no gzip")
    with pytest.raises(HeparError, match=r"1 cases could not be scored: .*lits512-p0"):
        scored_cases(TableOrder(folder))


def test_a_folder_without_folds_and_a_case_that_is_not_listed_are_told(folder, small_scan, tmp_path):
    assert [place.fold for place in folds_in(folder)] == [0, 1]
    assert methods_of(folder) == ("ours", "peer")
    with pytest.raises(BadInput, match="holds no fold; make some with `hepar study predict`"):
        folds_in(tmp_path / "nothing")
    for name in ("truth", "ours"):
        write(small_scan[1], folder / "fold1" / "full" / name / "stranger.nii.gz")
    with pytest.raises(BadInput, match=r"case stranger is not in cases\.csv of fold1"):
        scored_cases(TableOrder(folder))
