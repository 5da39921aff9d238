"""Anyone's predictions, and the truth beside them: which files there are, whose they are, what their labels mean.

    truth, found = open_truth("truth"), open_predictions("nnunet_out")
    for case, here, there in match(truth, found).pairs:
        pair = read_pair(here, there)        # both on one grid, 0, 1, 2

Knows plain folders, LiTS (folders and submission .zip), MSD, nnU-Net, MONAI,
TotalSegmentator (multilabel, and one file a class) and DICOM SEG; see `layouts`.
"""

from __future__ import annotations

from hepar.predictions.mapping import LabelMapping
from hepar.predictions.matching import Matching, Predictions, match, open_predictions, open_truth
from hepar.predictions.names import case_id
from hepar.predictions.pairs import PairOfLabels, Resample, read_pair
from hepar.predictions.source import LabelSource, StoredLabels

__all__ = [
    "LabelMapping",
    "LabelSource",
    "Matching",
    "PairOfLabels",
    "Predictions",
    "Resample",
    "StoredLabels",
    "case_id",
    "match",
    "open_predictions",
    "open_truth",
    "read_pair",
]
