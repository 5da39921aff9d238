"""What every method promises; a new file in hepar/methods is held to it without another edit."""

from __future__ import annotations

import json
import sys
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from hepar import methods
from hepar.cases import Case
from hepar.datasets.phantom import PhantomSettings, phantom_case
from hepar.errors import BadInput
from hepar.geometry import Geometry, Reorientation
from hepar.metrics import evaluate
from hepar.preprocess import InPlaneGrid
from hepar.training.by_heart import by_heart
from hepar.training.deep_method import DeepMethod
from hepar.training.deep_method3d import Deep3dMethod
from hepar.training.two_pass import TwoPassMethod
from hepar.volume import LabelMap, Volume

PHANTOM = PhantomSettings(seed=3, shape=(10, 64, 64), spacing_mm=(19, 6, 6), lesions=3, noise_hu=8)


@pytest.fixture(autouse=True)
def one_thread():
    """Tiny convolutions gain nothing from threads, and lose much where cores are busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def case() -> Case:
    return phantom_case(PHANTOM, "phantom")


def quick(method: Any, **recipe: object) -> Any:
    """The same method with a tenth of the channels, small pictures and a recipe that learns one phantom by heart."""
    if hasattr(method, "tiny"):
        return method.tiny()
    if isinstance(method, TwoPassMethod):
        return method.each(lambda one: quick(one, **recipe))
    assert isinstance(method, DeepMethod | Deep3dMethod), "a new kind of method: teach `quick` how to make it small"
    if isinstance(method, DeepMethod):
        small = by_heart(method)
        return replace(small, recipe=replace(small.recipe, **recipe))
    learning = replace(
        method.recipe,
        **{
            "optimizer": "adam", "learning_rate": 1e-2, "weight_decay": 0.0, "schedule": "cosine", "epochs": 22,
            "batch": 4, "micro_batch": 4, "loss": "dice_cross_entropy", "sampling": "patient_balanced",
            "samples_per_epoch": 40, "augmentation": None, "patch": None, "ema": 0.0, "precision": "fp32",
            "warmup_updates": 0, "validation_share": 0.0, "encoder_share": 1.0,
        } | recipe,
    )  # fmt: skip
    network = replace(method.network, width=0.1)  # type: ignore[type-var]
    shallow = replace(network, side=32, slice_mm=10, channels=(40, 80, 120), blocks=(1, 1, 1), deep_heads=1)
    grid = InPlaneGrid(pixel_mm=6.0, multiple=1)
    return replace(method, network=shallow, grid=grid, recipe=replace(learning, batch=2, samples_per_epoch=6))


def trainings_of(method: Any) -> list[DeepMethod | Deep3dMethod]:
    """The networks' trainings that a method is made of, however it combines them; none for a method without any."""
    if isinstance(method, DeepMethod | Deep3dMethod):
        return [method]
    if isinstance(method, tuple):
        return [one for part in method for one in trainings_of(part)]
    return trainings_of(tuple(vars(method).values())) if is_dataclass(method) else []


def learned(segmenter: Any, case: Case) -> LabelMap:
    """The phantom's labels; fails when the liver was not learned, and for an all-background answer."""
    found = segmenter.segment(case.ct)
    assert found.geometry.same_grid(case.ct.geometry)
    assert found.labels.dtype == np.uint8
    assert set(np.unique(found.labels)) <= {0, 1, 2}
    dice = evaluate(case.truth, found).liver.dice
    assert dice > 0.5, f"liver Dice {dice:.3f}"
    return found


