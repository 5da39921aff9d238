"""Do two measurements agree? Bland and Altman 1986, Lancet 327:307-310."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hepar.errors import BadInput
from hepar.study.statistics.bootstrap import NO_INTERVAL, Interval, Numbers

# The paper's 95 % range of normally distributed differences.
WIDTH = 1.96


@dataclass(frozen=True, eq=False)
class BlandAltman:
    """Measurements against their mean, in their own unit.

    `mean` and `difference` (found minus truth) hold one number a pair, `bias`
    is the mean difference with its 95 % interval (Student's t), `lower` and
    `upper` are the limits of agreement, bias -+ 1.96 standard deviations.
    """

    mean: NDArray[np.float64]
    difference: NDArray[np.float64]
    bias: float
    bias_interval: Interval
    lower: float
    upper: float


def bland_altman(truth: Numbers, found: Numbers) -> BlandAltman:
    """Pairs without both values are left out. Bias NaN without a pair; limits and interval NaN with fewer than two.

    Raises BadInput for lengths that differ.
    """
    true, measured = np.asarray(truth, np.float64), np.asarray(found, np.float64)
    if true.ndim != 1 or true.shape != measured.shape:
        raise BadInput(f"found {true.shape} true and {measured.shape} measured values; expected pairs")
    both = np.isfinite(true) & np.isfinite(measured)
    true, measured = true[both], measured[both]
    mean, difference = (true + measured) / 2, measured - true
    count = len(difference)
    bias = float(difference.mean()) if count else math.nan
    if count < 2:
        return BlandAltman(mean, difference, bias, NO_INTERVAL, math.nan, math.nan)
    from scipy.stats import t

    deviation = float(difference.std(ddof=1))
    half = float(t.ppf(0.975, count - 1)) * deviation / math.sqrt(count)
    return BlandAltman(
        mean, difference, bias, Interval(bias - half, bias + half), bias - WIDTH * deviation, bias + WIDTH * deviation
    )
