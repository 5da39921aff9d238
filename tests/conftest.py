"""Shared fixtures. Real-data tests skip, with a reason, where the data is not at hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hepar.geometry import Geometry

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real CT beside the checkout."""
    if not SHARED_DATA.is_dir():
        pytest.skip("real data (../shared/data) is not on this machine")
    return SHARED_DATA


@pytest.fixture
def oblique_grid() -> Geometry:
    """A tiny grid that forgives nothing: tilted, flipped, swapped and anisotropic."""
    angle = np.deg2rad(20)
    tilt = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    # Array axes follow posterior, inferior and left: swapped and one reversed.
    axes = np.array([[0, 0, 1], [1, 0, 0], [0, -1, 0]], dtype=float)
    affine = np.eye(4)
    affine[:3, :3] = tilt @ axes * np.array([0.8, 3.0, 0.7])
    affine[:3, 3] = (-120.0, 35.5, 410.25)
    return Geometry((10, 7, 12), affine)
