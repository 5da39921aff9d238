"""Lesions: found, matched, counted."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import label

from hepar.errors import GeometryMismatch
from hepar.geometry import Geometry
from hepar.metrics.lesions import (
    SIZE_CLASSES,
    Detection,
    Lesion,
    Match,
    detection,
    detection_by_size,
    find_lesions,
    match_lesions,
    size_class,
)
from hepar.volume import LabelMap

SPACING = (5.0, 1.0, 0.5)
MAPS = arrays(np.uint8, st.just((3, 5, 6)), elements=st.sampled_from([0, 0, 1, 2, 2]))
few = settings(max_examples=100, deadline=None)


def label_map(labels: np.ndarray, geometry: Geometry | None = None) -> LabelMap:
    return LabelMap(labels, geometry or Geometry.from_spacing(labels.shape, SPACING, (100, 10, -20)))


def line(*spans: tuple[int, int], length: int = 60) -> LabelMap:
    """Lesions along x in a liver, from start to stop."""
    labels = np.ones((1, 1, length), np.uint8)
    for start, stop in spans:
        labels[..., start:stop] = 2
    return label_map(labels)


def judged(truth: LabelMap, found: LabelMap, min_iou: float = 0.0) -> Detection:
    here, there = find_lesions(truth), find_lesions(found)
    return detection(here, there, match_lesions(here, there), min_iou)


def test_a_lesion_is_told_with_its_size_and_place():
    labels = np.ones((4, 6, 8), np.uint8)
    labels[1:3, 2:4, 3:6] = 2
    (lesion,) = find_lesions(label_map(labels))
    assert (lesion.number, lesion.voxels) == (1, 12)
    assert lesion.volume_ml == pytest.approx(12 * 2.5 / 1000)
    assert lesion.diameter_mm == pytest.approx(math.hypot(2 * 1.0, (3 - 1) * 0.5))
    # LPS: x = -20 + 4 * .5, y = 10 + 2.5, z = 100 + 1.5 * 5.
    assert lesion.centre_mm == pytest.approx((-18, 12.5, 107.5))


def test_voxels_that_meet_at_an_edge_or_corner_are_two_lesions():
    labels = np.zeros((2, 2, 4), np.uint8)
    labels[0, 0, 0] = labels[0, 1, 1] = labels[1, 0, 2] = 2
    assert len(find_lesions(label_map(labels))) == 3
    labels[0, 0, 1] = 2
    assert len(find_lesions(label_map(labels))) == 2


def test_liver_alone_has_no_lesion_and_neither_has_nothing():
    for fill in (0, 1):
        found = find_lesions(label_map(np.full((2, 3, 4), fill, np.uint8)))
        assert (len(found), found.labels.shape, found.lesions) == (0, (0, 0, 0), ())


@few
@given(MAPS)
def test_components_are_those_of_scipy(labels):
    found = find_lesions(label_map(labels))
    numbers, count = label(labels == 2)
    assert len(found) == count
    whole = np.zeros(labels.shape, np.int32)
    whole[found.box] = found.labels
    # Numbered alike too, as an axial scan is stored from the feet up.
    assert np.array_equal(whole, numbers)
    assert [lesion.voxels for lesion in found] == np.bincount(numbers.ravel())[1:].tolist()


def test_the_list_does_not_depend_on_how_the_scan_is_stored():
    labels = np.random.default_rng(3).choice(np.array([1, 1, 1, 2], np.uint8), (5, 6, 7))
    axial = Geometry.from_spacing(labels.shape, (4, 0.8, 0.6), (5, 6, 7))
    # Sagittal, from the left to the right of the patient.
    affine = axial.affine[:, [2, 0, 1, 3]].copy()
    affine[:3, 3] += affine[:3, 0] * 6
    affine[:3, 0] *= -1
    sagittal = np.ascontiguousarray(labels.transpose(2, 0, 1)[::-1])
    one, other = find_lesions(label_map(labels, axial)), find_lesions(label_map(sagittal, Geometry((7, 5, 6), affine)))
    assert len(one) > 3
    for a, b in zip(one, other, strict=True):
        assert (a.number, a.voxels, a.volume_ml) == (b.number, b.voxels, pytest.approx(b.volume_ml))
        assert a.diameter_mm == pytest.approx(b.diameter_mm)
        assert a.centre_mm == pytest.approx(b.centre_mm)
    assert np.array_equal(one.labels, other.labels[::-1].transpose(1, 2, 0))


def test_a_pair_shares_the_voxels_it_shares():
    truth, found = find_lesions(line((10, 20))), find_lesions(line((12, 26)))
    assert match_lesions(truth, found) == (Match(truth=1, found=1, iou=8 / 16, shared=8),)


def test_lesions_that_only_touch_are_no_pair():
    assert match_lesions(find_lesions(line((10, 20))), find_lesions(line((20, 26)))) == ()
    assert match_lesions(find_lesions(line()), find_lesions(line((2, 4)))) == ()
    assert match_lesions(find_lesions(line()), find_lesions(line())) == ()


def test_one_prediction_over_three_lesions_finds_one_of_them():
    counts = judged(line((10, 14), (20, 28), (30, 34)), line((10, 34)))
    assert counts == Detection(true_positives=1, false_positives=0, false_negatives=2)


def test_of_three_fragments_in_a_lesion_two_are_false():
    counts = judged(line((10, 34)), line((10, 14), (20, 28), (30, 34)))
    assert counts == Detection(true_positives=1, false_positives=2, false_negatives=0)


def test_the_pairing_is_the_best_in_total_not_first_come_first_served():
    """The second prediction fits the first lesion best, but then the first prediction would have none."""
    truth, found = line((10, 20), (22, 30)), line((6, 12), (13, 24))
    # Overlaps: (1, 1) 2/14, (1, 2) 7/14, (2, 2) 2/17.
    best = match_lesions(find_lesions(truth), find_lesions(found))
    assert [(m.truth, m.found) for m in best] == [(1, 2)]
    truth, found = line((10, 20), (22, 30)), line((5, 15), (16, 28))
    # (1, 1) 5/15, (1, 2) 4/18, (2, 2) 6/14.
    assert [(m.truth, m.found) for m in match_lesions(find_lesions(truth), find_lesions(found))] == [(1, 1), (2, 2)]


def test_more_lesions_matched_do_not_outweigh_a_better_fit():
    truth, found = line((10, 30), (31, 33)), line((8, 11), (12, 32))
    # (1, 1) 1/22 and (2, 2) 1/21 together are less than (1, 2) 18/22 alone.
    assert [(m.truth, m.found) for m in match_lesions(find_lesions(truth), find_lesions(found))] == [(1, 2)]


@few
@given(MAPS, MAPS)
def test_matches_are_one_to_one_and_no_pairing_has_a_larger_sum(truth, found):
    here, there = find_lesions(label_map(truth)), find_lesions(label_map(found))
    matches = match_lesions(here, there)
    assert matches == match_lesions(here, there)
    assert [m.truth for m in matches] == sorted({m.truth for m in matches})
    assert len({m.found for m in matches}) == len(matches)
    assert all(m.iou > 0 and m.shared > 0 for m in matches)
    table = iou_table(truth == 2, found == 2)
    for m in matches:
        assert m.iou == pytest.approx(table[m.truth - 1, m.found - 1])
    if min(table.shape, default=0) <= 3 and max(table.shape, default=0) <= 6:
        assert sum(m.iou for m in matches) == pytest.approx(largest_sum(table))


def iou_table(truth: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Every lesion against every other, one mask at a time."""
    (here, n), (there, m) = label(truth), label(found)
    table = np.zeros((n, m))
    for i, j in itertools.product(range(n), range(m)):
        one, other = here == i + 1, there == j + 1
        table[i, j] = (one & other).sum() / (one | other).sum()
    return table


