"""Slices, then blocks beside frozen slices, then both: each phase goes on with the weights of the one before."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from hepar.datasets.phantom import PhantomSettings, phantom_case
from hepar.errors import BadInput
from hepar.inference.blocks import BlockSegmenter
from hepar.nets.dense_unet import DenseUnet
from hepar.nets.hybrid_dense_unet import HybridDenseUnet
from hepar.preprocess import InPlaneGrid, Window
from hepar.training.deep_method import DeepMethod
from hepar.training.deep_method3d import Deep3dMethod
from hepar.training.hybrid import PHASES, HybridMethod
from hepar.training.recipe import Recipe

BLOCKS = replace(HybridDenseUnet().tiny(), flat=DenseUnet(layers=(1, 1, 1, 1), width=0.1, dropout=0.0))
RECIPE = Recipe(
    optimizer="adam", learning_rate=1e-3, epochs=1, batch=2, micro_batch=2, sampling="patient_balanced",
    samples_per_epoch=2, slices="all",
)  # fmt: skip
SLICES = DeepMethod(
    BLOCKS.flat, (Window(-200, 250),), InPlaneGrid(pixel_mm=12.0), recipe=RECIPE, encoder_weights="none"
)
FROZEN = Deep3dMethod(
    replace(BLOCKS, frozen=True), SLICES.prepare, InPlaneGrid(pixel_mm=12.0, multiple=1), recipe=RECIPE
)
BOTH = replace(FROZEN, network=BLOCKS, recipe=replace(RECIPE, deep_supervision=0.5))
METHOD = HybridMethod((SLICES, FROZEN, BOTH), tumour_threshold=0.9)


@pytest.fixture(scope="module")
def case():
    return phantom_case(PhantomSettings(seed=3, shape=(10, 32, 32), spacing_mm=(19, 12, 12), lesions=1), "phantom")


@pytest.fixture(scope="module")
def trained(case, tmp_path_factory):
    """A finished run's folder and what it gave."""
    folder = tmp_path_factory.mktemp("hybrid") / "run"
    return folder, METHOD.train([case], folder)


def weights(run) -> dict[str, torch.Tensor]:
    return load_file(run / "model" / "weights.safetensors")


def run_of(folder) -> dict:
    return json.loads((folder / "run.json").read_text())


def test_the_frozen_phase_has_the_weights_of_the_slices_phase_and_leaves_them(trained):
    slices, frozen = weights(trained[0] / "slices"), weights(trained[0] / "frozen")
    assert slices
    assert all(torch.equal(value, frozen[f"flat.{name}"]) for name, value in slices.items())


def test_the_last_phase_goes_on_from_the_frozen_one_and_changes_both_parts(trained, case, tmp_path):
    frozen, both = weights(trained[0] / "frozen"), weights(trained[0] / "both")
    assert frozen.keys() == both.keys()
    # One update of Adam moves a weight by the rate, so that most lie where the phase began.
    for part in ("flat.encoder.conv0.weight", "deep.conv0.weight"):
        assert 0 < (frozen[part] - both[part]).abs().max() < 2e-3
    fresh = BLOCKS.build(seed=BOTH.recipe.seed).state_dict()
    still = replace(BOTH, recipe=replace(BOTH.recipe, learning_rate=0.0, deep_supervision=0.0))
    replace(METHOD, phases=(SLICES, FROZEN, still)).train([case], tmp_path / "still")
    kept = weights(tmp_path / "still" / "both")
    learned = [name for name in kept if "running" not in name and "tracked" not in name]
    assert all(torch.equal(kept[name], weights(tmp_path / "still" / "frozen")[name]) for name in learned)
    assert not torch.equal(kept["deep.conv0.weight"], fresh["deep.conv0.weight"])


def test_a_run_says_its_phases_and_what_they_cost(trained):
    run = run_of(trained[0])
    assert (run["finished"], run["updates"]) == (True, 3)
    assert [row["method"]["network"]["network"] for row in run["phases"]] == ["DenseUnet", *["HybridDenseUnet"] * 2]
    assert [row["method"]["network"].get("frozen") for row in run["phases"]] == [None, True, False]
    assert run["training_patients"] == ["phantom"]
    assert run["inner_validation_patients"] == []
    assert run["method"] == json.loads(json.dumps(METHOD.to_json()))
    assert {path.name for path in trained[0].iterdir()} == {"run.json", "model", *PHASES}


def test_all_phases_train_on_the_same_cases(trained):
    run = run_of(trained[0])
    assert all(row["training_cases"] == run["training_cases"] == ["phantom"] for row in run["phases"])


