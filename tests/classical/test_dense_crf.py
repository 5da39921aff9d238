"""The field equals a sum over all pairs of voxels, however slices arrive; its borders lie where HU jump."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepar.classical.dense_crf import HIGH_HU, LOW_HU, REACH, DenseCrf, cosines, messages, with_halo
from hepar.errors import BadInput

SHAPE, SPACING = (6, 8, 8), (2.5, 1.5, 1.7)
# Gaussians that reach from one corner of the volume to the other: every voxel is tied to all others.
FULL = DenseCrf(near=30.0, near_mm=7.0, alike=60.0, alike_mm=9.0, alike_hu=25.0, updates=4)
# The same with Gaussians that end inside the volume.
CUT = replace(FULL, near=2.0, near_mm=2.0, alike=5.0, alike_mm=3.1)


def random_problem(seed: int = 0, shape=SHAPE, labels: int = 3) -> np.ndarray:
    """Noisy log-probabilities of some regions' labels, and their noisy HU, (z, channel, y, x)."""
    rng = np.random.default_rng(seed)
    region = np.broadcast_to(np.arange(shape[2]) * labels // shape[2], shape)
    logs = rng.normal(0, 1, (shape[0], labels, *shape[1:]))
    logs += 1.2 * (region[:, None] == np.arange(labels)[:, None, None])
    logs -= np.log(np.exp(logs).sum(axis=1, keepdims=True))
    hu = 60 * region[:, None] + rng.normal(0, 30, (shape[0], 1, *shape[1:]))
    return np.concatenate([logs, hu], axis=1).astype(np.float32)


def shares(logs: np.ndarray) -> np.ndarray:
    parts = np.exp(logs - logs.max(axis=-1, keepdims=True))
    return parts / parts.sum(axis=-1, keepdims=True)


def kernel(places: np.ndarray, hu: np.ndarray, sd_mm: float, hu_sd: float | None) -> np.ndarray:
    """Ties of every voxel to every other, all pairs written out; `places` (voxel, 3) are indices."""
    tie = np.ones((len(places), len(places)))
    full = 1.0
    for axis, mm in enumerate(SPACING):
        away = places[:, None, axis] - places[None, :, axis]
        tie *= np.exp(-0.5 * (away * mm / sd_mm) ** 2) * (np.abs(away) <= REACH * sd_mm / mm)
        line = np.arange(-200, 201) * mm
        full *= np.exp(-0.5 * (line / sd_mm) ** 2)[np.abs(line) <= REACH * sd_mm].sum()
    np.fill_diagonal(tie, 0)
    if hu_sd is not None:
        tie *= np.exp(-0.5 * ((hu[:, None] - hu[None]) / hu_sd) ** 2)
    # In the open all neighbours together would weigh 1.
    return tie / (full - 1)


def by_all_pairs(problem: np.ndarray, crf: DenseCrf) -> np.ndarray:
    """The same messages, (z, label, y, x), as the formula of the paper has them."""
    labels = problem.shape[1] - 1
    logs = np.moveaxis(problem[:, :labels], 1, -1).reshape(-1, labels).astype(np.float64)
    hu = np.clip(problem[:, labels], LOW_HU, HIGH_HU).ravel().astype(np.float64)
    shape = (problem.shape[0], *problem.shape[2:])
    places = np.stack(np.unravel_index(np.arange(len(hu)), shape), axis=1)
    ties = crf.near * kernel(places, hu, crf.near_mm, None) + crf.alike * kernel(places, hu, crf.alike_mm, crf.alike_hu)
    now = shares(logs)
    for _ in range(crf.updates):
        told = ties @ now
        now = shares(logs + told)
    # Label 0 is measured against.
    return np.moveaxis((told - told[:, :1]).reshape(*shape, labels), -1, 1)


def streamed(problem: np.ndarray, crf: DenseCrf, sizes=(10**6,), spacing=SPACING) -> np.ndarray:
    """All messages, when slices arrive `sizes` at a time, in turns."""

    def slabs():
        start, turn = 0, 0
        while start < len(problem):
            stop = start + sizes[turn % len(sizes)]
            yield start, problem[start:stop]
            start, turn = stop, turn + 1

    found = list(messages(slabs(), spacing, crf))
    assert [start for start, _ in found] == np.cumsum([0, *(len(part) for _, part in found[:-1])]).tolist()
    return np.concatenate([part for _, part in found])


@pytest.mark.parametrize("crf", [FULL, CUT, replace(FULL, alike=0.0), replace(CUT, near=0.0)], ids=str)
@pytest.mark.parametrize("labels", [2, 3])
def test_the_field_equals_a_sum_over_all_pairs(crf, labels):
    problem = random_problem(seed=labels, labels=labels)
    expected, found = by_all_pairs(problem, crf), streamed(problem, crf)
    assert found.dtype == np.float32
    assert np.abs(expected).max() > 0.5
    # Cosines are no Gaussians, by less than a thousandth.
    assert np.abs(found - expected).max() < 2e-3 * np.abs(expected).max()
    told = (problem[:, :labels] + found).argmax(axis=1)
    assert (told != (problem[:, :labels] + expected).argmax(axis=1)).mean() < 0.005
    # Ties matter: more than one voxel in ten changes its mind.
    assert (told != problem[:, :labels].argmax(axis=1)).mean() > 0.1


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=3), st.sampled_from([1, 3]))
def test_how_slices_arrive_changes_nothing(sizes, updates):
    problem = random_problem(5, (17, 5, 6))
    crf = replace(CUT, updates=updates)
    assert np.allclose(streamed(problem, crf, sizes), streamed(problem, crf), atol=1e-5)