def largest_sum(table: np.ndarray) -> float:
    """Over all ways to pair the shorter side with the longer one."""
    short, long = sorted(table.shape)
    square = table if table.shape == (short, long) else table.T
    ways = itertools.permutations(range(long), short)
    return max((sum(square[i, j] for i, j in enumerate(way)) for way in ways), default=0.0)


def test_many_lesions_of_noise_are_matched_group_by_group():
    """8,000 against 8,000 lesions: one table of all would take half a gigabyte."""
    rng = np.random.default_rng(5)
    grid = Geometry.from_spacing((20, 100, 100), (1, 1, 1))
    here, there = (
        find_lesions(label_map(np.where(rng.random(grid.shape) < 0.05, 2, 0).astype(np.uint8), grid)) for _ in range(2)
    )
    assert min(len(here), len(there)) > 7000
    counts = detection(here, there, match_lesions(here, there))
    assert 300 < counts.true_positives < 900


def test_a_match_counts_only_above_the_least_iou():
    half = line((10, 20)), line((15, 20))
    assert judged(*half, min_iou=0.49).true_positives == 1
    assert judged(*half, min_iou=0.5) == Detection(0, 1, 1)


def test_precision_recall_and_f1():
    counts = Detection(true_positives=3, false_positives=1, false_negatives=2)
    assert (counts.precision, counts.recall) == (3 / 4, 3 / 5)
    assert counts.f1 == pytest.approx(2 * counts.precision * counts.recall / (counts.precision + counts.recall))