def test_the_models_decision_is_the_threshold_of_tumour(trained):
    segmenter = trained[1]
    assert isinstance(segmenter, BlockSegmenter)
    decision = segmenter.pipeline.decision
    # Scores of liver and of tumour over liver, whose share is 0.89 and 0.91 of the liver's.
    for share, label in ((0.89, 1), (0.91, 2)):
        scores = np.array([5.0, np.log(share / (1 - share))], np.float32).reshape(1, 2, 1, 1)
        assert decision.labels(scores).item() == label
    half = replace(METHOD, tumour_threshold=0.5)
    half._decide(trained[0])
    assert half.load(trained[0]).pipeline.decision.tumour_bias == 0
    METHOD._decide(trained[0])


def test_a_loaded_run_answers_as_the_trained_one(trained, case):
    again = METHOD.load(trained[0])
    assert again.name == trained[1].name
    first, second = (np.concatenate([s for _, s in one.scores(case.ct)]) for one in (trained[1], again))
    assert np.array_equal(first, second)


def test_a_finished_run_is_left_alone(trained, case):
    ticks: list[object] = []
    METHOD.train([case], trained[0], ticks.append)
    assert ticks == []


def test_another_training_in_the_folder_is_refused(trained, case):
    other = replace(case, id="other", patient="other")
    for method, cases in ((replace(METHOD, tumour_threshold=0.5), [case]), (METHOD, [case, other])):
        with pytest.raises(BadInput, match="run holds another training"):
            method.train(cases, trained[0])


@pytest.mark.parametrize("broken", [0, 1, 2])
def test_a_broken_run_goes_on_where_it_stopped(trained, case, tmp_path, broken):
    class PowerCut(Exception):
        pass

    started: list[int] = []

    def cut(tick):
        started.append(1)
        if len(started) > 2 * broken:
            raise PowerCut

    folder = tmp_path / "run"
    with pytest.raises(PowerCut):
        METHOD.train([case], folder, cut)
    assert run_of(folder)["finished"] is False
    assert not (folder / "model").exists()
    METHOD.train([case], folder)
    whole, parts = weights(trained[0]), weights(folder)
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())


def test_the_seed_decides(trained, case, tmp_path):
    other = METHOD.each(lambda phase: replace(phase, recipe=replace(phase.recipe, seed=1)))
    other.train([case], tmp_path / "run")
    one, two = weights(trained[0]), weights(tmp_path / "run")
    assert not torch.equal(one["flat.encoder.conv0.weight"], two["flat.encoder.conv0.weight"])
    assert not torch.equal(one["deep.conv0.weight"], two["deep.conv0.weight"])


def test_lone_slices_are_refused_before_anything_trains(case, tmp_path):
    apart = replace(case, heights_mm=(0.0, 7.0, 9.0, 30.0, 31.0, 50.0, 58.0, 80.0, 81.0, 99.0))
    with pytest.raises(BadInput, match="none of 1 cases has 8 slices in a row"):
        METHOD.train([apart], tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(BadInput, match="no cases to train on"):
        METHOD.train([], tmp_path / "none")


@pytest.mark.parametrize(
    "phases",
    [
        (replace(SLICES, network=DenseUnet(width=0.2)), FROZEN, BOTH),
        (SLICES, BOTH, FROZEN),
        (SLICES, FROZEN, replace(BOTH, network=replace(BLOCKS, growth=16))),
        (SLICES, SLICES, BOTH),
        (SLICES, FROZEN),
    ],
)
def test_phases_whose_weights_do_not_fit_are_refused(phases):
    with pytest.raises(BadInput, match="the phases' networks differ"):
        HybridMethod(phases)


@pytest.mark.parametrize("threshold", [0.0, 1.0, -1.0, float("nan")])
def test_thresholds_that_decide_nothing_are_refused(threshold):
    with pytest.raises(BadInput, match="expected a number between 0 and 1"):
        replace(METHOD, tumour_threshold=threshold)


def test_the_tiny_method_trains_all_phases_on_the_same_pixels():
    tiny = METHOD.tiny()
    assert {phase.grid.pixel_mm for phase in tiny.phases} == {12.0}
    assert {phase.recipe.loss for phase in tiny.phases} == {"dice_cross_entropy"}
    assert tiny.recipe.epochs < tiny.phases[1].recipe.epochs
    assert tiny.phases[1].network.frozen and not tiny.phases[2].network.frozen
