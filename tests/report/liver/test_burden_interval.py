"""An interval of the burden comes from errors on patients left out, or there is none."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hepar.report.liver.burden import KEY, burden_error, burden_interval


def test_without_measured_errors_or_a_burden_there_is_no_interval():
    known = {KEY: burden_error([1.0, 4.0], [1.0, 4.0]) | {"source": "x"}}
    assert burden_interval(4.0, {}) is None
    assert burden_interval(math.nan, known) is None


def test_perfect_predictions_leave_no_width():
    known = {KEY: burden_error([1.0, 4.0, 9.0], [1.0, 4.0, 9.0]) | {"source": "runs/x"}}
    found = burden_interval(4.0, known)
    assert (found.low, found.high) == pytest.approx((4.0, 4.0))
    assert "3 patients" in str(found) and "runs/x" in str(found) and "80 %" in str(found)


def test_as_many_true_burdens_lie_inside_as_the_interval_says():
    rng = np.random.default_rng(0)
    found = rng.uniform(1, 40, 400)
    true = np.square(np.sqrt(found) + rng.normal(0.2, 0.6, 400))
    known = {KEY: burden_error(true[:200], found[:200]) | {"source": "x"}}
    inside = [
        one.low <= t <= one.high
        for one, t in ((burden_interval(f, known), t) for f, t in zip(found[200:], true[200:], strict=True))
    ]
    assert 0.72 < np.mean(inside) < 0.88


def test_an_interval_stays_between_0_and_100_percent():
    known = {KEY: {"sqrt_percent": [-9.0, 9.0], "share": 0.8, "patients": 5, "source": "x"}}
    found = burden_interval(4.0, known)
    assert (found.low, found.high) == (0.0, 100.0)
