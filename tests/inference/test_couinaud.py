from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepar.errors import BadModel, GeometryMismatch
from hepar.geometry import Geometry
from hepar.inference import Pipeline
from hepar.inference.couinaud import (
    CouinaudSegmenter,
    between,
    frame_of,
    gives_segments,
    load_couinaud,
    nearest_rows,
    open_couinaud,
    relative_heights,
    smoothing,
    tidy,
)
from hepar.preprocess import InPlaneGrid, Window
from hepar.volume import LabelMap, Volume
from segmented_liver import quadrants, segmented_liver

PIPELINE = Pipeline((Window(-40, 160),), InPlaneGrid(matrix=64))
READER = CouinaudSegmenter(quadrants, PIPELINE, "reader")


def stored(ct: Volume, labels: LabelMap, axes=(), order=(0, 1, 2), affine_too=True) -> tuple[Volume, LabelMap]:
    """The same patient with voxels stored in reverse along `axes` and then in another order of axes."""
    affine = ct.geometry.affine.copy()
    if affine_too:
        for axis in axes:
            affine[:3, 3] += affine[:3, axis] * (ct.geometry.shape[axis] - 1)
            affine[:3, axis] *= -1
    affine = affine[:, [*order, 3]]
    turned = [np.ascontiguousarray(np.transpose(np.flip(a, axes), order)) for a in (ct.values, labels.labels)]
    grid = Geometry(turned[0].shape, affine)
    return Volume(turned[0], grid), LabelMap(turned[1], grid)


def test_segments_fill_the_found_liver_exactly_on_the_grid_of_the_scan():
    ct, labels, _ = segmented_liver()
    found = READER.segment(ct, labels)
    assert found.segments.geometry.same_grid(ct.geometry)
    assert np.array_equal(found.segments.liver, labels.liver)
    assert set(np.unique(found.segments.labels)) == set(range(9))
    assert found.notes == ()


def test_right_and_left_front_and_back_lower_and_upper_are_the_patients():
    ct, labels, _ = segmented_liver()
    found = READER.segment(ct, labels).segments
    # 1 + left + 2 * behind + 4 * above
    for segment, (above, behind, left) in {2: (0, 0, 1), 3: (0, 1, 0), 5: (1, 0, 0), 8: (1, 1, 1)}.items():
        z, y, x = np.argwhere(found.labels == segment).mean(axis=0)
        middle = np.array(ct.geometry.shape) / 2
        assert (z > middle[0], y > middle[1], x > middle[2]) == (bool(above), bool(behind), bool(left))


@pytest.mark.parametrize("axes", [(2,), (1,), (0,), (0, 1, 2), (1, 2)])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_how_voxels_are_stored_swaps_no_segment(axes, order):
    ct, labels, _ = segmented_liver()
    plain = READER.segment(ct, labels).segments.labels
    found = READER.segment(*stored(ct, labels, axes, order)).segments.labels
    assert np.array_equal(found, np.transpose(np.flip(plain, axes), order))


def test_a_patient_who_is_mirrored_has_mirrored_segments():
    ct, labels, _ = segmented_liver()
    plain = READER.segment(ct, labels).segments.labels
    found = READER.segment(*stored(ct, labels, (2,), affine_too=False)).segments.labels
    assert not np.array_equal(found, np.flip(plain, 2))


def test_an_oblique_anisotropic_grid_keeps_left_and_right(oblique_grid):
    labels = np.ones(oblique_grid.shape, np.uint8)
    ct = Volume(np.full(oblique_grid.shape, 100, np.int16), oblique_grid)
    found = READER.segment(ct, LabelMap(labels, oblique_grid)).segments
    x_mm = oblique_grid.position_mm(np.argwhere(found.labels % 2 == 0))[:, 0]  # even numbers are left
    assert x_mm.min() > oblique_grid.position_mm(np.argwhere(found.labels % 2 == 1))[:, 0].max() - 0.7


