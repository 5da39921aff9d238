"""Patient 7's own DICOM with defects planted in it, and the series whose SOP classes were emptied."""

from __future__ import annotations

import shutil
import zipfile
from copy import deepcopy
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest

from hepar.errors import BadInput
from hepar.geometry import Geometry
from hepar.io import read, read_labels
from hepar.io.series import findings as f
from hepar.io.series.diagnosis import Diagnosed, examine
from hepar.io.series.phase import guess_phase, phase_of_liver
from hepar.io.series.picker import choose
from hepar.io.series.reading import SeriesReading, read_series
from hepar.io.series.slices import Slice
from hepar.volume import LabelMap

ROWS, COLUMNS, TOP, LEFT = 200, 200, 130, 60
Slices = list[pydicom.Dataset]


@pytest.fixture(scope="module")
def contiguous(shared_data: Path) -> Slices:
    """A hundred whole slices in the middle, sorted, 1.6 mm apart."""
    with zipfile.ZipFile(shared_data / "dicom/ircad07_PATIENT_DICOM.zip") as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
        slices = [pydicom.dcmread(BytesIO(archive.read(name))) for name in names]
    slices.sort(key=lambda one: float(one.ImagePositionPatient[2]))
    return slices[20:120]


@pytest.fixture(scope="module")
def patient7(contiguous: Slices) -> Slices:
    """Every second of them, 3.2 mm apart."""
    return contiguous[::2]


@pytest.fixture(scope="module")
def truth(shared_data: Path) -> LabelMap:
    return read_labels(shared_data / "ct/ircad07_label.nii.gz")


def plant(slices: Slices, folder: Path, down: int = 0) -> Path:
    """A window of each slice, `down` rows lower than the last: a gantry tilted by whole pixels shows just that."""
    folder.mkdir(exist_ok=True)
    for k, one in enumerate(slices):
        data, top = deepcopy(one), TOP + down * (k - 25)
        window = one.pixel_array[top : top + ROWS, LEFT : LEFT + COLUMNS]
        x, y, z = map(float, one.ImagePositionPatient)
        pixel = float(one.PixelSpacing[0])
        data.ImagePositionPatient = [round(x + LEFT * pixel, 6), round(y + top * pixel, 6), z]
        data.Rows, data.Columns, data.PixelData = ROWS, COLUMNS, np.ascontiguousarray(window).tobytes()
        data.save_as(folder / f"s{k * 37 % 101:03d}", enforce_file_format=True)
    return folder


def only(folder: Path) -> Diagnosed:
    (one,) = examine(folder).series
    return one


def kinds(reading: SeriesReading) -> list[type]:
    return [type(one) for one in reading.findings]


def windows(slices: Slices) -> np.ndarray:
    return np.stack([one.pixel_array[TOP : TOP + ROWS, LEFT : LEFT + COLUMNS] for one in slices])


@pytest.fixture(scope="module")
def sound(patient7, tmp_path_factory) -> Path:
    return plant(patient7, tmp_path_factory.mktemp("sound") / "scan")


@pytest.fixture
def copy(sound, tmp_path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "copy"))


def test_every_second_slice_gone_is_told_by_the_thickness(sound, patient7):
    reading = read_series(only(sound))
    gaps, tags = reading.findings
    assert isinstance(gaps, f.GapsBetweenSlices) and gaps.distance_mm == pytest.approx(3.2)
    assert tags == f.MissingTags(("FrameOfReferenceUID",))
    assert np.array_equal(reading.volume.values, windows(patient7))
    assert reading.volume.geometry.spacing_mm == pytest.approx((3.2, 0.782, 0.782), abs=1e-3)


def test_a_tilted_scan_of_a_patient_is_straightened_and_labels_overlay_its_slices(tmp_path, patient7, truth):
    reading = read_series(only(plant(patient7, tmp_path / "tilted", down=1)))
    assert f.GantryTilt in kinds(reading)
    angle = next(one.degrees for one in reading.findings if isinstance(one, f.GantryTilt))
    assert angle == pytest.approx(np.degrees(np.arctan(0.782 / 3.2)), abs=0.05)
    straight = reading.volume
    untilted = np.stack([one.pixel_array[TOP - 25 : TOP - 25 + ROWS + 49, LEFT : LEFT + COLUMNS] for one in patient7])
    shown = straight.values != -1024
    assert shown.mean() > 0.75 and np.array_equal(straight.values[shown], untilted[shown])
    # The reference labels, brought onto the straight grid, come back onto the slices as these were taken.
    labels = truth.onto(straight.geometry)
    back = reading.on_slices(labels)
    taken = np.stack([truth.onto(own_grid(one)).labels[0] for one in reading.slices[10:40:10]])
    assert (taken > 0).sum() > 5000
    assert np.array_equal(back[10:40:10], taken)