def test_without_weights_nothing_is_said():
    crf = DenseCrf(near=0.0, alike=0.0)
    assert not crf.ties
    assert not streamed(random_problem(), crf, (2,)).any()


def test_the_same_twice_is_the_same_to_the_bit():
    problem = random_problem(3)
    assert np.array_equal(streamed(problem, CUT, (2,)), streamed(problem, CUT, (2,)))


def test_a_hole_in_one_label_is_closed_and_an_edge_in_hu_is_kept():
    shape = (7, 20, 20)
    hu = np.full(shape, 20.0)
    hu[:, :, 10:] = 120
    truth = hu > 70
    p = np.where(truth, 0.8, 0.2)
    p[2:5, 8:11, 13:16] = 0.45  # unsure inside, with the HU of the rest
    p[:, :, 9] = 0.6  # the network's edge lies a pixel too far out
    problem = np.stack([np.log(1 - p), np.log(p), hu], axis=1).astype(np.float32)
    for crf, wrong in ((DenseCrf(near=1.0, alike=4.0), 0), (DenseCrf(near=3.0, alike=0.0), 60)):
        found = problem[:, 1] - problem[:, 0] + streamed(problem, crf, spacing=(2.0, 2.0, 2.0))[:, 1] > 0
        assert found[2:5, 8:11, 13:16].all()
        # Distance alone does not see the edge.
        assert (found != truth).sum() <= wrong if wrong == 0 else (found != truth).sum() >= wrong


def test_what_all_neighbours_say_counts_its_weight_in_the_open_and_less_at_the_border():
    shape, crf = (31, 31, 31), DenseCrf(near=1.5, near_mm=2.0, alike=0.0, updates=1)
    logs = np.stack([np.full(shape, -30.0), np.zeros(shape), np.full(shape, 50.0)], axis=1).astype(np.float32)
    found = streamed(logs, crf, spacing=(1.0, 1.0, 1.0))[:, 1]
    assert found[15, 15, 15] == pytest.approx(1.5, abs=1e-4)
    # Half of the neighbours and half of those in the border's own plane.
    assert 1.5 / 2 < found[0, 15, 15] < 1.5 * 0.62
    assert found[0, 0, 0] < 1.5 / 4
    both = replace(crf, alike=2.0, alike_mm=2.0)
    assert streamed(logs, both, spacing=(1.0, 1.0, 1.0))[15, 1, 15, 15] == pytest.approx(3.5, abs=5e-3)


