"""The convex solver: its gap closes, any start ends in the same region, and that is the best one."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from hepar.classical.convex import divergence, dual_energy, energy, gradient, solve


def problem(seed: int, shape=(8, 12, 12)):
    """A noisy ball in a noisy room, with weaker edges on one side."""
    rng = np.random.default_rng(seed)
    z, y, x = np.mgrid[: shape[0], : shape[1], : shape[2]]
    ball = (z - 4) ** 2 + (y - 6) ** 2 + (x - 5) ** 2 < 12
    region = np.where(ball, -1, 1) + rng.normal(0, 1.2, shape)
    edge = np.where(x > 6, 0.4, 1.0)
    return edge.astype(np.float32), region.astype(np.float32), ball


def test_divergence_is_minus_the_gradients_adjoint():
    rng = np.random.default_rng(0)
    u, p = rng.normal(size=(4, 5, 6)).astype(np.float32), rng.normal(size=(3, 4, 5, 6)).astype(np.float32)
    assert (gradient(u) * p).sum() == pytest.approx(-(u * divergence(p)).sum(), abs=1e-3)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_gap_closes_and_the_bound_holds(seed):
    edge, region, _ = problem(seed)
    found = solve(edge, region, np.zeros_like(region), tolerance=1e-3, most_steps=2000)
    assert found.gap <= 1e-3 and found.steps < 2000
    assert found.dual <= found.primal
    # No region of anybody's is better than the bound.
    rng = np.random.default_rng(seed)
    for _ in range(20):
        guess = (rng.random(region.shape) < rng.random()).astype(np.float32)
        assert energy(guess, edge, region) >= found.dual - 1e-3


@pytest.mark.parametrize("seed", [0, 1])
def test_two_starts_end_in_the_same_region(seed):
    edge, region, ball = problem(seed)
    rng = np.random.default_rng(seed)
    starts = (np.zeros_like(region), np.ones_like(region), rng.random(region.shape).astype(np.float32))
    found = [solve(edge, region, start, tolerance=1e-5, most_steps=20_000) for start in starts]
    assert all(one.gap <= 1e-5 for one in found)
    for other in found[1:]:
        assert np.array_equal(other.u > 0.5, found[0].u > 0.5)
    mask = found[0].u > 0.5
    assert 2 * (mask & ball).sum() / (mask.sum() + ball.sum()) > 0.75


def test_the_solution_is_a_region_with_a_soft_rim():
    z, y, x = np.mgrid[:20, :24, :24]
    ball = (z - 9.5) ** 2 + (y - 12) ** 2 + (x - 11) ** 2 < 49
    noise = np.random.default_rng(3).normal(0, 1.0, ball.shape)
    region = (np.where(ball, -1.5, 1.5) + noise).astype(np.float32)
    found = solve(np.ones_like(region), region, np.zeros_like(region), tolerance=1e-3, most_steps=2000)
    mask = found.u > 0.5
    assert 2 * (mask & ball).sum() / (mask.sum() + ball.sum()) > 0.95
    assert ((found.u > 0.05) & (found.u < 0.95)).mean() < 0.05
    # Alone, one voxel in fifteen would be wrong.
    assert ((region < 0) ^ ball).mean() > 3 * (mask ^ ball).mean()


def test_the_end_is_no_worse_than_the_start():
    edge, region, ball = problem(4)
    start = ball.astype(np.float32)
    found = solve(edge, region, start, tolerance=1e-4, most_steps=5000)
    assert found.primal <= energy(start, edge, region)


def test_nothing_beats_the_best_of_all_regions_of_a_tiny_room():
    rng = np.random.default_rng(5)
    edge, region = rng.random((1, 3, 3)).astype(np.float32), rng.normal(size=(1, 3, 3)).astype(np.float32)
    found = solve(edge, region, np.full_like(region, 0.5), tolerance=1e-5, most_steps=50_000)
    # A region's outline is measured along both axes at once, so its relaxation is no worse than the best of all 512.
    best = min(energy(np.array(bits, np.float32).reshape(1, 3, 3), edge, region) for bits in product((0, 1), repeat=9))
    assert found.dual - 1e-4 <= found.primal <= best + 1e-4


def test_without_edges_each_voxel_decides_for_itself_and_with_strong_ones_all_together():
    _, region, _ = problem(6)
    alone = solve(np.zeros_like(region), region, np.zeros_like(region), 1e-6, 2000)
    assert np.array_equal(alone.u > 0.5, region < 0)
    together = solve(np.full_like(region, 100), region, np.zeros_like(region), 1e-3, 5000)
    assert np.ptp(together.u) < 0.05


def test_steps_end_where_they_are_told_to():
    edge, region, _ = problem(0)
    short = solve(edge, region, np.zeros_like(region), tolerance=1e-9, most_steps=30)
    assert short.steps == 30 and short.gap > 1e-9
    assert dual_energy(np.zeros((3, *region.shape), np.float32), region) <= short.dual
