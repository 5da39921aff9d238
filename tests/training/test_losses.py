"""Losses on hand examples, partial labels, and gradient accumulation."""

import math

import numpy as np
import pytest
import torch

from hepar.errors import BadInput
from hepar.training.losses import HALF_FALSE_PX, cross_entropy, deep_loss, dice_cross_entropy, loss_of, soft_dice
from hepar.training.recipe import Recipe
from hepar.volume import TUMOUR

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


def test_a_painted_tumour_of_a_union_slice_is_a_tumour():
    logits, labels, _ = random_batch()
    labels[:] = TUMOUR
    union = torch.tensor([True, True])
    assert cross_entropy(logits, labels, union).item() == cross_entropy(logits, labels, ~union).item()


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


def random_batch(union: bool = False) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(3)
    logits = torch.from_numpy(rng.normal(size=(2, 3, 8, 8)).astype(np.float32))
    return logits, torch.from_numpy(rng.integers(0, 3, (2, 8, 8))), torch.tensor([False, union])


@pytest.mark.parametrize("loss", ["cross_entropy", "dice_cross_entropy"])
def test_a_recipe_without_options_has_the_plain_loss(loss):
    batch = random_batch(union=True)
    plain = {"cross_entropy": cross_entropy, "dice_cross_entropy": dice_cross_entropy}[loss]
    assert loss_of(Recipe(loss=loss))(*batch).item() == plain(*batch).item()


@pytest.mark.parametrize("change", [{"focal": 2.0}, {"top_k": 0.2}, {"tumour_dice": "slices"}])
def test_each_option_changes_the_loss(change):
    batch = (two_lesions()[0] / 20, two_lesions()[1], torch.tensor([False, False]))
    one, other = (loss_of(Recipe(loss="dice_cross_entropy", **c))(*batch).item() for c in ({}, change))
    assert one != pytest.approx(other, rel=1e-3)


def test_focal_weighs_a_pixel_with_what_is_missing_to_1():
    p = torch.softmax(torch.tensor([0.3, -1.0, 2.0]), dim=0)
    found = cross_entropy(pixel(0.3, -1.0, 2.0), label(2), FULL, focal=2.0).item()
    assert found == pytest.approx(-((1 - p[2]) ** 2 * torch.log(p[2])).item(), rel=1e-5)
    # Of a union pixel the probability of liver or tumour counts.
    either = p[1] + p[2]
    found = cross_entropy(pixel(0.3, -1.0, 2.0), label(1), UNION, focal=2.0).item()
    assert found == pytest.approx(-((1 - either) ** 2 * torch.log(either)).item(), rel=1e-4)


@pytest.mark.parametrize("focal", [0.5, 1.0, 2.0])
def test_focal_has_a_gradient_where_everything_is_right(focal):
    logits = (torch.tensor([200.0, 0.0, 0.0]).view(1, 3, 1, 1)).requires_grad_()
    cross_entropy(logits, label(0), FULL, focal=focal).backward()
    assert torch.isfinite(logits.grad).all()


def test_top_k_is_the_mean_of_the_hardest_pixels():
    logits = torch.zeros(1, 3, 1, 4)
    logits[0, 0, 0] = torch.tensor([0.0, 1.0, 2.0, 3.0])
    labels = torch.zeros(1, 1, 4, dtype=torch.long)
    each = [cross_entropy(logits[..., i : i + 1], labels[..., i : i + 1], FULL).item() for i in range(4)]
    assert cross_entropy(logits, labels, FULL, top_k=0.5).item() == pytest.approx((each[0] + each[1]) / 2)
    assert cross_entropy(logits, labels, FULL, top_k=1e-9).item() == pytest.approx(each[0])


def two_lesions() -> tuple[torch.Tensor, torch.Tensor]:
    """A lesion of 100 pixels found whole and one of 4 that is missed, each on its own slice of liver."""
    labels = torch.ones(2, 20, 20, dtype=torch.long)
    labels[0, :10, :10] = 2
    labels[1, :2, :2] = 2
    answer = labels.clone()
    answer[1] = 1
    return torch.nn.functional.one_hot(answer, 3).permute(0, 3, 1, 2).float() * 60, labels


def test_a_small_lesion_weighs_as_much_as_a_large_one_when_slices_count():
    logits, labels = two_lesions()
    neither = torch.tensor([False, False])
    pooled = soft_dice(logits, labels, neither).item()
    assert pooled == pytest.approx((1 - 200 / 204) / 2, abs=1e-4)
    for by_slice in ("slices", "slices_with_tumour"):
        assert soft_dice(logits, labels, neither, by_slice).item() == pytest.approx(1 / 4, abs=1e-4)


def test_false_tumour_of_a_tumour_free_slice_costs_by_its_area_or_nothing():
    labels = torch.ones(1, 20, 20, dtype=torch.long)
    answer = labels.clone()
    answer[0, :10, :5] = 2
    logits = (torch.nn.functional.one_hot(answer, 3).permute(0, 3, 1, 2).float() * 60).requires_grad_()
    costs = soft_dice(logits, labels, FULL, "slices")
    assert costs.item() == pytest.approx(50 / (50 + HALF_FALSE_PX) / 2, abs=1e-4)
    assert soft_dice(logits, labels, FULL, "slices_with_tumour").item() == pytest.approx(0, abs=1e-4)
    nothing = torch.nn.functional.one_hot(labels, 3).permute(0, 3, 1, 2).float() * 60
    assert soft_dice(nothing, labels, FULL, "slices").item() == pytest.approx(0, abs=1e-4)


def test_union_slices_say_nothing_of_tumour_slice_by_slice_either():
    logits, labels = two_lesions()
    labels = labels.clamp(max=1)
    for by_slice in ("slices", "slices_with_tumour"):
        found = soft_dice(logits, labels, torch.tensor([True, True]), by_slice).item()
        assert found == pytest.approx(0, abs=1e-4)


def test_deep_levels_are_a_weighted_mean_over_every_stride_th_label():
    labels = torch.from_numpy(np.random.default_rng(0).integers(0, 3, (2, 9, 12)))
    union = torch.tensor([False, True])
    levels = {
        s: torch.randn((2, 3, -(-9 // s), -(-12 // s)), generator=torch.Generator().manual_seed(s)) for s in (1, 4, 2)
    }
    each = {s: cross_entropy(logits, labels[:, ::s, ::s], union).item() for s, logits in levels.items()}
    found = deep_loss(cross_entropy, levels, labels, union, share=0.5).item()
    assert found == pytest.approx((each[1] + 0.5 * each[2] + 0.25 * each[4]) / 1.75)
    assert deep_loss(cross_entropy, {1: levels[1]}, labels, union, share=0.0).item() == each[1]


@pytest.mark.parametrize("change", [{"focal": -1.0}, {"top_k": 0.0}, {"top_k": 1.5}, {"deep_supervision": 2.0}])
def test_impossible_loss_settings_are_refused(change):
    with pytest.raises(BadInput, match=next(iter(change))):
        Recipe(**change)
