"""Training with side outputs: the loss by hand, what is asked of whom, stages, rates, and gradients' factors."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from hepar.errors import BadInput
from hepar.nets.side_outputs import SideOutputs
from hepar.training.checkpoint import TrainingState
from hepar.training.loop import make_optimizer
from hepar.training.recipe import Recipe
from hepar.training.side_outputs import (
    BALANCE,
    SideCost,
    SideTraining,
    balanced_cross_entropy,
    rate_factor,
    scale_gradients,
    side_share,
    with_enough_liver,
)
from hepar.training.store import SliceStore

RECIPE = Recipe(epochs=10, batch=2, micro_batch=1, learning_rate=1.0, deep_supervision=1.0, drop_last=False)


def store(count: int = 3, side: int = 8) -> SliceStore:
    """Slices i of grey 10 (i + 1), dark in the first column, with a liver in row i and a tumour in its second pixel."""
    images, labels = [], []
    for i in range(count):
        image, truth = np.full((side, side), 10 * (i + 1), np.uint8), np.zeros((side, side), np.uint8)
        image[:, 0] = 0
        truth[i] = 1
        truth[i, 1] = 2
        images.append(image)
        labels.append(truth)
    around = [(images[max(0, i - 1)], images[i], images[min(count - 1, i + 1)]) for i in range(count)]
    names = np.array(["a"] * count)
    mm = np.tile([5.0, 0.75, 5.0], (count, 1))
    return SliceStore(images, labels, names, names, np.zeros(count, bool), around, mm)


def test_the_loss_of_a_hand_example():
    """One positive and one negative pixel of score 0 in each of two images, and an ignored one."""
    scores = torch.tensor([[[[0.0, 0.0, 9.0]]], [[[0.0, 0.0, -9.0]]]])
    targets = torch.tensor([[[[1, 0, -1]]], [[[1, 0, -1]]]])
    assert balanced_cross_entropy(scores, targets, BALANCE["liver"]).item() == pytest.approx(math.log(2))
    sure = balanced_cross_entropy(scores + 2, targets, BALANCE["tumour"]).item()
    expected = 0.8982 * math.log(1 + math.exp(-2)) + 0.1018 * math.log(1 + math.exp(2))
    assert sure == pytest.approx(expected, rel=1e-5)


def test_sides_count_fully_then_half_then_not():
    one = torch.zeros(1, 3, 2, 2)
    targets = torch.ones(1, 3, 2, 2, dtype=torch.int64)
    levels = {1: one, 2: one, 4: one, 8: one, 16: one}
    alone = 12 * 0.931 * math.log(2)
    for done, sides in ((0.0, 1.0), (0.31, 0.5), (0.61, 0.0)):
        assert side_share(done) == sides
        cost = SideCost(BALANCE["liver"], sides)(None, levels, targets, None, 1.0)
        assert cost.item() == pytest.approx((1 + 4 * sides) * alone, rel=1e-5)


def test_rates_fall_to_a_tenth_towards_the_end_of_each_stage():
    """Theirs change after 10, 15, 25, 30 and 40 of 50 thousand updates."""
    rates = [rate_factor(thousand / 50) for thousand in (0, 9, 10, 14, 15, 24, 25, 29, 30, 39, 40, 49)]
    assert rates == [1, 1, 0.1, 0.1, 1, 1, 0.1, 0.1, 1, 1, 0.1, 0.1]


def test_each_slice_is_asked_by_its_own_labels():
    training = SideTraining(store(), None, RECIPE, "liver")
    images, targets, _ = training.batch(np.array([1, 0]))
    assert images[:, :, 0, 1].tolist() == [[10, 20, 30], [10, 10, 20]]
    rows = [[np.flatnonzero(map_[:, 2].numpy() == 1).tolist() for map_ in stack] for stack in targets]
    assert rows == [[[0], [1], [2]], [[0], [0], [1]]]
    assert (targets >= 0).all()


def test_tumours_are_asked_of_what_is_lit_only():
    _, targets, _ = SideTraining(store(), None, RECIPE, "tumour").batch(np.array([1]))
    assert (targets[0, 1, :, 0] == -1).all()
    assert np.argwhere(targets[0, 1].numpy() == 1).tolist() == [[1, 1]]


def test_slices_of_different_sizes_share_a_batch_and_what_is_added_is_ignored():
    small, large = store(1, 6), store(1, 8)
    lists = {name: getattr(small, name) + getattr(large, name) for name in ("images", "labels", "around")}
    both = SliceStore(**lists, **{n: np.concatenate([getattr(small, n), getattr(large, n)]) for n in
                                  ("patients", "cases", "union", "mm")})  # fmt: skip
    images, targets, _ = SideTraining(both, None, RECIPE, "liver").batch(np.array([0, 1]))
    assert images.shape == targets.shape == (2, 3, 8, 8)
    assert (targets[0, :, 6:] == -1).all()
    assert (targets[1] >= 0).all()


def test_a_slice_that_does_not_train_is_seen_but_not_asked():
    part = store().part(np.array([False, True, True]))
    images, targets, _ = SideTraining(part, None, RECIPE, "liver").batch(np.array([0]))
    assert images[0, 0, 0, 1] == 10
    assert (targets[0, 0] == -1).all()
    assert (targets[0, 1:] >= 0).all()


def test_an_update_uses_the_stage_and_rate_of_its_place_in_the_training():
    network = SideOutputs(width=0.02).build()
    training = SideTraining(store(), None, RECIPE, "liver")
    state = TrainingState(network, make_optimizer(network, RECIPE), {}, [])
    rates = []
    for update in (0, 4, 6):
        # 2 updates an epoch, 20 in all: the fifth lies at 0.2.
        state.update = update
        for group in state.optimizer.param_groups:
            group["lr"] = 1e-9
        training.update(state, training.batch(np.array([0, 1])))
        rates.append(state.optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([1e-9, 1e-10, 1e-9])


def test_biases_learn_twice_as_fast_and_scores_slower():
    plain, scaled = (SideOutputs(width=0.02).build(seed=1) for _ in range(2))
    scale_gradients(scaled)
    image = torch.rand(1, 3, 32, 32) * 255
    for network in (plain, scaled):
        torch.stack([maps.sum() for maps in network.supervised(image).values()]).sum().backward()
    gradients = [dict((n, p.grad) for n, p in network.named_parameters()) for network in (plain, scaled)]
    expected = {"encoder.conv2_1.weight": 1, "encoder.conv2_1.bias": 2, "decoder.sides.0.weight": 1,
                "decoder.side_scores.1.weight": 0.1, "decoder.side_scores.1.bias": 0.2,
                "decoder.fuse.weight": 0.01, "decoder.fuse.bias": 0.02}  # fmt: skip
    for name, factor in expected.items():
        assert gradients[0][name].abs().sum() > 0
        assert torch.allclose(gradients[1][name], factor * gradients[0][name]), name


def test_slices_with_little_liver_do_not_teach_tumours():
    wide = store(3, 40)
    wide.images[1][:, 12:] = 0  # 11 columns of 40 pixels are lit: 440
    kept = with_enough_liver(wide)
    assert [int(image.max()) for image in kept.images] == [10, 30]
    with pytest.raises(BadInput, match="hardly any liver"):
        with_enough_liver(replace(wide, mm=np.tile([5.0, 0.1, 5.0], (3, 1))))
