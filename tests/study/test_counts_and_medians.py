"""Exact intervals of rare counts and bootstrap intervals of medians."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepar.errors import BadInput
from hepar.study.statistics.counts import poisson_interval, rate
from hepar.study.statistics.medians import median, median_interval

# Garwood's own table and every textbook since: 95 % limits of a Poisson mean.
KNOWN = {0: (0.0, 3.689), 1: (0.0253, 5.572), 3: (0.619, 8.767), 10: (4.795, 18.390)}


@pytest.mark.parametrize("events", KNOWN)
def test_the_interval_of_a_count_is_garwoods(events):
    both = poisson_interval(events, 1)
    assert (both.low, both.high) == pytest.approx(KNOWN[events], abs=1e-3)


@settings(deadline=None)
@given(st.integers(0, 300), st.integers(1, 50))
def test_the_interval_holds_the_rate_and_shrinks_with_the_scans(events, scans):
    both = poisson_interval(events, scans)
    assert both.low <= rate(events, scans) <= both.high
    assert poisson_interval(events, 2 * scans).high == pytest.approx(both.high / 2)


def test_the_limits_leave_two_and_a_half_percent_on_each_side():
    def up_to(count: int, mean: float) -> float:
        return sum(math.exp(-mean) * mean**k / math.factorial(k) for k in range(count + 1))

    both = poisson_interval(4, 1)
    assert up_to(4, both.high) == pytest.approx(0.025)
    assert 1 - up_to(3, both.low) == pytest.approx(0.025)


def test_without_a_scan_there_is_no_rate_and_negative_counts_are_refused():
    assert math.isnan(rate(0, 0))
    assert math.isnan(poisson_interval(0, 0).high)
    with pytest.raises(BadInput, match="found -1 events in 3 scans"):
        poisson_interval(-1, 3)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=12))
def test_the_interval_of_the_median_is_that_of_resampled_medians(values):
    found = median_interval(values, draws=50, seed=3)
    drawn = np.random.default_rng(3).multinomial(len(values), np.full(len(values), 1 / len(values)), size=50)
    ordered = np.sort(values)
    medians = [np.median(np.repeat(ordered, row)) for row in drawn]
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(medians, (0.025, 0.975))))


def test_a_median_of_one_patient_has_no_interval_and_of_none_no_value():
    assert median([0.4]) == 0.4
    assert median([0.1, 0.2]) == pytest.approx(0.15)
    assert math.isnan(median([]))
    assert math.isnan(median_interval([0.4]).low)
    with pytest.raises(BadInput, match="not a finite number"):
        median_interval([0.1, math.nan])
