"""How far the true tumour burden may lie from the one that was found, by the errors on patients that a model never saw.

Burdens are skewed and their errors grow with them, so errors are taken between
square roots of percentages. A model's card holds the lower and upper of them
that hold a share of its held-out patients (`burden_error`); without, there is no
interval.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

KEY = "burden_error"


@dataclass(frozen=True)
class BurdenInterval:
    """Percent of the liver; `share` of `patients` held-out patients' true burdens lay in intervals made so."""

    low: float
    high: float
    share: float
    patients: int
    source: str

    def __str__(self) -> str:
        return (
            f"{self.low:.1f} to {self.high:.1f} %: of {self.patients} patients that the networks had not seen, "
            f"{100 * self.share:.0f} % had their true burden within an interval made like this one ({self.source})"
        )


def burden_interval(burden_percent: float, figures: Mapping[str, Any]) -> BurdenInterval | None:
    """None without a burden, or where the card says nothing of errors."""
    known = figures.get(KEY)
    if known is None or math.isnan(burden_percent):
        return None
    low, high = (float(v) for v in known["sqrt_percent"])
    root = math.sqrt(burden_percent)
    return BurdenInterval(
        low=max(root + low, 0.0) ** 2,
        high=min(max(root + high, 0.0) ** 2, 100.0),
        share=float(known["share"]),
        patients=int(known["patients"]),
        source=str(known["source"]),
    )


def burden_error(true_percent: Sequence[float], found_percent: Sequence[float], share: float = 0.8) -> dict[str, Any]:
    """What a card holds, from burdens of held-out patients: the quantiles around the middle `share` of the errors."""
    errors = np.sqrt(np.asarray(true_percent, float)) - np.sqrt(np.asarray(found_percent, float))
    low, high = np.quantile(errors, [(1 - share) / 2, (1 + share) / 2])
    return {"sqrt_percent": [round(float(low), 3), round(float(high), 3)], "share": share, "patients": len(errors)}
