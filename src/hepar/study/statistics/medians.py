"""The median over patients and its interval, from the same draws as the mean's."""

from __future__ import annotations

import math

import numpy as np

from hepar.errors import BadInput
from hepar.study.statistics.bootstrap import (
    DRAWS,
    NO_INTERVAL,
    SEED,
    TAILS,
    Interval,
    Numbers,
    drawn_patients,
)


def median(values: Numbers) -> float:
    """The middle value, or the mean of the two middle ones; NaN without a value."""
    return float(np.median(np.asarray(values, np.float64))) if len(values) else math.nan


def median_interval(values: Numbers, draws: int = DRAWS, seed: int = SEED) -> Interval:
    """95 % percentile bootstrap interval of the median, one finite value a patient.

    NaN with fewer than two patients. A resampled median is one of the values or
    half-way between two, so over few patients the ends lie on single patients.

    Raises BadInput for values that are not finite.
    """
    ordered = np.sort(np.asarray(values, np.float64))
    count = len(ordered)
    if not np.isfinite(ordered).all():
        raise BadInput("found a value that is not a finite number; leave out patients without one")
    if count < 2:
        return NO_INTERVAL
    drawn = np.cumsum(drawn_patients(count, draws, seed), axis=1)
    # The k-th smallest of a resample is the first value up to which more than k were drawn.
    lower, upper = (ordered[(drawn <= k).sum(axis=1)] for k in ((count - 1) // 2, count // 2))
    low, high = np.quantile((lower + upper) / 2, TAILS)
    return Interval(float(low), float(high))
