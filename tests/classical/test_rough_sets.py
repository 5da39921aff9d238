"""Rough sets: the reduct keeps what is certain, rules fit every row, and doubt falls to the majority."""

from __future__ import annotations

import json
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepar.classical.rough_sets import (
    RoughRules,
    Rule,
    cut_into_values,
    dependency,
    equal_frequency_cuts,
    induced_rules,
    majority,
    quick_reduct,
)
from hepar.errors import BadModel

# Pawlak's kind of example: headache, muscle pain, temperature (0 normal, 1 high, 2 very high) -> flu.
PATIENTS = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 2], [0, 1, 0], [1, 0, 1], [0, 1, 2]])
FLU = np.array([1, 1, 1, 0, 0, 1])

tables = st.integers(0, 10_000).map(
    lambda seed: (
        np.random.default_rng(seed).integers(0, 3, (40, 5)),
        np.random.default_rng(seed + 1).integers(0, 3, 40),
    )
)


def test_dependency_is_the_share_of_rows_that_are_certain():
    # Rows 1 and 4 look the same, and are of both classes.
    assert dependency(PATIENTS, FLU, [0, 1, 2]) == pytest.approx(4 / 6)
    assert dependency(PATIENTS, FLU, [2]) == pytest.approx(3 / 6)
    assert dependency(PATIENTS, FLU, []) == 0
    assert dependency(PATIENTS, np.zeros(6, int), []) == 1


def test_the_reduct_of_the_example():
    # With the temperature, either of the other two is enough: both are always opposite but for one row.
    assert quick_reduct(PATIENTS, FLU) in ((0, 2), (1, 2))


@given(tables)
@settings(max_examples=40, deadline=None)
def test_a_reduct_preserves_the_dependency_and_nothing_can_be_left_out(both):
    table, kinds = both
    reduct = quick_reduct(table, kinds)
    goal = dependency(table, kinds, range(5))
    assert dependency(table, kinds, reduct) == goal
    assert list(reduct) == sorted(set(reduct))
    for fewer in combinations(reduct, len(reduct) - 1):
        assert dependency(table, kinds, fewer) < goal


def test_an_attribute_that_says_nothing_alone_is_found_with_its_partner():
    rng = np.random.default_rng(0)
    table = rng.integers(0, 2, (200, 6))
    assert quick_reduct(table, table[:, 1] ^ table[:, 4]) == (1, 4)


def test_inconsistent_rows_fall_to_the_majority_and_ties_to_the_rarer_class():
    table = np.array([[0], [0], [0], [1], [1], [2]])
    assert majority(table, np.array([0, 1, 0, 0, 1, 0])).tolist() == [0, 0, 0, 1, 1, 0]
    rules = induced_rules(table, np.array([0, 1, 0, 0, 1, 0]), [0])
    assert {(r.conditions, r.kind, r.support) for r in rules} == {
        (((0, 0),), 0, 2), (((0, 1),), 1, 1), (((0, 2),), 0, 1)
    }  # fmt: skip


@given(tables)
@settings(max_examples=40, deadline=None)
def test_rules_fit_every_row_and_none_is_wrong_about_settled_ones(both):
    table, kinds = both
    reduct = quick_reduct(table, kinds) or (0,)
    rules = induced_rules(table, kinds, reduct)
    settled = majority(table[:, list(reduct)], kinds)
    covered = np.zeros(len(table), bool)
    for rule in rules:
        fits = np.all([table[:, a] == v for a, v in rule.conditions], axis=0)
        assert (settled[fits] == rule.kind).all() and fits.any()
        assert rule.support == max(1, (kinds[fits] == rule.kind).sum())
        assert {a for a, _ in rule.conditions} <= set(reduct)
        # No condition is superfluous.
        for fewer in combinations(rule.conditions, len(rule.conditions) - 1):
            if fewer:
                rest = np.all([table[:, a] == v for a, v in fewer], axis=0)
                assert (settled[rest] != rule.kind).any()
        covered |= fits
    assert covered.all()
    found = RoughRules(tuple((0.5, 1.5) for _ in range(5)), rules, 3).scores(table.astype(float))
    assert (found.argmax(axis=1) == settled).all()


def test_rules_say_what_anyone_would_say():
    table = np.array([[a, b, c] for a in range(2) for b in range(3) for c in range(2)])
    rules = induced_rules(table, (table[:, 1] == 2).astype(int), [0, 1, 2])
    assert set(rules) == {Rule(((1, 0),), 0, 4), Rule(((1, 1),), 0, 4), Rule(((1, 2),), 1, 4)}


def test_votes_are_supports_and_the_best_partial_fit_speaks_where_none_is_whole():
    rules = (Rule(((0, 0),), 0, 3), Rule(((1, 0),), 1, 1), Rule(((0, 1), (1, 1), (2, 0)), 1, 5))
    judge = RoughRules(((0.5,), (0.5,), (0.5,)), rules, 2)
    found = judge.scores(np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 1.0, 1.0]]))
    assert np.allclose(found, [[0.75, 0.25], [1, 0], [0, 1]])
    assert judge.scores(np.zeros((0, 3))).shape == (0, 2)


def test_cuts_part_a_feature_into_equal_shares():
    features = np.stack([np.arange(100.0), np.zeros(100), np.repeat([0.0, 7.0], 50)], axis=1)
    cuts = equal_frequency_cuts(features, 4)
    assert cuts == ((24.75, 49.5, 74.25), (), (3.5, 7.0))
    values = cut_into_values(features, cuts)
    assert np.bincount(values[:, 0]).tolist() == [25, 25, 25, 25]
    assert not values[:, 1].any()
    assert np.unique(values[:, 2]).tolist() == [0, 2]


def test_rules_are_stored_as_json_that_anyone_can_read():
    features = np.random.default_rng(0).normal(size=(60, 4))
    kinds = (features[:, 0] + features[:, 2] > 0).astype(int)
    cuts = equal_frequency_cuts(features, 4)
    table = cut_into_values(features, cuts)
    judge = RoughRules(cuts, induced_rules(table, kinds, quick_reduct(table, kinds)), 2)
    again = RoughRules.from_parts(json.loads(json.dumps(judge.to_json())), judge.arrays())
    assert again == judge and judge.arrays() == {}
    good = judge.to_json()
    for broken in (
        good | {"rules": []},
        good | {"rules": [{"if": [[9, 0]], "kind": 0, "support": 1}]},
        good | {"rules": [{"if": [[0, 9]], "kind": 0, "support": 1}]},
        good | {"rules": [{"if": [], "kind": 0, "support": 1}]},
        good | {"rules": [{"if": [[0, 0]], "kind": 5, "support": 1}]},
        good | {"rules": [7]},
        {},
    ):
        with pytest.raises(BadModel, match="train the model again"):
            RoughRules.from_parts(broken, {})
