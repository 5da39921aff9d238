"""An order becomes one training: left-out patients never train, misspelt words never pass."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hepar.cases import Fold, save_folds
from hepar.errors import BadInput
from hepar.preprocess import InPlaneGrid, Window
from hepar.study.training import TrainingOrder, method_of, train_ordered, training_cases
from hepar.training.recipe import LITERAL, PRACTICAL, Augmentation


def write_set(root: Path, rows: list[dict[str, object]], suffix: str) -> Path:
    """A data set of flat pictures; nobody looks at them here."""
    for part in ("images", "labels"):
        (root / part).mkdir(parents=True, exist_ok=True)
    with (root / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    grey = np.full((64, 64), 60, np.uint8)
    grey[20:44, 8:40] = 180
    for row in rows:
        name = f"{row['file']}{suffix}"
        Image.fromarray(grey).save(root / "images" / name)
        Image.fromarray((grey > 100).astype(np.uint8)).save(root / "labels" / f"{Path(name).stem}.png")
    return root


@pytest.fixture
def data(tmp_path) -> tuple[Path, Path, Path]:
    """Three folders; patient 28 stands in all of them, once under the name of another collection."""
    large = write_set(
        tmp_path / "lits512",
        [{"file": f"lits{p:03d}_s{s:03d}", "patient": f"lits{p:03d}", "slice": s} for p in (1, 2, 28) for s in (0, 2)],
        ".webp",
    )
    (large / "scans.csv").write_text("patient,x_mm,y_mm,z_mm\n")
    small = write_set(
        tmp_path / "slices256",
        [
            {"file": f"idx{n}_lits{p:03d}_z000.png", "patient": f"lits{p:03d}", "label_status": status}
            for n, (p, status) in enumerate([(2, "full"), (28, "full"), (28, "liver_union"), (9, "liver_union")])
        ],
        "",
    )
    volumes = tmp_path / "ct"
    volumes.mkdir()
    for name in ("ircad01_ct.nii.gz", "ircad01_label.nii.gz", "ircad07_ct.nii.gz"):
        (volumes / name).write_bytes(b"")
    return large, small, volumes


@pytest.fixture
def order(data, tmp_path) -> TrainingOrder:
    return TrainingOrder("cdnn_squeeze", data, tmp_path / "run", encoder_weights="none")


def but(order: TrainingOrder, **changes: object) -> TrainingOrder:
    from dataclasses import replace

    return replace(order, **changes)


def test_without_a_wish_everything_labelled_trains(order):
    assert {case.id for case in training_cases(order)} == {
        "lits512-lits001", "lits512-lits002", "lits512-lits028",
        "slices256-lits002", "slices256-lits028", "slices256-lits028-liver_union", "slices256-lits009-liver_union",
        "ircad01",
    }  # fmt: skip


def test_a_left_out_patient_trains_in_no_folder_and_under_no_name(order):
    kept = training_cases(but(order, leave_out=("lits028",)))
    assert {case.id for case in kept} == {
        "lits512-lits001", "lits512-lits002", "slices256-lits002", "slices256-lits009-liver_union",
    }  # fmt: skip
    assert all("028" not in case.id and case.id != "ircad01" for case in kept)


def test_two_left_out_patients_leave_both(order):
    kept = training_cases(but(order, leave_out=("lits028", "lits002")))
    assert {case.patient for case in kept} == {"lits001", "lits009"}


@pytest.mark.parametrize("typed", ["lits28", "LITS028", "lits029", ""])
def test_a_misspelt_patient_is_an_error_not_a_test_patient_in_training(order, tmp_path, typed):
    with pytest.raises(BadInput, match=f"patients {typed} are in none of the data sets; check --leave-out"):
        training_cases(but(order, leave_out=(typed,)))
    save_folds([Fold(("lits001",), ("lits002",))], tmp_path / "folds.json")
    with pytest.raises(BadInput, match="are in none of the data sets"):
        training_cases(but(order, leave_out=(typed,), folds=tmp_path / "folds.json"))


def test_the_test_side_of_a_fold_never_trains(order, tmp_path):
    folds = [Fold(("lits001", "lits002"), ("lits028", "lits077")), Fold(("lits028",), ("lits001", "lits002"))]
    save_folds(folds, tmp_path / "folds.json")
    patients = [
        {case.patient for case in training_cases(but(order, folds=tmp_path / "folds.json", fold=fold))}
        for fold in (0, 1)
    ]
    # Patients of other data, here 9, are on no side and train.
    assert patients == [{"lits001", "lits002", "lits009"}, {"lits028", "lits009"}]


def test_a_fold_and_left_out_patients_add_up(order, tmp_path):
    save_folds([Fold(("lits001",), ("lits002",))], tmp_path / "folds.json")
    kept = training_cases(but(order, folds=tmp_path / "folds.json", leave_out=("lits028",)))
    assert {case.patient for case in kept} == {"lits001", "lits009"}


def test_folds_of_other_data_are_an_error(order, tmp_path):
    save_folds([Fold(("1",), ("28",))], tmp_path / "folds.json")
    with pytest.raises(BadInput, match=r"no patient of folds\.json is in the data"):
        training_cases(but(order, folds=tmp_path / "folds.json"))
    with pytest.raises(BadInput, match="has folds 0 to 0, not 1"):
        training_cases(but(order, folds=tmp_path / "folds.json", fold=1))
    with pytest.raises(BadInput, match=r"gone\.json cannot be read"):
        training_cases(but(order, folds=tmp_path / "gone.json"))


def test_phantoms_come_on_top(order):
    with_phantoms = training_cases(but(order, phantoms=3))
    assert [case.evidence for case in with_phantoms[-3:]] == ["phantom"] * 3
    assert len(with_phantoms) == len(training_cases(order)) + 3
    assert len({case.id for case in with_phantoms}) == len(with_phantoms)


def test_settings_change_the_recipe_the_window_and_the_matrix(order):
    settings = (
        "epochs=3", "learning_rate=1", "optimizer=adamw", "loss=dice_cross_entropy", "window=-40,160", "matrix=256",
        "patch=128", "drop_last=false", 'augmentation={"noise": 0.5}',
    )  # fmt: skip
    plain, changed = method_of(order), method_of(but(order, settings=settings))
    assert (changed.recipe.epochs, changed.recipe.learning_rate, changed.recipe.optimizer) == (3, 1.0, "adamw")
    assert type(changed.recipe.learning_rate) is float
    assert (changed.recipe.loss, changed.recipe.patch, changed.recipe.drop_last) == ("dice_cross_entropy", 128, False)
    assert changed.recipe.augmentation == Augmentation(noise=0.5)
    assert changed.grid == InPlaneGrid(matrix=256)
    assert [type(step) for step in changed.prepare] == [type(step) for step in plain.prepare]
    assert Window(-40, 160) in changed.prepare
    assert Window(-40, 160) not in plain.prepare
    assert changed.recipe.momentum == plain.recipe.momentum


def test_null_takes_a_setting_away(order):
    shipped = but(order, method="squeeze_unet", settings=("augmentation=null", "patch=null"))
    assert method_of(but(shipped, settings=())).recipe.augmentation is not None
    assert (method_of(shipped).recipe.augmentation, method_of(shipped).recipe.patch) == (None, None)


def test_recipes_and_variants_are_chosen_by_name(order):
    assert method_of(but(order, recipe="literal")).recipe == LITERAL
    assert method_of(but(order, recipe="practical")).recipe == PRACTICAL
    assert method_of(but(order, method="cdnn_squeeze/without_preprocessing")) != method_of(order)
    with pytest.raises(BadInput, match="no recipe is called fast; there are literal, practical"):
        method_of(but(order, recipe="fast"))
    with pytest.raises(BadInput, match="no method is called alexnet"):
        method_of(but(order, method="alexnet"))


BAD_SETTINGS = {
    "epoch=3": "no setting is called epoch; there are window, matrix, .*epochs",
    "epochs": "setting epochs cannot be used",
    "epochs=many": "setting epochs=many cannot be used .*expected int",
    "epochs=2.5": "expected int",
    "epochs=0": "at least 1",
    "optimizer=sdg": "setting optimizer=sdg cannot be used",
    "precision=fp16": "setting precision=fp16 cannot be used",
    "learning_rate=fast": "expected float",
    "drop_last=1": "expected bool",
    'augmentation={"noisy": 1}': "cannot be used",
    "window=5": "setting window=5 cannot be used",
    "window=160,-40": "low below high",
    "matrix=wide": "setting matrix=wide cannot be used",
    "matrix=0": "at least 1",
}


@pytest.mark.parametrize("text", BAD_SETTINGS)
def test_a_setting_that_does_not_fit_is_named(order, text):
    with pytest.raises(BadInput, match=BAD_SETTINGS[text]):
        method_of(but(order, settings=(text,)))


def test_the_command_line_gives_the_same_order(hepar_command, data, tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr("hepar.study.training.train_ordered", lambda order, _: given.append(order))
    ended = hepar_command(
        "train", "cdnn_alex/fcn32s", data[0], data[1], "-o", tmp_path / "run", "--leave-out", "lits028, lits001",
        "--phantoms", 2, "--encoder-weights", "none", "--recipe", "literal", "--set", "epochs=1", "--set", "seed=5",
    )  # fmt: skip
    assert (ended.code, ended.err) == (0, "")
    assert given == [
        TrainingOrder(
            "cdnn_alex/fcn32s", data[:2], tmp_path / "run", ("lits028", "lits001"), None, 0, 2, "none", "literal",
            ("epochs=1", "seed=5"),
        )
    ]  # fmt: skip


def test_a_small_order_trains_through_the_command_line_and_records_who_trained(hepar_command, data, tmp_path):
    quick = ("--encoder-weights", "none", "--set", "epochs=1", "--set", "batch=2", "--set", "matrix=64")
    words = ("train", "cdnn_squeeze", data[0], "-o", tmp_path / "run", "--leave-out", "lits028", *quick)
    ended = hepar_command(*words)
    assert (ended.code, ended.err) == (0, "")
    assert "epoch 1:" in ended.out
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["training_patients"] == ["lits001", "lits002"]
    assert str(tmp_path) not in json.dumps(run)


def test_a_training_order_trains(order, data):
    heard = []
    settings = ("epochs=1", "batch=2", "matrix=64")
    segmenter = train_ordered(but(order, data=data[:1], settings=settings, leave_out=("lits001",)), heard.append)
    assert heard[-1].ended
    assert segmenter.name.startswith("run@")
