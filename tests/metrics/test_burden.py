"""Tumour burden."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepar.geometry import Geometry
from hepar.metrics.burden import tumour_burden
from hepar.volume import LabelMap


def row(liver: int, tumour: int, background: int = 3) -> LabelMap:
    labels = np.array([[[1] * liver + [2] * tumour + [0] * background]], np.uint8)
    return LabelMap(labels, Geometry.from_spacing(labels.shape, (5, 0.8, 0.7)))


@given(st.integers(0, 50), st.integers(0, 50), st.integers(1, 20))
def test_burden_is_the_tumours_share_of_liver_and_tumour(liver, tumour, background):
    burden = tumour_burden(row(liver, tumour, background))
    assert burden == pytest.approx(tumour / (liver + tumour)) if liver + tumour else math.isnan(burden)


def test_the_ends_of_the_scale():
    assert tumour_burden(row(4, 0)) == 0
    assert tumour_burden(row(0, 4)) == 1
    assert math.isnan(tumour_burden(row(0, 0)))
