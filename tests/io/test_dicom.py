"""A DICOM series: sorted by where slices lie, measured from positions; strict for data sets."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, RLELossless

from hepar.errors import BadInput
from hepar.io import find_scans, read, read_labels, write_volume
from hepar.io.dicom import read_stored
from hepar.io.dicom_series import find_series
from hepar.volume import Volume


def zipped(folder: Path, target: Path) -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            archive.write(path, path.relative_to(folder))
    return target


def read_strictly(folder: Path) -> np.ndarray:
    """As data sets read, whose masks lie on the slices."""
    (only,) = find_series(folder)
    return read_stored(only).values


def test_slices_are_sorted_and_rescaled(tmp_path, series):
    series.write(tmp_path / "scan")
    ct = read(tmp_path / "scan")
    assert ct.values.dtype == np.int16
    assert np.array_equal(ct.values, series.stored.astype(int) - 1024)
    assert ct.geometry.spacing_mm == pytest.approx((2.5, 0.7, 0.9))
    assert ct.geometry.position_mm((2, 3, 4)) == pytest.approx((-100 + 4 * 0.9, -120.5 + 3 * 0.7, 305))


def test_folder_and_zip_give_the_same_scan(tmp_path, series):
    series.write(tmp_path / "scan" / "deeper")
    packed = read(zipped(tmp_path / "scan", tmp_path / "scan.zip"))
    plain = read(tmp_path / "scan")
    assert np.array_equal(packed.values, plain.values)
    assert packed.geometry.same_grid(plain.geometry)


ORIENTATIONS = {
    "head first": ((1, 0, 0, 0, 1, 0), (0, 0, 2.5)),
    "written downwards": ((1, 0, 0, 0, 1, 0), (0, 0, -2.5)),
    "feet first": ((-1, 0, 0, 0, 1, 0), (0, 0, 2.5)),
    "prone": ((-1, 0, 0, 0, -1, 0), (0, 0, 2.5)),
    "coronal": ((1, 0, 0, 0, 0, -1), (0, 2.5, 0)),
    "sagittal": ((0, 1, 0, 0, 0, -1), (2.5, 0, 0)),
    "oblique": ((0.96, 0.28, 0, -0.168, 0.576, 0.8), (0.56, -1.92, 1.5)),
    "rounded": ((1, 0, 0, 0, 1, 0), (0, 0.0174, 2.5)),  # 0.4 degrees
}


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_every_voxel_lies_where_its_file_says(tmp_path, series, name):
    orientation, step = ORIENTATIONS[name]
    tilted = series.but(orientation=orientation, step_mm=step)
    tilted.write(tmp_path)
    ct = read(tmp_path)
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    for k, r, c in [(0, 0, 0), (5, 6, 8), (2, 1, 7)]:
        place = np.array(tilted.origin_mm) + k * np.array(step) + c * 0.9 * row + r * 0.7 * column
        index = ct.geometry.index_of(place)
        assert index == pytest.approx(np.rint(index), abs=1e-4)
        assert ct.values[tuple(np.rint(index).astype(int))] == int(series.stored[k, r, c]) - 1024
    z_axis = ct.geometry.directions[:, 0]
    assert z_axis @ np.cross(row, column) > 0


@pytest.mark.parametrize("name", ["head first", "oblique", "coronal"])
def test_a_data_set_with_gantry_tilt_is_refused_with_its_angle(tmp_path, series, name):
    orientation, step = ORIENTATIONS[name]
    along_columns = np.array(orientation[3:])
    tilted = np.array(step) + 2.5 * np.tan(np.radians(13.5)) * along_columns
    series.but(orientation=orientation, step_mm=tuple(tilted)).write(tmp_path)
    with pytest.raises(BadInput, match=r"gantry tilt.* 13.5 degrees .*expected up to 0.5.*Resample"):
        read_strictly(tmp_path)


def test_tilt_beyond_rounding_is_tilt(tmp_path, series):
    series.but(step_mm=(0.0262, 0, 2.5)).write(tmp_path)
    with pytest.raises(BadInput, match=r"gantry tilt.* 0.6 degrees"):
        read_strictly(tmp_path)
    assert "gantry tilt of 0.6 degrees" in read(tmp_path).notes[0]


def test_independent_geometry_agrees(tmp_path, series):
    """ITK's own series reader, where its even spacing is right."""
    orientation, step = ORIENTATIONS["oblique"]
    series.but(orientation=orientation, step_mm=step).write(tmp_path)
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path)))
    image, ct = reader.Execute(), read(tmp_path)
    for index in [(0, 0, 0), (3, 2, 5)]:
        place = ct.geometry.position_mm(index)
        there = image.TransformPhysicalPointToIndex(place.tolist())
        assert image.GetPixel(*there) == ct.values[index]


