"""Training on blocks: losses as on slices, resumed bit for bit, validated on volumes, and its method."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import hepar
from hepar import methods
from hepar.cases import Case
from hepar.datasets.phantom import PhantomSettings, phantom_case
from hepar.errors import BadInput, TrainingDiverged
from hepar.inference.blocks import BlockSegmenter
from hepar.nets.residual_unet3d import ResidualUnet3d
from hepar.preprocess import InPlaneGrid
from hepar.training import loop3d
from hepar.training.checkpoint import TrainingState
from hepar.training.deep_method3d import Deep3dMethod
from hepar.training.loop import make_optimizer
from hepar.training.loop3d import block_loss, update_blocks, validate_blocks
from hepar.training.losses import cross_entropy
from hepar.training.patches3d import load_volumes
from hepar.training.recipe import Recipe
from hepar.training.synthesis import LesionSynthesis

NETWORK = ResidualUnet3d(side=16, slice_mm=12.0, channels=(4, 6), blocks=(1, 1), deep_heads=0)
RECIPE = Recipe(
    optimizer="adamw", learning_rate=1e-2, epochs=2, batch=2, micro_batch=1, loss="dice_cross_entropy",
    sampling="patient_balanced", samples_per_epoch=4, ema=0.9,
)  # fmt: skip


@pytest.fixture(scope="module")
def case() -> Case:
    return phantom_case(PhantomSettings(seed=3, shape=(16, 32, 32), spacing_mm=(12, 12, 12), lesions=3), "phantom")


@pytest.fixture
def method() -> Deep3dMethod:
    base = methods.get("residual_unet3d")
    return replace(base, network=NETWORK, grid=InPlaneGrid(pixel_mm=12.0, multiple=1), recipe=RECIPE)


def test_the_loss_of_a_block_is_that_of_its_voxels():
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 4, 6, 8, generator=rng)
    labels = torch.randint(3, (2, 4, 6, 8), generator=rng)
    none = torch.zeros(2, dtype=torch.bool)
    assert block_loss(cross_entropy, {1: logits}, labels, none, 0.5).item() == pytest.approx(
        torch.nn.functional.cross_entropy(logits, labels).item(), rel=1e-5
    )
    coarse = torch.randn(2, 3, 2, 3, 4, generator=rng)
    both = block_loss(cross_entropy, {1: logits, 2: coarse}, labels, none, 0.5).item()
    apart = [torch.nn.functional.cross_entropy(one, truth).item() for one, truth in
             ((logits, labels), (coarse, labels[:, ::2, ::2, ::2]))]  # fmt: skip
    assert both == pytest.approx((apart[0] + 0.5 * apart[1]) / 1.5, rel=1e-5)
    some = torch.tensor([True, False])
    assert block_loss(cross_entropy, {1: logits}, labels.clamp(max=1), some, 0.5) < block_loss(
        cross_entropy, {1: logits}, labels.clamp(max=1), none, 0.5
    )


def test_micro_batches_add_up_to_the_batch():
    rng = torch.Generator().manual_seed(0)
    images, labels = torch.rand(4, 16, 16, 16, generator=rng) * 255, torch.randint(3, (4, 16, 16, 16), generator=rng)
    union = torch.zeros(4, dtype=torch.bool)
    recipe = replace(RECIPE, loss="cross_entropy", optimizer="sgd", batch=4)
    after = []
    for micro in (4, 1):
        network = NETWORK.build()
        state = TrainingState(network, make_optimizer(network, recipe), {}, [])
        loss = update_blocks(state, images, labels, union, replace(recipe, micro_batch=micro))
        after.append((loss, state.network.decoder.score.weight.detach().clone()))
    assert after[0][0] == pytest.approx(after[1][0], rel=1e-4)
    assert torch.allclose(after[0][1], after[1][1], atol=1e-6)
    assert after[0][1].abs().sum() > 0


def test_validation_counts_patients_and_leaves_union_labels_out_of_the_tumour(case):
    store = load_volumes([case], (), InPlaneGrid(pixel_mm=12.0, multiple=1), 12.0, seed=0)
    network = NETWORK.build()
    with torch.no_grad():
        network.decoder.score.bias[:] = torch.tensor([0.0, 1.0, 2.0])  # tumour everywhere
    found = validate_blocks(network, store, 16, "fp32")
    truth = store.labels[0]
    assert found["dice_liver"] == pytest.approx(2 * (truth > 0).sum() / ((truth > 0).sum() + truth.size))
    assert found["dice_tumour"] == pytest.approx(2 * (truth == 2).sum() / ((truth == 2).sum() + truth.size))
    assert network.training
    united = replace(store, union=np.array([True]))
    assert validate_blocks(network, united, 16, "fp32").keys() == {"dice_liver"}


def test_a_broken_training_goes_on_to_the_weights_of_an_unbroken_one(method, case, tmp_path):
    class PowerCut(Exception):
        pass

    def cut(tick):
        if tick.epoch == 1:
            raise PowerCut

    method.train([case], tmp_path / "unbroken")
    with pytest.raises(PowerCut):
        method.train([case], tmp_path / "broken", cut)
    heard = []
    method.train([case], tmp_path / "broken", lambda tick: heard.append(tick.epoch))
    assert set(heard) == {1}
    one, other = (load_file(tmp_path / name / "model" / "weights.safetensors") for name in ("broken", "unbroken"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    with pytest.raises(BadInput, match="holds another training"):
        replace(method, recipe=replace(RECIPE, seed=5)).train([case], tmp_path / "broken")


def test_patients_are_held_back_and_the_run_says_who(method, case, tmp_path):
    cases = [replace(case, id=name, patient=name, evidence="real") for name in ("a", "b", "c")]
    watching = replace(method, recipe=replace(RECIPE, validation_share=0.3, deep_supervision=0.0))
    heard = []
    watching.train(cases, tmp_path / "run", heard.append)
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert len(run["inner_validation_patients"]) == 1
    assert run["volumes"] == {"training": 2, "inner_validation": 1}
    assert (run["finished"], run["updates"]) == (True, 4)
    assert "dice_liver" in heard[-1].validation


def test_a_model_folder_of_blocks_segments_like_any_other(method, case, tmp_path):
    shown = replace(method, recipe=replace(RECIPE, patch=8)).train([case], tmp_path / "run")
    assert isinstance(shown, BlockSegmenter)
    # The recipe's patch is what the network sees, in training as later.
    assert (shown.side, shown.slice_mm) == (8, 12.0)
    found = hepar.segment(case.ct, tmp_path / "run" / "model", "cpu")
    assert np.array_equal(found.labels, shown.segment(case.ct).labels)


def test_a_loss_that_is_no_number_stops_the_training(method, case, tmp_path, monkeypatch):
    monkeypatch.setattr(loop3d, "update_blocks", lambda *_: float("nan"))
    with pytest.raises(TrainingDiverged, match="lower the learning rate"):
        method.train([case], tmp_path / "run")


def test_patients_named_in_the_recipe_are_held_back(method, case, tmp_path):
    cases = [replace(case, id=name, patient=name) for name in ("a", "b")]
    named = replace(method, recipe=replace(RECIPE, inner_patients=("b",)))
    named.train(cases, tmp_path / "run")
    assert json.loads((tmp_path / "run" / "run.json").read_text())["inner_validation_patients"] == ["b"]
    with pytest.raises(BadInput, match="inner patients x are not in the training data"):
        replace(named, recipe=replace(RECIPE, inner_patients=("x",))).train(cases, tmp_path / "other")


def test_a_synthetic_volume_of_a_held_back_patient_neither_trains_nor_judges(method, case, tmp_path):
    real = [replace(case, id=name, patient=name, evidence="real") for name in ("a", "held")]
    synthetic = [replace(one, id=f"{one.id} synthetic", evidence="synthetic") for one in real]
    named = replace(method, recipe=replace(RECIPE, epochs=1, inner_patients=("held",)))
    named.train(real + synthetic, tmp_path / "run")
    volumes = json.loads((tmp_path / "run" / "run.json").read_text())["volumes"]
    assert volumes == {"training": 2, "inner_validation": 1}


def test_grids_and_weights_that_fit_no_3d_network_are_refused(method):
    with pytest.raises(BadInput, match="instead of matrix=64"):
        replace(method, grid=InPlaneGrid(matrix=64))
    with pytest.raises(BadInput, match=r"no weights fit a 3D encoder, found imagenet"):
        replace(method, encoder_weights="imagenet")
    with pytest.raises(BadInput, match="train a 3D network with synthesis=null"):
        replace(method, recipe=replace(RECIPE, synthesis=LesionSynthesis()))