def tilted(ct: Volume) -> tuple[Volume, Reorientation]:
    """The scan stored with axes swapped and reversed, on a patient who lies at an angle."""
    turn = Reorientation(ct.geometry, (2, 0, 1), (True, False, True))
    angle = np.deg2rad(15)
    tilt = np.eye(4)
    tilt[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    grid = Geometry(turn.geometry.shape, tilt @ turn.geometry.affine)
    return Volume(np.ascontiguousarray(turn.apply(ct.values)), grid), turn


@pytest.mark.parametrize("name", methods.names())
def test_a_method_learns_is_stored_and_keeps_the_grid_of_the_scan(name, tmp_path, case):
    method = quick(methods.get(name))
    losses: list[float] = []
    segmenter = method.train([case], tmp_path / "run", lambda tick: losses.append(tick.loss) if tick.ended else None)
    assert len(losses) == 22 or hasattr(method, "tiny")
    assert not losses or losses[-1] < 0.7 * losses[0]
    found = learned(segmenter, case)
    # Segmenting is deterministic, and a method is loaded as it was trained.
    again = method.load(tmp_path / "run").segment(case.ct)
    assert np.array_equal(again.labels, found.labels)
    oblique, turn = tilted(case.ct)
    there = segmenter.segment(oblique)
    assert there.geometry is oblique.geometry
    assert np.array_equal(there.labels, turn.apply(found.labels))


def test_an_answer_of_background_only_breaks_the_promise(case):
    class Nothing:
        def segment(self, ct: Volume) -> LabelMap:
            return LabelMap(np.zeros(ct.values.shape, np.uint8), ct.geometry)

    class Everything:
        def segment(self, ct: Volume) -> LabelMap:
            return LabelMap(np.ones(ct.values.shape, np.uint8), ct.geometry)

    for cheat in (Nothing(), Everything()):
        with pytest.raises(AssertionError, match="liver Dice"):
            learned(cheat, case)


@pytest.mark.parametrize("name", methods.names())
def test_a_method_says_what_it_is_in_one_line(name):
    description = methods.description(name)
    assert 20 < len(description) <= 120
    assert description.endswith(".")
    assert "/" not in name


VARIANTS = [f"{name}/{variant}" for name in methods.names() for variant in methods.variant_names(name)]


@pytest.mark.parametrize("name", [*methods.names(), *VARIANTS])
def test_every_variant_builds_and_says_its_settings_as_json(name):
    method = methods.get(name)
    settings = json.loads(json.dumps(method.to_json(), allow_nan=False))
    assert settings
    for one in trainings_of(method):
        assert one.to_json().keys() == {"network", "prepare", "grid", "recipe", "clean", "encoder_weights"}
        assert json.dumps(one.to_json()["network"]) in json.dumps(settings)
    for one in trainings_of(quick(method)):
        size = (32, 32, 48) if isinstance(one, Deep3dMethod) else (64, 96)
        network = one.network.build(seed=0)
        # A network of slices repeats a lone one; a probability beside the slice has no stand-in.
        channels = 2 if getattr(one.network, "beside", False) else 1
        with torch.inference_mode():
            logits = network.eval()(torch.zeros(1, channels, *size))
        assert logits.shape == (1, 3, *size)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_differs_from_its_method(name):
    assert methods.get(name) != methods.get(name.split("/")[0])


def test_unknown_names_are_answered_with_the_known_ones():
    with pytest.raises(BadInput, match=r"no method is called cdnn_alexa; there are .*cdnn_alex, "):
        methods.get("cdnn_alexa")
    with pytest.raises(BadInput, match=r"cdnn_alex has no variant 8x; there are .*fcn32s"):
        methods.get("cdnn_alex/8x")


def test_a_file_dropped_into_the_folder_is_a_method(tmp_path, monkeypatch):
    before = methods.names()
    (tmp_path / "zz_new_paper.py").write_text(
        '"""A new paper (Nobody 2030)."""\n'
        'from hepar.methods.cdnn_squeeze import method\nvariants = {"again": method}\n'
    )
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(tmp_path)])
    try:
        assert methods.names() == [*before, "zz_new_paper"]
        assert methods.description("zz_new_paper") == "A new paper (Nobody 2030)."
        assert methods.get("zz_new_paper") is methods.get("cdnn_squeeze")
        assert methods.variant_names("zz_new_paper") == ["again"]
    finally:
        sys.modules.pop("hepar.methods.zz_new_paper", None)


def trained_weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model" / "weights.safetensors")


def same_weights(one: Path, other: Path) -> bool:
    a, b = trained_weights(one), trained_weights(other)
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.fixture
def short() -> DeepMethod:
    return quick(methods.get("cdnn_squeeze"), epochs=2, samples_per_epoch=8)


