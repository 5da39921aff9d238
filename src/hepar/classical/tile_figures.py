"""How well tiles are told apart: area under the ROC curve and accuracies."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Kinds = NDArray[np.int64]


def lesion_auc(scores: Floats, lesion: NDArray[np.bool_]) -> float:
    """Chance that a tile of a lesion scores higher than one of normal liver; ties count half.

    `scores` (n,). NaN when one of the two is missing.
    """
    from scipy.stats import rankdata

    ill, well = int(lesion.sum()), int((~lesion).sum())
    if not (ill and well):
        return math.nan
    return float((rankdata(scores)[lesion].sum() - ill * (ill + 1) / 2) / (ill * well))


def accuracies(found: Kinds, kinds: Kinds) -> tuple[float, float]:
    """Share of tiles that are right, and the mean of that share over the classes that occur; NaN without tiles."""
    if not len(kinds):
        return math.nan, math.nan
    right = found == kinds
    return float(right.mean()), float(np.mean([right[kinds == kind].mean() for kind in np.unique(kinds)]))


def figures(scores: Floats, kinds: Kinds) -> dict[str, float | int | None]:
    """What a run folder says of tiles that took no part in training; None where a figure is not defined.

    `scores` (n, classes), class 0 is normal liver.
    """
    right, balanced = accuracies(scores.argmax(axis=1), kinds)
    named = {"auc": lesion_auc(1 - scores[:, 0], kinds > 0), "accuracy": right, "balanced_accuracy": balanced}
    rounded = {name: None if math.isnan(value) else round(value, 4) for name, value in named.items()}
    return rounded | {"tiles": len(kinds), "lesion_tiles": int((kinds > 0).sum())}
