"""`hepar study` from words to files: predict, table, robustness, gallery on a tiny stack of slices."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hepar.cases import Fold, save_folds

NEW = ("predict", "table", "robustness", "gallery")


@pytest.fixture
def study(tmp_path, threshold_model) -> Path:
    """Two patients of five slices, a liver of 148 HU in each; folds; a model that trained on one of them."""
    root = tmp_path / "data" / "lits512"
    for name in ("images", "labels"):
        (root / name).mkdir(parents=True)
    rows = []
    for patient in ("lits001", "lits002"):
        for index in range(5):
            labels = np.zeros((48, 48), np.uint8)
            labels[8:40, 8 : 30 + index] = 1
            name = f"{patient}_s{2 * index:03d}"
            rows.append([name, patient, 2 * index])
            # One pixel is brighter than the liver: the end of a scan's range is held whatever the condition.
            grey = np.where(labels, 240, 60)
            grey[20, 20] = 255
            picture = Image.fromarray(grey.astype(np.uint8)).convert("RGB")
            picture.save(root / "images" / f"{name}.webp", lossless=True)
            Image.fromarray(labels).save(root / "labels" / f"{name}.png")
    write(root / "manifest.csv", [["file", "patient", "slice"], *rows])
    write(root / "scans.csv", [["patient", "z_mm", "x_mm"], ["lits001", 1.2, 1.0], ["lits002", 1.2, 1.0]])
    save_folds([Fold(("lits002",), ("lits001",)), Fold(("lits001",), ("lits002",))], tmp_path / "folds.json")
    shutil.copytree(threshold_model, tmp_path / "model")
    (tmp_path / "model" / "run.json").write_text(json.dumps({"training_patients": ["lits002"]}))
    return tmp_path


def write(path: Path, rows: list[list[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


@pytest.mark.parametrize("command", NEW)
def test_every_study_command_explains_itself(hepar_command, command):
    ended = hepar_command("study", command, "--help")
    assert ended.code == 0
    assert f"Usage: hepar study {command}" in ended.out


def test_a_cross_validation_goes_from_predictions_to_table_and_gallery(hepar_command, study):
    data, folds, cv = study / "data", ("--folds", study / "folds.json"), study / "cv"
    ended = hepar_command("study", "predict", study / "model", data, "-o", cv, *folds, "--name", "ours")
    assert ended.code == 0
    assert "1 of 1 cases labelled now" in ended.out
    assert (
        "0 of 1 cases"
        in hepar_command("study", "predict", study / "model", data, "-o", cv, *folds, "--name", "ours").out
    )
    found = cv / "fold0" / "full" / "ours"
    shutil.copytree(found, study / "nnunet")
    assert hepar_command("study", "predict", study / "nnunet", data, "-o", cv, *folds).code == 0
    ended = hepar_command("study", "table", cv, "-o", study / "out", "--method", "ours", "--method", "nnunet")
    assert ended.code == 0
    assert "| Liver Dice | all patients | 1.000; median 1.000 (n 1) |" in (study / "out" / "table.md").read_text()
    ended = hepar_command("study", "gallery", cv, data, "-o", study / "gallery", *folds, "--method", "ours")
    assert ended.code == 0
    assert (study / "gallery" / "gallery.html").is_file()


def test_a_model_is_not_predicted_for_patients_it_trained_on(hepar_command, study):
    words = (study / "model", study / "data", "-o", study / "cv", "--folds", study / "folds.json", "--fold", 1)
    for command in ("predict", "robustness"):
        ended = hepar_command("study", command, *words)
        assert ended.code == 2
        assert "the model trained on lits002" in ended.err


def test_robustness_is_a_table_of_conditions(hepar_command, study):
    words = (study / "model", study / "data", "-o", study / "out", "--folds", study / "folds.json")
    ended = hepar_command("study", "robustness", *words, "--condition", "flipped", "--condition", "native")
    assert ended.code == 0
    table = (study / "out" / "robustness.md").read_text()
    assert "| flipped | rows and columns stored in reverse, affine alike | liver | 1 | 1.000 | 1.000 | 0.000 |" in table
    assert "| native | liver at 60 HU, lesions and vessels hardly different | liver | 1 | 1.000 | 0.00" in table
