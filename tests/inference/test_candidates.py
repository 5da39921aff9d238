"""Found lesions one by one: which numbers describe them, in mm and HU, and how one is dropped."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hepar.geometry import Geometry
from hepar.inference.candidates import FEATURES, candidates_of
from hepar.inference.decision import Finding
from hepar.volume import LabelMap, Volume

SPACING_MM = (4.0, 2.0, 1.0)
GRID = Geometry.from_spacing((12, 24, 30), SPACING_MM)
BLOCK = (slice(4, 7), slice(8, 14), slice(10, 18))  # 12 x 12 x 8 mm
POINT = (slice(9, 10), slice(20, 21), slice(24, 25))


def scan(*places: tuple[slice, ...], hu: float = 40) -> tuple[Volume, Finding]:
    """A liver of 100 HU but for two voxels around it, with lesions that the finder gives 0.8."""
    labels = np.zeros(GRID.shape, np.uint8)
    labels[2:-1, 2:-2, 2:-2] = 1
    values = np.full(GRID.shape, 100, np.float32)
    for place in places:
        labels[place] = 2
        values[place] = hu
    probability = np.where(labels == 2, np.uint8(204), np.uint8(0))
    return Volume(values, GRID), Finding(LabelMap(labels, GRID), probability)


def numbers(*places: tuple[slice, ...], row: int = 0, **more: float) -> dict[str, float]:
    return dict(zip(FEATURES, candidates_of(*scan(*places, **more)).features[row].tolist(), strict=True))


def test_there_are_36_features_of_four_kinds_each_with_its_own_name():
    assert len(FEATURES) == len(set(FEATURES)) == 36
    kinds = [sum(name.startswith(kind) for name in FEATURES) for kind in ("hu_", "shell_", "contrast", "depth_")]
    assert kinds == [10, 6, 2, 5]
    assert sum(name.startswith("probability") for name in FEATURES) == 3


def test_a_block_is_described_in_millimetres_and_hu():
    found = numbers(BLOCK)
    assert found["volume_ml"] == pytest.approx(12 * 12 * 8 / 1000)
    assert found["surface_mm2"] == pytest.approx(2 * (12 * 12 + 12 * 8 + 12 * 8))
    assert found["sphericity"] == pytest.approx(math.pi ** (1 / 3) * (6 * 1152) ** (2 / 3) / 672)
    assert [found[f"extent_{axis}_mm"] for axis in "zyx"] == [12, 12, 8]
    # A full box's standard deviation along an edge is its length over the root of 12.
    assert found["longest_axis_mm"] == pytest.approx(4 * 12 / math.sqrt(12))
    assert (found["middle_to_longest"], found["shortest_to_longest"]) == pytest.approx((1, 8 / 12))
    assert found["share_of_box"] == 1
    assert (found["hu_mean"], found["hu_sd"], found["hu_skewness"]) == (40, 0, 0)
    assert (found["shell_median"], found["contrast"], found["contrast_to_spread"]) == (100, -60, -60)
    assert (found["probability_mean"], found["probability_max"]) == pytest.approx((0.8, 0.8))
    assert found["probability_sd"] == pytest.approx(0)


def test_depth_is_the_way_to_the_nearest_voxel_that_is_no_liver():
    # 4 columns of 1 mm, 2 rows of 2 mm, 2 slices of 4 mm.
    assert numbers(POINT)["depth_min_mm"] == 4
    corner = (slice(2, 3), slice(2, 3), slice(2, 3))
    assert numbers(corner)["depth_max_mm"] == 1
    assert numbers(BLOCK)["depth_max_mm"] > numbers(BLOCK)["depth_mean_mm"] > numbers(BLOCK)["depth_min_mm"] > 0


def test_a_single_voxel_and_a_lesion_that_fills_the_scan_have_finite_numbers():
    one = numbers(POINT)
    assert one["volume_ml"] == pytest.approx(0.008)
    assert one["extent_z_mm"] == 4
    everywhere = numbers((slice(None), slice(None), slice(None)))
    assert (everywhere["contrast"], everywhere["shell_mean"]) == (0, 40)


def test_grey_values_of_one_lesion_do_not_change_what_is_said_of_another():
    both = candidates_of(*scan(BLOCK, POINT))
    assert len(both) == 2
    alone = candidates_of(*scan(POINT))
    assert np.array_equal(both.features[1], alone.features[0])
    brighter = numbers(BLOCK, hu=130)
    assert (brighter["contrast"], brighter["volume_ml"]) == (30, numbers(BLOCK)["volume_ml"])


def test_touching_at_a_corner_is_two_and_at_a_face_is_one():
    corner = (slice(4, 5), slice(14, 15), slice(18, 19))
    face = (slice(4, 5), slice(14, 15), slice(17, 18))
    assert len(candidates_of(*scan(BLOCK, corner))) == 2
    assert len(candidates_of(*scan(BLOCK, face))) == 1


def test_the_share_that_is_true_is_counted_candidate_by_candidate():
    found = candidates_of(*scan(BLOCK, POINT))
    truth = np.zeros(GRID.shape, bool)
    truth[4:7, 8:14, 10:14] = True
    assert found.share_in(truth).tolist() == [0.5, 0]


def test_a_dropped_candidate_becomes_liver_and_the_others_stay():
    _, finding = scan(BLOCK, POINT)
    found = candidates_of(*scan(BLOCK, POINT))
    left = found.without(finding.labels, np.array([True, False]))
    assert (left.labels[BLOCK] == 1).all()
    assert (left.labels[POINT] == 2).all()
    changed = left.labels != finding.labels.labels
    assert changed.sum() == 3 * 6 * 8
    assert found.without(finding.labels, np.array([False, False])) is finding.labels


def test_no_lesion_no_candidates():
    ct, finding = scan()
    found = candidates_of(ct, finding)
    assert (len(found), found.features.shape) == (0, (0, 36))
    assert found.share_in(np.zeros(GRID.shape, bool)).shape == (0,)
