"""Where an arm's encoder starts from: one choice a method, kept by file name, and told when it is chance."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save_file

from hepar import methods
from hepar.study.reproduce import encoders
from hepar.study.reproduce.encoders import starts_of, weight_folders
from hepar.study.reproduce.order import StudyOrder
from hepar.study.reproduce.plan import GROUPS, WITH, WITHOUT, Arm

SQUEEZE = Arm("cdnn_squeeze", WITH, "CDNN-Squeeze", "cdnn_squeeze")
RAW = replace(SQUEEZE, preprocessing=WITHOUT)


@pytest.fixture
def study(tmp_path, monkeypatch) -> StudyOrder:
    """A study with a weights folder of its own, a cache that is empty, and no network."""
    monkeypatch.setenv("HEPAR_CACHE", str(tmp_path / "cache"))

    def unreachable(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("torch.hub.download_url_to_file", unreachable)
    (tmp_path / "weights").mkdir()
    return StudyOrder(None, tmp_path / "study", weights=str(tmp_path / "weights"), phantoms=4)


def squeezenet(path: Path, layers: int | None = None) -> Path:
    """Weights that fit CDNN-Squeeze, of its first `layers` layers or of all."""
    own = methods.get("cdnn_squeeze").network.build(0).encoder.state_dict()
    kept = list(own)[: None if layers is None else 2 * layers]
    save_file({key: own[key] for key in kept}, path)
    return path


def kept(study: StudyOrder) -> dict[str, dict[str, str]]:
    return json.loads((study.out / "encoders.json").read_text(encoding="utf-8"))


def test_a_file_that_fits_is_taken_and_what_stays_fresh_is_told(study):
    path = squeezenet(Path(study.weights) / "squeezenet_part.safetensors", layers=2)
    said: list[str] = []
    assert starts_of([SQUEEZE], study, said.append) == {"cdnn_squeeze/with": str(path)}
    why = kept(study)["cdnn_squeeze/with"]["why"]
    assert why.startswith("layers from squeezenet_part.safetensors, fresh: features.3.expand1x1")
    assert said == []


def test_a_kept_choice_names_the_file_and_no_folder(study):
    squeezenet(Path(study.weights) / "squeezenet.safetensors")
    starts_of([SQUEEZE], study, lambda _: None)
    row = kept(study)["cdnn_squeeze/with"]
    assert row == {"source": "squeezenet.safetensors", "why": "layers from squeezenet.safetensors, fresh: none"}


def test_a_later_start_takes_the_same_file_though_a_better_one_came_and_the_folder_moved(study, tmp_path):
    squeezenet(Path(study.weights) / "squeezenet_b.safetensors", layers=2)
    starts_of([SQUEEZE], study, lambda _: None)
    moved = Path(study.weights).rename(tmp_path / "elsewhere")
    # In the order of names this one comes first.
    squeezenet(moved / "squeezenet_a.safetensors")
    again = starts_of([SQUEEZE], replace(study, weights=str(moved)), lambda _: None)
    assert again == {"cdnn_squeeze/with": str(moved / "squeezenet_b.safetensors")}


def test_a_file_of_another_network_under_the_right_name_is_passed_over(study):
    folder = Path(study.weights)
    np.savez(folder / "squeezenet_v1.1.npz", conv1_w=np.zeros((96, 3, 7, 7), np.float32))
    (folder / "squeezenet1_1.pth").write_bytes(b"half a download")
    fits = squeezenet(folder / "squeezenet.safetensors")
    assert starts_of([SQUEEZE], study, lambda _: None) == {"cdnn_squeeze/with": str(fits)}


def test_both_preprocessings_of_a_method_start_alike_and_chance_is_told_once(study, monkeypatch):
    tries: list[object] = []
    real = encoders.load_encoder_weights
    monkeypatch.setattr(encoders, "load_encoder_weights", lambda *given: [tries.append(given[1]), real(*given)][1])
    said: list[str] = []
    found = starts_of([SQUEEZE, RAW], study, said.append)
    assert found == {"cdnn_squeeze/with": "none", "cdnn_squeeze/without": "none"}
    assert tries == ["imagenet"]
    (line,) = said
    assert line.startswith("CDNN-Squeeze: no ImageNet weights are at hand (could not get ImageNet weights from https:")
    assert line.endswith("; its encoder starts from random weights (He)")
    assert kept(study)["cdnn_squeeze/without"]["source"] == "none"


def test_a_study_that_began_at_random_stays_so_when_weights_come_later(study):
    starts_of([SQUEEZE], study, lambda _: None)
    squeezenet(Path(study.weights) / "squeezenet.safetensors")
    said: list[str] = []
    assert starts_of([SQUEEZE], study, said.append) == {"cdnn_squeeze/with": "none"}


def test_published_weights_are_asked_for_only_where_no_file_fits_and_with_patience(study, monkeypatch):
    waits: list[float | None] = []
    monkeypatch.setattr(encoders, "load_encoder_weights", lambda *_: waits.append(socket.getdefaulttimeout()))
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(7.0)
    try:
        assert starts_of([SQUEEZE], study, lambda _: None) == {"cdnn_squeeze/with": "imagenet"}
        assert (waits, socket.getdefaulttimeout()) == ([encoders.DOWNLOAD_SECONDS], 7.0)
    finally:
        socket.setdefaulttimeout(before)
    assert kept(study)["cdnn_squeeze/with"]["why"] == "torchvision's published weights"


def test_thinner_networks_say_that_no_weights_fit_them(study):
    squeezenet(Path(study.weights) / "squeezenet.safetensors")
    said: list[str] = []
    starts_of([SQUEEZE], replace(study, width=0.5), said.append)
    assert "ImageNet weights do not fit 0.5 of the channels" in said[0]


def test_an_arm_that_takes_over_a_network_chooses_nothing(study):
    (taker, _) = GROUPS["largest_component"]
    assert starts_of([taker], study, lambda _: None) == {}
    assert not (study.out / "encoders.json").exists()


def test_weights_are_looked_for_beside_the_data_then_in_the_cache(study, tmp_path):
    beside = replace(study, weights=None, data=tmp_path / "data" / "lits")
    assert weight_folders(beside) == [tmp_path / "data" / "imagenet", tmp_path / "cache"]
    assert weight_folders(replace(study, weights=None)) == [tmp_path / "cache"]
    assert weight_folders(study) == [tmp_path / "weights"]