@pytest.mark.parametrize(
    ("truth", "found", "precision", "recall", "f1"),
    [
        (line(), line(), math.nan, math.nan, math.nan),
        (line((2, 5)), line(), math.nan, 0, 0),
        (line(), line((2, 5)), 0, math.nan, 0),
        (line((2, 5)), line((7, 9)), 0, 0, 0),
    ],
    ids=["nothing to find", "missed", "false alarm", "beside"],
)
def test_ratios_of_nothing_are_not_defined(truth, found, precision, recall, f1):
    counts = judged(truth, found)
    assert [counts.precision, counts.recall, counts.f1] == pytest.approx([precision, recall, f1], nan_ok=True)


def test_counts_of_scans_add_up_so_that_a_miss_weighs():
    total = Detection(2, 0, 0) + Detection(0, 0, 2)
    assert total == Detection(2, 0, 2)
    assert (total.precision, total.recall) == (1, 0.5)


@pytest.mark.parametrize(
    ("diameter_mm", "name"),
    [
        (0.7, "<10 mm"),
        (9.99, "<10 mm"),
        (10, "10-20 mm"),
        (10 - 1e-12, "10-20 mm"),
        (20, "10-20 mm"),
        (20 + 1e-12, "10-20 mm"),
        (20.01, ">20 mm"),
        (200, ">20 mm"),
    ],
)
def test_10_and_20_mm_both_belong_to_the_middle(diameter_mm, name):
    assert size_class(Lesion(1, 1, 1.0, diameter_mm, (0, 0, 0))) == name
    assert list(SIZE_CLASSES) == ["<10 mm", "10-20 mm", ">20 mm"]


def test_true_lesions_count_by_their_own_size_and_false_ones_by_what_was_found():
    """Along x voxels are .5 mm: a found small lesion, a missed middle one, a large one half found, a false one."""
    truth = line((2, 6), (10, 40), (60, 110), length=200)
    found = line((2, 4), (60, 85), (150, 180), length=200)
    here, there = find_lesions(truth), find_lesions(found)
    matches = match_lesions(here, there)
    assert detection_by_size(here, there, matches) == {
        "<10 mm": Detection(1, 0, 0),
        "10-20 mm": Detection(0, 1, 1),
        ">20 mm": Detection(1, 0, 0),
    }
    # At IoU > .5 halves are no longer enough: what was found becomes false, in the class of its own size.
    strict = detection_by_size(here, there, matches, min_iou=0.5)
    assert strict == {
        "<10 mm": Detection(0, 1, 1),
        "10-20 mm": Detection(0, 2, 1),
        ">20 mm": Detection(0, 0, 1),
    }
    assert sum(strict.values(), Detection(0, 0, 0)) == detection(here, there, matches, 0.5)


def test_lesions_of_two_grids_are_not_matched():
    other = label_map(line((2, 5)).labels, Geometry.from_spacing((1, 1, 60), SPACING))
    with pytest.raises(GeometryMismatch, match="one grid"):
        match_lesions(find_lesions(line((2, 5))), find_lesions(other))
