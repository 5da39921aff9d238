"""Losses on hand examples, partial labels, and gradient accumulation."""

import math

import numpy as np
import pytest
import torch

from hepar.training.losses import cross_entropy, dice_cross_entropy, soft_dice

FULL, UNION = torch.tensor([False]), torch.tensor([True])


def pixel(*logits: float) -> torch.Tensor:
    return torch.tensor(logits).view(1, 3, 1, 1)


def label(value: int) -> torch.Tensor:
    return torch.full((1, 1, 1), value)


def test_equal_scores_cost_ln_3_whatever_the_label():
    for value in (0, 1, 2):
        assert cross_entropy(pixel(0, 0, 0), label(value), FULL).item() == pytest.approx(math.log(3))


def test_a_union_pixel_costs_minus_log_of_p1_plus_p2():
    p = torch.softmax(torch.tensor([0.3, -1.0, 2.0]), dim=0)
    found = cross_entropy(pixel(0.3, -1.0, 2.0), label(1), UNION).item()
    assert found == pytest.approx(-math.log(p[1] + p[2]), rel=1e-6)
    assert found != pytest.approx(cross_entropy(pixel(0.3, -1.0, 2.0), label(1), FULL).item(), rel=1e-3)


def test_background_of_a_union_slice_costs_as_usual():
    a, b = (cross_entropy(pixel(0.3, -1.0, 2.0), label(0), kind).item() for kind in (UNION, FULL))
    assert a == pytest.approx(b)


def test_a_union_pixel_does_not_say_which_of_the_two():
    logits = pixel(0.0, 1.0, 1.0).requires_grad_()
    cross_entropy(logits, label(1), UNION).backward()
    assert logits.grad[0, 1, 0, 0] == pytest.approx(logits.grad[0, 2, 0, 0].item())


def test_perfect_prediction_has_no_dice_loss_and_a_wrong_one_has():
    labels = torch.tensor([[[0, 1], [1, 2]]])
    right = torch.nn.functional.one_hot(labels, 3).permute(0, 3, 1, 2).float() * 50
    assert soft_dice(right, labels, FULL).item() == pytest.approx(0, abs=1e-5)
    assert soft_dice(right.flip(1), labels, FULL).item() > 0.5


def test_union_slices_say_nothing_of_tumour_in_the_dice_loss():
    labels = torch.tensor([[[1, 1]]])
    tumour_everywhere = torch.tensor([0.0, 0.0, 50.0]).view(1, 3, 1, 1).expand(1, 3, 1, 2)
    assert soft_dice(tumour_everywhere, labels, UNION).item() == pytest.approx(0, abs=1e-5)
    assert soft_dice(tumour_everywhere, labels, FULL).item() > 0.4


def test_the_sum_is_the_sum():
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.normal(size=(2, 3, 4, 4)).astype(np.float32))
    labels = torch.from_numpy(rng.integers(0, 3, (2, 4, 4)))
    union = torch.tensor([False, True])
    total = dice_cross_entropy(logits, labels, union).item()
    assert total == pytest.approx((cross_entropy(logits, labels, union) + soft_dice(logits, labels, union)).item())
