from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepar.errors import BadInput, GeometryMismatch
from hepar.geometry import Geometry
from hepar.metrics.couinaud import SEGMENTS, SegmentMap, confusion, lesion_segments, segment_dice, share_in_place
from hepar.report.measure import tumour_table
from hepar.volume import LabelMap
from segmented_liver import segmented_liver

GRID = Geometry.from_spacing((2, 3, 4), (5.0, 1.0, 2.0))


def line(*labels: int) -> SegmentMap:
    return SegmentMap(np.array(labels, np.uint8).reshape(GRID.shape), GRID)


def test_segments_go_from_one_to_eight_as_whole_numbers_on_their_grid():
    with pytest.raises(BadInput, match="up to 9"):
        line(*range(9), *[9] * 15)
    with pytest.raises(BadInput, match="int64"):
        SegmentMap(np.zeros(GRID.shape, np.int64), GRID)
    with pytest.raises(BadInput, match="shape"):
        SegmentMap(np.zeros((1, 3, 4), np.uint8), GRID)


def test_volumes_are_in_millilitres_and_add_up_to_the_liver():
    found = line(*[8] * 10, *[2] * 5, *[0] * 9)
    volumes = found.volumes_ml()
    assert volumes[8] == pytest.approx(0.1)  # ten voxels of 10 mm3
    assert volumes[2] == pytest.approx(0.05)
    assert sum(volumes.values()) == pytest.approx(found.liver.sum() * 0.01)
    assert volumes[1] == 0


def test_every_lesion_has_the_segments_it_lies_in_the_largest_part_first():
    segments = line(*[8] * 6, *[5] * 3, *[4] * 3, *[4] * 6, *[0] * 6)
    labels = np.zeros(24, np.uint8)
    labels[4:9] = 2  # two voxels in 8, three in 5; 6-connected along x and y
    labels[23] = 2  # outside of all segments
    lesions = lesion_segments(LabelMap(labels.reshape(GRID.shape), GRID), segments)
    assert [lesion.main for lesion in lesions] == [5, None]
    assert lesions[0].shares == pytest.approx({5: 0.6, 8: 0.4})
    assert list(lesions[0].shares) == [5, 8]


def test_a_sliver_of_a_lesion_names_no_segment():
    grid = Geometry.from_spacing((1, 1, 60), (1.0, 1.0, 1.0))
    labels = LabelMap(np.full(grid.shape, 2, np.uint8), grid)
    places = np.full(grid.shape, 6, np.uint8)
    places[..., :2] = 5
    assert list(lesion_segments(labels, SegmentMap(places, grid))[0].shares) == [6]
    places[..., :4] = 5
    assert list(lesion_segments(labels, SegmentMap(places, grid))[0].shares) == [6, 5]


def test_lesions_have_the_numbers_of_the_reports_table():
    ct, labels, segments = segmented_liver()
    more = labels.labels.copy()
    more[4, 30:32, 20:22] = 2
    more[10, 30:40, 40:45] = 2
    labels = labels.with_labels(more)
    rows, lesions = tumour_table(ct, labels), lesion_segments(labels, segments)
    assert [row.number for row in rows] == [lesion.number for lesion in lesions]
    for row, lesion in zip(rows, lesions, strict=True):
        z, y, x = np.rint(ct.geometry.index_of(np.array(row.position_mm))).astype(int)
        assert lesion.main == segments.labels[z, y, x]


def test_lesions_and_segments_must_share_a_grid():
    ct, labels, segments = segmented_liver()
    other = Geometry.from_spacing(ct.geometry.shape, (8.0, 3.0, 3.5), (0.0, 0.0, 0.0))
    with pytest.raises(GeometryMismatch, match="one grid"):
        lesion_segments(labels, SegmentMap(segments.labels, other))
    with pytest.raises(GeometryMismatch, match="one grid"):
        confusion(segments, SegmentMap(segments.labels, other))


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 8), min_size=24, max_size=24), st.lists(st.integers(0, 8), min_size=24, max_size=24))
def test_dice_agrees_with_its_definition(truth, found):
    table = confusion(line(*truth), line(*found))
    t, f = np.array(truth), np.array(found)
    for segment, value in segment_dice(table).items():
        if not (t == segment).any():
            assert math.isnan(value)
        else:
            both = ((t == segment) & (f == segment)).sum()
            assert value == pytest.approx(2 * both / ((t == segment).sum() + (f == segment).sum()))
    inside = (t > 0) & (f > 0)
    expected = (t == f)[inside].mean() if inside.any() else math.nan
    assert share_in_place(table) == pytest.approx(expected, nan_ok=True)


def test_slices_whose_segments_nobody_drew_do_not_count():
    truth, found = line(*[1] * 12, *[0] * 12), line(*[1] * 24)
    known = np.array([True, False])
    assert segment_dice(confusion(truth, found, known))[1] == 1
    assert segment_dice(confusion(truth, found))[1] == pytest.approx(2 / 3)


def test_there_are_eight_segments():
    assert SEGMENTS == (1, 2, 3, 4, 5, 6, 7, 8)
