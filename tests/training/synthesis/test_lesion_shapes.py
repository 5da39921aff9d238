"""Shapes in 3D and their sections."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hepar.geometry import Geometry
from hepar.training.synthesis import invented_shapes, shapes_from
from hepar.training.synthesis.sections import Grid, any_turn, cut, smooth_noise
from hepar.volume import LabelMap


def map_with_balls(radii_mm: tuple[float, ...], spacing=(2.5, 0.8, 0.8)) -> LabelMap:
    """Balls of tumour side by side along x, 40 mm apart."""
    shape = (24, 50, 50 * len(radii_mm))
    z, y, x = (axis * mm for axis, mm in zip(np.indices(shape), spacing, strict=True))
    labels = np.ones(shape, np.uint8)
    for k, radius in enumerate(radii_mm):
        labels[(z - 30) ** 2 + (y - 20) ** 2 + (x - 20 - 40 * k) ** 2 < radius**2] = 2
    affine = np.zeros((4, 4))
    affine[[2, 1, 0, 3], [0, 1, 2, 3]] = (*spacing, 1.0)
    return LabelMap(labels, Geometry(shape, affine))


def test_a_real_ball_becomes_a_ball_of_radius_one_whatever_the_spacing():
    library = shapes_from([map_with_balls((15.0,))])
    assert len(library) == 1
    field = library.fields[0]
    axis = np.linspace(-2.2, 2.2, 40)
    distance = np.sqrt(sum(g**2 for g in np.meshgrid(axis, axis, axis, indexing="ij")))
    near = distance < 1.6
    assert np.abs(field - (1 - distance))[near].max() < 0.25
    assert abs(np.mean((field - (1 - distance))[near])) < 0.06


def test_each_tumour_is_a_shape_largest_first_and_specks_are_none():
    maps = [map_with_balls((8.0, 15.0, 1.5))]
    assert len(shapes_from(maps)) == 2
    assert len(shapes_from(maps, most=1)) == 1


def test_no_tumour_is_an_empty_library():
    assert len(shapes_from([map_with_balls((0.0,))])) == 0


@pytest.mark.parametrize("height", [0.0, 6.0, 9.0])
def test_sections_of_a_ball_shrink_as_a_ball_does(height):
    field = shapes_from([map_with_balls((15.0,))]).fields[0]
    grid = Grid(1.0, (height,), (64, 64))
    box = grid.box(32, 32, 25)
    down, right = grid.around(32, 32, box)
    turn = any_turn(np.random.default_rng(3))
    depth = cut(field, 12.0, turn, (np.array([height], np.float32), down, right))
    area = (depth[0] > 0).sum()
    assert area == pytest.approx(math.pi * (144 - height**2), rel=0.15)


def test_turns_keep_lengths():
    turn = any_turn(np.random.default_rng(0))
    assert np.allclose(turn @ turn.T, np.eye(3))


def test_invented_shapes_differ_and_repeat_by_seed():
    first = invented_shapes(seed=3, count=4)
    invented_shapes.cache_clear()
    assert np.array_equal(first.fields, invented_shapes(seed=3, count=4).fields)
    assert not np.array_equal(first.fields[0], first.fields[1])


def test_noise_runs_on_between_near_slices_and_not_between_far_ones():
    grid = Grid(1.0, (0.0, 1.0, 8.0), (96, 96))
    box = (slice(0, 96), slice(0, 96))
    noise = smooth_noise(grid, box, 2.5, np.random.default_rng(1))
    near, far = (np.corrcoef(noise[0].ravel(), noise[k].ravel())[0, 1] for k in (1, 2))
    assert near > 0.9
    assert abs(far) < 0.4