def test_finer_slices_give_the_same_segments():
    ct, labels, _ = segmented_liver()
    grid = Geometry.from_spacing((64, *ct.geometry.shape[1:]), (2.0, 3.0, 3.5), (-303.0, 40.0, -150.0))
    fine = Volume(np.repeat(ct.values, 4, axis=0), grid), LabelMap(np.repeat(labels.labels, 4, axis=0), grid)
    plain = np.repeat(READER.segment(ct, labels).segments.labels, 4, axis=0)
    same = READER.segment(*fine).segments.labels == plain
    assert same.mean() > 0.97


def test_between_the_slices_looked_at_a_border_lies_where_their_scores_cross():
    def above_the_middle(batch):
        logits = np.full((len(batch), 8, *batch.shape[2:]), -9, np.float32)
        logits[:, 0], logits[:, 1] = 0, batch[:, 2] / 255 - 0.51
        return logits

    grid = Geometry.from_spacing((161, 40, 40), (0.5, 2.0, 2.0))
    box = np.zeros(grid.shape, np.uint8)
    box[:, 8:32, 8:32] = 1
    ct = Volume(np.full(grid.shape, 100, np.int16), grid)
    found = replace(READER, predict=above_the_middle).segment(ct, LabelMap(box, grid)).segments.labels
    # Tips end at slices 1 and 159, so a height of 0.51 lies at 81.6; slices 80 and 85 are looked at.
    assert set(np.unique(found[:82])) == {0, 1}
    assert set(np.unique(found[82:])) == {0, 2}


def test_every_segment_is_one_piece_on_the_scan():
    def with_a_loose_piece(batch):
        logits = quadrants(batch)
        logits[:, 0, 20:26, 40:46] += 30  # segment 1 within the left liver, at all heights
        return logits

    from scipy.ndimage import label

    ct, labels, _ = segmented_liver()
    found = replace(READER, predict=with_a_loose_piece).segment(ct, labels).segments.labels
    assert [label(found == s)[1] for s in range(1, 9)] == [1] * 8


def test_a_stack_with_gaps_is_read_at_the_heights_of_its_slices():
    ct, labels, _ = segmented_liver()
    kept = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13])
    grid = Geometry.from_spacing((12, *ct.geometry.shape[1:]), (8.0, 3.0, 3.5))
    part = Volume(ct.values[kept], grid), LabelMap(labels.labels[kept], grid)
    whole = READER.segment(ct, labels).segments.labels[kept]
    placed = READER.segment(*part, heights_mm=(kept * 8.0).tolist()).segments.labels
    even = READER.segment(*part).segments.labels
    assert (placed != whole).sum() < (even != whole).sum()


def test_a_liver_cut_off_gets_segments_and_a_note():
    ct, labels, _ = segmented_liver()
    part = ct.slab(0, 8), LabelMap(labels.labels[:8], ct.slab(0, 8).geometry)
    found = READER.segment(*part)
    assert np.array_equal(found.segments.liver, part[1].liver)
    assert "cut off at the upper end" in found.notes[0]


def test_no_liver_no_segments_and_a_note():
    ct, labels, _ = segmented_liver()
    found = READER.segment(ct, labels.with_labels(np.zeros_like(labels.labels)))
    assert not found.segments.labels.any()
    assert "no liver was found" in found.notes[0]


def test_a_single_pixel_of_liver_is_enough():
    ct, labels, _ = segmented_liver()
    one = np.zeros_like(labels.labels)
    one[7, 20, 30] = 1
    found = READER.segment(ct, labels.with_labels(one)).segments.labels
    assert found[7, 20, 30] > 0
    assert np.count_nonzero(found) == 1


def test_scan_and_liver_must_share_a_grid():
    ct, labels, _ = segmented_liver()
    moved = Geometry.from_spacing(ct.geometry.shape, ct.geometry.spacing_mm)
    with pytest.raises(GeometryMismatch, match="the liver on"):
        READER.segment(ct, replace(labels, geometry=moved))