def own_grid(one: Slice) -> Geometry:
    """Where the file says that its slice lies."""
    affine = np.eye(4)
    affine[:3, 0] = (0, 0, 3.2)
    affine[:3, 1], affine[:3, 2] = one.orientation[3:] * 0.782, one.orientation[:3] * 0.782
    affine[:3, 3] = one.position_mm
    return Geometry((1, ROWS, COLUMNS), affine)


def test_a_hole_in_a_patient_is_refused(copy):
    for k in (20, 21):
        (copy / f"s{k * 37 % 101:03d}").unlink()
    with pytest.raises(BadInput, match="2 missing between others"):
        read(copy)


def test_one_missing_slice_is_made_up_between_its_neighbours(tmp_path, contiguous):
    part = contiguous[30:42]
    made = read_series(only(plant(part[:6] + part[7:], tmp_path / "holed")))
    assert kinds(made) == [f.MissingTags, f.MissingSlices] or kinds(made) == [f.MissingSlices, f.MissingTags]
    real = windows(part)
    assert np.array_equal(np.delete(made.volume.values, 6, axis=0), np.delete(real, 6, axis=0))
    made_error, neighbour_error = (
        np.abs(one.astype(float) - real[6]).mean() for one in (made.volume.values[6], real[5])
    )
    assert made_error < 0.8 * neighbour_error


def test_uneven_places_are_noted(copy):
    file = copy / f"s{30 * 37 % 101:03d}"
    data = pydicom.dcmread(file)
    x, y, z = map(float, data.ImagePositionPatient)
    data.ImagePositionPatient = [x, y, z + 0.6]
    data.save_as(file)
    reading = read_series(only(copy))
    assert f.UnevenSpacing in kinds(reading)
    assert any("uneven spacing: gaps of 2.600 to 3.800 mm" in note for note in reading.volume.notes)


def test_copies_in_a_patient_are_read_once(copy, sound):
    shutil.copyfile(copy / "s000", copy / "again")
    reading = read_series(only(copy))
    assert reading.findings[0] == f.DuplicateSlices(1)
    assert np.array_equal(reading.volume.values, read(sound).values)


def test_two_phases_of_a_patient_are_split(copy, patient7):
    for place, file in enumerate(sorted(copy.iterdir())):
        data = pydicom.dcmread(file)
        data.AcquisitionNumber = 2
        data.SOPInstanceUID = f"1.2.3.{place}"
        data.PixelData = (data.pixel_array - 30).astype(np.int16).tobytes()
        data.save_as(copy / f"native{place}")
    first, second = examine(copy).series
    assert "split by acquisition number: this is part 1 of 2" in str(first.findings[0])
    apart = read_series(second).volume.values - read_series(first).volume.values
    assert set(np.unique(apart)) == {30} or set(np.unique(apart)) == {-30}


def test_a_lost_rescale_of_a_patient_is_noticed(tmp_path, patient7):
    shifted = []
    for one in patient7:
        data = deepcopy(one)
        data.PixelData = np.clip(one.pixel_array + 1024, 0, 4095).astype(np.int16).tobytes()
        shifted.append(data)
    with pytest.raises(BadInput, match="air lies near 0 and soft tissue near 1024"):
        read(plant(shifted, tmp_path / "claimed"))
    for data in shifted:
        del data.RescaleSlope, data.RescaleIntercept
    reading = read_series(only(plant(shifted, tmp_path / "lost")))
    assert f.RescaleMade(-1024) in reading.findings
    assert reading.volume.values.max() == min(3071, windows(patient7).max())


def test_the_liver_of_a_portal_venous_scan_says_so(sound, truth):
    ct = read(sound)
    guess = phase_of_liver(ct, truth.onto(ct.geometry))
    assert guess.phase == "portal venous" and "liver has 1" in guess.why
    assert guess_phase(only(sound)).phase == "unknown"


def test_the_series_with_empty_sop_classes_is_read_with_a_note(shared_data):
    folder = shared_data / "dicom/abdomen_jpeg2000"
    one = only(folder)
    assert [type(x) for x in one.findings] == [f.Compressed, f.EmptySopClass, f.MissingTags]
    assert one.findings[0] == f.Compressed("JPEG 2000 Lossless", lossy=False, decodable=True)
    assert "SOPInstanceUID" in str(one.findings[2])
    choice = choose([one])
    assert str(choice.phase) == "portal venous (96 s after the injection began)"
    assert "soft-tissue kernel" in choice.reasons and "though only 40 mm high" in choice.reasons
