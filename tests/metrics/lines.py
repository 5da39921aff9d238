"""Label maps written as a line of voxels along x: `.` background, `L` liver, `T` tumour."""

from __future__ import annotations

import numpy as np

from hepar.geometry import Geometry
from hepar.metrics.pair import LabelPair, pair_of
from hepar.volume import LabelMap

LETTERS = {".": 0, "L": 1, "T": 2}


def label_line(text: str, spacing_mm=(1.0, 1.0, 1.0)) -> LabelMap:
    labels = np.array([[[LETTERS[letter] for letter in text]]], np.uint8)
    return LabelMap(labels, Geometry.from_spacing(labels.shape, spacing_mm))


def line_pair(truth: str, found: str, spacing_mm=(1.0, 1.0, 1.0), header=None) -> LabelPair:
    return pair_of(label_line(truth, spacing_mm), label_line(found, spacing_mm), header)
