"""Tiles of a liver and tumours kept where a detector sees one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepar.errors import BadInput
from hepar.geometry import Geometry
from hepar.inference import Finding
from hepar.inference.staged import FoundLiver, StagedSegmenter, View
from hepar.inference.tiles import DetectedSegmenter, Detector, Tiles
from hepar.preprocess import Window
from hepar.volume import LabelMap, Volume

GRID = Geometry.from_spacing((3, 40, 40), (5, 1, 1))
TILES = Tiles(side=5, margin=2, padding=3, least_liver=12)


def liver() -> np.ndarray:
    mask = np.zeros(GRID.shape, dtype=bool)
    mask[1, 10:25, 12:27] = True
    return mask


def test_published_tiles_are_50_pixels_in_80():
    assert (Tiles().side, Tiles().shown, Tiles().padding, Tiles().least_liver) == (50, 80, 25, 625)


def test_tiles_lie_on_the_padded_box_where_enough_is_liver():
    ((z, corners),) = TILES.corners(liver())
    assert z == 1
    # The box begins 3 pixels before the liver; the first tiles hold 2 of its rows or columns, too few.
    assert {y for y, _ in corners} == {12, 17, 22}
    assert {x for _, x in corners} == {14, 19, 24}
    assert (22, 24) not in corners  # 3 x 3 pixels of liver
    assert all(np.count_nonzero(TILES.inner(liver()[1], corner)) > 12 for corner in corners)


def test_without_liver_there_are_no_tiles():
    assert list(TILES.corners(np.zeros(GRID.shape, dtype=bool))) == []
    assert list(Tiles(5, 2, 3, least_liver=25).corners(liver())) == []


@settings(max_examples=50, deadline=None)
@given(st.integers(-3, 44), st.integers(-3, 44))
def test_what_is_shown_of_a_tile_is_the_picture_around_it_and_nothing_beyond(y, x):
    image = np.random.default_rng(0).integers(1, 255, (40, 40)).astype(np.uint8)
    shown = TILES.show(image, (y, x))
    assert shown.shape == (9, 9)
    padded = np.pad(image, 20)
    assert np.array_equal(shown, padded[y + 18 : y + 27, x + 18 : x + 27])
    lit = np.zeros(image.shape, dtype=bool)
    TILES.light(lit, (y, x))
    assert np.count_nonzero(lit) == np.count_nonzero(shown)
    assert np.array_equal(image[lit], shown[shown > 0])


def by_mean(batch: np.ndarray) -> np.ndarray:
    """A tile brighter than 120 in its mean is positive."""
    return batch.mean(axis=(1, 2, 3))[:, None] - 120


class Stage:
    """Everything is tumour, everywhere."""

    def __init__(self) -> None:
        self.name = "stage"


def bright_left() -> Volume:
    values = np.full(GRID.shape, 100, np.float32)
    values[:, :, :19] = 160
    return Volume(values, GRID)


def test_only_what_is_shown_of_positive_tiles_is_lit():
    # Positive from a score of -0.7 on: sigmoid(-0.708) is 0.33.
    lit = Detector(by_mean, (Window(0, 255),), TILES).lit(bright_left(), liver())
    assert lit[1].any()
    assert not lit[0].any()
    rows, columns = (np.flatnonzero(lit[1].any(axis=axis)) for axis in (1, 0))
    assert (rows.min(), rows.max()) == (10, 28)
    assert (columns.min(), columns.max()) == (12, 20)


@pytest.mark.parametrize(("score", "seen"), [(-0.72, False), (-0.70, True)])
def test_a_third_is_enough(score, seen):
    detector = Detector(lambda batch: np.full((len(batch), 1), score), (), TILES)
    assert detector.lit(bright_left(), liver()).any() == seen


def test_tumours_stay_where_the_detector_sees_one_and_become_liver_elsewhere(monkeypatch):
    labels = np.where(liver(), np.uint8(2), np.uint8(0))
    probability = np.where(liver(), np.uint8(200), np.uint8(0))
    monkeypatch.setattr(StagedSegmenter, "inside", lambda *_: Finding(LabelMap(labels, GRID), probability))
    detector = Detector(by_mean, (Window(0, 255),), TILES)
    stages = (None, None, (), View(), "inside")
    found = DetectedSegmenter(*stages, detector=detector).inside(bright_left(), FoundLiver(liver()))
    assert np.array_equal(found.labels.liver, liver())
    assert found.labels.tumour.any()
    columns = np.flatnonzero(found.labels.tumour.any(axis=(0, 1)))
    assert columns.max() == 20
    assert not found.tumour_probability[:, :, 21:].any()
    everything = DetectedSegmenter(*stages, detector=None).inside(bright_left(), FoundLiver(liver()))
    assert np.array_equal(everything.labels.tumour, liver())


def test_impossible_tiles_are_refused():
    with pytest.raises(BadInput, match="nothing below 0"):
        Tiles(side=0)
