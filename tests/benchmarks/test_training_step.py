"""Training: the same batch costs the same, loading is told apart from computing, and a wrong loss is refused."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hepar.training.recipe import Recipe  # noqa: E402 (after torch is known to be here)
from hepar.training.store import SliceStore  # noqa: E402

RECIPE = Recipe(batch=4, micro_batch=2, learning_rate=1e-2)


@dataclass(frozen=True)
class Tiny:
    """A network of two layers, with dropout."""

    def build(self, seed: int = 0) -> torch.nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return torch.nn.Sequential(
                torch.nn.BatchNorm2d(1), torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.Dropout(0.3),
                torch.nn.Conv2d(4, 3, 3, padding=1),
            )  # fmt: skip


@pytest.fixture(scope="module")
def training(benchmark_named):
    return benchmark_named("training_step")


@pytest.fixture(scope="module")
def store() -> SliceStore:
    rng = np.random.default_rng(2)
    labels = [rng.integers(0, 3, (16, 16)).astype(np.uint8) for _ in range(8)]
    images = [np.choose(one, (20, 180, 110)).astype(np.uint8) for one in labels]
    names = np.repeat("p", 8)
    return SliceStore(images, labels, names, names, np.zeros(8, bool))


def test_one_batch_costs_the_same_by_hepars_step_and_by_the_plain_one(training, store):
    losses = training.compared(Tiny(), store, RECIPE, "cpu")
    assert losses["hepar fp32"] == pytest.approx(losses["plain fp32"], rel=1e-4)
    assert losses["hepar bf16"] == pytest.approx(losses["plain fp32"], rel=0.05)
    # The same numbers by accident would compare nothing.
    assert losses["hepar bf16"] != losses["plain fp32"]


def test_another_loss_is_refused(training, benchmark_named, store, monkeypatch):
    plain = training.cross_entropy
    monkeypatch.setattr(training, "cross_entropy", lambda logits, labels: 1.01 * plain(logits, labels))
    with pytest.raises(benchmark_named("pairs").Disagreement, match="hepar fp32: loss"):
        training.compared(Tiny(), store, RECIPE, "cpu")


def test_plain_and_hepars_updates_move_a_network_alike(training, store):
    batch = next(training.hepar_batches(store, RECIPE))
    still = replace(RECIPE, momentum=0.0)
    network = training.built(Tiny(), "cpu", dropout=False)
    ours, theirs = deepcopy(network), deepcopy(network)
    updates = training.hepar_update(ours, still), training.plain_update(theirs, still, training.cross_entropy)
    losses = [[update(batch) for _ in range(4)] for update in updates]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    assert losses[0][-1] < losses[0][0]


def test_dropout_is_off_only_where_asked(training):
    assert [part.p for part in training.built(Tiny(), "cpu").modules() if hasattr(part, "p")] == [0.3]
    assert [part.p for part in training.built(Tiny(), "cpu", dropout=False).modules() if hasattr(part, "p")] == [0.0]


def test_batches_never_end_and_begin_alike(training, store):
    batches = training.hepar_batches(store, RECIPE)
    five = [next(batches) for _ in range(5)]  # eight slices make two
    assert torch.equal(five[0][0], next(training.hepar_batches(store, RECIPE))[0])
    assert all(images.shape == (4, 1, 16, 16) for images, _, _ in five)


def test_loading_is_told_apart_from_computing(training, store, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(training.time, "perf_counter", lambda: clock[0])

    def batches():
        while True:
            clock[0] += 1.0
            yield "batch"

    def update(batch: str) -> float:
        assert batch == "batch"
        clock[0] += 3.0
        return 0.5

    clocked = training.stepped(batches(), update, "cpu")
    assert clocked.seconds == training.STEPS * 4.0
    assert clocked.result == {"loading": 0.25, "loss": 0.5}


def test_a_loss_that_is_no_number_is_no_training(training, benchmark_named):
    with pytest.raises(benchmark_named("pairs").Disagreement, match="the loss became nan"):
        training.stepped(iter(["batch"] * training.STEPS), lambda _: float("nan"), "cpu")


def test_speed_is_slices_of_all_updates_over_the_median_round(training, benchmark_named):
    results = {"hepar bf16": {"loading": 0.1}, "plain fp32": {"loading": 0.3}}
    seconds = {"hepar bf16": [1.0, 2.0, 3.0], "plain fp32": [4.0, 4.0, 6.0]}
    rows = training.table("net", benchmark_named("pairs").Timed(seconds, results), RECIPE)
    assert [row["slices_per_s"] for row in rows] == [training.STEPS * 4 / 2.0, training.STEPS * 4 / 4.0]
    assert [row["times_plain_fp32"] for row in rows] == [2.0, 1.0]
    assert [row["loading"] for row in rows] == [0.1, 0.3]


def test_slices_show_liver(training, benchmark_named):
    store = training.slices(32)
    assert 20 < len(store) <= 48
    assert store.has(1).all()
    assert store.images[0].dtype == np.uint8


@pytest.mark.filterwarnings("ignore")
def test_monais_batches_have_the_same_form(training, store):
    pytest.importorskip("monai")
    images, labels, union = next(training.monai_batches(store, RECIPE))
    ours = next(training.hepar_batches(store, RECIPE))
    for theirs, here in zip((images, labels, union), ours, strict=True):
        assert (theirs.shape, theirs.dtype, type(theirs)) == (here.shape, here.dtype, torch.Tensor)
    assert set(labels.unique().tolist()) <= {0, 1, 2}
    assert torch.isfinite(training.monai_loss()(torch.zeros(4, 3, 16, 16), labels))
