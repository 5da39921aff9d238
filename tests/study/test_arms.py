"""The table of a study: means with the counts behind them, undefined numbers out, unfinished work resumed."""

from __future__ import annotations

import csv
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hepar.cases import Case, Fold, save_folds
from hepar.errors import BadInput
from hepar.inference import load_segmenter
from hepar.io import write, write_volume
from hepar.metrics import EMPTY_RULE
from hepar.study import arms as arms_module
from hepar.study.arms import Arm, Trial, cases_csv, run_arms, score, score_model, table, volume_trial, write_tables
from hepar.study.six_arms import SixArms, six_arms
from hepar.study.training import TrainingOrder
from hepar.volume import LabelMap


def row(group: str, patient: str, liver: float | None, tumour: float | None, assd: float | None = 2.0) -> dict:
    """One case as `score` writes it and JSON brings it back: undefined is None."""
    structure = {"hausdorff95_mm": 5.0, "truth_ml": 10.0, "found_ml": 11.0}
    return {
        "group": group, "patient": patient, "slices": 4, "seconds": 1.5,
        "structures": {
            "liver": structure | {"dice": liver, "assd_mm": assd},
            "liver_exclusive": structure | {"dice": liver, "assd_mm": assd},
            "tumour": structure | {"dice": tumour, "assd_mm": None},
        },
    }  # fmt: skip


def arm(name: str, out: Path) -> Arm:
    return Arm(name, TrainingOrder("cdnn_squeeze", (), out / name), (name.upper(), "with"))


@pytest.fixture
def study(tmp_path) -> tuple[list[Arm], dict, Path]:
    results = {
        "a": [row("slices", "p1", 0.8, 0.5), row("slices", "p2", 0.9, None), row("volume", "p3", 0.7, float("nan"))],
        "b": [row("slices", "p1", 0.4, 0.0, assd=None), row("slices", "p2", 0.5, None), row("volume", "p3", 0.6, 0.2)],
    }
    for name in results:
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(
            json.dumps({"updates": 120, "minutes_training": 3.456, "encoder": ENCODER})
        )
    return [arm(name, tmp_path) for name in results], results, tmp_path


ENCODER = {"source": "conv.npz", "fresh": ["fc6", "fc7"], "note": ""}


