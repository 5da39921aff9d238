"""A known motion is found within a voxel, and every lesion's fate is told."""

from __future__ import annotations

import math

import numpy as np
import pytest
from followed_liver import MOVED, SHAPE, SPACING_MM, STILL, A, B, C, D, about, scan

from hepar.errors import BadInput
from hepar.geometry import Geometry
from hepar.report.comparison.changes import Comparison, changes_between, compare
from hepar.report.comparison.registration import Motion, register
from hepar.report.comparison.time_point import TimePoint
from hepar.volume import LabelMap

VOXEL_MM = min(SPACING_MM)


def error_mm(found: Motion, true: Motion, first: TimePoint) -> float:
    """The largest over the liver."""
    places = first.labels.geometry.position_mm(np.argwhere(first.labels.liver))
    return float(np.linalg.norm(found.there(places) - true.there(places), axis=1).max())


def fates(found: Comparison | tuple) -> list[tuple[str, list[int], list[int]]]:
    changes = found.changes if isinstance(found, Comparison) else found
    return [(one.kind, [a.number for a in one.first], [b.number for b in one.second]) for one in changes]


@pytest.fixture(scope="module")
def followed() -> Comparison:
    """A grows, B shrinks, C vanishes, D is new."""
    smaller, larger = (B[0], 6.5), (A[0], 16)
    return compare(scan([A, B, C]), scan([larger, smaller, D], MOVED, "b.nii"))


def test_a_known_motion_is_found_within_a_voxel(followed):
    assert error_mm(followed.motion, MOVED, followed.first) < VOXEL_MM
    assert error_mm(STILL, MOVED, followed.first) > 5 * VOXEL_MM
    assert followed.motion.degrees == pytest.approx(9, abs=0.7)
    assert followed.motion.liver_dice > 0.95
    assert followed.motion.by == "the livers' outlines, then grey values"


def test_without_cts_the_outlines_alone_find_it_nearly_as_well(followed):
    first, second = scan([A, B], grey=False), scan([A, B], MOVED, "b.nii", grey=False)
    found = register(first, second)
    assert found.by == "the livers' outlines"
    assert error_mm(found, MOVED, first) < 1.5 * VOXEL_MM


def test_the_same_scans_have_the_same_motion():
    first, second = scan([A], grey=False), scan([A], MOVED, "b.nii", grey=False)
    one, two = register(first, second), register(first, second)
    assert np.array_equal(one.rotation, two.rotation) and np.array_equal(one.shift_mm, two.shift_mm)


def test_grown_shrunk_new_and_vanished_lesions_are_told_apart(followed):
    assert fates(followed) == [("new", [], [2]), ("grown", [1], [1]), ("shrunk", [2], [3]), ("vanished", [3], [])]
    new, grown, shrunk, vanished = followed.changes
    assert grown.volume_change_percent == pytest.approx(100 * ((16 / 13) ** 3 - 1), abs=8)
    assert shrunk.volume_change_percent == pytest.approx(100 * ((6.5 / 9) ** 3 - 1), abs=8)
    assert new.volumes_ml[0] == 0 and math.isnan(vanished.volume_change_percent)
    assert followed.headline == "Lesions: 1 new, 1 grown, 1 shrunk, 1 vanished."


def test_sums_follow_the_two_largest_lesions_of_the_first_scan(followed):
    sums = followed.sums
    assert sums.lesions == (1, 2)
    assert sums.first_mm == pytest.approx(2 * (13 + 9), rel=0.08)
    assert sums.second_mm == pytest.approx(2 * (16 + 6.5), rel=0.08)
    assert sums.change_percent == pytest.approx(100 * (sums.second_mm / sums.first_mm - 1))


def between(firsts, seconds, motion: Motion = STILL) -> tuple:
    """With the motion given, not searched for."""
    return changes_between(scan(firsts, grey=False), scan(seconds, motion, "b.nii", grey=False), motion)


def test_the_same_lesions_are_stable_and_keep_together_though_their_numbers_change():
    assert fates(between([A, B, C], [A, B, C], MOVED)) == [
        ("stable", [1], [1]), ("stable", [2], [2]), ("stable", [3], [3]),
    ]  # fmt: skip
    assert fates(between([A, B], [(A[0], 6), B])) == [("stable", [2], [1]), ("shrunk", [1], [2])]


def test_a_lesion_in_two_parts_has_split_and_two_in_one_have_merged():
    parts = [((-62, 0, 10), 6), ((-38, 0, 10), 5.5)]
    assert fates(between([((-50, 0, 10), 20)], parts)) == [("split", [1], [1, 2])]
    assert fates(between(parts, [((-50, 0, 10), 20)])) == [("merged", [1, 2], [1])]
    many = fates(between([((-62, 0, 10), 10), ((-38, 0, 10), 10)], [((-62, 0, 0), 9.7), ((-50, 0, 16), 9.5)]))
    assert {kind for kind, *_ in many} <= {"merged and split", "merged", "split", "grown", "shrunk", "stable"}


