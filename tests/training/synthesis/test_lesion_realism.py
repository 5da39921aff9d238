"""What is measured of a lesion, and whether two kinds can be told apart."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr

from hepar.training.synthesis import realism
from hepar.training.synthesis.features import FEATURES, lesions_of
from hepar.training.synthesis.realism import auc, separation


def disc(contrast: float = -60, edge_mm: float = 4.0, pixel_mm: float = 1.0, noise: float = 5.0):
    """A disc of 12 mm radius in a liver of 160 grey levels."""
    y, x = (np.indices((96, 96)) - 48) * pixel_mm
    depth = 12 - np.hypot(y, x)
    image = 160 + contrast * ndtr(depth * 2.563 / edge_mm) + np.random.default_rng(0).normal(0, noise, depth.shape)
    return image.clip(0, 255).astype(np.uint8), np.where(depth > 0, 2, 1).astype(np.uint8)


@pytest.mark.parametrize("edge_mm", [2.0, 4.0, 8.0])
def test_a_disc_is_measured_as_it_was_made(edge_mm):
    (row,) = lesions_of(*disc(edge_mm=edge_mm), 1.0)
    assert set(row) == set(FEATURES)
    assert row["diameter_mm"] == pytest.approx(24, rel=0.03)
    assert row["contrast_hu"] == pytest.approx(-60 * 200 / 255, rel=0.05)
    assert row["edge_mm"] == pytest.approx(edge_mm, rel=0.35)
    assert abs(row["outline_mm"]) <= 0.5
    assert row["noise_ratio"] == pytest.approx(1, abs=0.3)
    assert row["roundness"] == pytest.approx(1, abs=0.1)


def test_an_outline_drawn_too_wide_is_told():
    image, labels = disc()
    y, x = np.indices(labels.shape) - 48
    (row,) = lesions_of(image, np.where(np.hypot(y, x) < 14, 2, 1).astype(np.uint8), 1.0)
    assert row["outline_mm"] == pytest.approx(-2, abs=0.5)


def test_specks_and_lesions_without_liver_around_are_not_measured():
    image, labels = disc()
    assert not lesions_of(image, np.where(labels == 2, 2, 0).astype(np.uint8), 1.0)
    labels[:] = 1
    labels[40:42, 40:42] = 2
    assert not lesions_of(image, labels, 1.0)


def test_auc_is_the_chance_to_be_larger():
    low, high = np.array([1.0, 2.0]), np.array([2.0, 3.0])
    assert auc(low, high) == pytest.approx(3.5 / 4)
    assert auc(low, low) == pytest.approx(0.5)
    assert np.isnan(auc(low, np.array([])))


def lesions(rng: np.random.Generator, shift: float) -> dict[str, list[dict[str, float]]]:
    return {
        f"p{k}": [dict(zip(FEATURES, rng.normal(shift, 1, len(FEATURES)), strict=True)) for _ in range(20)]
        for k in range(10)
    }


def test_like_lesions_cannot_be_told_apart_and_unlike_ones_can():
    rng = np.random.default_rng(5)
    real = lesions(rng, 0)
    assert separation(real, lesions(rng, 0))["all"] == pytest.approx(0.5, abs=0.12)
    found = separation(real, lesions(rng, 1))
    assert found["all"] > 0.95
    assert found["contrast_hu"] == pytest.approx(0.76, abs=0.08)


def test_the_table_names_every_feature():
    rng = np.random.default_rng(5)
    real, painted = lesions(rng, 0), lesions(rng, 0)
    lines = realism.table(real, painted, separation(real, painted))
    assert all(any(name in line for line in lines) for name in (*FEATURES, "all together"))
