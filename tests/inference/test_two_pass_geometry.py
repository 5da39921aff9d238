"""Two passes and the patient's left and right: labels follow the patient however the scan is stored."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepar.geometry import Geometry
from hepar.inference import Decision, Pipeline, SlabSegmenter
from hepar.inference.two_pass import TwoPassSegmenter
from hepar.postprocess import FillLiverHoles, KeepLargestLiver
from hepar.preprocess import InPlaneGrid, Window
from hepar.volume import Volume

SHAPE, SPACING = (24, 40, 44), (4.0, 1.7, 1.3)


def by_grey(batch: np.ndarray) -> np.ndarray:
    """Liver from 100 on, tumour from 200 on."""
    grey = batch[:, 0]
    return np.stack([100 - grey, np.zeros_like(grey), grey - 200], axis=1).astype(np.float32) / 8


def two_passes(**decision: float) -> TwoPassSegmenter:
    pixels = [Pipeline((Window(0, 255),), InPlaneGrid(pixel_mm=mm, multiple=8)) for mm in (2.5, 1.3)]
    fine = Pipeline(
        (Window(0, 255),),
        pixels[1].grid,
        (KeepLargestLiver(), FillLiverHoles()),
        decision=Decision("liver_first", **decision),
    )
    return TwoPassSegmenter(by_grey, fine, "both", first=SlabSegmenter(by_grey, pixels[0], "first"), margin_mm=6)


def abdomen() -> Volume:
    """A liver on the patient's right with a lesion near its right edge; nothing is symmetric."""
    values = np.zeros(SHAPE, np.int16)
    values[4:20, 8:34, 3:26] = 150
    values[4:9, 8:20, 20:34] = 150
    values[8:12, 12:18, 5:9] = 240
    return Volume(values, Geometry.from_spacing(SHAPE, SPACING))


def stored(ct: Volume, axes: tuple[int, ...], flips: tuple[bool, ...]) -> Volume:
    """The same patient with array axes swapped and reversed, and an affine that says so."""
    values = np.transpose(ct.values, axes)
    affine = ct.geometry.affine[:, [*axes, 3]].copy()
    for axis, flip in enumerate(flips):
        if flip:
            affine[:3, 3] += affine[:3, axis] * (values.shape[axis] - 1)
            affine[:3, axis] *= -1
            values = np.flip(values, axis)
    return Volume(np.ascontiguousarray(values), Geometry(values.shape, affine))


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(list(permutations(range(3)))), st.tuples(*[st.booleans()] * 3))
def test_labels_follow_the_patient_however_the_scan_is_stored(axes, flips):
    ct = abdomen()
    plain = two_passes().segment(ct)
    other = stored(ct, axes, flips)
    found = two_passes().segment(other)
    assert found.geometry.same_grid(other.geometry)
    # The patient's labels, stored as that scan is.
    expected = stored(Volume(plain.labels.astype(np.int16), ct.geometry), axes, flips)
    assert np.array_equal(found.labels, expected.values)


@given(st.floats(-25, 25), st.floats(-25, 25))
@settings(max_examples=20, deadline=None)
def test_an_oblique_header_changes_no_label(tilt, turn):
    ct = abdomen()
    a, b = np.radians((tilt, turn))
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    affine = ct.geometry.affine.copy()
    affine[:3, :3] = about_z @ about_x @ affine[:3, :3]
    tilted = Volume(ct.values, Geometry(SHAPE, affine))
    assert np.array_equal(two_passes().segment(tilted).labels, two_passes().segment(ct).labels)


def test_the_lesion_lies_on_the_patients_right():
    found = two_passes().segment(abdomen())
    assert (found.labels == 2).any()
    tumour = np.argwhere(found.tumour).mean(axis=0)
    liver = np.argwhere(found.liver).mean(axis=0)
    # LPS: x grows to the left.
    assert found.geometry.position_mm(tuple(tumour))[0] < found.geometry.position_mm(tuple(liver))[0]


@pytest.mark.parametrize("flip", [(False, False, True), (True, True, True)])
def test_a_flip_of_the_voxels_alone_moves_the_labels_with_them(flip):
    """A header that lies is not guessed at: labels lie where the voxels lie."""
    ct = abdomen()
    values = ct.values[tuple(slice(None, None, -1 if one else 1) for one in flip)].copy()
    found = two_passes().segment(Volume(values, ct.geometry)).labels
    assert (found[values == 240] == 2).mean() > 0.5
    assert not found[values == 0].any() or (found[values == 0] > 0).mean() < 0.05


@given(st.floats(0.0, 3.0))
@settings(max_examples=10, deadline=None)
def test_a_higher_bias_never_takes_tumour_away(bias):
    plain, biased = two_passes().segment(abdomen()), two_passes(tumour_bias=bias).segment(abdomen())
    assert np.array_equal(plain.liver, biased.liver)
    assert not (plain.tumour & ~biased.tumour).any()


def test_probability_and_labels_share_the_scans_grid_in_any_storage():
    other = stored(abdomen(), (2, 0, 1), (True, False, True))
    finding = two_passes(min_confidence=0.5).find(other)
    assert finding.tumour_probability.shape == other.values.shape == finding.labels.labels.shape
    assert finding.tumour_probability[finding.labels.tumour].mean() > 127
    assert finding.tumour_probability[other.values == 0].max() < 127
