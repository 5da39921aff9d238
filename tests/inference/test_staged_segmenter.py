"""Liver, then tumour: what the second network is shown, and how both answers become one."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepar.geometry import Geometry, Reorientation
from hepar.inference import Pipeline, SlabSegmenter
from hepar.inference.staged import Blackout, FoundLiver, StagedSegmenter, View, find_liver, place_in
from hepar.inference.two_pass import part_of
from hepar.preprocess import InPlaneGrid, Window
from hepar.volume import Volume

GRID = Geometry((9, 24, 20), np.array([[0, -0.3, 2, 3], [0.2, 2, 0.3, 5], [5, 0, 0, -7], [0, 0, 0, 1.0]]))
GREY = (Window(0, 255),)


def scan() -> Volume:
    """A liver at 100, a tumour at 200 in it, and something as bright outside; 10 everywhere else."""
    values = np.full(GRID.shape, 10, np.int16)
    values[3:7, 6:14, 5:13] = 100
    values[4:6, 8:10, 7:9] = 200
    values[4, 20:22, 2:4] = 200
    return Volume(values, GRID)


def liver_by_grey(batch: np.ndarray) -> np.ndarray:
    """Everything from 50 on, tumour too, is liver as long as it is not alone in its picture's lower end."""
    liver = batch[:, 0] - 50
    liver[:, 17:] = -50
    return np.stack([-liver, liver, np.full_like(liver, -99)], axis=1).astype(np.float32)


def tumour_by_grey(batch: np.ndarray) -> np.ndarray:
    tumour = batch[:, 0] - 150
    return np.stack([-tumour, np.full_like(tumour, -99), tumour], axis=1).astype(np.float32)


def segmenter(predict, prepare=GREY, slab: int = 4) -> SlabSegmenter:
    return SlabSegmenter(
        predict, Pipeline(prepare, InPlaneGrid(pixel_mm=GRID.spacing_mm[1], multiple=1)), "grey", slab=slab
    )


class Seeing:
    """The tumour stage's network; keeps the pictures it is shown."""

    def __init__(self) -> None:
        self.pictures: list[np.ndarray] = []

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        self.pictures.append(batch)
        return tumour_by_grey(batch)


def staged(view: View, joins: str = "inside", tumour=tumour_by_grey) -> StagedSegmenter:
    return StagedSegmenter(segmenter(liver_by_grey), segmenter(tumour, prepare=()), GREY, view, joins)  # type: ignore[arg-type]


VIEWS = [View(*choice) for choice in product((True, False), repeat=3)]


@pytest.mark.parametrize("view", VIEWS, ids=str)
def test_tumours_are_found_inside_the_liver_whatever_the_view(view):
    ct = scan()
    found = staged(view).segment(ct)
    assert found.geometry is ct.geometry
    assert np.array_equal(found.tumour, (ct.values == 200) & found.liver)
    assert found.tumour.sum() == 8
    assert np.array_equal(found.liver, find_liver(segmenter(liver_by_grey), ct).mask)


def test_only_a_stage_that_decides_alone_finds_tumour_beyond_the_liver():
    ct = scan()
    everywhere = View(masked=False, cropped=False, margin_mm=4)
    assert staged(everywhere, "second").segment(ct).tumour.sum() == 12
    assert staged(everywhere, "inside").segment(ct).tumour.sum() == 8
    assert staged(View(), "second").segment(ct).tumour.sum() == 8  # it lies in the dark


def test_a_masked_view_is_dark_beyond_the_margin_and_a_cropped_one_is_small():
    seeing = {name: Seeing() for name in ("masked", "cropped", "whole")}
    staged(View(margin_mm=4.0), tumour=seeing["masked"]).segment(scan())
    staged(View(masked=False, cropped=True, margin_mm=4.0), tumour=seeing["cropped"]).segment(scan())
    staged(View(masked=False, cropped=False, margin_mm=4.0), tumour=seeing["whole"]).segment(scan())
    masked, cropped, whole = (np.concatenate(seeing[name].pictures) for name in seeing)
    assert masked.shape[2:] == whole.shape[2:] == GRID.shape[1:]
    assert cropped.shape[2:] == (12, 12)
    # 8 x 8 pixels of liver, a diamond of two pixels (4 mm) around it.
    assert np.count_nonzero(masked[0]) == 64 + 4 * 16 + 4
    assert np.count_nonzero(whole[0]) == 24 * 20


def test_the_second_channel_is_the_probability_of_liver_in_255ths():
    seeing = Seeing()
    staged(View(masked=False, cropped=True, beside=True), tumour=seeing).segment(scan())
    (first, *_) = seeing.pictures
    assert first.shape[1] == 2
    assert set(np.unique(first[:, 1])) == {0, 255}
    assert np.array_equal(first[1, 1] == 255, first[1, 0] >= 50)


@settings(deadline=None)
@given(st.integers(1, 9))
def test_where_a_slab_ends_changes_nothing(slab):
    for view in (View(), View(cropped=True, beside=True)):
        whole = staged(view)
        pieces = replace(whole, liver=replace(whole.liver, slab=slab), tumour=replace(whole.tumour, slab=slab))
        assert np.array_equal(pieces.segment(scan()).labels, whole.segment(scan()).labels)


def test_a_scan_stored_otherwise_gets_the_same_labels_on_its_own_grid():
    ct = scan()
    turn = Reorientation(ct.geometry, (2, 0, 1), (True, False, True))
    stored = Volume(np.ascontiguousarray(turn.apply(ct.values)), turn.geometry)
    both = staged(View(cropped=True))
    here, there = both.find(ct), both.find(stored)
    assert there.labels.geometry is stored.geometry
    assert np.array_equal(there.labels.labels, turn.apply(here.labels.labels))
    assert np.array_equal(there.tumour_probability, turn.apply(here.tumour_probability))
    assert here.tumour_probability[here.labels.tumour].min() > 127


@pytest.mark.parametrize("joins", ["inside", "second"])
def test_without_a_liver_nothing_is_looked_for(joins):
    seeing = Seeing()
    ct = scan()
    found = staged(View(), joins, seeing).segment(ct.with_values(np.zeros_like(ct.values)))
    assert not found.labels.any()
    assert seeing.pictures == []


def test_a_part_of_a_scan_is_found_by_its_place():
    ct = scan()
    box = (slice(2, 5), slice(3, 20), slice(4, 11))
    assert place_in(ct.geometry, part_of(ct, box).geometry) == box
    liver = np.zeros(ct.values.shape, bool)
    liver[3, 8, 6] = True
    dark = Blackout(liver, ct.geometry, margin_mm=2.0)(part_of(ct, box)).values
    assert np.argwhere(dark).tolist() == [[1, 4, 2], [1, 5, 1], [1, 5, 2], [1, 5, 3], [1, 6, 2]]


def test_a_liver_known_already_is_taken_as_it_is():
    ct = scan()
    mask = np.zeros(ct.values.shape, bool)
    mask[4, 8:10, 7:9] = True
    found = staged(View()).inside(ct, FoundLiver(mask))
    assert np.array_equal(found.labels.liver, mask)
    assert np.array_equal(found.labels.tumour, mask & (ct.values == 200))
