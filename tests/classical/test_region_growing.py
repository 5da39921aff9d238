"""A liver grown from the right upper body: found by its mode, cut loose from its neighbours, with its tumours."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hepar.classical.region_growing import GrowLiver, peak_hu, right_upper_body
from hepar.datasets import open_cases
from hepar.errors import BadInput
from hepar.geometry import Geometry
from hepar.volume import Volume
from tiled_livers import GRID, liver_scan


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.mark.parametrize("lesion_hu", [60, 160])
def test_the_liver_is_grown_with_its_tumours(lesion_hu):
    ct, truth = liver_scan(0, lesion_hu)
    grown = GrowLiver()(ct)
    assert grown.shape == ct.values.shape and grown.dtype == bool
    assert dice(grown, truth.liver) > 0.93
    assert (grown & truth.tumour).sum() == truth.tumour.sum()


def test_a_neighbour_of_the_same_brightness_is_cut_off_where_it_touches_by_a_bridge():
    ct, truth = liver_scan(0, lesion_hu=110)
    values = ct.values.copy()
    values[:, 20:45, 40:52] = 110  # a spleen
    values[:, 30:32, 30:42] = 110  # and what joins it
    joined = Volume(values, GRID)
    assert dice(GrowLiver()(joined), truth.liver) > 0.9
    # A disc of 1 mm fits through a bridge of 8 mm.
    assert dice(GrowLiver(opening_mm=1)(joined), truth.liver) < 0.85


def test_tolerance_decides_how_far_from_the_mode_it_grows():
    ct, _ = liver_scan(0)
    narrow = GrowLiver(tolerance=0.3, opening_mm=1, closing_mm=1)(ct).sum()
    assert narrow < 0.9 * GrowLiver(opening_mm=1, closing_mm=1)(ct).sum()


def test_the_peak_is_the_most_frequent_value_and_its_narrower_side_the_spread():
    rng = np.random.default_rng(0)
    liver, muscle = rng.normal(105, 8, 60_000), rng.normal(55, 8, 20_000)
    mode, sigma = peak_hu(np.concatenate([liver, muscle, np.full(50_000, -40)]).astype(np.float32))
    assert mode == pytest.approx(105, abs=3)
    assert sigma == pytest.approx(8, abs=1.5)
    # A slope that rises towards what lies outside of the range is no peak.
    assert peak_hu(np.concatenate([liver, rng.normal(10, 20, 400_000)]).astype(np.float32))[0] == pytest.approx(
        105, abs=3
    )


def test_the_right_upper_body_is_on_the_images_left_and_above():
    ct, _ = liver_scan(0)
    tall = np.concatenate([ct.values] * 5).astype(np.float32)
    z, y, x = right_upper_body(tall)
    assert z.start >= 6 and z.stop == 20
    assert x.stop <= 32 and x.start > 1
    assert 6 < y.start < y.stop < 50
    assert right_upper_body(np.full((3, 8, 8), -1000, np.float32)) is None


@pytest.mark.parametrize("hu", [-1000, 300])
def test_air_and_metal_have_no_liver(hu):
    flat = Volume(np.full((4, 64, 64), hu, np.int16), GRID)
    assert not GrowLiver()(flat).any()


def test_pixels_of_any_size_give_the_same_liver():
    ct, _ = liver_scan(0)
    fine = Volume(np.kron(ct.values, np.ones((1, 4, 4), np.int16)), Geometry.from_spacing((4, 256, 256), (5, 1, 1)))
    grown = GrowLiver()(fine)
    # Their edges lie within the coarse pixel of 4 mm.
    assert dice(grown, np.kron(GrowLiver()(ct), np.ones((1, 4, 4), bool))) > 0.94


@pytest.mark.parametrize("name", ["tolerance", "opening_mm", "closing_mm", "pixel_mm"])
def test_numbers_that_are_not_above_0_are_refused(name):
    with pytest.raises(BadInput, match="every number must be above 0"):
        replace(GrowLiver(), **{name: 0})


def test_a_real_liver_is_grown(shared_data):
    case = next(one for one in open_cases(shared_data / "lits512") if one.patient == "lits000")
    ct, truth = case.ct.axial(), case.truth.axial()
    # Measured 0.881.
    assert dice(GrowLiver()(ct), truth.liver) > 0.85
