"""Free-response ROC: sensitivity for lesions against false positives a scan, over all confidence thresholds.

Bunch et al. 1978; the seven rates and their mean are those of the LUNA16
challenge (Setio et al. 2017, Medical Image Analysis 42). LUNA16
interpolates linearly between thresholds; here the sensitivity at a rate is the
best that a threshold reaches with at most that many false positives, since a
point between two thresholds is no setting that anyone can choose. So a figure
here is never above LUNA16's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepar.errors import BadInput
from hepar.metrics.lesions import Lesions

RATES = (1 / 8, 1 / 4, 1 / 2, 1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True, eq=False)
class FrocCase:
    """One scan: `confidences` of its found lesions, which of them are `hits` of a true one, and how many there are.

    A true lesion is hit once at most, as `match_lesions` pairs them. Raises
    BadInput for arrays that are not two rows of one length, confidences that
    are no finite numbers, hits that are no mask, or more hits than true lesions.
    """

    confidences: NDArray[np.floating[Any]]
    hits: NDArray[np.bool_]
    true_lesions: int

    def __post_init__(self) -> None:
        confidences, hits = np.asarray(self.confidences, np.float64), np.asarray(self.hits)
        if confidences.ndim != 1 or confidences.shape != hits.shape:
            raise BadInput(
                f"found confidences of shape {confidences.shape} and hits of {hits.shape}; expected one each a lesion"
            )
        if not np.isfinite(confidences).all():
            raise BadInput("found a confidence that is not a finite number; give every found lesion one")
        if hits.size and hits.dtype != np.bool_:
            raise BadInput(f"found hits of {hits.dtype}; expected a mask (bool)")
        if int(np.count_nonzero(hits)) > self.true_lesions:
            raise BadInput(
                f"found {np.count_nonzero(hits)} hits of {self.true_lesions} true lesions; match lesions one to one"
            )
        object.__setattr__(self, "confidences", confidences)
        object.__setattr__(self, "hits", hits.astype(np.bool_))


@dataclass(frozen=True, eq=False)
class Froc:
    """One row a threshold, from the strictest: infinity (nothing is found) down to the lowest confidence.

    A lesion counts as found when its confidence is at least the threshold.
    `sensitivity` is the share of all true lesions, NaN when there is none.
    """

    thresholds: NDArray[np.float64]
    false_positives_per_scan: NDArray[np.float64]
    sensitivity: NDArray[np.float64]

    def sensitivity_at(self, false_positives_per_scan: float) -> float:
        """The best sensitivity with at most so many false positives a scan; NaN without true lesions.

        Beyond the last threshold it stays at the last value: nothing more was found.
        """
        # Both columns grow with each lower threshold, so the last that is allowed is the best.
        allowed = np.searchsorted(self.false_positives_per_scan, false_positives_per_scan, side="right")
        return float(self.sensitivity[allowed - 1])

    @property
    def mean_sensitivity(self) -> float:
        """Mean of `sensitivity_at` the seven `RATES`, 1/8 to 8 false positives a scan; NaN without true lesions."""
        return math.fsum(self.sensitivity_at(rate) for rate in RATES) / len(RATES)


def froc(cases: Sequence[FrocCase]) -> Froc:
    """The curve over scans; those without true lesions count for their false positives.

    Raises BadInput without a case.
    """
    if not cases:
        raise BadInput("found no case for an FROC curve; expected one or more")
    confidences = np.concatenate([case.confidences for case in cases])
    hits = np.concatenate([case.hits for case in cases])
    order = np.argsort(-confidences, kind="stable")
    confidences, hits = confidences[order], hits[order]
    # Lesions of equal confidence pass a threshold together.
    last = np.flatnonzero(np.r_[np.diff(confidences) != 0, True][: len(confidences)])
    true_positives = np.r_[0, np.cumsum(hits)[last]]
    false_positives = np.r_[0, np.cumsum(~hits)[last]]
    lesions = sum(case.true_lesions for case in cases)
    return Froc(
        np.r_[math.inf, confidences[last]],
        false_positives / len(cases),
        true_positives / (lesions if lesions else math.nan),
    )


def lesion_confidences(found: Lesions, probability: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Mean tumour probability over each found lesion's voxels, in order of number.

    `probability` is (z, y, x) on the lesions' grid. Raises BadInput for another shape.
    """
    if probability.shape != found.geometry.shape:
        raise BadInput(
            f"found probabilities of shape {probability.shape} for lesions on a grid of {found.geometry.shape}; "
            "bring them onto the scan's grid"
        )
    inside = found.labels > 0
    lesion = found.labels[inside]
    sums = np.bincount(lesion, weights=probability[found.box][inside], minlength=len(found) + 1)
    return np.asarray(sums[1:] / np.bincount(lesion, minlength=len(found) + 1)[1:])
