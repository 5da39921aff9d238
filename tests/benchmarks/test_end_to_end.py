"""End to end: the same weights by hand give the same, operations are counted, and another result is refused."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hepar.inference import EngineOptions, load_segmenter, open_model
from hepar.inference.backends.openvino import openvino_predictor
from hepar.io import read_labels, write_volume
from hepar.volume import LabelMap


@pytest.fixture(scope="module")
def by_hand(benchmark_named):
    pytest.importorskip("torch")
    return benchmark_named("torch_eager")


@pytest.fixture(scope="module")
def end_to_end(benchmark_named):
    return benchmark_named("end_to_end")


@pytest.fixture
def stored_scan(small_scan, tmp_path) -> Path:
    write_volume(small_scan[0], tmp_path / "ct.nii.gz")
    return tmp_path / "ct.nii.gz"


def test_the_weights_by_hand_give_the_engines_logits(by_hand):
    weights = open_model().fast.weights
    grey = np.random.default_rng(0).uniform(0, 255, (2, 3, 64, 96)).astype(np.float32)
    expected = openvino_predictor(weights, "fp32", 1)[0](grey)
    assert np.abs(by_hand.OnnxNetwork(weights)(grey) - expected).max() < 1e-3


def test_an_average_of_networks_is_understood_too(by_hand):
    weights = open_model().weights
    grey = np.random.default_rng(1).uniform(0, 255, (1, 3, 32, 32)).astype(np.float32)
    expected = openvino_predictor(weights, "fp32", 1)[0](grey)
    assert np.abs(by_hand.OnnxNetwork(weights)(grey) - expected).max() < 1e-3


def test_an_unknown_node_is_named(by_hand, threshold_model, monkeypatch):
    monkeypatch.delitem(by_hand.NODES, "Conv")
    with pytest.raises(NotImplementedError, match=r"model\.onnx holds a node Conv"):
        by_hand.OnnxNetwork(threshold_model / "model.onnx")


def test_the_script_by_hand_finds_hepars_labels_where_nothing_is_resampled(by_hand, threshold_model, stored_scan):
    model = open_model(threshold_model)
    found = by_hand.segment_plainly(
        stored_scan, stored_scan.with_name("out.nii.gz"), model, by_hand.OnnxNetwork(model.weights)
    )
    from hepar.io import read
    from hepar.postprocess import FillLiverHoles, KeepLargestLiver

    cleaned = replace(model.pipeline, clean=(KeepLargestLiver(), FillLiverHoles()))
    expected = replace(load_segmenter(model), pipeline=cleaned).segment(read(stored_scan))
    assert np.array_equal(found, expected.labels)
    assert found.max() == 2
    assert np.array_equal(read_labels(stored_scan.with_name("out.nii.gz")).labels, found)


def test_a_model_that_prepares_otherwise_is_refused(by_hand, threshold_model, stored_scan):
    model = open_model(threshold_model)
    smooth = replace(model.pipeline, decision=replace(model.pipeline.decision, smooth_mm=2.0))
    with pytest.raises(NotImplementedError, match="prepared or decides in another way"):
        by_hand.segment_plainly(stored_scan, stored_scan, replace(model, pipeline=smooth), lambda grey: grey)


def test_doubtful_lesions_become_liver_and_holes_are_filled(by_hand):
    labels = np.zeros((1, 7, 9), np.uint8)
    labels[0, 1:6, 1:6] = 1
    labels[0, 3, 3] = 0  # a hole
    labels[0, 2, 2], labels[0, 4, 4] = 2, 2
    labels[0, 5, 8] = 1  # another part
    probability = np.where(labels == 2, 200, 0).astype(np.uint8)
    probability[0, 4, 4] = 100
    found = by_hand._cleaned(labels, probability, 0.5)
    assert (found[0, 3, 3], found[0, 2, 2], found[0, 4, 4], found[0, 5, 8]) == (1, 2, 1, 0)


def test_stages_and_operations_of_hepars_run_are_those_that_happened(end_to_end, threshold_model, stored_scan):
    result = end_to_end.by_hepar(stored_scan, open_model(threshold_model), EngineOptions(precision="fp32", threads=1))
    # Six slices of 40 x 48 at 1 mm, padded to 64 x 64, in one slab of eight; a 1 x 1 convolution to three channels.
    assert result["gflop"] == pytest.approx(8 * 64 * 64 * 2 * 3 / 1e9)
    assert list(result["stages"]) == ["open", "read", "segment", "write"]
    assert all(seconds > 0 for seconds in result["stages"].values())
    assert np.array_equal(read_labels(stored_scan.with_name("hepar.nii.gz")).labels, result["labels"].labels)


def test_both_passes_are_counted(end_to_end, threshold_model, tmp_path, small_scan):
    from hepar.inference.model import FirstPass

    fine = open_model(threshold_model)
    two = replace(fine, weights=fine.weights, first=FirstPass(fine, 5.0))
    segmenter, passes = end_to_end.counted(load_segmenter(two), two)
    segmenter.segment(small_scan[0])
    # Both have the same file here, so one tally: a coarse call on the whole slice, a fine one on the liver's box.
    assert passes == {fine.weights: Counter({(8, 1, 64, 64): 1, (8, 1, 32, 64): 1})}


def test_the_limit_is_arithmetic_at_the_ceiling_and_the_files(end_to_end):
    result = {"gflop": 300.0, "stages": {"open": 9.0, "read": 0.5, "segment": 9.0, "write": 0.25}}
    assert end_to_end.limit(result, 100.0) == 3.75


def labelled(grid, *boxes):
    labels = np.zeros(grid.shape, np.uint8)
    for value, box in enumerate(boxes, start=1):
        labels[box] = value
    return LabelMap(labels, grid)


def finished(end_to_end, exact, other):
    from importlib import import_module

    results = {"hepar fp32": {"labels": exact}, "torch eager": {"labels": other.labels}, "nnU-Net": {"gflop": 1}}
    return import_module("pairs").Timed({}, results)


def test_labels_of_all_programs_are_compared_with_hepars(end_to_end, oblique_grid):
    exact = labelled(oblique_grid, np.s_[:, :, 2:10], np.s_[:, :, 4:6])
    found = end_to_end.compared(finished(end_to_end, exact, exact))
    assert found == {name: {"liver": 1.0, "tumour": 1.0} for name in ("hepar fp32", "torch eager")}


def test_another_liver_or_none_stops_the_run(end_to_end, benchmark_named, oblique_grid):
    exact = labelled(oblique_grid, np.s_[:, :, 2:10])
    with pytest.raises(benchmark_named("pairs").Disagreement, match="torch eager, liver: Dice"):
        end_to_end.compared(finished(end_to_end, exact, labelled(oblique_grid, np.s_[:, :, 3:11])))
    with pytest.raises(RuntimeError, match="found no liver"):
        end_to_end.compared(finished(end_to_end, labelled(oblique_grid), exact))


def test_targets_are_judged_by_paired_ratios(end_to_end, benchmark_named):
    seconds = {
        "hepar": [10.0, 20.0],
        "hepar --fast": [9.0, 9.0],
        "torch eager": [60.0, 100.0],
        "nnU-Net": [90.0, 150.0],
    }
    assert end_to_end.judged(benchmark_named("pairs").Timed(seconds, {}), 0.85) == {
        "5 times torch eager": True,
        "10 times nnU-Net": False,
        "80% of the limit": True,
        "default under 30 s": True,
        "--fast under 8 s": False,
    }
    del seconds["nnU-Net"], seconds["hepar --fast"]
    assert len(end_to_end.judged(benchmark_named("pairs").Timed(seconds, {}), 0.7)) == 3


def test_nnunet_is_a_process_that_clocks_itself_and_labels_the_scans_grid(
    end_to_end, stored_scan, small_scan, tmp_path
):
    # Stands for the python of nnU-Net's environment: copies labels, and prints what the predictor prints.
    from hepar.io import write

    write(small_scan[1], tmp_path / "labels.nii.gz")
    python = tmp_path / "python"
    line = f'{{"seconds": 7.5, "gflop": 1.0, "features": 12, "labels": "{tmp_path}/labels.nii.gz"}}'
    python.write_text(f"#!{sys.executable}\nimport sys\nprint(sys.argv, file=open({str(tmp_path / 'words')!r}, 'w'))\n"
                      f"print('chatter')\nprint({line!r})\n")  # fmt: skip
    os.chmod(python, 0o700)  # noqa: PTH101
    clocked = end_to_end.by_nnunet(stored_scan, 1.5, Namespace(quick=False, threads=2, nnunet=python))
    assert clocked.seconds == 7.5
    assert clocked.result["shape_zyx"] == small_scan[0].values.shape
    words = (tmp_path / "words").read_text()
    assert "nnunet_predictor.py" in words
    assert "'--gflop', '1.5', '--threads', '2', '--side', '512'" in words


def test_nnunets_plan_keeps_the_scans_spacing(benchmark_named):
    plan = benchmark_named("nnunet_predictor").plan([2.5, 0.7, 0.7], 512)
    configuration = plan["configurations"]["2d"]
    assert configuration["spacing"] == [0.7, 0.7]
    assert configuration["patch_size"] == [512, 512]
    assert configuration["resampling_fn_seg_kwargs"]["is_seg"] is True
    assert configuration["resampling_fn_data_kwargs"]["order"] == 3
