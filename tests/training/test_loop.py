"""Training: accumulation, determinism, resuming after a kill, averaging."""

import signal
import subprocess
import sys
import textwrap
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from hepar.errors import BadInput, BadModel, TrainingDiverged
from hepar.training.checkpoint import TrainingState
from hepar.training.loop import fit, make_optimizer, update_once
from hepar.training.recipe import LITERAL, PRACTICAL, Augmentation, Recipe
from hepar.training.sampling import epoch_order, gather
from hepar.training.validation import validate

QUICK = Recipe(learning_rate=0.05, epochs=4, batch=6, micro_batch=3)


def silent(_):
    """No listener."""


def weights(network):
    return torch.cat([v.flatten().float() for v in network.state_dict().values()])


def test_the_loss_falls_and_the_discs_are_found(tiny_network, bright_discs, tmp_path):
    network = tiny_network()
    recipe = replace(QUICK, epochs=30, loss="dice_cross_entropy", optimizer="adam", learning_rate=0.02)
    state = fit(network, bright_discs, None, recipe, tmp_path, silent)
    assert state.history[-1]["loss"] < 0.3 * state.history[0]["loss"]
    found = validate(network, bright_discs, "fp32")
    assert found["dice_liver"] > 0.9


def test_accumulated_gradients_are_those_of_the_whole_batch(tiny_network, bright_discs):
    # Without batch statistics and dropout, micro-batches must not change the update.
    results = []
    for micro in (12, 4, 1):
        network = tiny_network().eval()
        recipe = replace(QUICK, batch=12, micro_batch=micro)
        state = TrainingState(network, make_optimizer(network, recipe), {}, [])
        images, labels, union = gather(bright_discs, np.arange(12), Recipe(), np.random.default_rng(0))
        # Inputs of order 1 keep float32's rounding below the tolerance.
        update_once(state, images / 255, labels, union, recipe)
        results.append(weights(network))
    assert torch.allclose(results[0], results[1], atol=1e-6)
    assert torch.allclose(results[0], results[2], atol=1e-6)
    assert not torch.allclose(results[0], weights(tiny_network()), atol=1e-6)


def test_same_seed_same_weights_other_seed_other_weights(tiny_network, bright_discs, tmp_path):
    recipe = replace(QUICK, augmentation=Augmentation(), ema=0.9)
    runs = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        network = tiny_network()
        fit(network, bright_discs, None, replace(recipe, seed=seed), tmp_path / name, silent)
        runs.append(weights(network))
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_training_leaves_the_global_generator_alone(tiny_network, bright_discs, tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fit(tiny_network(), bright_discs, None, replace(QUICK, epochs=1), tmp_path, silent)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "rmsprop"])
def test_stopping_after_an_epoch_and_going_on_changes_nothing(optimizer, tiny_network, bright_discs, tmp_path):
    recipe = replace(QUICK, optimizer=optimizer, schedule="poly", ema=0.9, augmentation=Augmentation())
    unbroken = tiny_network()
    fit(unbroken, bright_discs, None, recipe, tmp_path / "unbroken", silent)

    class Stop(Exception):
        pass

    def stop_in_third_epoch(tick):
        if tick.epoch == 2 and tick.share_of_epoch > 0.4:
            raise Stop

    broken = tiny_network()
    with pytest.raises(Stop):
        fit(broken, bright_discs, None, recipe, tmp_path / "broken", stop_in_third_epoch)
    resumed = tiny_network()
    state = fit(resumed, bright_discs, None, recipe, tmp_path / "broken", silent)
    assert torch.equal(weights(resumed), weights(unbroken))
    assert state.epoch == recipe.epochs
    assert not torch.equal(weights(broken), weights(unbroken))


def test_a_damaged_checkpoint_is_named(tiny_network, bright_discs, tmp_path):
    (tmp_path / "checkpoint.safetensors").write_bytes(b"not tensors")
    with pytest.raises(BadModel, match=r"checkpoint\.safetensors does not continue this training"):
        fit(tiny_network(), bright_discs, None, QUICK, tmp_path, silent)


def test_a_training_that_diverges_says_so_and_keeps_its_finished_epochs(tiny_network, bright_discs, tmp_path):
    fit(tiny_network(), bright_discs, None, replace(QUICK, epochs=1), tmp_path, silent)
    before = (tmp_path / "checkpoint.safetensors").read_bytes()
    with pytest.raises(TrainingDiverged, match=r"epoch 2, update \d+; lower the learning rate"):
        fit(tiny_network(), bright_discs, None, replace(QUICK, epochs=9, learning_rate=1e30), tmp_path, silent)
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == before


KILLED = """
import sys, time
import numpy as np, torch
from pathlib import Path
from torch import nn
from hepar.training.loop import fit
from hepar.training.recipe import Augmentation, Recipe
from hepar.training.store import SliceStore

rng = np.random.default_rng(0)
store = SliceStore([rng.integers(0, 255, (16, 16)).astype(np.uint8) for _ in range(12)],
                   [rng.integers(0, 3, (16, 16)).astype(np.uint8) for _ in range(12)],
                   np.repeat(["a", "b"], 6), np.repeat(["a", "b"], 6), np.zeros(12, bool))
torch.manual_seed(0)
network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Dropout(.3), nn.BatchNorm2d(4), nn.ReLU(),
                        nn.Conv2d(4, 3, 3, padding=1))
def listen(tick):
    print(tick.epoch, flush=True)
    time.sleep(float(sys.argv[2]))
fit(network, store, None, Recipe(epochs=5, batch=4, micro_batch=2, learning_rate=.1, ema=.9,
    augmentation=Augmentation()), Path(sys.argv[1]), listen)
"""


