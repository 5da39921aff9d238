"""Weights of labels in the cross-entropy, and a rate that falls by a tenth an epoch: published recipes need both."""

from __future__ import annotations

import json
import math
from dataclasses import asdict

import pytest
import torch

from hepar.errors import BadInput
from hepar.training.losses import cross_entropy, loss_of
from hepar.training.recipe import Recipe

HAN = (0.2, 1.2, 2.2)


def test_each_pixel_counts_as_its_label_says_and_the_mean_is_over_pixels():
    labels = torch.tensor([[[0, 0, 0], [1, 1, 2]]])
    cost = loss_of(Recipe(label_weights=HAN))(torch.zeros(1, 3, 2, 3), labels, torch.tensor([False]))
    assert cost.item() == pytest.approx(math.log(3) * (3 * 0.2 + 2 * 1.2 + 2.2) / 6)


def test_weights_of_one_are_no_weights():
    logits = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(32).view(2, 4, 4) % 3
    union = torch.tensor([True, False])
    plain = cross_entropy(logits, labels, union)
    assert torch.equal(cross_entropy(logits, labels, union, weights=(1.0, 1.0, 1.0)), plain)
    assert not torch.isclose(cross_entropy(logits, labels, union, weights=HAN), plain)


@pytest.mark.parametrize("weights", [(1.0, 2.0), (1.0, -1.0, 2.0)])
def test_other_weights_are_refused(weights):
    with pytest.raises(BadInput, match="expected three numbers"):
        Recipe(label_weights=weights)


def test_a_recipe_with_weights_comes_back_from_json():
    recipe = Recipe(label_weights=HAN, schedule="tenth_less")
    assert Recipe.from_json(json.loads(json.dumps(asdict(recipe)))) == recipe


def test_the_rate_falls_by_a_tenth_after_each_epoch_and_not_within_one():
    recipe = Recipe(learning_rate=1.0, schedule="tenth_less", epochs=50)
    rates = [recipe.learning_rate_at(update, 350) for update in range(350)]
    assert rates[:7] == [1.0] * 7
    assert rates[7:14] == pytest.approx([0.9] * 7)
    assert rates[-7:] == pytest.approx([0.9**49] * 7)
