"""The thumbnail shows where truth and prediction differ most, as a radiologist stands, in colours that all can tell."""

from __future__ import annotations

import io
import tracemalloc
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from skimage.color import rgb2lab

from hepar.errors import BadInput, GeometryMismatch
from hepar.geometry import Geometry
from hepar.report.thumbnail import LEGEND, error_thumbnail
from hepar.volume import LIVER, TUMOUR, LabelMap

GRID = Geometry.from_spacing((12, 60, 80), (4.0, 2.0, 2.0), (-100, -60, -80))
COLOURS = dict(LEGEND)


def liver_and_tumour() -> np.ndarray:
    labels = np.zeros(GRID.shape, np.uint8)
    labels[2:10, 10:50, 10:60] = LIVER
    labels[4:7, 20:26, 20:28] = TUMOUR
    return labels


def picture(truth: np.ndarray, found: np.ndarray, grid: Geometry = GRID, side: int = 192) -> Image.Image:
    return Image.open(io.BytesIO(error_thumbnail(LabelMap(truth, grid), LabelMap(found, grid), side)))


def shown(image: Image.Image, name: str) -> np.ndarray:
    """(height, width) mask of a legend's colour, above the strip with the position."""
    rgb = np.asarray(image.convert("RGB"))[: image.height - 16]
    return (rgb == COLOURS[name]).all(axis=2)


def changed(labels: np.ndarray, box: tuple, label: int) -> np.ndarray:
    other = labels.copy()
    other[box] = label
    return other


ERRORS = {
    "missed tumour": ((5, slice(20, 23), slice(20, 28)), LIVER),
    "false tumour": ((5, slice(40, 44), slice(40, 50)), TUMOUR),
    "missed liver": ((5, slice(10, 14), slice(30, 60)), 0),
    "false liver": ((5, slice(52, 58), slice(30, 50)), LIVER),
}


@pytest.mark.parametrize("name", ERRORS)
def test_each_error_has_its_own_colour(name):
    truth = liver_and_tumour()
    image = picture(truth, changed(truth, *ERRORS[name]))
    assert shown(image, name).any()
    assert not any(shown(image, other).any() for other in ERRORS if other != name)
    assert shown(image, "liver, agreed").any()
    assert shown(image, "tumour, agreed").any()


def test_tumour_called_background_is_a_missed_tumour_and_tumour_outside_the_liver_a_false_one():
    truth = liver_and_tumour()
    assert shown(picture(truth, changed(truth, (5, slice(20, 26), slice(20, 28)), 0)), "missed tumour").any()
    assert shown(picture(truth, changed(truth, (5, slice(52, 58), slice(5, 9)), TUMOUR)), "false tumour").any()


def test_the_slice_with_the_most_wrong_voxels_is_shown_with_its_position():
    truth = liver_and_tumour()
    found = changed(truth, (3, slice(10, 12), slice(10, 12)), 0)
    found[8, 10:20, 10:60] = 0
    image = picture(truth, found)
    assert not shown(image, "tumour, agreed").any()  # slice 8 has no tumour, slice 3 neither, slice 5 would
    here, there = (np.asarray(picture(truth, changed(truth, (z, slice(10, 12)), 0))) for z in (2, 8))
    assert not np.array_equal(here[-16:], there[-16:])


def test_without_an_error_the_most_tumour_is_shown():
    truth = liver_and_tumour()
    assert shown(picture(truth, truth), "tumour, agreed").any()
    healthy = np.minimum(truth, LIVER)
    assert shown(picture(healthy, healthy), "liver, agreed").any()


def test_patient_right_is_on_the_left_and_anterior_up():
    truth = liver_and_tumour()
    # x grows to the patient's left, y to posterior: low indices are right and anterior.
    missed = shown(picture(truth, changed(truth, (5, slice(10, 16), slice(10, 16)), 0)), "missed liver")
    rows, columns = np.nonzero(missed)
    assert rows.mean() < missed.shape[0] / 3
    assert columns.mean() < missed.shape[1] / 3


def test_a_turned_file_gives_the_same_thumbnail():
    truth = liver_and_tumour()
    found = changed(truth, *ERRORS["missed tumour"])
    affine = GRID.affine[:, [2, 1, 0, 3]] * np.array([1, -1, 1, 1])
    # The flipped axis starts at its other end.
    affine[:3, 3] = GRID.position_mm((0, 59, 0))
    turned = Geometry((80, 60, 12), affine)
    turn = (slice(None), slice(None, None, -1), slice(None))
    here = picture(truth, found)
    there = picture(truth.transpose(2, 1, 0)[turn].copy(), found.transpose(2, 1, 0)[turn].copy(), turned)
    assert np.array_equal(np.asarray(here), np.asarray(there))


