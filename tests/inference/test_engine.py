"""One model, three programs, stated precision."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from hepar.errors import BadInput, BadModel, MissingExtra
from hepar.inference import EXACT, EngineOptions, ModelCard, Pipeline, load_segmenter, open_model, save_model
from hepar.inference.backends.openvino import computes_in_bf16
from hepar.inference.engine import Weights, predictor_for
from hepar.inference.model import add_int8
from hepar.nets.cdnn_squeeze import CdnnSqueeze
from hepar.nets.registry import network_to_json
from hepar.preprocess import InPlaneGrid, Window
from hepar.training.export import write_onnx

SETTINGS = CdnnSqueeze(decoder="unet", width=0.1)
CARD = ModelCard("tiny", "a test", "free", "nothing", "none")
PIPELINE = Pipeline((Window(-100, 300),), InPlaneGrid(pixel_mm=1.0))


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    made = SETTINGS.build(seed=0).eval()
    with torch.no_grad():
        made.decoder.score.weight.normal_(0, 0.5, generator=torch.Generator().manual_seed(1))
    return made


@pytest.fixture(scope="module")
def model(network, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("engine") / "tiny"
    folder.mkdir()
    write_onnx(network, folder / "model.onnx")
    save_model(folder, CARD, PIPELINE, folder / "model.onnx", network_to_json(SETTINGS))
    return folder


def test_openvino_and_onnx_runtime_give_the_same_labels_at_fp32(model, small_scan):
    pytest.importorskip("onnxruntime", reason="the extra hepar[onnx] is not installed")
    ct, _ = small_scan
    found = [
        load_segmenter(model, options=EngineOptions(program=program, precision="fp32")).segment(ct).labels
        for program in ("openvino", "onnxruntime")
    ]
    assert (found[0] == found[1]).mean() > 0.9999
    assert len(np.unique(found[0])) > 1


def test_threads_do_not_change_a_label(model, small_scan):
    ct, _ = small_scan
    one, two = (load_segmenter(model, options=EngineOptions(precision="fp32", threads=n)).segment(ct) for n in (1, 2))
    assert np.array_equal(one.labels, two.labels)


def test_what_ran_is_said_in_words(model):
    from openvino import __version__

    assert load_segmenter(model).engine == f"OpenVINO {__version__.split('-')[0]} on cpu, fp32"
    best = "bf16" if computes_in_bf16() else "fp32"
    assert load_segmenter(model, options=EngineOptions()).engine.endswith(f"on cpu, {best}")


@pytest.mark.skipif(not computes_in_bf16(), reason="this processor does not compute in bf16")
def test_bf16_gives_other_logits_and_nearly_the_same_labels(model, small_scan):
    ct, _ = small_scan
    exact = load_segmenter(model, options=EXACT)
    half = load_segmenter(model, options=EngineOptions(precision="bf16"))
    grey = np.random.default_rng(0).uniform(0, 255, (8, 1, 64, 64)).astype(np.float32)
    assert 0 < np.abs(exact.predict(grey) - half.predict(grey)).max() < 0.5
    assert (exact.segment(ct).labels == half.segment(ct).labels).mean() > 0.99


def test_bf16_on_a_processor_without_it_is_refused_and_auto_falls_back(model, monkeypatch):
    import openvino

    real = openvino.Core.get_property
    monkeypatch.setattr(
        openvino.Core,
        "get_property",
        lambda core, device, name: ["FP32"] if name == "OPTIMIZATION_CAPABILITIES" else real(core, device, name),
    )
    with pytest.raises(BadInput, match="does not compute in bf16"):
        load_segmenter(model, options=EngineOptions(precision="bf16"))
    assert load_segmenter(model, options=EngineOptions()).engine.endswith("fp32")


def test_a_model_without_int8_weights_says_how_to_get_them(model):
    with pytest.raises(BadModel, match="no int8 weights"):
        load_segmenter(model, options=EngineOptions(precision="int8"))


def test_int8_weights_are_checked_against_their_hash(model, tmp_path):
    import shutil

    folder = tmp_path / "copy"
    shutil.copytree(model, folder)
    (folder / "model_int8.onnx").write_bytes((folder / "model.onnx").read_bytes())
    before = open_model(folder).id
    assert add_int8(folder, folder / "model_int8.onnx", {"dice_drop": 0.001}).int8 == folder / "model_int8.onnx"
    assert open_model(folder).id == before
    assert json.loads((folder / "model.json").read_text())["int8"]["dice_drop"] == 0.001
    assert load_segmenter(folder, options=EngineOptions(precision="int8")).engine.endswith("int8")
    (folder / "model_int8.onnx").write_bytes(b"other")
    with pytest.raises(BadModel, match="is missing or not the file"):
        open_model(folder)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (EngineOptions(program="torch"), "stored for openvino or onnxruntime"),
        (EngineOptions(device="cuda"), "runs on the CPU, not on cuda"),
        (EngineOptions(program="onnxruntime", precision="bf16"), "computes in fp32 or int8"),
    ],
)
def test_wishes_that_an_onnx_model_cannot_meet_are_refused(model, options, message):
    with pytest.raises(BadInput, match=message):
        load_segmenter(model, options=options)


def test_a_torch_model_runs_in_torch_only(network, tmp_path):
    from safetensors.torch import save_file

    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, tmp_path / "weights.safetensors")
    weights = Weights("torch", tmp_path / "weights.safetensors", network_to_json(SETTINGS))
    grey = np.random.default_rng(0).uniform(0, 255, (2, 1, 64, 64)).astype(np.float32)
    exact, words = predictor_for(weights, EngineOptions("cpu", precision="fp32"))
    assert words == f"PyTorch {torch.__version__} on cpu, fp32"
    half, words = predictor_for(weights, EngineOptions("cpu", precision="bf16"))
    assert words.endswith("bf16")
    assert 0 < np.abs(exact(grey) - half(grey)).max() < 0.5
    with pytest.raises(BadInput, match="stored for torch, not for openvino"):
        predictor_for(weights, EngineOptions(program="openvino"))
    with pytest.raises(BadInput, match="PyTorch runs no int8 model"):
        predictor_for(weights, EngineOptions(precision="int8"))


def test_without_onnx_runtime_the_error_names_the_extra(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtra, match=r"pip install hepar\[onnx\]"):
        load_segmenter(model, options=EngineOptions(program="onnxruntime"))


def test_a_broken_file_is_a_bad_model_in_onnx_runtime_too(model, tmp_path):
    pytest.importorskip("onnxruntime", reason="the extra hepar[onnx] is not installed")
    (tmp_path / "model.onnx").write_bytes(b"no model")
    weights = Weights("onnx", tmp_path / "model.onnx", {})
    with pytest.raises(BadModel, match="not a model ONNX Runtime can read"):
        predictor_for(weights, EngineOptions(program="onnxruntime"))


@pytest.mark.parametrize("wrong", [{"program": "tensorflow"}, {"precision": "fp8"}, {"threads": -1}])
def test_options_that_do_not_exist_are_refused(wrong):
    with pytest.raises(BadInput, match="expected"):
        EngineOptions(**wrong)