def test_a_run_folder_tells_everything_needed_to_repeat_it(short, case, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/hepar", "train", "cdnn_squeeze", "/home/someone/data", "-o", "run"])
    short.train([case], tmp_path / "run")
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["finished"] is True
    assert run["seed"] == short.recipe.seed
    assert run["method"] == json.loads(json.dumps(short.to_json()))
    assert (run["training_patients"], run["training_cases"], run["evidence"]) == (["phantom"], ["phantom"], ["phantom"])
    assert {"python", "torch", "numpy", "hepar"} <= run["versions"].keys()
    assert run["command"] == "hepar train cdnn_squeeze data -o run"
    assert run["encoder"]["source"] == "none"
    assert run["updates"] == 4
    assert run["slices"]["training"] >= run["slices"]["training_with_liver"] > 0
    history = json.loads((tmp_path / "run" / "history.json").read_text())
    assert [row["epoch"] for row in history] == [1, 2]
    assert all({"loss", "learning_rate", "updates", "seconds"} <= row.keys() for row in history)
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {"run.json", "history.json", "checkpoint.safetensors", "model"}


def test_encoder_weights_from_a_file_are_named_without_their_folder(short, case, tmp_path):
    encoder = short.network.build(seed=5).encoder
    from safetensors.torch import save_file

    (tmp_path / "secret place").mkdir()
    path = tmp_path / "secret place" / "squeeze.safetensors"
    save_file({k: v.contiguous() for k, v in encoder.state_dict().items()}, path)
    replace(short, encoder_weights=str(path)).train([case], tmp_path / "run")
    text = (tmp_path / "run" / "run.json").read_text()
    assert "secret place" not in text
    assert json.loads(text)["method"]["encoder_weights"] == "squeeze.safetensors"
    assert "squeeze.safetensors" in json.loads(text)["encoder"]["source"]


def test_another_training_in_the_same_folder_is_refused(short, case, tmp_path):
    short.train([case], tmp_path / "run")
    kept = (tmp_path / "run" / "run.json").read_bytes()
    other_seed = replace(short, recipe=replace(short.recipe, seed=1))
    other_case = phantom_case(replace(PHANTOM, seed=4), "phantom2")
    for method, cases in ((other_seed, [case]), (short, [other_case]), (short, [case, other_case])):
        with pytest.raises(BadInput, match="run holds another training"):
            method.train(cases, tmp_path / "run")
    assert (tmp_path / "run" / "run.json").read_bytes() == kept
    short.train([case], tmp_path / "run")  # the same again is welcome


def test_a_broken_training_goes_on_to_the_weights_of_an_unbroken_one(short, case, tmp_path):
    class PowerCut(Exception):
        pass

    def cut_in_second_epoch(tick):
        if tick.epoch == 1:
            raise PowerCut

    short.train([case], tmp_path / "unbroken")
    with pytest.raises(PowerCut):
        short.train([case], tmp_path / "broken", cut_in_second_epoch)
    assert json.loads((tmp_path / "broken" / "run.json").read_text())["finished"] is False
    assert not (tmp_path / "broken" / "model").exists()
    epochs = []
    short.train([case], tmp_path / "broken", lambda tick: epochs.append(tick.epoch))
    assert set(epochs) == {1}
    assert same_weights(tmp_path / "broken", tmp_path / "unbroken")


def test_another_seed_gives_other_weights(short, case, tmp_path):
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        replace(short, recipe=replace(short.recipe, seed=seed)).train([case], tmp_path / folder)
    assert same_weights(tmp_path / "a", tmp_path / "b")
    assert not same_weights(tmp_path / "a", tmp_path / "c")


def test_training_without_cases_or_without_liver_is_refused(short, case, tmp_path):
    with pytest.raises(BadInput, match="no cases to train on"):
        short.train([], tmp_path / "none")
    empty = replace(case, read_truth=lambda: LabelMap(np.zeros(case.ct.values.shape, np.uint8), case.ct.geometry))
    with pytest.raises(BadInput, match="no training slice shows liver"):
        replace(short, recipe=replace(short.recipe, slices="any_label")).train([empty], tmp_path / "empty")


def test_a_case_given_twice_is_refused(short, case, tmp_path):
    with pytest.raises(BadInput, match="cases phantom occur twice"):
        short.train([case, case], tmp_path / "run")
