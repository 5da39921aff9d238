"""The numbers of one case."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from hepar.metrics.structures import LabelStatus, Structure

EMPTY_RULE = (
    "Empty masks: Dice is not defined (excluded and counted) when truth and prediction are both empty, "
    "0 when exactly one is. Surface distances are not defined (excluded and counted) when either is empty. "
    "A tumour-free scan reports its false-positive tumour volume in mL instead."
)

METRICS = ("dice", "assd_mm", "hausdorff95_mm", "truth_ml", "found_ml")


@dataclass(frozen=True)
class StructureScores:
    """One structure of one case; NaN where `EMPTY_RULE` says that a number is not defined."""

    dice: float
    assd_mm: float
    hausdorff95_mm: float
    truth_ml: float
    found_ml: float


@dataclass(frozen=True)
class Scores:
    """One case: scores of each structure that its truth can judge.

    `structures` holds "liver" (tumours included) and, for full labels,
    "liver_exclusive" (label 1 alone) and "tumour".
    """

    labels: LabelStatus
    structures: dict[Structure, StructureScores]

    @property
    def liver(self) -> StructureScores:
        return self.structures["liver"]

    @property
    def tumour(self) -> StructureScores | None:
        """None when the truth does not tell tumour from liver."""
        return self.structures.get("tumour")

    @property
    def false_positive_ml(self) -> float:
        """Tumour found in a tumour-free scan, mL; NaN when the scan has tumour or its truth cannot tell."""
        if self.tumour is None or self.tumour.truth_ml > 0:
            return math.nan
        return self.tumour.found_ml

    def to_json(self) -> dict[str, Any]:
        """Plain values; a number that is not defined is None."""
        rows: dict[str, Any] = {
            name: {metric: defined(getattr(scores, metric)) for metric in METRICS}
            for name, scores in self.structures.items()
        }
        return {"labels": self.labels, **rows, "false_positive_ml": defined(self.false_positive_ml)}


def defined(value: float) -> float | None:
    """JSON has no NaN."""
    return None if math.isnan(value) else value
