"""Would another cohort rank the methods alike? Ranks over patient resamples.

Wiesenfarth et al. 2021 (Scientific Reports 11:2369), "Methods and open-source
toolkit for analyzing and visualizing challenge results".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hepar.errors import BadInput
from hepar.study.statistics.bootstrap import DRAWS, SEED, Numbers, Patients, drawn_patients, patient_numbers


@dataclass(frozen=True, eq=False)
class RankStability:
    """Ranks of methods by their mean, 1 the best; arrays in the order of the methods.

    `ranks` are those on all `cases`, `mean_ranks` their mean over the
    resamples. `rank_shares` (methods, ranks) is the share of resamples in which
    a method takes a rank, `first_share` its first column; methods that tie
    share their ranks, so that every row and column sums to 1. `kendall_tau` is
    the mean tau-b between the ranking of a resample and that on all cases: 1
    when none ever changes, NaN when all methods tie on all cases.
    """

    cases: int
    ranks: NDArray[np.float64]
    mean_ranks: NDArray[np.float64]
    first_share: NDArray[np.float64]
    rank_shares: NDArray[np.float64]
    kendall_tau: float


def rank_stability(
    values: Numbers | NDArray[np.float64],
    higher_is_better: bool,
    patients: Patients = None,
    draws: int = DRAWS,
    seed: int = SEED,
) -> RankStability:
    """Rank methods on resampled patients; `values` is (methods, cases), NaN where not defined.

    Only cases where every method is defined count. A method's place is that of
    its mean over the drawn cases; a patient is drawn with all of its cases.

    Raises BadInput with fewer than two methods or no case that all have.
    """
    table = np.asarray(values, np.float64)
    if table.ndim != 2 or len(table) < 2:
        found = f"{len(table)} method(s)" if table.ndim == 2 else f"an array of shape {table.shape}"
        raise BadInput(f"found {found}; ranks need at least two methods on the same cases, as (methods, cases)")
    patient_of = patient_numbers(patients, table.shape[1])
    shared = np.isfinite(table).all(axis=0)
    if not shared.any():
        raise BadInput(
            f"found no case where all {len(table)} methods have a value; ranks need methods on the same cases"
        )
    table = table[:, shared]
    _, place = np.unique(patient_of[shared], return_inverse=True)
    total = int(place.max()) + 1
    sums = np.stack([np.bincount(place, weights=row, minlength=total) for row in table])
    weights = drawn_patients(total, draws, seed)
    means = weights @ sums.T / (weights @ np.bincount(place, minlength=total))[:, None]
    here, drawn = (_better(m, higher_is_better) for m in (table.mean(axis=1)[None], means))
    return _stability(int(shared.sum()), here, drawn)


def _better(means: NDArray[np.float64], higher: bool) -> NDArray[np.float64]:
    """(draws, methods) to (draws, methods, methods): 1 where column beats row, -1 where it loses, 0 where they tie."""
    apart = means[:, None, :] - means[:, :, None]
    # Equal methods must tie whatever the order in which a sum was taken.
    apart[np.abs(apart) <= 1e-12 * np.abs(means).max(initial=0.0)] = 0
    return np.asarray(np.sign(apart) * (1 if higher else -1))


def _stability(cases: int, here: NDArray[np.float64], drawn: NDArray[np.float64]) -> RankStability:
    above, tied = (drawn > 0).sum(axis=2), (drawn == 0).sum(axis=2)
    ranks = np.arange(drawn.shape[1])[None, None]
    holds = (above[..., None] <= ranks) & (ranks < (above + tied)[..., None])
    shares = (holds / tied[..., None]).mean(axis=0)
    return RankStability(
        cases=cases,
        ranks=_mid_ranks(here)[0],
        mean_ranks=_mid_ranks(drawn).mean(axis=0),
        first_share=shares[:, 0],
        rank_shares=shares,
        kendall_tau=_kendall(here, drawn),
    )


def _mid_ranks(better: NDArray[np.float64]) -> NDArray[np.float64]:
    # A method ties with itself, so one of `tied` is its own.
    return np.asarray((better > 0).sum(axis=2) + ((better == 0).sum(axis=2) + 1) / 2)


def _kendall(here: NDArray[np.float64], drawn: NDArray[np.float64]) -> float:
    """Mean tau-b; a resample in which all methods tie agrees with nothing (0)."""
    pairs = np.count_nonzero(here)
    if not pairs:
        return float("nan")
    own = np.count_nonzero(drawn, axis=(1, 2))
    agreement = (here * drawn).sum(axis=(1, 2))
    return float(np.mean(agreement / np.sqrt(pairs * np.maximum(own, 1))))
