"""Three engines, one answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from hepar.errors import BadInput, BadModel
from hepar.inference import ModelCard, Pipeline, load_segmenter, save_model
from hepar.inference.backends.openvino import openvino_predictor
from hepar.inference.backends.pytorch import load_network, pick_device, torch_predictor
from hepar.nets.cdnn_squeeze import CdnnSqueeze
from hepar.nets.registry import network_to_json
from hepar.preprocess import InPlaneGrid, Window
from hepar.training.export import write_onnx

SETTINGS = CdnnSqueeze(decoder="unet", width=0.1)
SIZES = [(1, 1, 64, 64), (3, 1, 64, 96), (2, 1, 160, 128)]


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    """A tiny network with random heads: zero-initialised ones would answer 0 to everything."""
    made = SETTINGS.build(seed=0).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        made.decoder.score.weight.normal_(0, 0.5, generator=generator)
    return made


@pytest.fixture(scope="module")
def onnx_file(network, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    write_onnx(network, path)
    return path


def picture(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 255, shape).astype(np.float32)


@pytest.mark.parametrize("shape", SIZES)
def test_openvino_follows_torch_at_every_size(network, onnx_file, shape):
    expected = torch_predictor(network)[0](picture(shape))
    found = openvino_predictor(onnx_file)[0](picture(shape))
    assert found.shape == (shape[0], 3, *shape[2:])
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() < 1e-4 * max(1.0, np.abs(expected).max())
    assert np.ptp(expected) > 0.1


@pytest.mark.parametrize("shape", SIZES)
def test_onnx_runtime_follows_torch_at_every_size(network, onnx_file, shape):
    runtime = pytest.importorskip("onnxruntime", reason="the extra hepar[onnx] is not installed")
    found = runtime.InferenceSession(onnx_file, providers=["CPUExecutionProvider"]).run(None, {"grey": picture(shape)})[
        0
    ]
    expected = torch_predictor(network)[0](picture(shape))
    assert np.abs(found - expected).max() < 1e-4 * max(1.0, np.abs(expected).max())


def test_other_pictures_and_other_weights_give_other_logits(network, onnx_file):
    engine = openvino_predictor(onnx_file)[0]
    first = engine(picture(SIZES[0]))
    assert np.array_equal(first, engine(picture(SIZES[0])))
    assert np.abs(first - engine(picture(SIZES[0], seed=1))).max() > 1e-3
    other = torch_predictor(SETTINGS.build(seed=1))[0](picture(SIZES[0]))
    assert np.abs(first - other).max() > 1e-2


def test_slices_of_a_batch_do_not_see_each_other(network, onnx_file):
    batch = picture((3, 1, 64, 64))
    for engine in (openvino_predictor(onnx_file)[0], torch_predictor(network)[0]):
        together = engine(batch)
        alone = np.concatenate([engine(batch[i : i + 1]) for i in range(3)])
        assert np.abs(together - alone).max() < 1e-4


def test_openvino_brings_no_telemetry(onnx_file):
    import sys

    openvino_predictor(onnx_file)
    assert sys.modules.get("openvino_telemetry") is None


def test_a_torch_model_folder_gives_the_labels_of_its_onnx_twin(network, onnx_file, tmp_path, small_scan):
    from safetensors.torch import save_file

    card = ModelCard("tiny", "a test", "free", "nothing", "none")
    pipeline = Pipeline((Window(-100, 300),), InPlaneGrid(pixel_mm=1.0))
    folders = {}
    for kind, name in (("torch", "weights.safetensors"), ("onnx", "model.onnx")):
        folders[kind] = tmp_path / kind
        folders[kind].mkdir()
        if kind == "torch":
            save_file({k: v.contiguous() for k, v in network.state_dict().items()}, folders[kind] / name)
        else:
            (folders[kind] / name).write_bytes(onnx_file.read_bytes())
        save_model(folders[kind], card, pipeline, folders[kind] / name, network_to_json(SETTINGS))
    ct, _ = small_scan
    labels = [load_segmenter(folder, "cpu").segment(ct).labels for folder in folders.values()]
    assert (labels[0] == labels[1]).mean() > 0.999
    assert len(np.unique(labels[0])) > 1


def test_weights_of_another_network_are_a_bad_model(network, tmp_path):
    from safetensors.torch import save_file

    save_file({"stem.weight": torch.zeros(3)}, tmp_path / "weights.safetensors")
    with pytest.raises(BadModel, match="does not fit the network"):
        load_network(network_to_json(SETTINGS), tmp_path / "weights.safetensors")
    (tmp_path / "weights.safetensors").write_bytes(b"pickle?")
    with pytest.raises(BadModel, match="does not fit the network"):
        load_network(network_to_json(SETTINGS), tmp_path / "weights.safetensors")
    with pytest.raises(BadModel, match="network 'Evil' is unknown"):
        load_network({"network": "Evil"}, tmp_path / "weights.safetensors")


def test_devices_that_are_not_there_are_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert pick_device("auto") == "cpu"
    assert pick_device("cpu") == "cpu"
    for wanted in ("cuda", "cuda:3", "mps", "toaster"):
        with pytest.raises(BadInput, match=f"device {wanted} is not on this machine"):
            pick_device(wanted)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_device("auto") == "cuda"
    assert pick_device("cuda:1") == "cuda:1"
    with pytest.raises(BadInput, match="device cuda:2 is not on this machine"):
        pick_device("cuda:2")
