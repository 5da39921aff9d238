"""`hepar segment --engine --precision --threads`: the choice is met, recorded, and part of what "finished" means."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hepar.inference import EngineOptions, open_model
from hepar.inference.backends.openvino import computes_in_bf16
from hepar.io import read_labels, write_volume
from hepar.service.batch import Job, segment_batch


@pytest.fixture
def scan(tmp_path, small_scan):
    folder = tmp_path / "scans"
    folder.mkdir()
    write_volume(small_scan[0], folder / "ct.nii.gz")
    return folder


def test_the_engine_stands_in_the_json_and_on_the_page(hepar_command, scan, tmp_path, threshold_model):
    ended = hepar_command("segment", scan, "-o", tmp_path / "out", "-m", threshold_model, "--precision", "fp32")
    assert ended.code == 0, ended.err
    facts = json.loads((tmp_path / "out" / "ct.json").read_text())
    assert facts["engine"].startswith("OpenVINO")
    assert facts["engine"].endswith("on cpu, fp32")
    assert facts["engine"] in (tmp_path / "out" / "ct.html").read_text()


def test_onnx_runtime_writes_the_same_labels(hepar_command, scan, tmp_path, threshold_model):
    pytest.importorskip("onnxruntime", reason="the extra hepar[onnx] is not installed")
    for engine in ("openvino", "onnxruntime"):
        words = ("-m", threshold_model, "--no-report", "--precision", "fp32", "--engine", engine)
        ended = hepar_command("segment", scan, "-o", tmp_path / engine, *words)
        assert ended.code == 0, ended.err
    one, two = (read_labels(tmp_path / engine / "ct.nii.gz").labels for engine in ("openvino", "onnxruntime"))
    assert np.array_equal(one, two)
    assert one.any()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--engine", "torch"), (2, "stored for openvino or onnxruntime")),
        (("--precision", "int8"), (3, "no int8 weights")),
        (("--device", "cuda"), (2, "runs on the CPU")),
        (("--threads", "-2"), (2, "threads is -2")),
        (("--precision", "fp8"), (2, "fp8")),
    ],
)
def test_wishes_that_cannot_be_met_end_before_any_file(hepar_command, scan, threshold_model, words, expected):
    out = scan.parent / "out"
    ended = hepar_command("segment", scan, "-o", out, "-m", threshold_model, *words)
    assert (ended.code, expected[1] in ended.err) == (expected[0], True)
    assert not out.exists()


def test_another_number_of_threads_is_no_reason_to_begin_anew(scan, tmp_path, threshold_model):
    model = open_model(threshold_model)
    statuses = []
    for threads in (1, 2):
        options = EngineOptions(precision="fp32", threads=threads)
        statuses += [one.status for one in segment_batch(scan, Job(tmp_path / "out", model, options, reports=False))]
    assert statuses == ["segmented", "skipped"]


@pytest.mark.skipif(not computes_in_bf16(), reason="this processor does not compute in bf16")
def test_another_precision_segments_again(scan, tmp_path, threshold_model):
    model = open_model(threshold_model)
    statuses = []
    for precision in ("bf16", "fp32", "fp32"):
        options = EngineOptions(precision=precision)
        statuses += [one.status for one in segment_batch(scan, Job(tmp_path / "out", model, options, reports=False))]
    assert statuses == ["segmented", "segmented", "skipped"]


def test_results_of_an_older_hepar_without_an_engine_are_made_anew(scan, tmp_path, threshold_model):
    model = open_model(threshold_model)
    job = Job(tmp_path / "out", model, EngineOptions(precision="fp32"), reports=False)
    segment_batch(scan, job)
    facts = json.loads((tmp_path / "out" / "ct.json").read_text())
    del facts["engine"]
    (tmp_path / "out" / "ct.json").write_text(json.dumps(facts))
    assert [one.status for one in segment_batch(scan, job)] == ["segmented"]
