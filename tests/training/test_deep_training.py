"""Several slices, strong changes, deep heads and averaged weights through a whole training, broken and whole."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from hepar.cases import Case
from hepar.datasets.phantom import PhantomSettings, phantom_case
from hepar.errors import BadInput, BadModel
from hepar.inference import Decision, Neighbours, load_segmenter, open_model, save_model
from hepar.inference.decision import decision_to_json
from hepar.inference.two_pass import TwoPassSegmenter
from hepar.nets.residual_unet import ResidualUnet
from hepar.postprocess import DropSmallTumours
from hepar.preprocess import InPlaneGrid, Window
from hepar.training import loop
from hepar.training.checkpoint import TrainingState
from hepar.training.deep_method import DeepMethod
from hepar.training.export import export_run
from hepar.training.loop import fit, make_optimizer, update_once
from hepar.training.recipe import STRONG, Recipe
from hepar.training.run_folder import require_same_training
from hepar.training.sampling import gather
from hepar.training.validation import validate

NETWORK = ResidualUnet(slices=3, channels=(4, 6, 8), blocks=(1, 1, 1), deep_heads=1, step_mm=12.0)
RECIPE = Recipe(
    optimizer="adamw", learning_rate=5e-3, epochs=3, batch=4, micro_batch=4, loss="dice_cross_entropy",
    deep_supervision=0.5, tumour_dice="slices", top_k=0.5, sampling="patient_balanced", samples_per_epoch=8,
    slices="all", augmentation=STRONG, ema=0.9, precision="bf16",
)  # fmt: skip
METHOD = DeepMethod(NETWORK, (Window(-40, 160),), InPlaneGrid(matrix=64), RECIPE, encoder_weights="none")
PHANTOM = PhantomSettings(seed=3, shape=(10, 64, 64), spacing_mm=(12, 6, 6), lesions=3, noise_hu=8)


class PowerCut(Exception):
    pass


@pytest.fixture(scope="module")
def case() -> Case:
    return phantom_case(PHANTOM, "phantom")


@pytest.fixture(scope="module")
def run(case, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "whole"
    METHOD.train([case], folder)
    return folder


def test_a_broken_training_with_everything_on_ends_in_the_weights_of_a_whole_one(run, case, tmp_path):
    def cut(tick):
        if tick.epoch == 2 and not tick.ended:
            raise PowerCut

    with pytest.raises(PowerCut):
        METHOD.train([case], tmp_path / "broken", cut)
    METHOD.train([case], tmp_path / "broken")
    for name in ("checkpoint.safetensors", "model/weights.safetensors"):
        one, other = load_file(run / name), load_file(tmp_path / "broken" / name)
        assert one.keys() == other.keys()
        assert all(torch.equal(one[k], other[k]) for k in one)


def test_the_model_is_the_average_that_the_checkpoint_keeps_not_the_last_weights(run):
    kept, model = load_file(run / "checkpoint.safetensors"), load_file(run / "model" / "weights.safetensors")
    assert all(torch.equal(kept[f"ema.{name}"], value) for name, value in model.items())
    assert not all(torch.equal(kept[f"network.{name}"], value) for name, value in model.items())


def test_the_model_knows_its_neighbours_and_the_export_follows_it(run, case, tmp_path):
    assert open_model(run / "model").pipeline.neighbours == Neighbours(3, 12.0)
    card = tmp_path / "card.json"
    card.write_text(json.dumps({k: "x" for k in ("name", "description", "licence", "trained_on", "limits")}))
    export_run([run], tmp_path / "onnx", card)
    assert open_model(tmp_path / "onnx").pipeline.neighbours == Neighbours(3, 12.0)
    found, expected = (load_segmenter(folder).segment(case.ct).labels for folder in (tmp_path / "onnx", run / "model"))
    assert (found == expected).mean() > 0.999


def trained(case: Case, folder: Path) -> Path:
    replace(METHOD, recipe=replace(RECIPE, epochs=1)).train([case], folder)
    return folder


def card_file(folder: Path) -> Path:
    card = folder / "card.json"
    card.write_text(json.dumps({k: "x" for k in ("name", "description", "licence", "trained_on", "limits")}))
    return card


def test_weights_of_half_precision_take_half_the_room_and_label_alike(case, tmp_path):
    wide = replace(METHOD, network=replace(NETWORK, channels=(16, 24, 32)), recipe=replace(RECIPE, epochs=1))
    wide.train([case], tmp_path / "run")
    sizes = {}
    for precision in ("fp32", "fp16"):
        export_run([tmp_path / "run"], tmp_path / precision, card_file(tmp_path), precision)
        sizes[precision] = (tmp_path / precision / "model.onnx").stat().st_size
    assert sizes["fp16"] < 0.65 * sizes["fp32"]
    found, expected = (load_segmenter(tmp_path / p).segment(case.ct).labels for p in ("fp16", "fp32"))
    assert (found == expected).mean() > 0.995


def test_several_runs_become_one_model_that_averages_their_logits(run, case, tmp_path):
    other = replace(METHOD, recipe=replace(RECIPE, epochs=1, seed=5))
    other.train([case], tmp_path / "other")
    export_run([run, tmp_path / "other"], tmp_path / "both", card_file(tmp_path))
    grey = np.random.default_rng(0).uniform(0, 255, (1, 3, 64, 64)).astype(np.float32)
    folders = (run / "model", tmp_path / "other" / "model", tmp_path / "both")
    one, two, both = (load_segmenter(folder).predict(grey) for folder in folders)
    assert np.allclose(both, (one + two) / 2, atol=2e-3)
    assert not np.allclose(one, two, atol=0.1)


def decided(run: Path, decision: Decision, *drop: DropSmallTumours) -> Path:
    """The run, as if `hepar study tune` had chosen this."""
    model = open_model(run / "model")
    pipeline = replace(model.pipeline, decision=decision, clean=(*model.pipeline.clean, *drop))
    save_model(run / "model", model.card, pipeline, model.weights, model.network)
    return run


def test_runs_tuned_apart_decide_by_their_mean_once_averaged(case, tmp_path):
    one, two = (
        decided(
            trained(case, tmp_path / str(bias)), Decision("liver_first", 1 + bias, bias, 0.6 + bias / 5, bias), *drop
        )
        for bias, drop in ((0.0, ()), (1.0, (DropSmallTumours(0.2),)))
    )
    export_run([one, two], tmp_path / "both", card_file(tmp_path))
    both = open_model(tmp_path / "both").pipeline
    assert both.decision == Decision("liver_first", 1.5, 0.5, 0.7, 0.5)
    assert both.clean[-1] == DropSmallTumours(0.1)
    decided(two, Decision("argmax"))
    with pytest.raises(BadModel, match="tune all of them"):
        export_run([one, two], tmp_path / "neither", card_file(tmp_path))


def test_a_tuning_file_decides_over_what_the_runs_chose(case, tmp_path):
    run = decided(trained(case, tmp_path / "run"), Decision("liver_first", 1.5), DropSmallTumours(0.3))
    wanted = Decision("liver_first", 1.2, 2.0, 0.65)
    tuning = tmp_path / "joint.json"
    tuning.write_text(json.dumps({"decision": decision_to_json(wanted), "min_ml": 0.1, "trials": []}))
    export_run([run], tmp_path / "onnx", card_file(tmp_path), tuning=tuning)
    pipeline = open_model(tmp_path / "onnx").pipeline
    assert (pipeline.decision, pipeline.clean[-1]) == (wanted, DropSmallTumours(0.1))
    tuning.write_text("{}")
    with pytest.raises(BadInput, match="expected `decision` and `min_ml`"):
        export_run([run], tmp_path / "no", card_file(tmp_path), tuning=tuning)


def test_an_export_over_a_coarse_model_sees_the_livers_box_and_the_coarse_one_is_the_fast_one(case, tmp_path):
    run = trained(case, tmp_path / "run")
    with pytest.raises(BadModel, match="coarse"):
        export_run([run], tmp_path / "onnx", card_file(tmp_path), first_margin_mm=20.0)
    export_run([run], tmp_path / "onnx" / "coarse", card_file(tmp_path))
    export_run([run], tmp_path / "onnx", card_file(tmp_path), first_margin_mm=20.0)
    model = open_model(tmp_path / "onnx")
    assert isinstance(load_segmenter(model), TwoPassSegmenter)
    assert model.fast.folder.name == "coarse"
    with pytest.raises(BadModel, match="one pass"):
        _ = model.fast.fast


def test_runs_that_prepare_scans_differently_are_not_averaged(run, case, tmp_path):
    replace(METHOD, grid=InPlaneGrid(matrix=32), recipe=replace(RECIPE, epochs=1)).train([case], tmp_path / "other")
    with pytest.raises(BadModel, match="one by one"):
        export_run([run, tmp_path / "other"], tmp_path / "both", card_file(tmp_path))


def test_inner_patients_can_be_named_and_must_be_there(case, tmp_path):
    named = replace(METHOD, recipe=replace(RECIPE, epochs=1, inner_patients=("held",)))
    named.train([case, replace(case, id="held", patient="held")], tmp_path / "run")
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert facts["inner_validation_patients"] == ["held"]
    assert facts["slices"]["training"] == facts["slices"]["inner_validation"] == 10
    with pytest.raises(BadInput, match="held are not in"):
        named.train([case], tmp_path / "none")


def test_a_synthetic_case_of_a_held_back_patient_neither_trains_nor_judges(case, tmp_path):
    real = [replace(case, id=name, patient=name, evidence="real") for name in ("a", "held")]
    synthetic = [replace(one, id=f"{one.id} synthetic", evidence="synthetic") for one in real]
    named = replace(METHOD, recipe=replace(RECIPE, epochs=1, inner_patients=("held",)))
    named.train(real + synthetic, tmp_path / "run")
    slices = json.loads((tmp_path / "run" / "run.json").read_text())["slices"]
    assert (slices["training"], slices["inner_validation"]) == (20, 10)


def test_an_update_of_deep_levels_differs_from_one_of_the_finest_alone(bright_discs):
    weights = []
    for share in (0.0, 0.5):
        network = replace(NETWORK, slices=1).build()
        recipe = replace(RECIPE, deep_supervision=share, precision="fp32", ema=0.0)
        state = TrainingState(network, make_optimizer(network, recipe), {}, [])
        images, labels, union = gather(bright_discs, np.arange(8), Recipe(), np.random.default_rng(0))
        update_once(state, images, labels, union, recipe)
        weights.append(network.decoder.deep[0].weight.detach())
    assert not weights[0].any()
    assert weights[1].any()


def test_deep_supervision_of_a_network_without_heads_is_refused(tiny_network, bright_discs, tmp_path):
    with pytest.raises(BadInput, match="has no deep heads"):
        fit(tiny_network(), bright_discs, None, replace(RECIPE, precision="fp32"), tmp_path, lambda _: None)


def test_a_batch_changes_by_its_own_number_whatever_came_before():
    def draw(*steps: int) -> list[float]:
        return [torch.rand(1, generator=loop._generator(7, step)).item() for step in steps]

    assert draw(0, 1, 2)[2] == draw(2)[0]
    assert len(set(draw(*range(50)))) == 50
    assert torch.rand(1, generator=loop._generator(8, 0)).item() != draw(0)[0]


@pytest.mark.parametrize(("update", "kept"), [(1, 2 / 11), (10, 11 / 20), (80, 0.9), (5000, 0.9)])
def test_an_average_forgets_its_start_fast_at_first_and_by_its_decay_later(update, kept):
    network = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        network.weight.fill_(1.0)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.0)
    state = TrainingState(network, optimizer, {"weight": torch.zeros(1, 1)}, [], update)
    loop._average(state, 0.9)
    assert state.ema["weight"].item() == pytest.approx(1 - kept)


def test_validation_judges_the_average_and_gives_the_last_weights_back(bright_discs, tmp_path, monkeypatch):
    judged = []

    def spy(network, store, precision):
        judged.append({k: v.clone() for k, v in network.state_dict().items()})
        return validate(network, store, precision)

    monkeypatch.setattr(loop, "validate", spy)
    network = replace(NETWORK, slices=1).build()
    fit(network, bright_discs, bright_discs, replace(RECIPE, epochs=1), tmp_path, lambda _: None)
    kept = load_file(tmp_path / "checkpoint.safetensors")
    name = "encoder.stem.0.weight"
    assert torch.equal(judged[0][name], kept[f"ema.{name}"])
    assert not torch.equal(judged[0][name], kept[f"network.{name}"])


def test_a_run_from_before_a_setting_existed_goes_on_and_one_with_other_settings_does_not(tmp_path):
    method = json.loads(json.dumps(METHOD.to_json()))
    plain = replace(METHOD, recipe=replace(RECIPE, deep_supervision=0.0, top_k=1.0, tumour_dice="batch"))
    old = json.loads(json.dumps(plain.to_json()))
    for name in ("deep_supervision", "top_k", "tumour_dice", "focal"):
        del old["recipe"][name]
    for name in ("shear_degrees",):
        old["recipe"]["augmentation"].pop(name)
    run = {"method": old, "training_cases": ["a"], "seed": 2018}
    (tmp_path / "run.json").write_text(json.dumps(run))
    asked = {"training_cases": ["a"], "seed": 2018}
    same = replace(plain, recipe=replace(plain.recipe, augmentation=replace(STRONG, shear_degrees=0)))
    require_same_training(tmp_path, asked | {"method": same.to_json()})
    for other in (method, plain.to_json(), old | {"recipe": old["recipe"] | {"no such setting": 1}}):
        with pytest.raises(BadInput, match="another training"):
            require_same_training(tmp_path, asked | {"method": other})
