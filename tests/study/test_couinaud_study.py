"""Segments of left-out patients, from runs and a fold file to a table; from words to files."""

from __future__ import annotations

import csv
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hepar.cases import Fold, save_folds
from hepar.datasets.couinaud import SegmentTruth
from hepar.errors import BadInput, BadModel
from hepar.inference import Pipeline
from hepar.inference.couinaud import CouinaudSegmenter, SegmentFinding
from hepar.io import write
from hepar.metrics.couinaud import SegmentMap
from hepar.nets.cdnn_squeeze import CdnnSqueeze
from hepar.preprocess import InPlaneGrid
from hepar.study.couinaud import (
    CouinaudOrder,
    PatientScore,
    fold_left_out,
    lesions_met,
    markdown,
    model_folder,
    score_case,
    score_runs,
    segments_folder,
    summary,
)
from hepar.training import couinaud_method
from hepar.training.couinaud_method import RECIPE, CouinaudMethod, configured
from segmented_liver import save_bands_model, segmented_case, segmented_liver

FOLDS = [Fold(("lits002",), ("lits001",)), Fold(("lits001",), ("lits002",))]
HU_TO_GREY = 255 / 200


@pytest.fixture
def data(tmp_path) -> Path:
    """Two patients of sixteen slices in the layout of lits512, with segments."""
    root = tmp_path / "data" / "lits512"
    for name in ("images", "labels", "couinaud"):
        (root / name).mkdir(parents=True)
    rows: list[list[object]] = [["file", "patient", "slice"]]
    for seed, patient in enumerate(("lits001", "lits002")):
        ct, labels, segments = segmented_liver(seed=seed)
        for z in range(len(ct.values)):
            name = f"{patient}_s{2 * z:03d}"
            rows.append([name, patient, 2 * z])
            grey = ((ct.values[z] + 40) * HU_TO_GREY).clip(0, 255).astype(np.uint8)
            Image.fromarray(grey).convert("RGB").save(root / "images" / f"{name}.webp", lossless=True)
            Image.fromarray(labels.labels[z]).save(root / "labels" / f"{name}.png")
            if segments.labels[z].any():
                Image.fromarray(segments.labels[z]).save(root / "couinaud" / f"{name}.png")
    write_rows(root / "manifest.csv", rows)
    scans = [["patient", "z_mm", "x_mm"], ["lits001", 4.0, 3.0], ["lits002", 4.0, 3.0]]
    write_rows(root / "scans.csv", scans)
    save_folds(FOLDS, tmp_path / "folds.json")
    return root


def write_rows(path: Path, rows) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def run_folder(folder: Path, *trained: str) -> Path:
    save_bands_model(folder / "model")
    (folder / "run.json").write_text(json.dumps({"training_patients": list(trained)}))
    return folder


class Answer(CouinaudSegmenter):
    """Gives the segments it was told, inside the liver it was given."""

    def segment(self, ct, liver, heights_mm=None):
        told = segmented_liver()[2].labels
        return SegmentFinding(SegmentMap(told * liver.liver.astype(np.uint8), ct.geometry), ())


def test_the_right_answer_scores_one_and_a_found_liver_costs_what_it_misses(tmp_path):
    case = segmented_case("lits001")
    labels = case.case.truth
    half = np.where(np.arange(len(labels.labels))[:, None, None] < 8, labels.labels, 0).astype(np.uint8)
    write(labels.with_labels(half), tmp_path / "fold0" / "full" / "ours" / f"{case.case.id}.nii.gz")
    answer = Answer(lambda batch: batch, Pipeline((), InPlaneGrid(matrix=32)), "told")
    true, found = score_case(answer, case, 0, CouinaudOrder(tmp_path, tmp_path, tmp_path))
    assert [true.condition, found.condition] == ["true liver", "found liver"]
    assert set(true.figures.values()) == {1.0}
    assert (true.lesions, true.lesions_right) == (1, 1)
    # Segments below the middle are whole, those above are gone; 1 and 4 are halved.
    assert [found.figures[name] for name in ("III", "V", "VI")] == [1, 1, 1]
    assert [found.figures[name] for name in ("II", "VII", "VIII")] == [0, 0, 0]
    assert 0 < found.figures["IV"] < 1
    assert found.figures["voxels in place"] == 1
    with pytest.raises(BadInput, match="no liver of"):
        score_case(answer, case, 1, CouinaudOrder(tmp_path, tmp_path, tmp_path))


def test_what_is_found_where_nobody_drew_segments_is_no_error(tmp_path):
    case = segmented_case("lits001")
    truth = case.read_segments()
    drawn = np.arange(len(truth.known)) >= 5
    part = truth.segments.with_labels(truth.segments.labels * drawn[:, None, None].astype(np.uint8))
    known = replace(case, read_segments=lambda: SegmentTruth(part, drawn))
    unknown = replace(case, read_segments=lambda: SegmentTruth(part, np.ones_like(drawn)))
    write(case.case.truth, tmp_path / "fold0" / "full" / "ours" / f"{case.case.id}.nii.gz")
    answer = Answer(lambda batch: batch, Pipeline((), InPlaneGrid(matrix=32)), "told")
    order = CouinaudOrder(tmp_path, tmp_path, tmp_path)
    assert score_case(answer, known, 0, order)[1].figures["mean of segments"] == 1
    assert score_case(answer, unknown, 0, order)[1].figures["mean of segments"] < 1