def test_a_rescale_with_fractions_gives_float32(tmp_path, series):
    series.but(slope=0.5, intercept=-100.25).write(tmp_path)
    ct = read(tmp_path)
    assert ct.values.dtype == np.float32
    assert ct.values == pytest.approx(series.stored * 0.5 - 100.25)


def test_hounsfield_units_beyond_int16_give_float32(tmp_path, series):
    stored = series.stored.copy()
    stored[4, 0, 0] = 65000
    series.but(stored=stored).write(tmp_path)
    ct = read(tmp_path)
    assert ct.values.dtype == np.float32
    assert np.array_equal(ct.values, stored - np.float32(1024))


def test_signed_pixels_are_read(tmp_path, series):
    stored = (series.stored.astype(int) - 1500).astype(np.int16)
    series.but(stored=stored, intercept=0).write(tmp_path)
    assert np.array_equal(read(tmp_path).values, stored)


@pytest.mark.parametrize("orientation", [(1, 0, 0, 0, 1, 0), (-1, 0, 0, 0, 1, 0)])
@pytest.mark.parametrize("gone", [1, 4])
def test_a_missing_slice_of_a_data_set_is_an_error(tmp_path, series, gone, orientation):
    series.but(orientation=orientation).write(tmp_path, leave_out=(gone,))
    with pytest.raises(BadInput, match=r"5 slices with gaps of 2.500 to 5.000 mm; expected 2.500 .*1 missing"):
        read_strictly(tmp_path)


def test_a_missing_end_slice_is_a_shorter_scan(tmp_path, series):
    series.write(tmp_path, leave_out=(0,))
    assert np.array_equal(read(tmp_path).values, series.stored[1:].astype(int) - 1024)


def test_a_doubled_slice_of_a_data_set_is_an_error(tmp_path, series):
    first, *_ = series.write(tmp_path)
    (tmp_path / "copy").write_bytes(first.read_bytes())
    with pytest.raises(BadInput, match="7 slices at 6 positions: 1 lie where another lies"):
        read_strictly(tmp_path)


def test_slightly_uneven_positions_are_rounding_and_more_is_none(tmp_path, series):
    for name, shift in (("rounding", 0.008), ("uneven", 0.2)):
        file = series.write(tmp_path / name)[2]
        data = pydicom.dcmread(file)
        data.ImagePositionPatient = [*data.ImagePositionPatient[:2], float(data.ImagePositionPatient[2]) + shift]
        data.save_as(file)
    assert read(tmp_path / "rounding").geometry.spacing_mm[0] == pytest.approx(2.5)
    assert read(tmp_path / "rounding").notes == ()
    assert read(tmp_path / "uneven").notes[0].startswith("uneven spacing: gaps of 2.300 to 2.700 mm; resampled")
    with pytest.raises(BadInput, match=r"gaps of 2.300 to 2.700 mm; expected 2.500"):
        read_strictly(tmp_path / "uneven")


def test_slices_off_the_line_and_unequal_pixels_are_errors(tmp_path, series):
    for name, tag, value in (
        ("astray", "ImagePositionPatient", [-90, -120.5, 305]),
        ("pixels", "PixelSpacing", [0.7, 0.8]),
    ):
        file = series.write(tmp_path / name)[2]
        data = pydicom.dcmread(file)
        setattr(data, tag, value)
        data.save_as(file)
    with pytest.raises(BadInput, match="off one straight line"):
        read(tmp_path / "astray")
    with pytest.raises(BadInput, match="different pixel sizes"):
        read_strictly(tmp_path / "pixels")
    other = read(tmp_path / "pixels")
    assert len(other.values) == 6
    assert any("1 files of the same series have another size" in note for note in other.notes)


def test_zero_pixel_spacing_is_an_error(tmp_path, series):
    series.but(pixel_spacing_mm=(0.7, 0.0)).write(tmp_path)
    with pytest.raises(BadInput, match=r"spacing of .*above 0"):
        read(tmp_path)


