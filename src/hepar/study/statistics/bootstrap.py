"""Percentile bootstrap over patients (Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13).

A figure is `finish(sum of numerators / sum of denominators)`
(`hepar.metrics.figures`), so a resample is a row of counts, how often each
patient was drawn, and all resamples are one matrix product.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepar.errors import BadInput
from hepar.metrics.figures import Finish

DRAWS = 2000
SEED = 2018
# A 95 % interval.
TAILS = (0.025, 0.975)

Numbers = Sequence[float] | NDArray[Any]
Patients = Sequence[Hashable] | None


@dataclass(frozen=True)
class Interval:
    """A 95 % interval; both ends NaN where there is none."""

    low: float
    high: float


NO_INTERVAL = Interval(math.nan, math.nan)


def bootstrap_interval(
    numerators: Numbers,
    denominators: Numbers,
    finish: Finish = "ratio",
    patients: Patients = None,
    draws: int = DRAWS,
    seed: int = SEED,
) -> Interval:
    """95 % percentile interval of a figure, patients drawn with replacement.

    One numerator and denominator a case, denominator 0 where the case does not
    count, as in `hepar.metrics.figures.Figure`; `patients` names the patient of
    each case (None: each its own). A patient is drawn with all of its cases, and
    those that do not count are drawn too, since another cohort would hold
    another number of them. Resamples in which nothing counts are left out.

    NaN with fewer than two patients that count: one patient says nothing about
    the next. Over few patients the interval is too narrow: of 2000 simulated
    cohorts of Dice (beta 5, 2) it held the true mean in 84 % with 5 patients,
    90 % with 10, 92 % with 20 and 93 % with 40; of normal values in 85, 91, 93
    and 94 %. The interval of a "max" ends at the value itself, and is a rough
    guide only: no resample can hold a worse case than the worst.

    Raises BadInput for lengths that differ, numbers that are not finite, or less than one draw.
    """
    tops, bottoms = _checked(numerators, denominators, draws)
    patient_of = patient_numbers(patients, len(tops))
    counting = bottoms != 0
    if len(np.unique(patient_of[counting])) < 2:
        return NO_INTERVAL
    total = int(patient_of.max()) + 1
    weights = drawn_patients(total, draws, seed)
    if finish == "max":
        worst = np.full(total, -np.inf)
        np.maximum.at(worst, patient_of[counting], tops[counting] / bottoms[counting])
        values = np.where(weights > 0, worst, -np.inf).max(axis=1)
        return _percentiles(values[values > -np.inf])
    sums = [np.bincount(patient_of, weights=own, minlength=total) for own in (tops, bottoms)]
    top, bottom = weights @ sums[0], weights @ sums[1]
    ratio = top[bottom != 0] / bottom[bottom != 0]
    return _percentiles(np.sqrt(ratio) if finish == "root" else ratio)


def patient_numbers(patients: Patients, cases: int) -> NDArray[np.intp]:
    """For each case the number of its patient, from 0 in order of appearance.

    Raises BadInput when there are not as many patients as cases.
    """
    if patients is None:
        return np.arange(cases)
    if len(patients) != cases:
        raise BadInput(f"found {len(patients)} patients for {cases} cases; name the patient of each case")
    number = {patient: place for place, patient in enumerate(dict.fromkeys(patients))}
    return np.array([number[patient] for patient in patients], dtype=np.intp)


@lru_cache(maxsize=4)
def drawn_patients(patients: int, draws: int, seed: int) -> NDArray[np.float64]:
    """How often each patient was drawn, (draws, patients); rows sum to `patients`. Read-only.

    Kept because a scoreboard asks for the same draws for each of its figures.
    """
    counts = np.random.default_rng(seed).multinomial(patients, np.full(patients, 1 / patients), size=draws)
    weights = counts.astype(np.float64)
    weights.setflags(write=False)
    return weights


def _percentiles(values: NDArray[np.float64]) -> Interval:
    if not len(values):
        return NO_INTERVAL
    low, high = np.quantile(values, TAILS)
    return Interval(float(low), float(high))


def _checked(numerators: Numbers, denominators: Numbers, draws: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    tops, bottoms = np.asarray(numerators, np.float64), np.asarray(denominators, np.float64)
    if tops.ndim != 1 or tops.shape != bottoms.shape:
        raise BadInput(
            f"found numerators of shape {tops.shape} and denominators of {bottoms.shape}; expected one of each a case"
        )
    if not (np.isfinite(tops).all() and np.isfinite(bottoms).all()):
        raise BadInput("found a term that is not a finite number; give 0 and 0 for a case that does not count")
    if draws < 1:
        raise BadInput(f"found {draws} draws; expected 1 or more, and 1000 or more for a useful interval")
    return tops, bottoms
