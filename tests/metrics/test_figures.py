"""A figure is a ratio of sums; what does not count is told, never averaged in."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepar.metrics.figures import FigureSpec, ProtocolScores, figure, over

MEAN, ROOT, MOST = (FigureSpec("x", "X", finish=how) for how in ("ratio", "root", "max"))


def cases(*terms) -> list[ProtocolScores]:
    return [ProtocolScores({"x": term} if term else {}) for term in terms]


def test_a_mean_leaves_out_cases_that_do_not_count_and_says_how_many():
    found = figure(MEAN, cases((0.5, 1), None, (1.0, 1)))
    assert (found.value, found.count, found.excluded) == (0.75, 2, 1)
    assert np.array_equal(found.per_case, [0.5, math.nan, 1.0], equal_nan=True)


def test_pooled_ratios_root_mean_squares_and_maxima():
    assert figure(MEAN, cases((1, 10), (9, 10))).value == 0.5
    assert figure(ROOT, cases((9, 1), (16, 1))).value == pytest.approx(math.sqrt(12.5))
    assert figure(MOST, cases((-3, 1), (-1, 1), None)).value == -1


def test_no_case_at_all_gives_the_specs_own_value_or_none():
    assert math.isnan(figure(MEAN, cases(None)).value)
    worst = FigureSpec("x", "X", when_empty=9001.0)
    assert figure(worst, cases(None)).value == 9001
    assert math.isnan(figure(worst, []).value)
    assert math.isnan(figure(worst, [ProtocolScores({}, crash="stopped")]).value)


def test_missed_cases_are_counted():
    scores = [ProtocolScores({"x": (0, 1)}, missed=("x",)), ProtocolScores({"x": (1, 1)})]
    assert figure(MEAN, scores).missed == 1


@given(st.lists(st.tuples(st.floats(-9, 9), st.sampled_from([0.0, 1.0, 3.0])), max_size=8))
def test_scores_survive_their_json(terms):
    for term in terms:
        before = ProtocolScores({"x": term}, ("x",), "crash", {"a": 1})
        after = ProtocolScores.from_json(json.loads(json.dumps(before.to_json())))
        assert over([before.value(MEAN)], [1], "ratio") == pytest.approx(after.value(MEAN), nan_ok=True)
        assert (after.missed, after.crash, after.details) == (("x",), "crash", {"a": 1})