def test_several_series_are_listed_without_patient_data(tmp_path, series):
    series.write(tmp_path / "study")
    series.but(stored=series.stored[:4], uid="1.2.3", number=5).write(tmp_path / "study" / "b")
    with pytest.raises(BadInput, match=r"2 scans.*series 3 \(CT, 6 slices\), .*series 5 \(CT, 4 slices\)") as caught:
        read(tmp_path / "study")
    assert "Secret" not in str(caught.value)
    assert [len(scan.read().values) for scan in find_scans(tmp_path / "study")] == [6, 4]


def test_scouts_and_other_modalities_are_passed_over(tmp_path, series):
    series.write(tmp_path)
    series.but(uid="1.2.4", modality="MR").write(tmp_path / "mr")
    for file in series.but(uid="1.2.5").write(tmp_path / "scout"):
        data = pydicom.dcmread(file)
        data.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
        data.save_as(file)
    assert len(find_scans(tmp_path)) == 1
    with pytest.raises(BadInput, match="no CT found"):
        find_scans(tmp_path / "mr")


def test_empty_series_uids_are_told_apart_by_folder(tmp_path, series):
    series.but(uid="").write(tmp_path / "a")
    series.but(uid="").write(tmp_path / "b")
    ids = [scan.id for scan in find_scans(tmp_path)]
    assert ids == [f"{tmp_path.name}_series3_1", f"{tmp_path.name}_series3_2"]
    assert np.array_equal(read(tmp_path / "b").values, series.stored.astype(int) - 1024)


def jpeg2000(data: pydicom.Dataset) -> None:
    stream = io.BytesIO()
    Image.fromarray(data.pixel_array).save(stream, "JPEG2000", irreversible=False, no_jp2=True)
    data.PixelData = encapsulate([stream.getvalue()])
    data["PixelData"].VR = "OB"
    data.file_meta.TransferSyntaxUID = JPEG2000Lossless


def rle(data: pydicom.Dataset) -> None:
    data.compress(RLELossless)


def packed_series(series, folder: Path, pack: Callable[[pydicom.Dataset], None]) -> list[Path]:
    files = series.write(folder)
    for file in files:
        data = pydicom.dcmread(file)
        pack(data)
        data.save_as(file)
    return files


@pytest.mark.parametrize("sop_class", ["1.2.840.10008.5.1.4.1.1.2", ""])
@pytest.mark.parametrize("pack", [jpeg2000, rle])
def test_compressed_pixels_equal_plain_ones(tmp_path, series, pack, sop_class):
    def stripped(data: pydicom.Dataset) -> None:
        pack(data)
        data.SOPClassUID = sop_class

    packed_series(series, tmp_path / "packed", stripped)
    series.write(tmp_path / "plain")
    packed, plain = read(tmp_path / "packed"), read(tmp_path / "plain")
    assert np.array_equal(packed.values, plain.values)


def test_compressed_pixels_that_cannot_be_decoded_are_named(tmp_path, series):
    file, *_ = packed_series(series, tmp_path, jpeg2000)
    data = pydicom.dcmread(file)
    data.PixelData = encapsulate([bytes(40)])
    data.save_as(file)
    with pytest.raises(BadInput, match=r"compressed as JPEG 2000 .* cannot be decoded"):
        read(tmp_path)


def test_files_without_the_dicom_preamble_are_read(tmp_path, series):
    for file in series.write(tmp_path):
        data = pydicom.dcmread(file)
        bare = pydicom.Dataset(data)
        bare.save_as(file, implicit_vr=True, little_endian=True)
    assert np.array_equal(read(tmp_path).values, series.stored.astype(int) - 1024)


