"""Resampling to a network's grid and back moves nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepar.errors import BadInput
from hepar.geometry import Geometry
from hepar.preprocess import InPlaneGrid
from hepar.preprocess.spatial import linear_weights


def grid(y: int, x: int, y_mm: float = 0.8, x_mm: float = 0.6) -> Geometry:
    return Geometry.from_spacing((3, y, x), (5, y_mm, x_mm))


def there_and_back(plan, values: np.ndarray) -> np.ndarray:
    return plan.to_scan(plan.to_net(values)[:, None])[:, 0]


@given(st.integers(1, 80), st.integers(1, 80))
@settings(max_examples=60, deadline=None)
def test_every_output_pixel_is_a_weighted_mean(n_in, n_out):
    weights = linear_weights(n_in, n_out, n_in / n_out)
    assert weights.shape == (n_out, n_in)
    assert weights.dtype == np.float32
    assert weights.min() >= 0
    assert np.allclose(weights.sum(axis=1), 1, atol=1e-6)


def test_the_same_size_is_the_identity():
    assert np.array_equal(linear_weights(9, 9, 1), np.eye(9))


def test_shrinking_averages_instead_of_skipping():
    stripes = np.tile([0.0, 0.0, 90.0], 12)
    assert np.allclose((linear_weights(36, 12, 3) @ stripes)[1:-1], 30, atol=1e-4)


@pytest.mark.parametrize("plan", [InPlaneGrid(matrix=64), InPlaneGrid(pixel_mm=0.7)])
def test_a_scan_already_on_the_grid_is_not_touched(plan):
    values = np.random.default_rng(0).normal(size=(2, 64, 64)).astype(np.float32)
    made = plan.plan(grid(64, 64, 0.7, np.float32(0.7)))
    assert np.array_equal(made.to_net(values), values)
    assert np.array_equal(there_and_back(made, values), values)


@pytest.mark.parametrize("wanted", [InPlaneGrid(matrix=50), InPlaneGrid(matrix=130), InPlaneGrid(pixel_mm=1.5)])
def test_a_constant_stays_constant(wanted):
    plan = wanted.plan(grid(100, 90))
    inner = plan.to_net(np.full((1, 100, 90), 7.0))[:, : plan.size[0], : plan.size[1]]
    assert np.allclose(inner, 7, atol=1e-5)
    assert np.allclose(plan.to_scan(inner[:, None]), 7, atol=1e-5)


@pytest.mark.parametrize("wanted", [InPlaneGrid(matrix=64), InPlaneGrid(matrix=200), InPlaneGrid(pixel_mm=1.7)])
def test_a_ramp_comes_back_without_shift(wanted):
    plan = wanted.plan(grid(128, 120))
    y, x = np.mgrid[:128, :120].astype(np.float32)
    for ramp in (y, x):
        back = there_and_back(plan, ramp[None])[0]
        # The widened triangle ripples by some hundredths of a pixel when the scale is no whole number.
        assert np.abs(back - ramp)[10:-10, 10:-10].max() < 0.08


def test_a_map_without_half_pixel_centres_would_shift():
    plan = InPlaneGrid(matrix=64).plan(grid(128, 128))
    ramp = np.tile(np.arange(128, dtype=np.float32), (1, 128, 1))
    corner_aligned = ramp[:, ::2, ::2]
    back = plan.to_scan(corner_aligned[:, None])[:, 0]
    assert np.abs(back - ramp)[:, 10:-10, 10:-10].min() > 0.4


def test_pixel_mm_means_millimetres_along_both_axes():
    plan = InPlaneGrid(pixel_mm=1.6).plan(grid(100, 200, 0.8, 0.4))
    assert plan.size == (50, 50)
    assert plan.scales == pytest.approx((2, 4))


def test_padding_is_zero_below_and_to_the_right():
    plan = InPlaneGrid(matrix=40, multiple=32).plan(grid(40, 40))
    net = plan.to_net(np.ones((2, 40, 40)))
    assert plan.padded_size == net.shape[1:] == (64, 64)
    assert net[:, :40, :40].min() == 1
    assert not net[:, 40:].any()
    assert not net[:, :, 40:].any()
    assert plan.to_scan(net[:, None]).min() == 1


@pytest.mark.parametrize("size", range(1, 70, 7))
def test_any_scan_size_comes_back_to_its_own_size(size):
    plan = InPlaneGrid(pixel_mm=1.3).plan(grid(size, size + 3))
    logits = np.zeros((2, 3, *plan.padded_size), np.float32)
    assert plan.to_scan(logits).shape == (2, 3, size, size + 3)
    assert plan.labels_to_net(np.zeros((2, size, size + 3), np.uint8)).shape == (2, *plan.padded_size)


def test_labels_stay_labels_and_stay_in_place():
    labels = np.zeros((1, 64, 64), np.uint8)
    labels[:, 16:48, 16:48] = 1
    labels[:, 24:32, 24:32] = 2
    small = InPlaneGrid(matrix=32).plan(grid(64, 64)).labels_to_net(labels)
    expected = np.zeros((1, 32, 32), np.uint8)
    expected[:, 8:24, 8:24] = 1
    expected[:, 12:16, 12:16] = 2
    assert small.dtype == np.uint8
    # The widened triangle rounds convex corners off, and nothing else.
    assert np.count_nonzero(small != expected) <= 8


def test_at_a_tie_the_tumour_stays():
    labels = np.zeros((1, 8, 8), np.uint8)
    labels[:, :, 3:5] = 2
    small = InPlaneGrid(matrix=4, multiple=1).plan(grid(8, 8)).labels_to_net(labels)
    assert small[0, 2].tolist() == [0, 2, 2, 0]


@pytest.mark.parametrize(
    "settings",
    [{}, {"pixel_mm": 1.0, "matrix": 64}, {"pixel_mm": 0.0}, {"pixel_mm": float("nan")}, {"matrix": 0}],
)
def test_impossible_grids_are_refused(settings):
    with pytest.raises(BadInput):
        InPlaneGrid(**settings)
