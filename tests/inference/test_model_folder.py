"""A model is a folder that can be checked, and that runs nothing."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hepar.errors import BadInput, BadModel
from hepar.inference import ModelCard, Pipeline, load_segmenter, open_model, save_model
from hepar.postprocess import DropSmallTumours, FillLiverHoles, KeepLargestLiver
from hepar.preprocess import EqualizeHistogram, InPlaneGrid, MedianInPlane, Window

CARD = ModelCard("tiny", "a test", "free", "nothing", "none", {"dice": 0.5, "run": "runs/x"})
PIPELINE = Pipeline(
    (Window(-40, 160), EqualizeHistogram("body"), MedianInPlane(5)),
    InPlaneGrid(pixel_mm=1.5, multiple=16),
    (KeepLargestLiver(), FillLiverHoles(), DropSmallTumours(0.05)),
)


@pytest.fixture
def folder(tmp_path) -> Path:
    """A model folder whose weights are bytes that nobody will run."""
    where = tmp_path / "model"
    where.mkdir()
    (where / "model.onnx").write_bytes(b"weights")
    save_model(where, CARD, PIPELINE, where / "model.onnx", {"network": "CdnnSqueeze", "width": 0.1})
    return where


def change(folder: Path, **facts: object) -> None:
    path = folder / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | facts))


def test_what_was_saved_is_opened(folder):
    model = open_model(folder)
    assert (model.card, model.pipeline, model.kind) == (CARD, PIPELINE, "onnx")
    assert model.network == {"network": "CdnnSqueeze", "width": 0.1}
    assert re.fullmatch("tiny@[0-9a-f]{12}", model.id)


def test_another_pipeline_is_another_one(folder):
    model = open_model(folder)
    other = replace(PIPELINE, grid=InPlaneGrid(matrix=512))
    changed = save_model(folder, CARD, other, folder / "model.onnx", {})
    assert changed.pipeline == other
    assert changed.pipeline != model.pipeline


def test_a_model_folder_can_be_moved(folder, tmp_path):
    moved = shutil.copytree(folder, tmp_path / "elsewhere")
    shutil.rmtree(folder)
    assert open_model(moved).card == CARD


def test_one_changed_byte_of_the_weights_is_noticed(folder):
    (folder / "model.onnx").write_bytes(b"weightt")
    with pytest.raises(BadModel, match=r"not the file that model\.json describes"):
        open_model(folder)


def test_missing_weights_are_named(folder):
    (folder / "model.onnx").unlink()
    with pytest.raises(BadModel, match=r"model/model\.onnx is missing"):
        open_model(folder)


def test_a_folder_without_settings_is_no_model(tmp_path):
    with pytest.raises(BadModel, match=r"holds no model\.json"):
        open_model(tmp_path)
    with pytest.raises(BadModel, match=r"holds no model\.json"):
        open_model(tmp_path / "not there")


def test_a_newer_format_asks_for_a_newer_hepar(folder):
    change(folder, format=2)
    with pytest.raises(BadModel, match="format 2, this hepar reads 1; update hepar"):
        open_model(folder)


@pytest.mark.parametrize("place", ["../outside.onnx", "/etc/hostname", "deeper/../../outside.onnx"])
def test_weights_outside_the_folder_are_out_of_reach(folder, place):
    (folder.parent / "outside.onnx").write_bytes(b"weights")
    change(folder, weights=place)
    with pytest.raises(BadModel, match=r"model/(outside\.onnx|hostname) is missing"):
        open_model(folder)


DAMAGED = {
    "unknown step": {"prepare": [{"step": "RunThis", "command": "rm"}]},
    "unknown setting": {"prepare": [{"step": "Window", "low": 0}]},
    "unusable setting": {"prepare": [{"step": "Window", "low_hu": 5, "high_hu": 5}]},
    "a step that cleans": {"prepare": [{"step": "KeepLargestLiver"}]},
    "steps are no list": {"clean": "KeepLargestLiver"},
    "unknown cleaning": {"clean": [{"step": "Eval"}]},
    "no such grid": {"grid": {"voxels": 3}},
    "both grids": {"grid": {"pixel_mm": 1.0, "matrix": 512}},
    "a grid of text": {"grid": {"pixel_mm": "wide"}},
    "no card": {"card": {}},
    "weights are a number": {"weights": 5},
    "a kind nobody knows": {"kind": "pickle"},
    "format is text": {"format": "one"},
}


@pytest.mark.parametrize("what", DAMAGED)
def test_damaged_settings_are_a_bad_model(folder, what):
    change(folder, **DAMAGED[what])
    with pytest.raises(BadModel):
        open_model(folder)


@pytest.mark.parametrize("text", ["", "[]", "null", "{", '{"format": 1}', "\x00\x01"])
def test_settings_that_are_no_settings_are_a_bad_model(folder, text):
    (folder / "model.json").write_text(text)
    with pytest.raises(BadModel, match=r"model\.json is damaged"):
        open_model(folder)


def test_weights_that_openvino_cannot_read_are_a_bad_model(folder):
    with pytest.raises(BadModel, match=r"model\.onnx is not a model OpenVINO can read"):
        load_segmenter(folder)


def test_an_onnx_model_runs_on_the_cpu_only(threshold_model):
    for device in ("cuda", "cuda:1", "mps", "gpu"):
        with pytest.raises(BadInput, match="use --device cpu or auto"):
            load_segmenter(threshold_model, device)
    assert load_segmenter(threshold_model, "cpu").name.startswith("threshold@")


def test_the_same_labels_every_time(threshold_model, small_scan):
    ct, truth = small_scan
    found = [load_segmenter(threshold_model).segment(ct).labels for _ in range(2)]
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], truth.labels)
