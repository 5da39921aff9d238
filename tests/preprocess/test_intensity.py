"""Window, histogram equalisation and median filter do what the paper's MATLAB did."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.ndimage import median_filter
from skimage.exposure import equalize_hist

from hepar.errors import BadInput
from hepar.geometry import Geometry
from hepar.preprocess import PAPER, WITHOUT, EqualizeHistogram, MedianInPlane, Window
from hepar.volume import Volume

GOLDEN = Path(__file__).parents[1] / "golden"
SCRIPT = runpy.run_path(str(GOLDEN / "matlab_filters.py"))
NAMES = ("ramp", "square", "air")

SLICES = arrays(
    np.uint8,
    array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12),
    elements=st.one_of(st.integers(0, 255), st.sampled_from([0, 1, 127, 255])),
)
few = settings(max_examples=60, deadline=None)


def scan(*slices: np.ndarray) -> Volume:
    values = np.stack(slices)
    values = values if values.dtype == np.int16 else values.astype(np.float32)
    return Volume(values, Geometry.from_spacing(values.shape, (5, 0.8, 0.7)))


def golden(name: str, what: str) -> np.ndarray:
    return np.array(json.loads((GOLDEN / "matlab_filters.json").read_text())[name][what], np.uint8)


def test_the_golden_file_is_what_its_script_makes():
    assert json.loads((GOLDEN / "matlab_filters.json").read_text()) == SCRIPT["golden"]()


def test_histeq_of_the_ramp_is_matlabs():
    ramp = np.arange(0, 256, 16)[None]
    expected = [12, 20, 36, 53, 69, 85, 101, 117, 134, 150, 166, 182, 198, 215, 231, 247]
    assert EqualizeHistogram()(scan(ramp)).values[0, 0].tolist() == expected


@pytest.mark.parametrize("name", NAMES)
def test_histeq_and_medfilt2_keep_their_golden_values(name):
    ct = scan(golden(name, "grey"))
    assert np.array_equal(EqualizeHistogram()(ct).values[0], golden(name, "histeq"))
    assert np.array_equal(MedianInPlane()(ct).values[0], golden(name, "medfilt2"))


@few
@given(SLICES)
def test_the_closed_form_of_histeq_equals_matlabs_search(grey):
    assert np.array_equal(EqualizeHistogram()(scan(grey)).values[0], SCRIPT["histeq_by_search"](grey))


@few
@given(SLICES, st.sampled_from(["zero", "nearest"]))
def test_the_sorting_network_equals_scipys_median(grey, border):
    found = MedianInPlane(3, border)(scan(grey)).values[0]
    mode = "constant" if border == "zero" else "nearest"
    assert np.array_equal(found, median_filter(grey, 3, mode=mode))


def test_median_also_takes_hounsfield_units_and_other_sizes():
    rng = np.random.default_rng(1)
    hu = rng.integers(-1000, 1000, (9, 11)).astype(np.int16)
    for size in (1, 3, 5):
        found = MedianInPlane(size)(scan(hu))
        assert found.values.dtype == np.int16
        assert np.array_equal(found.values[0], median_filter(hu, size, mode="constant"))


def test_medfilt2_turns_corners_black_and_nearest_does_not():
    bright = np.full((6, 6), 200)
    assert MedianInPlane()(scan(bright)).values[0, 0, 0] == 0
    assert MedianInPlane(border="nearest")(scan(bright)).values[0, 0, 0] == 200


def test_nearest_border_equals_opencv():
    grey = np.random.default_rng(2).integers(0, 256, (20, 30)).astype(np.uint8)
    assert np.array_equal(MedianInPlane(3, "nearest")(scan(grey)).values[0], cv2.medianBlur(grey, 3))


def test_the_median_does_not_look_at_neighbouring_slices():
    quiet, loud = np.full((5, 5), 10), np.full((5, 5), 250)
    found = MedianInPlane(border="nearest")(scan(loud, quiet, loud))
    assert np.array_equal(found.values[1], quiet)


@few
@given(SLICES)
def test_cv2_variant_equals_opencv(grey):
    assert np.array_equal(EqualizeHistogram("cv2")(scan(grey)).values[0], cv2.equalizeHist(grey).reshape(grey.shape))


@few
@given(SLICES.filter(lambda grey: grey.min() < grey.max()))
def test_skimage_variant_is_scikit_images_result_rounded_to_8_bit(grey):
    found = EqualizeHistogram("skimage")(scan(grey)).values[0]
    assert np.abs(found - 255 * equalize_hist(grey)).max() <= 0.5 + 1e-9


def test_the_four_equalisations_are_different_operators():
    grey = golden("air", "grey")
    results = [EqualizeHistogram(v)(scan(grey)).values for v in ("matlab", "skimage", "cv2", "body")]
    for i, first in enumerate(results):
        assert not any(np.array_equal(first, other) for other in results[i + 1 :])


def test_body_equalisation_counts_neither_air_nor_the_table():
    rng = np.random.default_rng(3)
    body = np.zeros((40, 40), np.uint8)
    body[5:30, 5:35] = rng.integers(60, 140, (25, 30))
    with_table = body.copy()
    with_table[36:38, :] = 255
    wider = np.pad(body, 20)
    plain = EqualizeHistogram("body")(scan(body)).values[0, 5:30, 5:35]
    assert np.array_equal(plain, EqualizeHistogram("body")(scan(with_table)).values[0, 5:30, 5:35])
    assert np.array_equal(plain, EqualizeHistogram("body")(scan(wider)).values[0, 25:50, 25:55])
    assert not np.array_equal(plain, EqualizeHistogram("matlab")(scan(wider)).values[0, 25:50, 25:55])
    assert plain.max() > 245


@pytest.mark.parametrize("variant", ["matlab", "skimage", "cv2", "body"])
@pytest.mark.parametrize("value", [0, 80, 255])
def test_a_constant_slice_stays_constant(variant, value):
    assert len(np.unique(EqualizeHistogram(variant)(scan(np.full((7, 7), value))).values)) == 1


def test_every_slice_is_equalised_by_itself():
    rng = np.random.default_rng(4)
    dark, light = rng.integers(0, 60, (8, 8)), rng.integers(100, 255, (8, 8))
    together = EqualizeHistogram()(scan(dark, light)).values
    assert np.array_equal(together[0], EqualizeHistogram()(scan(dark)).values[0])
    assert np.array_equal(together[1], EqualizeHistogram()(scan(light)).values[0])


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_window_rounds_half_up_between_its_ends(dtype):
    hu = np.arange(-3024, 3072).reshape(1, -1).astype(dtype)
    # In whole numbers: floor(255 (hu + 100) / 500 + 1/2).
    expected = (2 * 255 * np.clip(hu.astype(int) + 100, 0, 500) + 500) // 1000
    found = Window()(scan(hu))
    assert found.values.dtype == np.float32
    assert np.array_equal(found.values[0], expected)


def test_another_window_gives_other_greys():
    hu = np.arange(-200, 300, dtype=np.int16)[None]
    assert not np.array_equal(Window(-150, 250)(scan(hu)).values, Window()(scan(hu)).values)


def test_the_papers_arms_differ_by_equalisation_and_median_only():
    assert (Window(-100, 400), EqualizeHistogram("matlab"), MedianInPlane(3, "zero")) == PAPER
    assert PAPER[:1] == WITHOUT


def test_steps_leave_the_scan_itself_and_its_place_alone():
    ct = scan(np.random.default_rng(5).integers(-500, 500, (16, 16)).astype(np.int16))
    before = ct.values.copy()
    after = ct
    for step in PAPER:
        after = step(after)
    assert np.array_equal(ct.values, before)
    assert after.geometry.same_grid(ct.geometry)
    assert not np.array_equal(after.values, before)


@pytest.mark.parametrize("value", [-1, 256, 10.5])
def test_equalisation_refuses_values_that_are_not_8_bit(value):
    with pytest.raises(BadInput, match="put a Window step before it"):
        EqualizeHistogram()(scan(np.full((4, 4), value)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Window(400, -100), "low below high"),
        (lambda: Window(0, float("inf")), "finite"),
        (lambda: EqualizeHistogram("clahe"), "expected one of matlab, skimage, cv2, body"),
        (lambda: MedianInPlane(4), "odd whole number"),
        (lambda: MedianInPlane(3, "reflect"), "expected one of zero, nearest"),
    ],
)
def test_impossible_settings_are_refused_when_made(make, message):
    with pytest.raises(BadInput, match=message):
        make()


def test_on_a_real_slice_the_closed_form_equals_matlabs_search(shared_data):
    import nibabel

    image = nibabel.load(shared_data / "ct" / "ircad01_ct.nii.gz")
    hu = np.asarray(image.dataobj[:, :, 60]).T.astype(np.int16)
    grey = Window()(scan(hu)).values
    found = EqualizeHistogram()(scan(grey[0])).values[0]
    assert np.array_equal(found, SCRIPT["histeq_by_search"](grey[0].astype(np.uint8)))
    assert len(np.unique(found)) > 30
