"""The sheet of slices before and after synthesis."""

from __future__ import annotations

import numpy as np
import pytest

from hepar.errors import BadInput
from hepar.report.pictures import TUMOUR_COLOUR
from hepar.report.synthesis_gallery import lesion_gallery


def phantom_slice() -> tuple[np.ndarray, np.ndarray]:
    labels = np.zeros((60, 70), np.uint8)
    labels[15:45, 20:55] = 1
    return np.repeat((labels * 180)[None], 3, axis=0), labels


def square(images, labels, rng):
    images, labels = images.copy(), labels.copy()
    at = int(rng.integers(20, 30))
    images[:, at : at + 6, 30:36] = 90
    labels[at : at + 6, 30:36] = 2
    return images, labels


def test_a_row_shows_before_after_and_outlines():
    sheet = np.asarray(lesion_gallery([phantom_slice()], square, 1, columns=1, size_px=120))
    before, after, outlined = sheet[:120, :120], sheet[:120, 122:242], sheet[:120, 244:364]
    assert (before[40:80, 40:80] > 150).all()
    assert not np.array_equal(before, after)
    reddish = (outlined[..., 0].astype(int) - outlined[..., 1]) > (TUMOUR_COLOUR[0] - TUMOUR_COLOUR[1]) / 2
    assert reddish.any()


def test_a_slice_is_painted_by_the_seed_and_its_number():
    one = lesion_gallery([phantom_slice()], square, 7, columns=1)
    again = lesion_gallery([phantom_slice(), phantom_slice()], square, 7, columns=1)
    height = one.size[1]
    assert np.array_equal(np.asarray(one), np.asarray(again)[:height])


def test_no_slices_are_told():
    with pytest.raises(BadInput, match="no slices"):
        lesion_gallery([], square, 1)
