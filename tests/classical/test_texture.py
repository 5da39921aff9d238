"""Texture of tiles: numbers that can be worked out by hand, and what they tell apart."""

from __future__ import annotations

import numpy as np
import pytest

from hepar.classical.texture import NAMES, texture_features


def named(tile):
    return dict(zip(NAMES, texture_features(np.asarray(tile, np.uint8)[None])[0], strict=True))


def test_there_are_twenty_features():
    assert len(NAMES) == len(set(NAMES)) == 20
    assert texture_features(np.zeros((0, 8, 8), np.uint8)).shape == (0, 20)


def test_a_constant_tile_has_no_spread_no_contrast_and_one_pattern():
    found = named(np.full((8, 8), 90))
    assert found["mean"] == 90
    for none in ("sd", "skewness", "kurtosis", "entropy", "contrast", "dissimilarity"):
        assert found[none] == 0
    for one in ("correlation", "energy", "homogeneity", "pattern_8"):
        assert found[one] == pytest.approx(1)


def test_stripes_one_level_apart_are_as_worked_out_by_hand():
    # Columns 0 and 8: levels 0 and 1. Three of four angles go from one column to the other, one stays.
    found = named(np.tile([0, 8], (8, 4)))
    assert found["mean"] == 4 and found["sd"] == 4
    assert found["skewness"] == 0 and found["kurtosis"] == 1 and found["entropy"] == 1
    assert found["contrast"] == found["dissimilarity"] == pytest.approx(3 / 4)
    assert found["homogeneity"] == pytest.approx(1 / 4 + 3 / 4 / 2)
    # The mean matrix: 1/8 twice on the diagonal, 3/8 twice beside it.
    assert found["energy"] == pytest.approx(np.sqrt(2 / 64 + 18 / 64))
    assert found["correlation"] == pytest.approx(-1 / 2)


def test_moments_are_those_of_the_grey_values():
    from scipy.stats import kurtosis, skew

    tile = np.random.default_rng(3).integers(0, 256, (16, 16)) ** 2 // 255
    found = named(tile)
    assert found["skewness"] == pytest.approx(skew(tile.ravel().astype(float)))
    assert found["kurtosis"] == pytest.approx(kurtosis(tile.ravel().astype(float), fisher=False))


def test_each_tile_is_measured_by_itself_and_shares_add_up():
    tiles = np.random.default_rng(5).integers(0, 256, (300, 8, 8), dtype=np.uint8)
    found = texture_features(tiles)
    assert np.allclose(found[[0, 255, 256, 299]], texture_features(tiles[[0, 255, 256, 299]]))
    assert np.allclose(found[:, 10:].sum(axis=1), 1)
    assert np.isfinite(found).all()


def test_patterns_see_what_a_histogram_does_not():
    rng = np.random.default_rng(6)
    smooth = np.sort(rng.integers(0, 256, 256)).reshape(16, 16)
    rough = rng.permutation(smooth.ravel()).reshape(16, 16)
    a, b = named(smooth), named(rough)
    assert a["mean"] == b["mean"] and a["entropy"] == b["entropy"]
    assert b["contrast"] > 5 * a["contrast"]
    assert b["pattern_9"] > 2 * a["pattern_9"]