def test_distances_are_millimetres():
    """Twice the spacing and twice the Gaussians are the same field."""
    problem = random_problem(8)
    double = replace(CUT, near_mm=2 * CUT.near_mm, alike_mm=2 * CUT.alike_mm)
    spacing = tuple(2 * mm for mm in SPACING)
    assert np.allclose(streamed(problem, double, spacing=spacing), streamed(problem, CUT), atol=1e-5)


def test_slices_far_apart_are_not_tied():
    problem = random_problem(9)
    other = problem.copy()
    other[3:] = random_problem(10)[3:]
    found, beside = (streamed(one, replace(CUT, updates=9), spacing=(50.0, 1.5, 1.5)) for one in (problem, other))
    assert np.array_equal(found[:3], beside[:3])
    assert found[:3].any()


def test_voxels_larger_than_the_gaussians_are_left_alone():
    assert not streamed(random_problem(), CUT, spacing=(50.0, 40.0, 40.0)).any()


def test_a_slice_is_changed_by_what_its_updates_reach_and_by_nothing_beyond():
    crf = DenseCrf(near=2.0, near_mm=2.0, alike=0.0, updates=2)
    problem = random_problem(1, (25, 4, 4))
    other = problem.copy()
    other[24] = random_problem(2, (25, 4, 4))[24]
    # 5 mm a Gaussian and 1 mm a slice: 10 slices in two updates.
    differs = (np.abs(streamed(problem, crf, spacing=(1, 1, 1)) - streamed(other, crf, spacing=(1, 1, 1))) > 0).any(
        axis=(1, 2, 3)
    )
    assert np.flatnonzero(differs).min() == 14


@pytest.mark.parametrize(("sd", "span"), [(20.0, 200.0), (5.0, 200.0), (200.0, 200.0)])
def test_cosines_are_a_gaussian_over_the_whole_span(sd, span):
    frequency, amplitudes = cosines(sd, span)
    d = np.linspace(-span, span, 2001)
    summed = (amplitudes[:, None] * np.cos(np.arange(len(amplitudes))[:, None] * frequency * d)).sum(axis=0)
    assert np.abs(summed - np.exp(-0.5 * (d / sd) ** 2)).max() < 1e-3


def test_halos_are_as_wide_as_asked_and_no_slice_is_given_twice():
    stack = np.arange(23, dtype=np.float32)[:, None, None, None]
    slabs = ((start, stack[start : start + 4]) for start in range(0, 23, 4))
    seen = []
    for start, held, own in with_halo(slabs, 5):
        mine = held[own, 0, 0, 0]
        assert mine[0] == start
        assert held[0] == max(0, start - 5) and held[-1] >= min(22, mine[-1] + 5)
        assert len(held) <= 4 + 2 * 5
        seen += mine.tolist()
    assert seen == list(range(23))
    assert list(with_halo(iter(()), 5)) == []


def test_memory_holds_the_slices_that_are_reached_however_many_there_are():
    """What is asked for before the first answer does not grow with the stack."""
    crf = DenseCrf(near=1.0, near_mm=2.0, alike=0.0, updates=3)
    asked: list[int] = []

    def slabs(count: int):
        for start in range(0, count, 2):
            asked.append(start)
            yield start, random_problem(start, (2, 3, 3))

    for count in (60, 200):
        asked.clear()
        next(messages(slabs(count), (1.0, 1.0, 1.0), crf))
        # Three updates of 5 slices each, and the slabs that these end in.
        assert len(asked) <= 10


@pytest.mark.parametrize(
    "wrong",
    [{"near": -1}, {"alike": -0.1}, {"near_mm": 0}, {"alike_hu": 0}, {"updates": 0}, {"alike_mm": float("nan")}],
)
def test_numbers_that_mean_nothing_are_refused(wrong):
    with pytest.raises(BadInput, match="near and alike must be at least 0, every other number above 0"):
        DenseCrf(**wrong)