@pytest.mark.parametrize("spacing", [(4.0, 1.0, 3.0), (4.0, 3.0, 1.0)])
def test_pixels_are_as_wide_as_high_in_mm(spacing):
    grid = Geometry.from_spacing((3, 60, 60), spacing)
    labels = np.zeros(grid.shape, np.uint8)
    # 36 mm each way, whatever the pixels.
    labels[1, 10 : 10 + int(36 / spacing[1]), 10 : 10 + int(36 / spacing[2])] = TUMOUR
    rows, columns = np.nonzero(shown(picture(labels, labels, grid), "tumour, agreed"))
    assert np.ptp(rows) == pytest.approx(np.ptp(columns), abs=2)
    assert np.ptp(rows) > 90


def test_all_that_is_labelled_is_in_the_picture_with_a_margin():
    labels = np.zeros(GRID.shape, np.uint8)
    labels[3, 28:32] = LIVER  # 160 mm wide, 8 mm high, from edge to edge of the map
    rows, columns = np.nonzero(shown(picture(labels, labels), "liver, agreed"))
    assert np.ptp(columns) + 1 == pytest.approx(192 * 160 / 180, abs=2)
    assert np.ptp(rows) + 1 == pytest.approx(192 * 8 / 180, abs=2)


def test_an_error_of_one_voxel_is_seen_though_the_picture_is_reduced():
    grid = Geometry.from_spacing((2, 512, 512), (5.0, 0.7, 0.7))
    truth = np.full(grid.shape, LIVER, np.uint8)
    found = truth.copy()
    found[1, 101, 203] = TUMOUR
    assert shown(picture(truth, found, grid), "false tumour").sum() == 1


def test_two_empty_maps_are_said_in_words():
    empty = np.zeros(GRID.shape, np.uint8)
    image = picture(empty, empty)
    assert image.size == (192, 192)
    assert len(image.getcolors()) == 2  # ground and letters
    assert not np.array_equal(np.asarray(image), np.asarray(picture(liver_and_tumour(), empty)))


@pytest.mark.parametrize("side", [64, 192, 301])
def test_it_is_a_small_square_png_of_the_asked_side(side):
    truth = liver_and_tumour()
    data = error_thumbnail(LabelMap(truth, GRID), LabelMap(truth, GRID), side)
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert len(data) < 5000
    assert Image.open(io.BytesIO(data)).size == (side, side)


def test_maps_that_cannot_be_compared_are_refused():
    labels = LabelMap(liver_and_tumour(), GRID)
    with pytest.raises(GeometryMismatch):
        error_thumbnail(labels, LabelMap(labels.labels, Geometry.from_spacing(GRID.shape, (4.0, 2.0, 2.5))))
    with pytest.raises(BadInput, match="a thumbnail needs 64 or more"):
        error_thumbnail(labels, labels, 20)


@settings(deadline=None, max_examples=40)
@given(
    arrays(np.uint8, st.tuples(*[st.integers(1, 6)] * 3), elements=st.integers(0, 2)), st.randoms(use_true_random=False)
)
def test_any_pair_of_maps_has_a_thumbnail(labels, random):
    grid = Geometry.from_spacing(labels.shape, (random.uniform(0.3, 8), random.uniform(0.3, 3), random.uniform(0.3, 3)))
    found = np.roll(labels, random.randrange(3), axis=2)
    image = picture(labels, found, grid, 64)
    wrong = any(shown(image, name).any() for name in ERRORS)
    # A voxel far smaller than its neighbours' margin may be less than a pixel, but never vanishes.
    assert wrong == bool((labels != found).any())


def test_a_long_scan_is_looked_at_slice_by_slice():
    grid = Geometry.from_spacing((200, 256, 256), (1.0, 1.0, 1.0))
    truth = LabelMap(np.zeros(grid.shape, np.uint8), grid)
    truth.labels[50:150, 50:200, 50:200] = LIVER
    found = LabelMap(np.roll(truth.labels, 3, axis=1), grid)
    tracemalloc.start()
    try:
        error_thumbnail(truth, found)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # One more array of the scan's size would be 13 MB.
    assert peak < 3e6


# Machado, Oliveira and Fernandes 2009 (IEEE TVCG 15:1291), severity 1, on linear RGB.
SIGHT = {
    "three cones": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


@pytest.mark.parametrize("sight", SIGHT)
def test_colour_blind_readers_can_tell_all_colours_apart(sight):
    seen = {name: seen_colour(colour, np.array(SIGHT[sight])) for name, colour in LEGEND}
    apart = {(a, b): np.linalg.norm(seen[a] - seen[b]) for a, b in combinations(seen, 2)}
    # Ten times a just noticeable difference.
    assert min(apart.values()) > 25, min(apart, key=apart.get)


def seen_colour(colour, matrix) -> np.ndarray:
    """CIELAB of an 8-bit sRGB colour as seen."""
    share = np.asarray(colour) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    seen = np.clip(matrix @ linear, 0, 1)
    return rgb2lab(np.where(seen <= 0.0031308, seen * 12.92, 1.055 * seen ** (1 / 2.4) - 0.055)[None, None])[0, 0]
