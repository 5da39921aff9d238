"""Which share of the liver is tumour."""

from __future__ import annotations

import math

import numpy as np

from hepar.volume import TUMOUR, LabelMap


def tumour_burden(labels: LabelMap) -> float:
    """Tumour voxels over voxels of liver with its tumours, 0 to 1; NaN without liver.

    A liver that is all tumour has burden 1.
    """
    liver = int(np.count_nonzero(labels.labels))
    return int(np.count_nonzero(labels.labels == TUMOUR)) / liver if liver else math.nan