def test_the_frame_is_the_livers_box_with_a_margin():
    ct, labels, _ = segmented_liver()
    frame = frame_of(labels.liver, ct.geometry, PIPELINE.grid)
    tight = [np.flatnonzero(labels.liver.any(axis=axes)) for axes in ((0, 2), (0, 1))]
    for part, at in zip(frame.box[1:], tight, strict=True):
        assert part.start < at[0]
        assert part.stop > at[-1] + 1
    assert frame.grey(ct, PIPELINE.prepare, np.array([3, 8])).shape == (2, 64, 64)
    assert frame_of(np.zeros_like(labels.liver), ct.geometry, PIPELINE.grid) is None


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 40), min_size=2, max_size=30).filter(any), st.floats(0.5, 9))
def test_relative_heights_rise_from_0_to_1(areas, z_mm):
    liver = np.zeros((len(areas), 1, 41), bool)
    for z, area in enumerate(areas):
        liver[z, 0, :area] = True
    heights = relative_heights(liver, np.arange(len(areas)) * z_mm)
    assert (np.diff(heights) >= 0).all()
    assert heights.min() >= 0
    assert heights.max() <= 1


def test_specks_far_below_do_not_stretch_the_liver():
    liver = np.zeros((40, 20, 20), bool)
    liver[20:] = True
    far = liver.copy()
    far[0, 0, 0] = True
    mm = np.arange(40) * 2.0
    assert np.allclose(relative_heights(far, mm)[20:], relative_heights(liver, mm)[20:], atol=0.01)


def test_thin_slices_are_looked_at_every_few_millimetres_thick_ones_all():
    assert np.array_equal(nearest_rows(np.arange(11) * 1.0, 2.5), [0, 2, 5, 7, 10])
    assert np.array_equal(nearest_rows(np.arange(4) * 5.0, 2.5), [0, 1, 2, 3])
    assert np.array_equal(nearest_rows(np.array([3.0]), 2.5), [0])


def test_smoothing_and_interpolation_keep_what_is_constant_and_linear():
    mm = np.array([0.0, 2.0, 5.0, 6.0])
    assert np.allclose(smoothing(mm, 4.0).sum(axis=1), 1)
    assert np.allclose(between(mm, np.array([0.0, 1.0, 5.5, 9.0])) @ mm, [0, 1, 5.5, 6])


def test_pieces_off_a_segment_go_to_the_nearest_one_and_the_rest_stays():
    scores = np.zeros((3, 8, 12, 20), np.float32)
    scores[:, 4, :, :10] = 5
    scores[:, 6, :, 10:] = 5
    scores[1, 0, 5:7, 3:5] = 9  # a loose piece of segment 1, whose largest part lies elsewhere
    scores[:, 0, 9:, 16:] = 9
    before = scores.copy()
    tidy(scores, np.ones((3, 12, 20), bool), (2.0, 1.0, 1.0))
    labels = scores.argmax(axis=1) + 1
    assert (labels[1, 5:7, 3:5] == 5).all()
    assert (labels[:, 9:, 16:] == 1).all()
    elsewhere = np.ones((3, 12, 20), bool)
    elsewhere[1, 5:7, 3:5] = False
    assert np.array_equal(np.moveaxis(scores, 1, -1)[elsewhere], np.moveaxis(before, 1, -1)[elsewhere])


def test_the_shipped_model_gives_segments():
    shipped = open_couinaud()
    assert gives_segments(shipped)
    assert shipped.card.name == "couinaud_small"
    assert shipped.weights.stat().st_size < 4e6


def test_without_a_shipped_model_the_error_names_the_option(monkeypatch, tmp_path):
    monkeypatch.setattr("hepar.inference.couinaud.resources.files", lambda _: tmp_path)
    with pytest.raises(BadModel, match="--couinaud-model FOLDER"):
        open_couinaud()


def test_a_liver_model_is_no_couinaud_model(threshold_model, tmp_path):
    with pytest.raises(BadModel, match="no model of Couinaud segments"):
        open_couinaud(threshold_model)
    settings_file = json.loads((threshold_model / "model.json").read_text())
    assert settings_file["network"].get("classes") is None
    with pytest.raises(BadModel, match=r"no model\.json"):
        load_couinaud(tmp_path)
