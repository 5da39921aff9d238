"""Reading, segmenting, scoring and reporting need no torch, and `import hepar` costs next to nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hepar.inference import ModelCard, Pipeline, save_model
from hepar.io import write, write_volume
from hepar.preprocess import InPlaneGrid, Window

# Importing any of these fails as it does where they are not installed.
BLOCKER = """
import sys

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "safetensors", "onnx", "onnxscript", "onnxruntime", "torchvision"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NotInstalled())
"""
HEAVY = ("torch", "SimpleITK", "openvino", "nibabel", "pydicom", "scipy", "PIL", "jinja2", "rich", "typer", "numpy")


def python(code: str, *words: object) -> subprocess.CompletedProcess[str]:
    """Run `code` in a fresh interpreter where torch and its companions are not installed."""
    command = [sys.executable, "-c", BLOCKER + code, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_the_blocker_blocks():
    ended = python("import torch")
    assert ended.returncode == 1
    assert "No module named 'torch'" in ended.stderr


def test_import_hepar_takes_no_heavy_library():
    ended = python("import json, hepar; print(json.dumps([m for m in sys.modules if '.' not in m]))")
    assert ended.returncode == 0, ended.stderr
    assert set(json.loads(ended.stdout)) & set(HEAVY) == set()


def test_names_of_the_package_are_there_when_asked_for():
    code = "import hepar; hepar.Volume, hepar.LabelMap, hepar.Geometry, hepar.read, hepar.write, hepar.read_labels"
    ended = python(code + ", hepar.segment, hepar.evaluate; print('numpy' in sys.modules, 'openvino' in sys.modules)")
    assert ended.stdout.split() == ["True", "False"], ended.stderr
    assert "AttributeError: module 'hepar' has no attribute 'sgement'" in python("import hepar; hepar.sgement").stderr


def test_the_command_line_starts_without_heavy_libraries():
    code = "import json, hepar.cli; print(json.dumps([m for m in sys.modules if '.' not in m]))"
    ended = python(code)
    assert ended.returncode == 0, ended.stderr
    assert set(json.loads(ended.stdout)) & {"torch", "SimpleITK", "openvino", "scipy", "pydicom", "nibabel"} == set()


MAIN_PATH = """
from pathlib import Path
import numpy as np
import hepar
from hepar.cli import main

ct, truth, model, out = map(Path, sys.argv[1:])
found = hepar.segment(ct, model)
assert np.array_equal(found.labels, hepar.read_labels(truth).labels)
assert hepar.evaluate(hepar.read_labels(truth), found).liver.dice == 1
for words in (["segment", ct, "-o", out, "-m", model], ["evaluate", truth, out / "ct.nii.gz", "-o", out / "scores"],
              ["preview-preprocessing", ct, "--slice", "3", "-o", out / "fig2.png"]):
    sys.argv = ["hepar", *map(str, words)]
    try:
        main()
    except SystemExit as end:
        assert not end.code, words
assert not {"torch", "safetensors", "onnx"} & set(sys.modules)
"""


def test_segment_evaluate_and_report_work_without_torch(tmp_path, threshold_model, small_scan):
    ct, truth = small_scan
    write_volume(ct, tmp_path / "ct.nii.gz")
    write(truth, tmp_path / "label.nii.gz")
    ended = python(MAIN_PATH, tmp_path / "ct.nii.gz", tmp_path / "label.nii.gz", threshold_model, tmp_path / "out")
    assert ended.returncode == 0, ended.stderr
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"ct.nii.gz", "ct.json", "ct.csv", "ct.html", "ct.png", "scores", "fig2.png"}


def run_command(*words: object) -> subprocess.CompletedProcess[str]:
    return python("from hepar.cli import main; main()", *words)


def test_a_torch_model_asks_for_the_extra(tmp_path, small_scan):
    folder = tmp_path / "model"
    folder.mkdir()
    weights = folder / "weights.safetensors"
    weights.write_bytes(b"never read")
    card = ModelCard("tiny", "a test", "free", "nothing", "none")
    save_model(folder, card, Pipeline((Window(),), InPlaneGrid(matrix=64)), weights, {"network": "CdnnSqueeze"})
    write_volume(small_scan[0], tmp_path / "ct.nii.gz")
    ended = run_command("segment", tmp_path / "ct.nii.gz", "-m", folder, "-o", tmp_path / "out")
    assert_asks_for_the_extra(ended)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("words", [("methods",), ("train", "cdnn_squeeze", "data", "-o", "run")])
def test_training_asks_for_the_extra(words):
    assert_asks_for_the_extra(run_command(*words))


def test_exporting_asks_for_the_extra(tmp_path):
    assert_asks_for_the_extra(run_command("export", tmp_path, "-o", tmp_path / "out", "--card", tmp_path / "card.json"))


def assert_asks_for_the_extra(ended: subprocess.CompletedProcess[str]) -> None:
    assert ended.returncode == 6, ended.stderr
    assert "pip install hepar[train]" in " ".join(ended.stderr.split())
    assert "Traceback" not in ended.stderr


def test_the_shipped_model_needs_no_torch(tmp_path, small_scan):
    from hepar.inference import shipped_model

    if not Path(shipped_model() / "model.json").is_file():
        pytest.skip("the shipped model is not built yet")
    write_volume(small_scan[0], tmp_path / "ct.nii.gz")
    ended = run_command("segment", tmp_path / "ct.nii.gz", "-o", tmp_path / "out.nii.gz", "--no-report")
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "out.nii.gz").is_file()
