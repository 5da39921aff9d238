"""Gantry tilt: straightened by the right shear, and labels brought back onto the slices as they were taken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from series_files import SeriesFiles, ball_hu

from hepar.errors import BadInput, GeometryMismatch
from hepar.geometry import Geometry
from hepar.io import read
from hepar.io.series import findings as f
from hepar.io.series.diagnosis import examine
from hepar.io.series.reading import SeriesReading, read_series
from hepar.volume import LabelMap

SCAN = SeriesFiles(count=30, gap_mm=2.0, pixel_mm=(1.2, 1.4), size=(60, 56))
ANGLES = [-30.0, -12.5, 3.0, 15.0, 27.5]
OBLIQUE = {"row": (0.96, 0.28, 0.0), "column": (-0.168, 0.576, 0.8)}


def reading_of(folder: Path, scan: SeriesFiles) -> SeriesReading:
    scan.write(folder)
    (one,) = examine(folder).series
    return read_series(one)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b)))


def truth_on(grid: Geometry, scan: SeriesFiles) -> np.ndarray:
    """What lies at every voxel of a grid, from the formula that the slices were made by."""
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1)
    return ball_hu(grid.position_mm(index), scan.middle_mm, scan.radius_mm)


def covered(grid: Geometry, scan: SeriesFiles) -> np.ndarray:
    """Voxels of the straight grid that some slice shows."""
    out = np.zeros(grid.shape, bool)
    for z in range(grid.shape[0]):
        start = np.rint(grid.index_of(scan.position_mm(scan.places[z]))[1:]).astype(int)
        out[z, start[0] + 1 : start[0] + scan.size[0] - 1, start[1] : start[1] + scan.size[1]] = True
    return out


@pytest.mark.parametrize("degrees", ANGLES)
@pytest.mark.parametrize("turn", [{}, OBLIQUE], ids=["axial", "oblique"])
def test_straightened_voxels_show_what_lies_at_their_place(tmp_path, degrees, turn):
    scan = SCAN.but(tilt_degrees=degrees, **turn)
    reading = reading_of(tmp_path, scan)
    (tilt,) = reading.findings
    assert isinstance(tilt, f.GantryTilt) and tilt.degrees == pytest.approx(abs(degrees), abs=0.01)
    ct = reading.volume
    directions = ct.geometry.directions
    assert directions.T @ directions == pytest.approx(np.eye(3), abs=1e-6)
    truth, seen = truth_on(ct.geometry, scan), covered(ct.geometry, scan)
    # Half a pixel's interpolation blurs edges; a wrong or missing shear moves the ball by many pixels.
    assert dice((ct.values > 75) & seen, (truth > 75) & seen) > 0.985
    assert np.mean(np.abs(ct.values.astype(float) - truth)[seen] > 1) < 0.08


def test_the_wrong_shear_would_be_noticed(tmp_path):
    """The twin: the same files believed to lie straight above each other."""
    scan = SCAN.but(tilt_degrees=15)
    ct = reading_of(tmp_path, scan).volume
    stacked = np.stack([scan.hu(k) for k in range(30)])
    affine = ct.geometry.affine.copy()
    affine[:3, 3] = scan.position_mm(0)
    believed = Geometry(stacked.shape, affine)
    assert dice(stacked > 75, truth_on(believed, scan) > 75) < 0.9


@pytest.mark.parametrize("degrees", ANGLES)
def test_labels_come_back_onto_the_original_slices(tmp_path, degrees):
    scan = SCAN.but(tilt_degrees=degrees)
    reading = reading_of(tmp_path, scan)
    labels = LabelMap((reading.volume.values > 75).astype(np.uint8), reading.volume.geometry)
    back = reading.on_slices(labels)
    taken = np.stack([scan.hu(k) for k in range(30)]) > 75
    assert back.shape == taken.shape and back.dtype == np.uint8
    assert dice(back == 1, taken) > 0.985
    # Slice by slice, too: nothing drifts from one end of the stack to the other.
    for k in range(6, 24):
        drawn, seen = np.argwhere(back[k]).mean(axis=0), np.argwhere(taken[k]).mean(axis=0)
        assert np.abs(drawn - seen).max() < 0.6


def test_each_returned_slice_belongs_to_the_file_beside_it(tmp_path):
    shuffled = np.random.default_rng(2).permutation(30).tolist()
    scan = SCAN.but(tilt_degrees=10)
    files = scan.write(tmp_path, order=shuffled)
    (one,) = examine(tmp_path).series
    assert [str(x.file) for x in read_series(one).slices] == [str(file) for file in files]


def test_no_slice_loses_a_row(tmp_path):
    scan = SCAN.but(tilt_degrees=20)
    ct = reading_of(tmp_path, scan).volume
    moved = 29 * 2.0 * np.tan(np.radians(20)) / 1.2
    assert ct.values.shape == (30, 60 + int(np.ceil(moved)), 56)
    assert (ct.values == -1024).any(), "what no slice shows is air"


def test_straight_slices_come_back_bit_for_bit(tmp_path):
    reading = reading_of(tmp_path, SCAN)
    labels = np.random.default_rng(3).integers(0, 3, reading.volume.values.shape).astype(np.uint8)
    assert np.array_equal(reading.on_slices(LabelMap(labels, reading.volume.geometry)), labels)


def test_tilt_and_a_missing_slice_are_repaired_together(tmp_path):
    scan = SCAN.but(tilt_degrees=12, at=tuple(k for k in range(30) if k != 14))
    reading = reading_of(tmp_path, scan)
    assert [type(x) for x in reading.findings] == [f.MissingSlices, f.GantryTilt]
    ct = reading.volume
    labels = LabelMap((ct.values > 75).astype(np.uint8), ct.geometry)
    assert ct.values.shape[0] == 30
    assert dice(reading.on_slices(labels) == 1, np.stack([scan.hu(k) for k in scan.places]) > 75) > 0.985
    assert dice(ct.values[14] > 75, truth_on(ct.geometry, scan)[14] > 75) > 0.97


def test_labels_of_another_grid_are_refused(tmp_path):
    reading = reading_of(tmp_path, SCAN)
    other = Geometry.from_spacing(reading.volume.geometry.shape, (2, 1, 1))
    with pytest.raises(GeometryMismatch, match="pass labels of this scan"):
        reading.on_slices(LabelMap(np.zeros(other.shape, np.uint8), other))


def test_more_tilt_than_a_gantry_has_is_an_error(tmp_path):
    SCAN.but(tilt_degrees=50).write(tmp_path)
    with pytest.raises(BadInput, match=r"gantry tilt of 50.0 degrees.*a gantry tilts by 30 at most"):
        read(tmp_path)


def test_a_tilt_that_only_the_tag_names_is_noted(tmp_path):
    SCAN.but(tags={"GantryDetectorTilt": -15}).write(tmp_path)
    (note,) = read(tmp_path).notes
    assert "names a gantry tilt of -15.0 degrees but the slices lie in a straight stack" in note


def test_slices_that_jump_sideways_are_no_tilt(tmp_path):
    def jump(k, data):
        if k == 11:
            data.ImagePositionPatient = [data.ImagePositionPatient[0] + 8, *data.ImagePositionPatient[1:]]

    SCAN.but(edit=jump).write(tmp_path)
    with pytest.raises(BadInput, match="off one straight line"):
        read(tmp_path)
