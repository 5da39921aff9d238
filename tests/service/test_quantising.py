"""Eight-bit weights: calibrated on some patients, judged on others, refused when they cost Dice."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hepar.cases import Case
from hepar.datasets.phantom import PhantomSettings, phantom_case
from hepar.errors import BadInput, BadModel, MissingExtra
from hepar.inference import EngineOptions, load_segmenter, open_model
from hepar.service import quantising
from hepar.service.quantising import quantise

pytest.importorskip("nncf", reason="the extra hepar[int8] is not installed")


def case(number: int) -> Case:
    settings = PhantomSettings(seed=40 + number, shape=(12, 96, 96), spacing_mm=(10, 4, 4), lesions=3, noise_hu=8)
    return phantom_case(settings, f"p{number}")


@pytest.fixture(scope="module")
def listener() -> Iterator[logging.Handler]:
    """Whoever listens to NNCF listens to others with the same handler."""
    handler, known = logging.Handler(), logging.getLogger("nncf")
    known.addHandler(handler)
    yield handler
    known.removeHandler(handler)


@pytest.fixture(scope="module")
def shipped(tmp_path_factory, listener) -> Path:
    """A copy of the shipped model, quantised on one phantom and judged on another."""
    folder = tmp_path_factory.mktemp("int8") / "model"
    shutil.copytree(open_model().folder, folder)
    quantise(folder, [case(0)], [case(1)])
    return folder


@pytest.fixture
def fast(tmp_path) -> Path:
    folder = tmp_path / "fast"
    shutil.copytree(open_model().fast.folder, folder)
    return folder


def test_both_passes_get_int8_weights_of_half_the_size(shipped):
    model = open_model(shipped)
    assert model.first is not None
    for one in (model, model.first.model):
        assert one.int8 is not None
        size = one.int8.stat().st_size + one.int8.with_suffix(".bin").stat().st_size
        assert size < 0.75 * one.weights.stat().st_size
    assert model.id == open_model().id


def test_what_int8_costs_stands_in_the_model(shipped):
    facts = json.loads((shipped / "model.json").read_text())["int8"]
    assert facts["judged_on"] == 1
    assert facts["drop"]["liver"] == pytest.approx(facts["dice_fp32"]["liver"] - facts["dice_int8"]["liver"])
    assert facts["dice_fp32"]["liver"] > 0.8


def test_int8_labels_nearly_as_fp32_does_and_is_not_fp32(shipped):
    ct = case(2).ct
    exact = load_segmenter(shipped, options=EngineOptions(precision="fp32"))
    small = load_segmenter(shipped, options=EngineOptions(precision="int8"))
    assert small.engine.endswith("int8")
    assert (exact.segment(ct).labels == small.segment(ct).labels).mean() > 0.99
    grey = np.random.default_rng(0).uniform(0, 255, (8, 3, 64, 64)).astype(np.float32)
    assert np.abs(exact.predict(grey) - small.predict(grey)).max() > 1e-3


def test_a_changed_bin_is_found(shipped, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(shipped, folder)
    (folder / "model_int8.bin").write_bytes(b"other")
    with pytest.raises(BadModel, match=r"model_int8\.bin is missing or not the file"):
        open_model(folder)


def test_weights_that_cost_dice_are_refused_and_the_folder_is_as_before(fast, monkeypatch):
    before = {path.name: path.read_bytes() for path in fast.iterdir()}
    monkeypatch.setattr(quantising, "LARGEST_DROP", -1.0)
    with pytest.raises(BadModel, match="the model stays as it was"):
        quantise(fast, [case(0)], [case(1)])
    assert {path.name: path.read_bytes() for path in fast.iterdir()} == before


def test_nobody_is_calibrated_on_and_judged(fast):
    with pytest.raises(BadInput, match="not calibrated on"):
        quantise(fast, [case(0)], [case(0)])
    with pytest.raises(BadInput, match="not calibrated on"):
        quantise(fast, [case(0)], [])


def test_nothing_to_calibrate_on_is_said(fast):
    with pytest.raises(BadInput, match="no slice to calibrate on"):
        quantise(fast, [], [case(1)])


def test_onnx_runtime_does_not_read_openvinos_int8(shipped):
    with pytest.raises(BadInput, match="int8 weights are OpenVINO's"):
        load_segmenter(shipped, options=EngineOptions(program="onnxruntime", precision="int8"))


def test_without_nncf_the_error_names_the_extra(fast, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(MissingExtra, match=r"pip install hepar\[int8\]"):
        quantise(fast, [case(0)], [case(1)])


def test_other_programs_log_handlers_are_left_as_they_are(shipped, listener):
    assert listener.level == logging.NOTSET
