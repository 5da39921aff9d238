"""The globally best region for a given edge map and region term, by a primal-dual method.

Minimised over u in [0, 1] on a grid of cubes: sum of g |grad u| + r u. The
problem is convex, so every start ends at the same energy. In the continuum u
cut anywhere between 0 and 1 is a best region (Chan, Esedoglu and Nikolova
2006); on a grid, where a jagged surface counts as longer than it is, u has a
soft rim and is cut at one half. Solved as Chambolle and Pock (2011) do; the gap
between primal and dual energy says how far from the best u can be at most.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
# Both steps: their product times the gradient's squared norm, at most 12 in 3D, must not exceed 1.
STEP = 1 / np.sqrt(12)
# Energies cost as much as some steps.
STEPS_BETWEEN = 20


@dataclass(frozen=True, eq=False)
class Solution:
    """`u` (z, y, x) in 0..1 with its energy, the dual's (a bound from below), and the steps it took."""

    u: Floats
    primal: float
    dual: float
    steps: int

    @property
    def gap(self) -> float:
        """How much energy better than `u` a solution could be, as a share of the energy's size."""
        return (self.primal - self.dual) / max(abs(self.primal), abs(self.dual), 1e-12)


def solve(edge: Floats, region: Floats, start: Floats, tolerance: float, most_steps: int) -> Solution:
    """The best u for `edge` (g, at least 0) and `region` (r), both (z, y, x), from `start`.

    Ends when the gap is `tolerance` or less, at the latest after `most_steps`.
    """
    edge, region = edge.astype(np.float32, copy=False), region.astype(np.float32, copy=False)
    u = np.clip(start, 0, 1).astype(np.float32)
    ahead, dual = u.copy(), np.zeros((3, *u.shape), np.float32)
    steps = 0
    while True:
        found = Solution(u, energy(u, edge, region), dual_energy(dual, region), steps)
        if found.gap <= tolerance or steps >= most_steps:
            return found
        for _ in range(min(STEPS_BETWEEN, most_steps - steps)):
            dual += np.float32(STEP) * gradient(ahead)
            _shorten(dual, edge)
            before = u
            u = np.clip(u + np.float32(STEP) * (divergence(dual) - region), 0, 1)
            ahead = 2 * u - before
            steps += 1


def energy(u: Floats, edge: Floats, region: Floats) -> float:
    """Sum of g |grad u| + r u."""
    length = np.sqrt((gradient(u) ** 2).sum(axis=0))
    return float((edge * length + region * u).sum(dtype=np.float64))


def dual_energy(dual: Floats, region: Floats) -> float:
    """The least that any u can have if `dual` is nowhere longer than g: sum of min(0, r - div)."""
    return float(np.minimum(region - divergence(dual), 0).sum(dtype=np.float64))


def gradient(u: Floats) -> Floats:
    """(3, z, y, x) forward differences, 0 at the last voxel."""
    found = np.zeros((3, *u.shape), np.float32)
    found[0, :-1] = u[1:] - u[:-1]
    found[1, :, :-1] = u[:, 1:] - u[:, :-1]
    found[2, :, :, :-1] = u[:, :, 1:] - u[:, :, :-1]
    return found


def divergence(dual: Floats) -> Floats:
    """(z, y, x); minus the adjoint of `gradient`."""
    found = np.zeros(dual.shape[1:], np.float32)
    for axis in range(3):
        inner = np.moveaxis(dual[axis], axis, 0)[:-1]
        out = np.moveaxis(found, axis, 0)
        out[:-1] += inner
        out[1:] -= inner
    return found


def _shorten(dual: Floats, edge: Floats) -> None:
    """No vector longer than g, in place."""
    length = np.sqrt(np.einsum("azyx,azyx->zyx", dual, dual))
    dual *= np.minimum(1, edge / np.maximum(length, np.float32(1e-12)))