def test_truncated_pixels_are_noticed(tmp_path, series):
    file = series.write(tmp_path)[3]
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(BadInput, match="truncated or damaged"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/etc/evil", "..\\evil", "C:\\evil"])
def test_a_zip_that_leads_elsewhere_is_refused(tmp_path, series, name):
    file, *_ = series.write(tmp_path / "scan")
    with zipfile.ZipFile(tmp_path / "scan.zip", "w") as archive:
        archive.write(file, "ok")
        archive.writestr(name, b"text")
    with pytest.raises(BadInput, match="files outside itself"):
        find_scans(tmp_path / "scan.zip")


def test_a_zip_bomb_is_refused(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "scan.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(1 << 20))
    with pytest.raises(BadInput, match="no CT found"):
        find_scans(tmp_path / "scan.zip")
    monkeypatch.setattr("hepar.io.series.scanning.MOST_ZIP_BYTES", 1 << 19)
    with pytest.raises(BadInput, match="claims 1 files with 1,048,576 bytes"):
        find_scans(tmp_path / "scan.zip")


def test_a_broken_zip_and_an_empty_zip_are_named(tmp_path, series):
    series.write(tmp_path / "scan")
    whole = zipped(tmp_path / "scan", tmp_path / "scan.zip").read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInput, match=r"'cut.zip' is no .zip that can be read"):
        read(tmp_path / "cut.zip")
    zipfile.ZipFile(tmp_path / "empty.zip", "w").close()
    with pytest.raises(BadInput, match=r"no CT found in 'empty.zip'"):
        read(tmp_path / "empty.zip")


def test_a_zip_with_a_name_that_is_no_text_is_refused(tmp_path):
    """Found by fuzzing: the name beside the data is decoded after the list of names was."""
    with zipfile.ZipFile(tmp_path / "scan.zip", "w") as archive:
        archive.writestr("I\u00e4", b"slice")
    data = (tmp_path / "scan.zip").read_bytes()
    (tmp_path / "scan.zip").write_bytes(data.replace("\u00e4".encode(), b"\xe4\x20", 1))
    with pytest.raises(BadInput, match=r"'scan.zip' is no .zip that can be read \(UnicodeDecodeError"):
        read(tmp_path / "scan.zip")


def test_a_member_without_a_name_is_passed_over(tmp_path, series):
    """Found by fuzzing: zipfile itself stumbles over one."""
    series.write(tmp_path / "scan")
    zipped(tmp_path / "scan", tmp_path / "scan.zip")
    with zipfile.ZipFile(tmp_path / "scan.zip", "a") as archive:
        archive.writestr(zipfile.ZipInfo(""), b"x")
    assert read(tmp_path / "scan.zip").geometry.same_grid(read(tmp_path / "scan").geometry)


def test_reading_leaves_no_temporary_files(tmp_path, series, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temp"))
    (tmp_path / "temp").mkdir()
    packed_series(series, tmp_path / "scan", jpeg2000)
    read(tmp_path / "scan")
    assert list((tmp_path / "temp").iterdir()) == []


def test_a_series_becomes_nifti_on_the_same_grid(tmp_path, series):
    orientation, step = ORIENTATIONS["oblique"]
    series.but(orientation=orientation, step_mm=step).write(tmp_path / "scan")
    ct = read(tmp_path / "scan")
    write_volume(ct, tmp_path / "ct.nii.gz")
    again = read(tmp_path / "ct.nii.gz")
    assert np.array_equal(again.values, ct.values)
    assert again.geometry.same_grid(ct.geometry, tolerance_mm=1e-3)


def test_real_zip_lies_on_the_grid_of_its_label(shared_data: Path, capfd):
    ct: Volume = read(shared_data / "dicom/ircad07_PATIENT_DICOM.zip").axial()
    truth = read_labels(shared_data / "ct/ircad07_label.nii.gz").axial()
    assert ct.geometry.same_grid(truth.geometry)
    liver = ct.values[truth.labels == 1]
    assert 110 < liver.mean() < 130 and liver.std() < 20
    upside_down = ct.values[truth.labels[::-1] == 1]
    assert upside_down.std() > 40
    assert capfd.readouterr() == ("", "")


def test_real_jpeg2000_series_without_uids(shared_data: Path, capfd):
    folder = shared_data / "dicom/abdomen_jpeg2000"
    ct = read(folder)
    assert ct.values.shape == (20, 512, 512)
    assert ct.geometry.spacing_mm == pytest.approx((2, 0.9765625, 0.9765625))
    assert capfd.readouterr() == ("", "")
    # ITK applies the rescale by itself; we decode stored values and apply it ourselves.
    for file in sorted(folder.iterdir())[:3]:
        image = SimpleITK.ReadImage(file)
        z = round(ct.geometry.index_of(image.GetOrigin())[0])
        assert np.array_equal(SimpleITK.GetArrayFromImage(image)[0], ct.values[z])