def test_lesions_outside_of_drawn_segments_do_not_count():
    _, labels, segments = segmented_liver()
    truth = segmented_case().read_segments()
    assert lesions_met(labels, truth, segments) == (1, 1)
    empty = replace(truth, segments=segments.with_labels(np.zeros_like(segments.labels)))
    assert lesions_met(labels, empty, segments) == (0, 0)
    wrong = segments.with_labels(np.where(segments.labels > 0, 1, 0).astype(np.uint8))
    assert lesions_met(labels, truth, wrong) == (1, 0)


def test_a_run_is_scored_on_the_patients_it_did_not_see(data, tmp_path):
    runs = [run_folder(tmp_path / "b", "lits001"), run_folder(tmp_path / "a", "lits002")]
    scores = score_runs(runs, CouinaudOrder(data, tmp_path / "folds.json"))
    assert [(s.patient, s.fold) for s in scores] == [("lits001", 0), ("lits002", 1)]
    with pytest.raises(BadInput, match="both leave out fold 0"):
        score_runs([runs[1], runs[1]], CouinaudOrder(data, tmp_path / "folds.json"))


def test_a_run_that_saw_a_test_patient_fits_no_fold(tmp_path):
    with pytest.raises(BadInput, match="fit 0 folds of all"):
        fold_left_out(run_folder(tmp_path / "a", "lits001", "lits002") / "model", FOLDS, "all.json")
    with pytest.raises(BadInput, match="fit 2 folds"):
        fold_left_out(run_folder(tmp_path / "b") / "model", FOLDS, "all.json")


def test_a_liver_model_cannot_be_scored(threshold_model):
    with pytest.raises(BadModel, match="no model of Couinaud segments"):
        model_folder(threshold_model)


def score(patient: str, right: int, wrong: int, lesions=(0, 0)) -> PatientScore:
    """Segment I with `right` voxels found, `wrong` taken for II."""
    table = np.zeros((9, 9), np.int64)
    table[1, 1], table[1, 2] = right, wrong
    return PatientScore(patient, 0, "true liver", table, *lesions)


def test_means_medians_and_intervals_are_over_patients_that_have_the_segment():
    scores = [score("a", 10, 0, (2, 2)), score("b", 5, 5, (1, 0)), score("c", 0, 10), score("d", 0, 0)]
    document = summary(scores)
    row = document["conditions"]["true liver"]["figures"]["I"]
    assert row["patients"] == 3
    assert row["mean"] == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert row["median"] == pytest.approx(2 / 3)
    assert row["low"] < row["mean"] < row["high"]
    assert math.isnan(document["conditions"]["true liver"]["figures"]["II"]["mean"])
    lesions = document["conditions"]["true liver"]["lesions"]
    assert (lesions["right"], lesions["lesions"], lesions["patients"], lesions["mean"]) == (2, 3, 2, 0.5)
    text = markdown(document)
    assert "## Inside the true liver" in text
    assert "2 of 3 lesions" in text
    assert "| II | 0 | n/a" in text
    assert document["empty_rule"] in text


def test_the_folder_of_segments_is_found_from_above(data):
    assert segments_folder(data.parent) == data
    assert segments_folder(data) == data


def test_settings_of_a_training_reach_its_recipe():
    method = configured("none", epochs=3, seed=5, hold_back=0.2)
    assert (method.recipe.epochs, method.recipe.seed, method.recipe.validation_share) == (3, 5, 0.2)
    assert configured().recipe.epochs == RECIPE.epochs
    assert method.encoder_weights == "none"


def test_commands_train_and_score_a_fold(hepar_command, data, tmp_path, monkeypatch):
    tiny = CouinaudMethod(
        CdnnSqueeze(classes=8, slices=3, width=0.25),
        grid=InPlaneGrid(matrix=32),
        recipe=replace(RECIPE, epochs=1, batch=4, micro_batch=4, samples_per_epoch=4),
        encoder_weights="none",
    )
    monkeypatch.setattr(couinaud_method, "configured", lambda *_: tiny)
    folds = ("--folds", tmp_path / "folds.json")
    ended = hepar_command("study", "couinaud-train", data.parent, "-o", tmp_path / "run", *folds, "--fold", 1)
    assert ended.code == 0, ended.err
    assert json.loads((tmp_path / "run" / "run.json").read_text())["training_patients"] == ["lits001"]
    out = tmp_path / "table"
    ended = hepar_command("study", "couinaud", tmp_path / "run", "--data", data, "-o", out, *folds)
    assert ended.code == 0, ended.err
    assert json.loads((out / "table.json").read_text())["patients"][0]["patient"] == "lits002"
    assert "mean of segments" in (out / "table.md").read_text()
    shutil.rmtree(data / "couinaud")
    ended = hepar_command("study", "couinaud", tmp_path / "run", "--data", data, "-o", out, *folds)
    assert ended.code == 2
    assert "holds no Couinaud segments" in ended.err
