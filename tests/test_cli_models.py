"""Commands around models: what they refuse, and that nothing is left behind when they do."""

from __future__ import annotations

import json
import shutil

import pytest

from hepar.errors import BadModel
from hepar.inference import open_model


@pytest.fixture
def folds(tmp_path):
    path = tmp_path / "folds.json"
    path.write_text(json.dumps([{"train": ["a", "b"], "test": ["c"]}]))
    return path


def test_quantising_a_folder_that_is_no_model_names_it(hepar_command, tmp_path, folds):
    (tmp_path / "empty").mkdir()
    (tmp_path / "data").mkdir()
    ended = hepar_command("quantise", tmp_path / "empty", tmp_path / "data", "--folds", folds)
    assert ended.code != 0
    assert "Traceback" not in ended.err
    assert list((tmp_path / "empty").iterdir()) == []


def test_a_coarse_model_that_is_missing_is_said_before_anything_is_written(hepar_command, tmp_path):
    card = tmp_path / "card.json"
    card.write_text(json.dumps({k: "x" for k in ("name", "description", "licence", "trained_on", "limits")}))
    ended = hepar_command("export", tmp_path, "-o", tmp_path / "out", "--card", card, "--margin", "20")
    assert ended.code == 3
    assert "model.json" in ended.err
    assert not (tmp_path / "out" / "model.onnx").exists()


def test_fast_of_a_model_of_one_pass_is_refused(hepar_command, tmp_path, small_scan):
    from hepar.io import write_volume

    write_volume(small_scan[0], tmp_path / "ct.nii.gz")
    one = tmp_path / "one"
    shutil.copytree(open_model().fast.folder, one)
    ended = hepar_command("segment", tmp_path / "ct.nii.gz", "-o", tmp_path / "out", "-m", one, "--fast")
    assert ended.code == 3
    assert "leave --fast away" in ended.err
    assert not (tmp_path / "out").exists()


def test_the_first_pass_is_part_of_the_models_name(tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(open_model().folder, folder)
    before = open_model(folder).id
    facts = json.loads((folder / "model.json").read_text())
    facts["first_pass"]["margin_mm"] = 30.0
    (folder / "model.json").write_text(json.dumps(facts))
    assert open_model(folder).id != before
    shutil.rmtree(folder / "coarse")
    with pytest.raises(BadModel, match=r"holds no model\.json"):
        open_model(folder)
