"""The demo shows the whole path on a phantom that no training saw."""

from __future__ import annotations

import json

import numpy as np
import pytest

import hepar
from hepar.datasets.phantom import DEMO, make_phantom, training_settings
from hepar.errors import BadModel
from hepar.inference import model, open_model, shipped_model
from hepar.io import read, read_labels
from hepar.service.demo import phantom_demo


def test_the_demo_finds_the_liver_of_the_phantom(tmp_path):
    if not (shipped_model() / "model.json").is_file():
        pytest.skip("the shipped model is not built yet")
    result = phantom_demo(tmp_path, open_model())
    assert all(path.is_file() for path in result.files)
    scores = result.summary.scores
    assert scores["liver"]["dice"] > 0.9
    assert scores["tumour"]["dice"] > 0.3
    assert scores["liver"]["assd_mm"] < 5


def test_the_demo_writes_what_it_shows(tmp_path, threshold_model):
    # Any model shows the path; thresholds find no liver worth the name.
    result = phantom_demo(tmp_path, open_model(threshold_model))
    assert {path.name for path in result.files} == {path.name for path in tmp_path.iterdir()}
    ct, truth = make_phantom(DEMO)
    assert np.array_equal(read(tmp_path / "phantom_ct.nii.gz").values, ct.values)
    assert np.array_equal(read_labels(tmp_path / "phantom_label.nii.gz").labels, truth.labels)
    found = read_labels(tmp_path / "phantom.nii.gz")
    assert found.geometry.same_grid(ct.geometry)
    page = (tmp_path / "phantom.html").read_text(encoding="utf-8")
    assert "no clinical evidence" in page
    assert hepar.DISCLAIMER in page
    facts = json.loads((tmp_path / "phantom.json").read_text(encoding="utf-8"))
    assert facts["evidence"] == "phantom"
    assert facts["empty_rule"]
    assert facts["scores"]["liver"]["dice"] == pytest.approx(hepar.evaluate(truth, found).liver.dice)


def test_no_training_phantom_is_of_the_demos_shape_family():
    settings = training_settings(50, seed=7)
    assert {s.family for s in settings} == {"ellipsoid"}
    assert DEMO.family != "ellipsoid"
    assert DEMO.seed not in {s.seed for s in settings}


def test_a_missing_model_is_said_before_anything_is_written(tmp_path, monkeypatch, hepar_command):
    monkeypatch.setattr(model, "shipped_model", lambda: tmp_path / "nowhere")
    ended = hepar_command("demo", "-o", tmp_path / "out")
    assert ended.code == BadModel.exit_code
    assert "nowhere holds no model.json" in ended.err
    assert not (tmp_path / "out").exists()
