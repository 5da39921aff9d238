"""How much two masks share."""

from __future__ import annotations

import math

import numpy as np

from hepar.metrics.structures import Mask


def dice(truth: Mask, found: Mask) -> float:
    """2 |truth and found| / (|truth| + |found|) of two masks on one grid.

    0 when exactly one of them is empty; NaN, not defined, when both are.
    """
    total = int(np.count_nonzero(truth)) + int(np.count_nonzero(found))
    if total == 0:
        return math.nan
    return 2 * int(np.count_nonzero(truth & found)) / total
