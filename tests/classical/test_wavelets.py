"""Wavelet packets of many tiles at once are those of PyWavelets' tree, tile by tile."""

from __future__ import annotations

import numpy as np
import pytest

from hepar.classical.wavelets import NAMES, wavelet_features


def test_there_are_an_energy_and_an_entropy_for_each_of_sixteen_bands():
    assert len(NAMES) == len(set(NAMES)) == 32
    assert wavelet_features(np.zeros((0, 32, 32), np.uint8)).shape == (0, 32)


def test_bands_are_those_of_the_tree():
    import pywt

    tiles = np.random.default_rng(0).integers(0, 256, (3, 32, 32), dtype=np.uint8)
    found = wavelet_features(tiles)
    for tile, row in zip(tiles, found, strict=True):
        tree = pywt.WaveletPacket2D(tile.astype(float), "db4", mode="periodization", maxlevel=2)
        for name, value in zip(NAMES, row, strict=True):
            kind, path = name.split("_")
            squares = tree[path].data.ravel() ** 2
            shares = squares / squares.sum()
            wanted = squares.mean() if kind == "energy" else -(shares * np.log2(shares)).sum()
            assert value == pytest.approx(wanted)


def test_energy_is_neither_lost_nor_made():
    tiles = np.random.default_rng(1).integers(0, 256, (4, 32, 32), dtype=np.uint8)
    energies = wavelet_features(tiles)[:, :16]
    assert np.allclose(energies.mean(axis=1), (tiles.astype(float) ** 2).mean(axis=(1, 2)))


def test_a_constant_tile_has_all_its_energy_in_the_coarsest_band_and_a_black_one_none():
    constant, black = wavelet_features(np.stack([np.full((32, 32), 80, np.uint8), np.zeros((32, 32), np.uint8)]))
    assert constant[0] == pytest.approx(16 * 80**2)
    assert np.allclose(constant[1:16], 0)
    assert constant[16] == pytest.approx(np.log2(64))
    assert not black.any()
