"""Labels lie where the scan lies, whatever its axes, its size and the slab."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from hepar.geometry import Geometry, Reorientation
from hepar.inference import Pipeline, SlabSegmenter, segment
from hepar.io import write_volume
from hepar.postprocess import KeepLargestLiver
from hepar.preprocess import InPlaneGrid, Window
from hepar.volume import LIVER, TUMOUR, LabelMap, Volume


def threshold(batch: np.ndarray) -> np.ndarray:
    """Liver from 120, tumour from 200."""
    grey = batch[:, 0]
    return np.stack([np.zeros_like(grey), grey - 119.5, 2 * grey - 319.0], axis=1).astype(np.float32)


def segmenter(grid: InPlaneGrid | None = None, **changes: object) -> SlabSegmenter:
    pipeline = Pipeline((Window(0, 255),), grid or InPlaneGrid(pixel_mm=1.0))
    return SlabSegmenter(**{"predict": threshold, "pipeline": pipeline, "name": "threshold"} | changes)


ALL_48 = [(axes, flips) for axes in permutations(range(3)) for flips in product((False, True), repeat=3)]


@pytest.mark.parametrize(("axes", "flips"), ALL_48)
def test_labels_stay_in_place_for_every_axis_order_and_direction(small_scan, axes, flips):
    ct, truth = small_scan
    turn = Reorientation(ct.geometry, axes, flips)
    stored = Volume(turn.apply(ct.values), turn.geometry)
    found = segmenter().segment(stored)
    assert found.geometry is stored.geometry
    assert np.array_equal(found.labels, turn.apply(truth.labels))


@pytest.mark.parametrize(("axes", "flips"), ALL_48[::5])
def test_a_blob_on_the_patients_right_stays_on_the_right(axes, flips):
    # x grows to the patient's left: the small x is the right side.
    grid = Geometry.from_spacing((4, 16, 20), (5, 2, 2), (0, -16, -20))
    values = np.random.default_rng(1).integers(-50, 50, grid.shape).astype(np.int16)
    values[1, 5:9, 2:5] = 150
    turn = Reorientation(grid, axes, flips)
    found = segmenter(InPlaneGrid(pixel_mm=2.0)).segment(Volume(turn.apply(values), turn.geometry))
    places = found.geometry.position_mm(np.argwhere(found.liver))
    assert len(places) == 12
    assert places[:, 0].max() < -10  # right of the middle
    assert places[:, 2] == pytest.approx(5)


def test_oblique_anisotropic_grids_are_kept_exactly(oblique_grid):
    values = np.random.default_rng(2).integers(-100, 250, oblique_grid.shape).astype(np.int16)
    values[2:7, 3, 5:10] = 250
    found = segmenter(InPlaneGrid(pixel_mm=1.3)).segment(Volume(values, oblique_grid))
    assert found.geometry.same_grid(oblique_grid)
    assert np.array_equal(found.geometry.affine, oblique_grid.affine)
    assert found.labels.flags["C_CONTIGUOUS"]
    assert set(np.unique(found.labels)) == {0, LIVER, TUMOUR}


def test_only_the_nearest_axial_view_decides_not_the_tilt(oblique_grid):
    # In plane resampled along the tilted slices: without resampling the tilt changes no label.
    values = np.random.default_rng(2).integers(-100, 250, oblique_grid.shape).astype(np.int16)
    same_pixels = InPlaneGrid(matrix=12)
    straight = Geometry.from_spacing((7, 10, 12), (3.0, 0.8, 0.7))
    turned = np.flip(values.transpose(1, 0, 2), axis=0)
    tilted = segmenter(same_pixels).segment(Volume(values, oblique_grid)).axial()
    plain = segmenter(same_pixels).segment(Volume(turned, straight))
    assert np.array_equal(tilted.labels, plain.labels)
    mirrored = segmenter(same_pixels).segment(Volume(turned[..., ::-1], straight))
    assert not np.array_equal(tilted.labels, mirrored.labels)


@pytest.mark.parametrize("slab", [1, 2, 4, 5, 6, 7, 100])
def test_the_slab_size_changes_no_label(small_scan, slab):
    ct, truth = small_scan
    assert np.array_equal(segmenter(slab=slab).segment(ct).labels, truth.labels)


@pytest.mark.parametrize("slab", [1, 8])
def test_a_single_slice_is_a_volume(slab):
    grid = Geometry.from_spacing((1, 20, 24), (5, 1, 1))
    values = np.where(np.indices(grid.shape)[2] < 7, 150, -30).astype(np.int16)
    found = segmenter(slab=slab).segment(Volume(values, grid))
    assert np.array_equal(found.labels, (values == 150).astype(np.uint8))


def test_the_network_never_sees_more_slices_than_a_slab_and_always_the_same_shape(small_scan):
    ct, _ = small_scan
    shapes = []

    def spy(batch):
        shapes.append(batch.shape)
        assert batch.dtype == np.float32
        return threshold(batch)

    progress = []
    segmenter(predict=spy, slab=4).segment(ct, lambda done, count: progress.append((done, count)))
    assert shapes == [(4, 1, 64, 64)] * 2
    assert progress == [(4, 6), (6, 6)]


def test_what_the_padding_shows_is_not_in_the_labels():
    # Bright padding of the last slab and around the slice would be liver if it leaked.
    grid = Geometry.from_spacing((3, 20, 24), (5, 1, 1))
    ct = Volume(np.full(grid.shape, -30, np.int16), grid)
    everything = segmenter(predict=lambda batch: threshold(np.where(batch == 0, 150, batch).astype(np.float32)))
    assert everything.segment(ct).liver.all()
    nothing = segmenter(
        predict=lambda batch: threshold(
            np.pad(batch[..., :20, :24], ((0, 0), (0, 0), (0, 12), (0, 8)), constant_values=150)
        )
    )
    assert not nothing.segment(ct).liver.any()


def test_steps_run_before_and_cleaning_after_the_network(small_scan):
    ct, truth = small_scan
    values = ct.values.copy()
    values[0, 0, 0] = 150
    stray = Volume(values, ct.geometry)
    pipeline = segmenter().pipeline
    cleaned = segmenter(pipeline=Pipeline(pipeline.prepare, pipeline.grid, (KeepLargestLiver(),)))
    assert segmenter().segment(stray).labels[0, 0, 0] == LIVER
    assert np.array_equal(cleaned.segment(stray).labels, truth.labels)
    darker = segmenter(pipeline=Pipeline((Window(-255, 255),), pipeline.grid))
    assert darker.segment(ct).tumour.sum() > truth.tumour.sum()


def test_coarser_network_pixels_still_find_the_place(small_scan):
    ct, truth = small_scan

    def halfway(batch):
        return np.concatenate([75 - batch, batch - 75, np.full_like(batch, -99)], axis=1)

    found = segmenter(InPlaneGrid(pixel_mm=2.5), predict=halfway).segment(ct)
    both = (found.liver & truth.liver).sum()
    assert 2 * both / (found.liver.sum() + truth.liver.sum()) > 0.85
    centres = [m.geometry.position_mm(np.argwhere(m.liver)).mean(axis=0) for m in (found, truth)]
    assert centres[0] == pytest.approx(centres[1], abs=0.5)


def test_the_scan_is_not_changed(small_scan):
    ct, _ = small_scan
    before = ct.values.copy()
    segmenter().segment(ct)
    assert np.array_equal(ct.values, before)


def test_one_call_segments_a_file_or_a_volume(tmp_path, threshold_model, small_scan):
    ct, truth = small_scan
    write_volume(ct, tmp_path / "ct.nii.gz")
    from_file = segment(tmp_path / "ct.nii.gz", threshold_model)
    from_text = segment(str(tmp_path / "ct.nii.gz"), str(threshold_model))
    from_volume = segment(ct, threshold_model)
    for found in (from_file, from_text, from_volume):
        assert isinstance(found, LabelMap)
        assert np.array_equal(found.labels, truth.labels)
    assert from_volume.geometry is ct.geometry
    assert from_file.geometry.same_grid(ct.geometry)
