"""A liver that anyone can follow from scan to scan: known at every point of the patient, moved by a known motion."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hepar.geometry import Geometry
from hepar.report.comparison.registration import Motion
from hepar.report.comparison.time_point import TimePoint
from hepar.volume import LIVER, TUMOUR, LabelMap, Volume

SHAPE, SPACING_MM = (36, 78, 92), (4.0, 2.6, 2.5)
ORIGIN_MM = (-72.0, -100.0, -115.0)
Ball = tuple[tuple[float, float, float], float]
# Middle in LPS mm of the patient at rest, and radius.
A, B, C, D = ((-50, 0, 10), 13), ((-30, -30, -20), 9), ((30, -20, 20), 8), ((-60, 30, -15), 7)


def about(axis: Sequence[float], degrees: float) -> np.ndarray:
    """Rodrigues' rotation."""
    x, y, z = np.array(axis) / np.linalg.norm(axis)
    cross = np.array([(0, -z, y), (z, 0, -x), (-y, x, 0)])
    angle = np.radians(degrees)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


STILL = Motion(np.eye(3), np.zeros(3))
MOVED = Motion(about((0.3, -0.4, 0.85), 9), np.array([11.0, -8.0, 14.0]))


def ellipsoid(places: np.ndarray, middle, radii) -> np.ndarray:
    return (((places - np.array(middle)) / np.array(radii)) ** 2).sum(axis=-1) <= 1


def scan(
    balls: Sequence[Ball], motion: Motion = STILL, name: str = "a.nii", grey: bool = True, grid: Geometry | None = None
) -> TimePoint:
    """The patient after `motion`: right and left lobe, vessels, spine, and a tumour for each ball."""
    grid = grid or Geometry.from_spacing(SHAPE, SPACING_MM, ORIGIN_MM)
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1)
    at = motion.back(grid.position_mm(index).reshape(-1, 3)).reshape(index.shape)
    liver = ellipsoid(at, (-40, 0, 0), (48, 58, 50)) | ellipsoid(at, (25, -18, 15), (48, 30, 24))
    labels = np.where(liver, LIVER, 0).astype(np.uint8)
    for middle, radius in balls:
        labels[ellipsoid(at, middle, (radius,) * 3)] = TUMOUR
    if not grey:
        return TimePoint(name, LabelMap(labels, grid))
    vessel = (np.hypot(at[..., 1] + 6, at[..., 2] - 8) < 6) | (np.hypot(at[..., 0] + 45, at[..., 1] - 18) < 5)
    values = np.where(liver, np.where(vessel, 170, 110), 30)
    values = np.where(ellipsoid(at, (0, 62, 0), (18, 18, 400)), 400, values)
    values = np.where(labels == TUMOUR, 60, values)
    noise = np.random.default_rng(len(balls)).normal(0, 10, values.shape)
    return TimePoint(name, LabelMap(labels, grid), Volume((values + noise).astype(np.int16), grid))
