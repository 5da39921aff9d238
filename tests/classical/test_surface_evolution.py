"""A surface goes where edges, HU and a probability map say, whatever the map was unsure of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hepar.classical.convex import energy
from hepar.classical.surface_evolution import (
    Evolution,
    edge_weight,
    evolve,
    log_ratio,
    nearer_inside,
    region_term,
    ring,
)
from hepar.errors import BadInput

QUICK = Evolution(most_steps=300)


def organ(seed: int = 0):
    """HU of a ball of 110 in 50, and a map of it that is too small, smooth and unsure at its border; 3 mm voxels."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    z, y, x = np.mgrid[:20, :24, :24]
    away = np.sqrt((z - 9.5) ** 2 + (y - 12) ** 2 + (x - 11) ** 2)
    ball = away < 8
    hu = (np.where(ball, 110, 50) + rng.normal(0, 8, ball.shape)).astype(np.float32)
    probability = gaussian_filter((away < 6.5).astype(np.float32), 2.0)
    return hu, probability, ball


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.mark.parametrize(("only", "least"), [({"local": 0.0}, 0.95), ({"histogram": 0.0}, 0.75), ({}, 0.95)])
def test_appearance_moves_the_surface_to_where_the_organ_ends(only, least):
    hu, probability, ball = organ()
    assert dice(probability > 0.5, ball) < 0.6
    found = evolve(hu, probability, 3.0, replace(QUICK, **{"histogram": 2.0, "local": 2.0} | only))
    assert dice(found.mask, ball) > least


def test_without_appearance_the_map_decides():
    hu, probability, ball = organ()
    found = evolve(hu, probability, 3.0, replace(QUICK, histogram=0.0, local=0.0, data=3.0))
    assert dice(found.mask, probability > 0.5) > 0.9
    assert dice(found.mask, ball) < 0.85


def test_each_update_ends_no_higher_than_its_start_and_its_gap_closes():
    hu, probability, _ = organ()
    settings = Evolution(most_steps=3000)
    found = evolve(hu, probability, 3.0, settings)
    assert 1 <= len(found.solutions) <= settings.updates
    assert all(one.gap <= settings.tolerance for one in found.solutions)
    mask, near = probability > 0.9, (probability < 0.1) & ring(probability > 0.5, 3.0)
    region = settings.data * 3.0 * region_term(hu, probability, mask, near, 3.0, settings)
    edge = edge_weight(hu, 3.0, settings.edge_hu_per_mm)
    assert found.solutions[0].primal <= energy(probability, edge, region) + 1e-3


def test_more_weight_on_the_surface_makes_it_smoother():
    hu, probability, _ = organ()
    noisy = np.clip(probability + np.random.default_rng(1).normal(0, 0.25, hu.shape), 0, 1).astype(np.float32)
    rough, smooth = (
        evolve(hu, noisy, 3.0, replace(QUICK, data=data, updates=1)).mask.astype(np.float32) for data in (3.0, 0.2)
    )
    flat = np.ones_like(hu), np.zeros_like(hu)
    assert energy(smooth, *flat) / smooth.sum() < 0.9 * energy(rough, *flat) / rough.sum()


def test_an_empty_map_stays_empty_and_only_the_largest_piece_is_kept():
    hu, probability, _ = organ()
    none = evolve(hu, np.full_like(probability, 0.2), 3.0, QUICK)
    assert not none.mask.any() and none.solutions == ()
    speck = probability.copy()
    speck[2:5, 1:4, 1:4] = 1.0
    assert not evolve(hu, speck, 3.0, replace(QUICK, data=3.0)).mask[2:5, 1:4, 1:4].any()


def test_a_scan_of_one_slice_is_possible():
    hu, probability, ball = organ()
    found = evolve(hu[10:11], probability[10:11], 3.0, replace(QUICK, histogram=2.0))
    assert dice(found.mask, ball[10:11]) > 0.9


def test_edges_are_cheap_where_hu_change():
    hu = np.zeros((6, 8, 8), np.float32)
    hu[:, :, 4:] = 100
    edge = edge_weight(hu, 2.0, half_at=15.0)
    assert np.allclose(edge[:, :, 0], 1, atol=0.01)
    # Smoothed by a voxel the step is some 38 HU in 4 mm either side: 19 HU a mm.
    assert edge[:, :, 3].max() < 0.55
    assert (edge_weight(hu, 2.0, half_at=1000.0) > 0.99).all()


def test_frequent_hu_inside_speak_for_inside():
    hu = np.array([[[100.0, 102, 101, 20, 22, 21]]], np.float32)
    inside = hu > 50
    found = log_ratio(hu, inside, ~inside)
    assert (found[inside] > 1).all() and (found[~inside] < -1).all()
    assert not log_ratio(hu, inside, np.zeros_like(inside)).any()


def test_local_means_speak_only_where_both_sides_are_near():
    hu = np.full((1, 1, 60), 50.0, np.float32)
    hu[..., :30] = 110
    inside = hu > 80
    found = nearer_inside(hu, inside, ~inside, sigma=2.0)
    assert found[0, 0, 28] > 0 > found[0, 0, 31]
    assert found[0, 0, 0] == found[0, 0, 59] == 0


def test_the_ring_reaches_20_mm():
    mask = np.zeros((1, 1, 41), bool)
    mask[..., 20] = True
    found = np.flatnonzero(ring(mask, 5.0))
    assert found.tolist() == [16, 17, 18, 19, 21, 22, 23, 24]


@pytest.mark.parametrize("wrong", [{"data": 0}, {"local": -1}, {"tolerance": 0}, {"updates": 0}])
def test_numbers_that_mean_nothing_are_refused(wrong):
    with pytest.raises(BadInput, match="every other number above 0"):
        Evolution(**wrong)
