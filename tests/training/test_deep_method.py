"""What a run's export, networks and devices refuse."""

import json
from types import SimpleNamespace

import pytest

from hepar.errors import BadInput, BadModel
from hepar.inference.backends.pytorch import load_network, pick_device
from hepar.training import export as export_module


@pytest.mark.parametrize("settings", [{"network": "CdnnSqueeze", "decoder": "foo"}, ["no", "object"]])
def test_network_settings_that_build_nothing_are_a_bad_model(settings, tmp_path):
    with pytest.raises(BadModel):
        load_network(settings, tmp_path / "weights.safetensors")


@pytest.mark.parametrize("device", ["cuda:99", "cuda:x", "tpu", "cpu:1"])
def test_devices_that_are_not_there_are_refused(device):
    with pytest.raises(BadInput, match="is not on this machine"):
        pick_device(device)


def test_an_export_that_fails_its_check_leaves_the_earlier_model_whole(eager_model, tmp_path, monkeypatch):
    run, out = tmp_path / "run", tmp_path / "out"
    run.mkdir()
    (run / "run.json").write_text("{}")
    (run / "model").symlink_to(eager_model)
    out.mkdir()
    (out / "model.onnx").write_bytes(b"earlier")
    card = tmp_path / "card.json"
    card.write_text(json.dumps({k: "x" for k in ("name", "description", "licence", "trained_on", "limits")}))
    monkeypatch.setattr(export_module, "load_network", lambda *_: _Eval())
    monkeypatch.setattr(export_module, "write_onnx", lambda _, path: path.write_bytes(b"new"))
    monkeypatch.setattr(export_module, "compare", lambda *_: (1.0, 0.5))
    with pytest.raises(BadModel, match="no model was written"):
        export_module.export_run([run], out, card)
    assert (out / "model.onnx").read_bytes() == b"earlier"
    assert sorted(p.name for p in out.iterdir()) == ["model.onnx"]


class _Eval:
    def eval(self):
        return self


def test_a_network_of_blocks_is_not_exported(tmp_path, monkeypatch):
    monkeypatch.setattr(export_module, "open_model", lambda _: SimpleNamespace(network={"side": 128}, first=None))
    with pytest.raises(BadModel, match="no ONNX form"):
        export_module.export_run([tmp_path], tmp_path / "out", tmp_path / "card.json")