def test_kill_9_in_mid_epoch_then_resume_is_bit_identical_to_an_unbroken_run(tmp_path):
    script = textwrap.dedent(KILLED)

    def run(folder, pause="0"):
        return [sys.executable, "-c", script, str(tmp_path / folder), pause]

    subprocess.run(run("unbroken"), check=True, capture_output=True, timeout=120)
    with subprocess.Popen(run("killed", "0.1"), stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if line.strip() == "2":
                process.send_signal(signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    assert (tmp_path / "killed" / "checkpoint.safetensors").exists()
    subprocess.run(run("killed"), check=True, capture_output=True, timeout=120)
    one, other = (load_file(tmp_path / f / "checkpoint.safetensors") for f in ("unbroken", "killed"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[k], other[k]) for k in one)


def test_the_paper_recipes_say_what_the_paper_says():
    for recipe in (LITERAL, PRACTICAL):
        assert (recipe.optimizer, recipe.learning_rate, recipe.momentum, recipe.epochs) == ("sgd", 1e-4, 0.9, 40)
        assert (recipe.weight_decay, recipe.loss, recipe.augmentation) == (1e-4, "cross_entropy", None)
    assert LITERAL.batch == 1000
    assert PRACTICAL.batch < 1000


def test_literal_epochs_drop_the_incomplete_batch(bright_discs):
    kept = epoch_order(bright_discs, replace(QUICK, batch=10, drop_last=True), np.random.default_rng(0))
    everything = epoch_order(bright_discs, replace(QUICK, batch=10, drop_last=False), np.random.default_rng(0))
    assert len(kept) == 20
    assert sorted(everything) == list(range(24))


def test_a_new_epoch_is_shuffled_anew(bright_discs):
    first, second = (epoch_order(bright_discs, QUICK, np.random.default_rng([0, e])) for e in (0, 1))
    assert sorted(first) == sorted(second)
    assert list(first) != list(second)


def test_a_shuffled_epoch_can_end_early_and_shows_nothing_twice(bright_discs):
    order = epoch_order(bright_discs, replace(QUICK, samples_per_epoch=12), np.random.default_rng(0))
    assert len(order) == len(set(order)) == 12
    whole = epoch_order(bright_discs, replace(QUICK, samples_per_epoch=300), np.random.default_rng(0))
    assert sorted(whole) == list(range(len(bright_discs)))


def test_balanced_sampling_shows_tumour_far_more_often_than_it_occurs(bright_discs):
    for i in range(2, 24):
        bright_discs.labels[i] = np.minimum(bright_discs.labels[i], 1)
    recipe = replace(QUICK, sampling="patient_balanced", samples_per_epoch=300)
    order = epoch_order(bright_discs, recipe, np.random.default_rng(0))
    share = np.mean(bright_discs.has(2)[order])
    assert share > 0.35 > bright_discs.has(2).mean()


def test_a_third_labelled_takes_patients_alike_whatever_they_have(bright_discs):
    lone = bright_discs.part(np.arange(len(bright_discs)) < len(bright_discs) - 1)
    patients = np.array(["many"] * (len(lone) - 1) + ["one"])
    store = replace(lone, patients=patients)
    shares = {}
    for sampling in ("patient_balanced", "third_labelled"):
        recipe = Recipe(sampling=sampling, samples_per_epoch=900, drop_last=False)
        order = epoch_order(store, recipe, np.random.default_rng(0))
        shares[sampling] = float((store.patients[order] == "one").mean())
    assert shares["third_labelled"] > 0.3 > shares["patient_balanced"]


def test_nesterov_looks_ahead(tiny_network):
    plain, ahead = (make_optimizer(tiny_network(), Recipe(nesterov=n)).param_groups[0] for n in (False, True))
    assert (plain["nesterov"], ahead["nesterov"]) == (False, True)


def test_patches_keep_image_and_labels_together(bright_discs):
    images, labels, _ = gather(bright_discs, np.arange(24), Recipe(patch=20), np.random.default_rng(0))
    assert images.shape == (24, 1, 20, 20)
    assert images[:, 0][labels == 1].mean() > images[:, 0][labels == 0].mean() + 60


@pytest.mark.parametrize(("schedule", "last"), [("constant", 1.0), ("poly", 0.0), ("cosine", 0.0)])
def test_schedules_start_at_the_rate_and_end_where_they_should(schedule, last):
    recipe = Recipe(learning_rate=1.0, schedule=schedule)
    assert recipe.learning_rate_at(0, 100) == pytest.approx(1.0)
    assert recipe.learning_rate_at(100, 100) == pytest.approx(last)


def test_impossible_recipes_are_refused():
    with pytest.raises(BadInput, match="at least 1"):
        Recipe(epochs=0)
