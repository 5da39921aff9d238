"""How well tiles are told apart, on numbers that can be counted by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from hepar.classical.tile_figures import accuracies, figures, lesion_auc


def test_area_under_the_curve_counts_pairs_and_half_ties():
    lesion = np.array([True, True, False, False])
    assert lesion_auc(np.array([0.9, 0.8, 0.1, 0.2]), lesion) == 1
    assert lesion_auc(np.array([0.9, 0.1, 0.1, 0.2]), lesion) == pytest.approx((1 + 1 + 0.5 + 0) / 4)
    assert lesion_auc(np.zeros(4), lesion) == 0.5
    assert math.isnan(lesion_auc(np.zeros(4), np.zeros(4, bool)))


def test_balanced_accuracy_is_the_mean_over_classes():
    kinds = np.array([0] * 9 + [1])
    assert accuracies(np.zeros(10, int), kinds) == (0.9, 0.5)
    assert accuracies(kinds, kinds) == (1, 1)
    assert all(map(math.isnan, accuracies(kinds[:0], kinds[:0])))


def test_figures_are_plain_json_and_say_what_they_stand_on():
    scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    found = figures(scores, np.array([0, 1, 1]))
    assert found == {"auc": 1.0, "accuracy": 0.6667, "balanced_accuracy": 0.75, "tiles": 3, "lesion_tiles": 2}
    assert json.loads(json.dumps(figures(scores[:1], np.array([0])), allow_nan=False))["auc"] is None
