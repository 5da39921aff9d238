"""Tiles: where they lie, what they show, how they become pixels again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepar.classical.tiles import Tiles
from hepar.errors import BadInput


def disc(shape=(40, 50), at=(18, 20), radius=11):
    y, x = np.mgrid[: shape[0], : shape[1]]
    return (y - at[0]) ** 2 + (x - at[1]) ** 2 < radius**2


@given(
    st.integers(4, 12),
    st.integers(1, 12),
    st.floats(0.1, 1.0),
    st.tuples(st.integers(-3, 42), st.integers(-3, 52)),
    st.integers(2, 20),
)
@settings(max_examples=60, deadline=None)
def test_shares_are_those_of_the_pixels_wherever_the_organ_lies(side, stride, least, at, radius):
    tiles, mask = Tiles(side, min(stride, side), least), disc(at=at, radius=radius)
    corners = tiles.corners(mask)
    wide = np.pad(mask, side)
    counted = [wide[y + side : y + 2 * side, x + side : x + 2 * side].mean() for y, x in corners.tolist()]
    assert np.allclose(tiles.shares(mask, corners), counted)
    assert (tiles.shares(mask, corners) >= least - 1e-12).all()


def test_tiles_that_lie_in_the_organ_by_half_cover_nearly_all_of_it():
    mask = disc()
    tiles = Tiles(8, 4, 0.5)
    covered = tiles.spread(np.ones(len(tiles.corners(mask))), tiles.corners(mask), mask.shape) > 0
    assert (covered & mask).sum() > 0.97 * mask.sum()
    # Whole tiles only leave the border out.
    whole = Tiles(8, 4, 1.0)
    assert whole.shares(mask, whole.corners(mask)).min() == 1
    assert len(whole.corners(mask)) < len(tiles.corners(mask))


def test_no_organ_has_no_tiles():
    none = np.zeros((9, 9), bool)
    tiles = Tiles(4, 2)
    assert tiles.corners(none).shape == (0, 2)
    assert tiles.cut(np.zeros((9, 9), np.uint8), none, tiles.corners(none)).shape == (0, 4, 4)
    assert not tiles.spread(np.zeros(0), tiles.corners(none), (9, 9)).any()


@pytest.mark.parametrize("at", [(18, 20), (0, 0), (39, 49)])
def test_what_lies_beyond_the_organ_is_not_seen(at):
    mask = disc(at=at)
    inside = np.random.default_rng(0).integers(100, 120, mask.shape).astype(np.uint8)
    tiles = Tiles(8, 4, 0.5)
    seen = [tiles.cut(np.where(mask, inside, other).astype(np.uint8), mask, tiles.corners(mask)) for other in (0, 255)]
    assert np.array_equal(*seen)
    assert seen[0].min() >= 100 and seen[0].max() < 120


def test_tiles_inside_show_their_own_pixels():
    mask = disc()
    grey = np.random.default_rng(1).integers(0, 256, mask.shape).astype(np.uint8)
    tiles = Tiles(6, 3, 1.0)
    corners = tiles.corners(mask)
    shown = tiles.cut(grey, mask, corners)
    assert len(shown) > 10
    for (y, x), tile in zip(corners.tolist(), shown, strict=True):
        assert np.array_equal(tile, grey[y : y + 6, x : x + 6])


def test_a_pixel_takes_the_mean_of_its_tiles():
    tiles = Tiles(4, 2)
    corners = np.array([[0, 0], [0, 2], [-2, 0]])
    found = tiles.spread(np.array([1.0, 0.5, 0.0]), corners, (5, 8))
    assert found[0].tolist() == [0.5] * 6 + [0, 0]
    assert found[3].tolist() == [1, 1, 0.75, 0.75, 0.5, 0.5, 0, 0]
    assert not found[4].any()


@pytest.mark.parametrize("settings", [(3, 1, 0.5), (8, 0, 0.5), (8, 9, 0.5), (8, 4, 0.0), (8, 4, 1.1)])
def test_tiles_that_leave_gaps_or_mean_nothing_are_refused(settings):
    with pytest.raises(BadInput, match="expected 4 pixels or more, a stride from 1 to the side"):
        Tiles(*settings)