def cells(text: str, first: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith(f"| {first} ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_table_prints_means_with_their_counts(study):
    shown = table(*study)
    slices, volume = cells(shown, "A")
    start = "ImageNet (conv.npz), fc6, fc7 fresh"
    assert slices == ["A", "with", start, "120", "3.5", "0.850 (2)", "2.0 (2)", "0.500 (1)", "n/a (0)"]
    assert volume[5:8] == ["0.700 (1)", "2.0 (1)", "n/a (0)"]
    slices, volume = cells(shown, "B")
    # Zero is a result, undefined is none.
    assert slices[5:] == ["0.450 (2)", "2.0 (1)", "0.000 (1)", "n/a (0)"]
    assert volume[7] == "0.200 (1)"


def test_the_table_says_its_empty_rule_and_its_groups(study):
    shown = table(*study)
    assert EMPTY_RULE in shown
    assert [line for line in shown.splitlines() if line.startswith("**")] == ["**slices**", "**volume**"]
    widths = {line.count("|") for line in shown.splitlines() if line.startswith("|")}
    assert len(widths) == 1


def test_every_case_of_every_arm_is_a_line_of_the_csv(study):
    rows = list(csv.DictReader(io.StringIO(cases_csv(study[1]))))
    assert [(r["arm"], r["patient"]) for r in rows] == [(a, p) for a in "ab" for p in ("p1", "p2", "p3")]
    assert (rows[0]["liver_dice"], rows[0]["tumour_dice"], rows[0]["tumour_assd_mm"]) == ("0.8", "0.5", "")
    assert (rows[1]["tumour_dice"], rows[3]["tumour_dice"]) == ("", "0.0")


def test_scores_hold_the_numbers_of_each_structure(threshold_model, small_scan):
    ct, truth = small_scan
    case = Case("c", "p", lambda: ct, lambda: truth)
    segmenter = load_segmenter(threshold_model)
    (full,) = score(segmenter, [Trial("volume", case)])
    assert (full["group"], full["patient"], full["slices"]) == ("volume", "p", 6)
    assert full["structures"]["tumour"]["dice"] == 1
    assert full["structures"]["liver"]["assd_mm"] == 0
    union = LabelMap(np.minimum(truth.labels, 1), truth.geometry)
    (partly,) = score(segmenter, [Trial("volume", replace(case, read_truth=lambda: union, labels="liver_union"))])
    # Union labels judge the liver with its tumours, nothing else.
    assert partly["structures"].keys() == {"liver"}


def test_a_volume_becomes_a_trial_that_is_read_when_needed(tmp_path, small_scan):
    trial = volume_trial("whole", "lits028", tmp_path / "ct.nii.gz", tmp_path / "label.nii.gz")
    write_volume(small_scan[0], tmp_path / "ct.nii.gz")
    write(small_scan[1], tmp_path / "label.nii.gz")
    assert (trial.group, trial.case.patient) == ("whole", "lits028")
    assert np.array_equal(trial.case.truth.labels, small_scan[1].labels)


@pytest.fixture
def trained(monkeypatch, threshold_model):
    """Training is replaced by writing run.json; the names of the trained arms are kept."""
    names = []

    def pretend(order, listen):
        names.append(order.out.name)
        order.out.mkdir(parents=True, exist_ok=True)
        (order.out / "run.json").write_text(json.dumps({"updates": 1, "minutes_training": 0.5, "encoder": ENCODER}))

    monkeypatch.setattr(arms_module, "train_ordered", pretend)
    monkeypatch.setattr(arms_module, "require_same_order", lambda _: None)
    monkeypatch.setattr(arms_module, "load_segmenter", lambda _: load_segmenter(threshold_model))
    return names


def test_a_study_writes_its_table_and_goes_on_where_it_stopped(trained, small_scan, tmp_path):
    ct, truth = small_scan
    trials = [Trial("volume", Case("c", "p", lambda: ct, lambda: truth))]
    said: list[str] = []
    run_arms([arm("a", tmp_path)], trials, tmp_path, lambda _: None, said.append)
    assert write_tables([arm("a", tmp_path), arm("b", tmp_path)], trials, tmp_path) == ["b"]
    assert "| B |" not in (tmp_path / "table.md").read_text()
    run_arms([arm("a", tmp_path), arm("b", tmp_path)], trials, tmp_path, lambda _: None, said.append)
    assert write_tables([arm("a", tmp_path), arm("b", tmp_path)], trials, tmp_path) == []
    assert trained == ["a", "b"]  # each once
    assert said[0] == "arm 1 of 1: a"
    assert said[-2:] == ["arm 2 of 2: b", "  volume p: liver Dice 1.000"]
    shown = (tmp_path / "table.md").read_text()
    assert cells(shown, "A")[0][5] == cells(shown, "B")[0][5] == "1.000 (1)"
    facts = json.loads((tmp_path / "study.json").read_text())
    assert facts["arms"] == ["a", "b"]
    assert facts["test"] == [{"group": "volume", "patient": "p"}]
    assert "torch" in facts["versions"]
    assert len((tmp_path / "cases.csv").read_text().splitlines()) == 3


def test_the_six_arms_share_patients_and_budget_and_differ_in_one_thing(tmp_path, monkeypatch):
    given: dict = {}
    monkeypatch.setattr(
        "hepar.study.six_arms.run_arms", lambda arms, trials, *_: given.update(arms=arms, trials=trials)
    )
    monkeypatch.setattr("hepar.study.six_arms.trials", lambda _: [])
    save_folds([Fold(("lits001",), ("lits028",))], tmp_path / "folds.json")
    weights = {"cdnn_alex": "none", "cdnn_resnet18": "none", "cdnn_squeeze": str(tmp_path / "squeeze.npz")}
    plan = SixArms(tmp_path, tmp_path, tmp_path, tmp_path / "folds.json", 0, weights, ("epochs=1",))
    six_arms(plan, tmp_path / "out", lambda _: None, lambda _: None)
    orders = [a.order for a in given["arms"]]
    assert len({a.name for a in given["arms"]}) == len({o.out for o in orders}) == 6
    assert len({(o.data, o.folds, o.fold, o.leave_out, o.phantoms, o.recipe) for o in orders}) == 1
    # Only the learning rate goes with the network, and never with the preprocessing.
    budgets = [tuple(s for s in o.settings if not s.startswith("learning_rate=")) for o in orders]
    assert len(set(budgets)) == 1
    assert all(orders[i].settings == orders[i + 1].settings for i in (0, 2, 4))
    assert orders[0].settings[-1] == "epochs=1"
    methods = [o.method for o in orders]
    assert [m.endswith("/without_preprocessing") for m in methods] == [True, False] * 3


def test_the_table_names_the_layers_that_started_fresh(study):
    arms, results, out = study
    assert cells(table(arms, results, out), "A")[0][2] == "ImageNet (conv.npz), fc6, fc7 fresh"


def test_scores_of_other_test_patients_are_not_reused(trained, small_scan, tmp_path):
    ct, truth = small_scan
    trials = [Trial("volume", Case("c", p, lambda: ct, lambda: truth)) for p in ("p", "q")]
    run_arms([arm("a", tmp_path)], trials[:1], tmp_path, lambda _: None, lambda _: None)
    with pytest.raises(BadInput, match="a was scored on other patients"):
        run_arms([arm("a", tmp_path)], trials, tmp_path, lambda _: None, lambda _: None)


def test_a_model_is_never_scored_on_patients_it_has_seen(threshold_model, small_scan, tmp_path):
    ct, truth = small_scan
    trials = [Trial("volume", Case("c", "p", lambda: ct, lambda: truth))]
    model = tmp_path / "model"
    shutil.copytree(threshold_model, model)
    with pytest.raises(BadInput, match=r"no run\.json that names its training patients"):
        score_model(model, trials, tmp_path / "out", lambda _: None)
    (model / "run.json").write_text(json.dumps({"training_patients": ["p", "x"]}))
    with pytest.raises(BadInput, match="the model trained on p; score it on the test patients"):
        score_model(model, trials, tmp_path / "out", lambda _: None)
    (model / "run.json").write_text(json.dumps({"training_patients": ["x"]}))
    score_model(model, trials, tmp_path / "out", lambda _: None)
    facts = json.loads((tmp_path / "out" / "study.json").read_text())
    assert facts["test_patients_in_training"] == "none of 1 training patients"
    assert facts["means"]["volume"]["liver dice"] == "1.000 (1)"


def test_a_misspelt_arm_is_named(tmp_path):
    weights = dict.fromkeys(("cdnn_alex", "cdnn_resnet18", "cdnn_squeeze"), "none")
    plan = SixArms(tmp_path, tmp_path, tmp_path, tmp_path / "folds.json", 0, weights, only=("cdnn_alx_with",))
    with pytest.raises(BadInput, match="no arm is called cdnn_alx_with; there are cdnn_alex_without"):
        six_arms(plan, tmp_path / "out", lambda _: None, lambda _: None)
