"""Secondary captures: key slices with outlines and a warning in the pixels, and nothing of the patient."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pydicom
import pytest
from exported_series import MAKER, SCAN, require_valid, source_from

from hepar.errors import BadInput, OutputError
from hepar.io.exports import capture
from hepar.io.exports.capture import BAR_PX, GREEN, RED, drawn, key_slices, pixels_of, write_captures
from hepar.io.exports.marked import Marked
from hepar.io.exports.source import source_of
from hepar.io.series.diagnosis import examine
from hepar.io.series.reading import read_series


@pytest.fixture
def hu() -> np.ndarray:
    return np.stack([SCAN.hu(place) for place in SCAN.places])


def test_each_lesion_is_shown_where_it_is_largest(marked):
    areas = [(marked.numbers == k).sum(axis=(1, 2)) for k in (2, 3)]
    shown = {name: key.place for key in key_slices(marked) for name in key.shows}
    assert shown == {"Tumour 1": int(areas[0].argmax()), "Tumour 2": int(areas[1].argmax())}
    assert [key.place for key in key_slices(marked)] == sorted({*shown.values()})


def test_two_lesions_in_one_slice_share_it_and_a_liver_without_lesions_has_one(marked):
    numbers = marked.numbers.copy()
    numbers[numbers == 3] = 1
    numbers[5, 20:22, 14:16] = 3
    assert [(key.place, key.shows) for key in key_slices(Marked(numbers, marked.lesions))] == [
        (5, ("Tumour 1", "Tumour 2"))
    ]
    bare = Marked(np.minimum(marked.numbers, 1))
    (only,) = key_slices(bare)
    assert only.shows == ("Liver",) and only.place == bare.liver.sum(axis=(1, 2)).argmax()


def test_files_hold_what_was_drawn_and_refer_to_their_slice(tmp_path, hu, marked, source):
    paths = write_captures(hu, marked, source, MAKER, tmp_path / "sc")
    keys = key_slices(marked)
    assert [path.name for path in paths] == [f"capture_{k + 1}.dcm" for k in range(len(keys))]
    read = [pydicom.dcmread(path) for path in paths]
    for data, key in zip(read, keys, strict=True):
        assert np.array_equal(data.pixel_array, np.asarray(drawn(hu[key.place], marked, key, len(hu))))
        header = source.headers[key.place]
        assert data.SourceImageSequence[0].ReferencedSOPInstanceUID == header.SOPInstanceUID
        assert (data.StudyInstanceUID, data.PatientID) == (header.StudyInstanceUID, header.PatientID)
        assert "Research use only" in data.ImageComments and data.BurnedInAnnotation == "NO"
    assert len({data.SOPInstanceUID for data in read}) == len(read)
    assert len({data.SeriesInstanceUID for data in read}) == 1
    again = write_captures(hu, marked, source, MAKER, tmp_path / "again")
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in paths]


def coloured(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return np.argwhere((picture == colour).all(axis=-1))


def test_outlines_run_along_the_structures_and_greys_are_the_window(hu, marked):
    (key, *_) = key_slices(marked)
    picture = np.asarray(drawn(hu[key.place], marked, key, len(hu)))
    enlarged = picture.shape[1] // 36
    numbers = marked.numbers[key.place]
    for colour, mask in ((GREEN, numbers >= 1), (RED, numbers > 1)):
        found = (coloured(picture, colour) - (BAR_PX, 0)) / enlarged
        inside = np.argwhere(mask)
        assert found.min(axis=0) == pytest.approx(inside.min(axis=0), abs=0.2)
        assert found.max(axis=0) == pytest.approx(inside.max(axis=0) + 1, abs=0.2)
    corner = picture[BAR_PX + enlarged // 2, enlarged // 2]
    expected = np.clip((float(hu[key.place, 0, 0]) + 160) / 400, 0, 1) * 255
    assert corner.tolist() == [round(expected)] * 3


def test_the_warning_and_the_remark_are_in_the_pixels(hu, marked):
    (key, *_) = key_slices(marked)
    picture = np.asarray(drawn(hu[key.place], marked, key, len(hu)))
    assert (picture[:BAR_PX] > 200).any()
    remarked = replace(marked, remark="Tumour not assessed: native phase (30 HU in the liver), which no model knows.")
    longer = np.asarray(drawn(hu[key.place], remarked, key, len(hu)))
    assert longer.shape[0] > picture.shape[0] and (longer[picture.shape[0] :] > 200).any()
    assert not (longer[:, -3:][BAR_PX + 30 * (picture.shape[1] // 36) :] > 200).any(), "texts end before the margin"


def test_no_pixel_depends_on_who_the_patient_is(tmp_path, hu, marked, source):
    one = write_captures(hu, marked, source, MAKER, tmp_path / "a")
    other = source_from(tmp_path / "ct2", SCAN.but(tags={"PatientName": "Another^One", "PatientID": "77"}))
    two = write_captures(hu, marked, other, MAKER, tmp_path / "b")
    for a, b in zip(one, two, strict=True):
        assert np.array_equal(pixels_of(a), pixels_of(b))
        assert pydicom.dcmread(a).PatientName != pydicom.dcmread(b).PatientName


def test_other_pixels_fail_the_export_and_leave_no_file(tmp_path, hu, marked, source, monkeypatch):
    def spoilt(path):
        found = pixels_of(path).copy()
        found[3, 3] += 1
        return found

    monkeypatch.setattr(capture, "pixels_of", spoilt)
    with pytest.raises(OutputError, match=r"'capture_1.dcm' came back with other pixels than drawn"):
        write_captures(hu, marked, source, MAKER, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_nothing_marked_or_marked_elsewhere_shows_nothing(tmp_path, hu, marked, source):
    with pytest.raises(BadInput, match="no key slice to show"):
        write_captures(hu, Marked(np.zeros(source.shape, np.uint8)), source, MAKER, tmp_path)
    with pytest.raises(BadInput, match=r"expected the slices' \(12, 30, 36\)"):
        write_captures(hu[:3], marked, source, MAKER, tmp_path)


def test_the_validator_finds_no_error(tmp_path, hu, marked, source):
    for path in write_captures(hu, marked, source, MAKER, tmp_path / "sc"):
        require_valid(path)


def test_a_real_series_without_identifiers_has_valid_captures(tmp_path, shared_data):
    (one,) = examine(shared_data / "dicom/abdomen_jpeg2000").series
    reading = read_series(one)
    source = source_of(one.series, reading.slices)
    numbers = np.zeros(source.shape, np.uint8)
    numbers[5:9, 100:220, 90:260], numbers[6:8, 120:140, 100:130] = 1, 2
    values = reading.way.back(reading.volume.values)
    for path in write_captures(values, Marked(numbers, ("Tumour 1",)), source, MAKER, tmp_path):
        require_valid(path)
        assert pydicom.dcmread(path).Columns == 512


def test_a_picture_that_would_be_odd_in_bytes_is_padded(tmp_path):
    scan = SCAN.but(size=(29, 515), count=3)
    source = source_from(tmp_path / "ct", scan)
    numbers = np.zeros(source.shape, np.uint8)
    numbers[1, 4:9, 4:9] = 1
    values = np.stack([scan.hu(place) for place in scan.places])
    (path,) = write_captures(values, Marked(numbers), source, MAKER, tmp_path)
    assert len(pydicom.dcmread(path).PixelData) % 2 == 0