def test_small_lesions_beside_each_other_are_one_and_distant_ones_are_two():
    (near,) = between([((-50, 0, 0), 3.5)], [((-50, 8.5, 0), 3.5)])
    assert near.kind == "stable" and near.by == "distance"
    assert fates(between([((-50, 0, 0), 3.5)], [((-50, 12, 0), 3.5)])) == [("new", [], [1]), ("vanished", [1], [])]


def test_what_the_other_scan_does_not_show_is_neither_new_nor_vanished():
    whole = scan([A, B, C], grey=False)
    upper = Geometry((18, *SHAPE[1:]), whole.labels.geometry.affine.copy())
    half = scan([A, B, C], grey=False, name="b.nii", grid=upper)
    found = changes_between(whole, half, STILL)
    assert ("not in the other scan", [1], []) in fates(found)
    assert ("not in the other scan", [], [2]) not in fates(found)
    back = changes_between(half, whole, STILL)
    assert ("not in the other scan", [], [1]) in fates(back)
    sums = Comparison(whole, half, STILL, found).sums
    assert sums.lesions == (1, 2) and math.isnan(sums.second_mm)


def test_a_merged_target_counts_once_and_its_parts_all():
    parts = [((-62, 0, 10), 6.5), ((-38, 0, 10), 6.2)]
    first, second = scan(parts, grey=False), scan([((-50, 0, 10), 20)], grey=False, name="b.nii")
    merged = Comparison(first, second, STILL, changes_between(first, second, STILL)).sums
    assert merged.first_mm == pytest.approx(25, abs=3) and merged.second_mm == pytest.approx(40, abs=3)
    split = Comparison(second, first, STILL, changes_between(second, first, STILL)).sums
    assert split.first_mm == pytest.approx(40, abs=3) and split.second_mm == pytest.approx(25, abs=3)


def test_lesions_below_ten_millimetres_make_no_sum():
    first = scan([((-50, 0, 10), 3.5)], grey=False)
    assert Comparison(first, first, STILL, changes_between(first, first, STILL)).sums is None


def test_where_tumours_were_not_assessed_no_lesion_is_compared():
    first, second = scan([A], grey=False), scan([A], grey=False, name="b.nii")
    dark = TimePoint("b.nii", second.labels, None, "native phase")
    found = compare(first, dark)
    assert found.changes == () and found.sums is None and dark.lesions == ()
    assert found.headline.startswith("Tumour not assessed")
    assert "b.nii: Tumour not assessed: native phase" in found.notes
    assert math.isnan(dark.volumes.tumour_ml) and dark.volumes.liver_ml == first.volumes.liver_ml


def test_livers_that_do_not_fit_are_called_doubtful():
    first = scan([], grey=False)
    other = np.zeros(SHAPE, np.uint8)
    other[10:12, 5:70, 5:12] = 1
    found = compare(first, TimePoint("b.nii", LabelMap(other, first.labels.geometry)))
    assert found.motion.liver_dice < 0.8 and "doubtful" in found.notes[-1]
    assert found.headline.startswith("No tumour was found in either scan")


def test_a_scan_without_liver_is_refused():
    first = scan([], grey=False)
    empty = TimePoint("b.nii", first.labels.with_labels(np.zeros(SHAPE, np.uint8)))
    with pytest.raises(BadInput, match=r"'b.nii' has no liver"):
        compare(first, empty)


def test_lesions_are_measured_as_in_a_report_of_their_own():
    from hepar.report.measure import tumour_table

    point = scan([A, B, C])
    rows = tumour_table(point.ct, point.labels)
    assert [one.number for one in point.lesions] == [row.number for row in rows]
    for one, row in zip(point.lesions, rows, strict=True):
        assert one.volume_ml == pytest.approx(row.volume_ml)
        assert (one.long_mm, one.short_mm) == (row.longest_axial_diameter_mm, row.perpendicular_axial_diameter_mm)
        assert one.mean_hu == pytest.approx(row.mean_hu)
        assert one.centre_mm == pytest.approx(row.position_mm, abs=1e-6)


def test_motions_go_there_and_back():
    motion = Motion(about((1, 2, 3), 40), np.array([3.0, -4.0, 5.0]))
    places = np.random.default_rng(1).normal(0, 90, (20, 3))
    assert motion.back(motion.there(places)) == pytest.approx(places)
    assert motion.degrees == pytest.approx(40)
