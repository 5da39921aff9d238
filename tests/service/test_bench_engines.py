"""`hepar bench` picks what is fastest among what finds the same, says why, and tells what is missing."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hepar.errors import BadInput, BadModel
from hepar.geometry import Geometry
from hepar.inference import EngineOptions, open_model
from hepar.service import bench_engines
from hepar.service.bench_engines import Measured, bench, command, difference, phantom_slab, picked
from hepar.volume import LabelMap

FP32 = EngineOptions("cpu", "openvino", "fp32")
BF16 = EngineOptions("cpu", "openvino", "bf16")
INT8 = EngineOptions("cpu", "openvino", "int8")


def row(options: EngineOptions, speed: float, drop: float = 0.0) -> Measured:
    return Measured(options, str(options), speed, 1.0, drop)


def test_the_fastest_is_picked_where_labels_stay():
    pick, why = picked([row(FP32, 10), row(BF16, 20, 0.001), row(INT8, 30, 0.004)])
    assert pick.options == INT8
    assert "30.0 slices/s, 3.0 times openvino fp32" in why
    assert "within 0.0040 Dice" in why


def test_what_finds_something_else_is_not_picked_and_is_named():
    pick, why = picked([row(FP32, 10), row(BF16, 20, 0.001), row(INT8, 30, 0.006)])
    assert pick.options == BF16
    assert why.endswith("faster, but another result: openvino int8 (0.0060)")


def test_a_gain_too_small_to_measure_does_not_cost_exactness():
    pick, why = picked([row(FP32, 10), row(BF16, 10.4, 0.001)])
    assert pick.options == FP32
    assert "openvino bf16 is less than 5% faster" in why
    assert picked([row(FP32, 10), row(BF16, 10.6, 0.001)])[0].options == BF16


def test_of_two_as_exact_the_faster_is_picked_however_small_the_gain():
    onnx = EngineOptions("cpu", "onnxruntime", "fp32")
    pick, why = picked([row(FP32, 10), row(onnx, 10.1)])
    assert pick.options == onnx
    assert "less than" not in why


def test_what_is_not_here_is_never_picked():
    rows = [row(FP32, 10), Measured(INT8, problem="no int8 weights")]
    assert picked(rows)[0].options == FP32


def labels(*values: int) -> LabelMap:
    grid = Geometry.from_spacing((1, 1, len(values)), (1, 1, 1))
    return LabelMap(np.array([[values]], np.uint8), grid)


def test_the_difference_is_the_worse_of_liver_and_tumour():
    assert difference(labels(1, 1, 2, 0), labels(1, 1, 2, 0)) == 0
    assert difference(labels(1, 1, 1, 1), labels(1, 1, 1, 0)) == pytest.approx(1 - 6 / 7)
    assert difference(labels(1, 1, 1, 2), labels(1, 1, 1, 1)) == 1  # the tumour is lost, the liver stays
    assert difference(labels(0, 0), labels(0, 0)) == 0


def test_the_slab_shows_liver_on_the_pixels_that_scanners_give(threshold_model):
    ct = phantom_slab(3)
    assert ct.values.shape == (3, 512, 512)
    assert ct.geometry.spacing_mm == pytest.approx((4.0, 0.75, 0.75))
    assert len(phantom_slab(1000).values) == 64


@pytest.fixture
def small_slab(monkeypatch, small_scan):
    monkeypatch.setattr(bench_engines, "phantom_slab", lambda _: small_scan[0])


def test_engines_of_one_model_are_measured_and_what_is_missing_says_why(threshold_model, small_slab):
    said: list[str] = []
    found = bench(open_model(threshold_model), slices=6, rounds=2, threads=1, say=said.append)
    rows = {(r.options.program, r.options.precision): r for r in found.rows}
    assert found.slices == 6
    assert rows["openvino", "fp32"].drop == rows["onnxruntime", "fp32"].drop == 0
    assert rows["openvino", "fp32"].slices_per_s > 0
    assert "no int8 weights" in rows["openvino", "int8"].problem
    assert rows["openvino", "int8"].slices_per_s is None
    assert found.pick in found.rows
    assert "openvino fp32: ready" in said
    assert "openvino int8: not here" in said
    json.dumps(found.as_json())


def test_without_any_engine_the_reasons_are_told(threshold_model, small_slab, monkeypatch):
    def broken(*_: object) -> None:
        raise BadInput("no such processor")

    monkeypatch.setattr(bench_engines, "_opened", broken)
    with pytest.raises(BadModel, match="no engine here runs threshold: no such processor"):
        bench(open_model(threshold_model), rounds=1)


@pytest.mark.parametrize(("slices", "rounds"), [(0, 1), (1, 0)])
def test_nothing_to_measure_is_refused(threshold_model, slices, rounds):
    with pytest.raises(BadInput, match="expected at least 1 of both"):
        bench(open_model(threshold_model), slices, rounds)


def test_the_pick_is_told_as_words_that_segment_takes(threshold_model, small_slab, hepar_command, tmp_path):
    assert command(row(BF16, 1)) == "--device cpu --engine openvino --precision bf16"
    ended = hepar_command("bench", "-m", threshold_model, "--rounds", 1, "--json", tmp_path / "bench.json")
    assert ended.code == 0
    assert "pick: hepar segment --device cpu --engine" in ended.out
    assert "why: " in ended.out
    assert "the model has no int8 weights" in ended.out
    kept = json.loads((tmp_path / "bench.json").read_text())
    assert kept["pick"]["options"]["precision"] in ("fp32", "bf16")
    assert kept["rows"][0]["engine"].startswith("OpenVINO")
