"""Two methods on the same patients: is the difference more than chance, and how large is it?

Wilcoxon signed rank test and sign-flip permutation test of the mean, both
two-sided; effect sizes d_z (Cohen 1988, section 2.3) and the matched-pairs
rank-biserial correlation (Kerby 2014, Comprehensive Psychology 3:11.IT.3.1);
Holm's correction (Holm 1979, Scandinavian Journal of Statistics 6:65-70).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepar.errors import BadInput
from hepar.study.statistics.bootstrap import (
    NO_INTERVAL,
    SEED,
    Interval,
    Numbers,
    Patients,
    bootstrap_interval,
    patient_numbers,
)

# All 2^12 sign patterns are fewer than the random ones, and exact.
EXACT_FLIPS_UP_TO = 12
FLIPS = 10_000
_BATCH = 1_000
# scipy's own bound between the exact distribution and the normal one.
EXACT_RANKS_UP_TO = 50


@dataclass(frozen=True)
class PairedTest:
    """First minus second over the patients where both are defined.

    `cases` counts the pairs, `patients` what was tested. `interval` is the
    patient bootstrap of the mean difference. `rank_biserial` is 1 when the
    first is larger in every patient, -1 when smaller. What needs two patients
    is NaN with fewer.
    """

    cases: int
    patients: int
    mean_difference: float
    interval: Interval
    wilcoxon_p: float
    permutation_p: float
    effect_dz: float
    rank_biserial: float

    def row(self) -> dict[str, float]:
        """Its figures as columns of a table; `with_holm` adds the adjusted p."""
        return {
            "patients": self.patients,
            "difference": self.mean_difference,
            "low": self.interval.low,
            "high": self.interval.high,
            "wilcoxon_p": self.wilcoxon_p,
            "permutation_p": self.permutation_p,
            "effect_dz": self.effect_dz,
            "rank_biserial": self.rank_biserial,
        }


def paired_test(first: Numbers, second: Numbers, patients: Patients = None, seed: int = SEED) -> PairedTest:
    """Compare two methods case by case; NaN where a method has no value.

    Only cases with both values count. Differences of a patient's cases are
    averaged first, so a patient weighs the same however often scanned.

    Zero differences: dropped by the Wilcoxon test and the rank-biserial
    correlation (Wilcoxon's own rule), kept as zeros elsewhere. If all are zero,
    both p are 1 and both effects 0. Differences below a trillionth of the
    values are rounding and count as zero or as ties. d_z is NaN when all
    differences are one number other than zero: it would be infinite.

    With fewer than 6 patients p cannot fall below .05; see `smallest_possible_p`.

    Raises BadInput for lengths that differ or infinite values.
    """
    differences, cases = _patient_differences(first, second, patients)
    count = len(differences)
    mean = float(differences.mean()) if count else math.nan
    if count < 2:
        return PairedTest(cases, count, mean, NO_INTERVAL, math.nan, math.nan, math.nan, math.nan)
    signed = _signed_ranks(differences)
    return PairedTest(
        cases=cases,
        patients=count,
        mean_difference=mean,
        interval=bootstrap_interval(differences, np.ones(count), seed=seed),
        wilcoxon_p=_wilcoxon_p(signed),
        permutation_p=_permutation_p(differences, seed),
        effect_dz=_cohen_dz(differences),
        rank_biserial=float(signed.sum() / np.abs(signed).sum()) if len(signed) else 0.0,
    )


def smallest_possible_p(patients: int) -> float:
    """The least two-sided p that either paired test can give: all differences on one side, 2 of 2^n sign patterns.

    1 without a pair. Six patients are the first with which p can be below .05.
    """
    return min(1.0, 2.0 ** (1 - patients))


def holm(p_values: Numbers) -> NDArray[np.float64]:
    """Holm-adjusted p, in the order given; NaN stays NaN and does not count in the family.

    Raises BadInput for numbers that are no probabilities.
    """
    given = np.asarray(p_values, np.float64)
    known = np.flatnonzero(~np.isnan(given))
    if ((given[known] < 0) | (given[known] > 1)).any():
        raise BadInput("found a p outside 0 to 1; give the p of each test, NaN where there is none")
    order = known[np.argsort(given[known], kind="stable")]
    factors = len(order) - np.arange(len(order))
    adjusted = given.copy()
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * given[order]), 1.0)
    return adjusted


def with_holm(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of `PairedTest.row`, one family of tests, with `wilcoxon_holm` and `permutation_holm`."""
    adjusted = {kind: holm(np.array([row[f"{kind}_p"] for row in rows])) for kind in ("wilcoxon", "permutation")}
    return [row | {f"{kind}_holm": float(p[k]) for kind, p in adjusted.items()} for k, row in enumerate(rows)]


def _patient_differences(first: Numbers, second: Numbers, patients: Patients) -> tuple[NDArray[np.float64], int]:
    """First minus second, one a patient with a case where both are defined; and how many such cases."""
    one, two = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if one.ndim != 1 or one.shape != two.shape:
        raise BadInput(f"found values of shape {one.shape} and {two.shape}; expected one of each method a case")
    if np.isinf(one).any() or np.isinf(two).any():
        raise BadInput("found an infinite value; give NaN where a figure is not defined")
    both = ~(np.isnan(one) | np.isnan(two))
    numbers = patient_numbers(patients, len(one))[both]
    one, two = one[both], two[both]
    _, place = np.unique(numbers, return_inverse=True)
    differences = np.bincount(place, weights=one - two) / np.bincount(place)
    # .8 - .7 and .9 - .8 differ in the last bit; ranks must not see that.
    noise = 1e-12 * float(np.maximum(np.abs(one), np.abs(two)).max(initial=0.0))
    if noise:
        differences = np.asarray(np.round(differences / noise) * noise)
    return differences, len(one)


def _signed_ranks(differences: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks of the sizes of all differences but zeros, ties sharing their mean rank, with the differences' signs."""
    from scipy.stats import rankdata

    kept: NDArray[np.float64] = differences[differences != 0]
    if not len(kept):
        return kept
    sizes = np.abs(kept) / np.abs(kept).max()
    ranks: NDArray[np.float64] = rankdata(np.round(sizes, 10))
    return np.asarray(ranks * np.sign(kept), np.float64)


def _wilcoxon_p(signed: NDArray[np.float64]) -> float:
    """Exact up to 50 patients, ties included; the normal approximation without continuity correction beyond.

    The approximation can promise, for six tied patients, a p that no
    arrangement of signs reaches.
    """
    if not len(signed):
        return 1.0
    if len(signed) > EXACT_RANKS_UP_TO:
        z = abs(signed.sum()) / math.sqrt(float(signed @ signed))
        return math.erfc(z / math.sqrt(2))
    # Mean ranks are halves, so twice a rank is a whole number. ways[s]: share of sign patterns with positive sum s.
    doubled = np.rint(2 * np.abs(signed)).astype(np.intp)
    total = int(doubled.sum())
    ways = np.zeros(total + 1)
    ways[0] = 1.0
    for rank in doubled:
        ways[rank:] = (ways[rank:] + ways[:-rank]) / 2
        ways[:rank] /= 2
    positive = int(doubled[signed > 0].sum())
    smaller = min(positive, total - positive)
    return min(1.0, 2 * float(ways[: smaller + 1].sum()))


def _permutation_p(differences: NDArray[np.float64], seed: int) -> float:
    """Share of sign flips whose mean is at least as far from 0; the data itself counts as one of the random flips."""
    count = len(differences)
    observed = abs(differences.sum()) * (1 - 1e-9)
    if count <= EXACT_FLIPS_UP_TO:
        bits = np.arange(2**count)[:, None] >> np.arange(count) & 1
        return float(np.mean(np.abs((1 - 2 * bits) @ differences) >= observed))
    rng = np.random.default_rng(seed)
    reached = 0
    for _ in range(FLIPS // _BATCH):
        flips = 1.0 - 2.0 * rng.integers(0, 2, (_BATCH, count), dtype=np.int8)
        reached += int(np.count_nonzero(np.abs(flips @ differences) >= observed))
    return (reached + 1) / (FLIPS + 1)


def _cohen_dz(differences: NDArray[np.float64]) -> float:
    spread = float(differences.std(ddof=1))
    if spread > 1e-10 * np.abs(differences).max(initial=0.0):
        return float(differences.mean()) / spread
    return math.nan if differences.any() else 0.0
