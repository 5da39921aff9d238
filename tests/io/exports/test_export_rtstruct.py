"""Contours: filled again they are what was marked, holes included, or no file is written."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from exported_series import MAKER, SCAN, numbers_on, require_valid, source_from
from hypothesis import given, settings
from hypothesis import strategies as st

from hepar.errors import BadInput, OutputError
from hepar.io.exports import rtstruct
from hepar.io.exports.marked import RESEARCH, Marked
from hepar.io.exports.rtstruct import regions_of, require_alike, write_rtstruct
from hepar.io.exports.rtstruct_contours import filled, outlines
from hepar.io.exports.source import source_of
from hepar.io.series.diagnosis import examine


@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 14), columns=st.integers(1, 14), share=st.floats(0, 1))
@settings(max_examples=150, deadline=None)
def test_any_mask_comes_back_pixel_by_pixel(seed, rows, columns, share):
    mask = np.random.default_rng(seed).random((rows, columns)) < share
    assert np.array_equal(filled(outlines(mask), mask.shape), mask)


def winding(points: np.ndarray, place: tuple[float, float]) -> int:
    """How often a polygon runs around a place."""
    angles = np.unwrap(np.arctan2(*(points - place).T), axis=0)
    closing = np.unwrap(np.r_[angles, np.arctan2(*(points[0] - place))])
    return round((closing[-1] - closing[0]) / (2 * np.pi))


def test_a_hole_is_one_polygon_that_winds_around_flesh_and_not_around_the_hole():
    mask = np.zeros((20, 20), bool)
    mask[2:18, 3:17] = True
    mask[6:9, 6:9] = mask[11:15, 8:12] = False
    (points,) = outlines(mask)
    assert {winding(points, (r + 0.01, c + 0.013)) != 0 for r, c in np.argwhere(mask)} == {True}
    assert {winding(points, (r + 0.01, c + 0.013)) for r, c in np.argwhere(~mask)} == {0}


def test_a_pixel_is_a_diamond_and_straight_runs_have_no_points_between():
    assert sorted(map(tuple, outlines(np.ones((1, 1), bool))[0])) == [(-0.5, 0), (0, -0.5), (0, 0.5), (0.5, 0)]
    assert len(outlines(np.ones((30, 40), bool))[0]) == 8
    assert outlines(np.zeros((3, 3), bool)) == []


def test_thousands_of_holes_are_joined_in_seconds():
    mask = np.ones((181, 181), bool)
    mask[1::2, 1::2] = False
    (points,) = outlines(mask)
    assert np.array_equal(filled([points], mask.shape), mask)


def test_an_island_in_a_hole_is_kept():
    mask = np.ones((15, 15), bool)
    mask[3:12, 3:12] = False
    mask[6:9, 6:9] = True
    assert len(outlines(mask)) == 2
    assert np.array_equal(filled(outlines(mask), mask.shape), mask)


def holed(marked: Marked) -> Marked:
    numbers = marked.numbers.copy()
    numbers[5, 17:19, 18:22] = 0
    return Marked(numbers, marked.lesions, "Tumour not assessed: no contrast.")


def test_contours_filled_again_are_what_was_marked(tmp_path, source, marked):
    write_rtstruct(holed(marked), source, MAKER, tmp_path / "r.dcm")
    found = regions_of(tmp_path / "r.dcm", source)
    numbers = holed(marked).numbers
    assert sorted(found) == [1, 2, 3]
    assert np.array_equal(found[1], numbers >= 1)
    assert np.array_equal(found[2], numbers == 2) and np.array_equal(found[3], numbers == 3)


def test_every_contour_names_the_slice_that_it_lies_on(tmp_path, source, marked):
    write_rtstruct(marked, source, MAKER, tmp_path / "r.dcm")
    places = {one.SOPInstanceUID: one for one in source.headers}
    data = pydicom.dcmread(tmp_path / "r.dcm")
    seen = 0
    for region in data.ROIContourSequence:
        for item in region.ContourSequence:
            assert item.ContourGeometricType == "CLOSED_PLANAR"
            points = np.array(item.ContourData, float).reshape(-1, 3)
            assert len(points) == item.NumberOfContourPoints >= 3
            header = places[item.ContourImageSequence[0].ReferencedSOPInstanceUID]
            row, column = np.array(header.ImageOrientationPatient, float).reshape(2, 3)
            away = (points - np.array(header.ImagePositionPatient, float)) @ np.cross(row, column)
            assert np.abs(away).max() < 2e-3
            seen += 1
    assert seen >= 15


def test_regions_have_codes_colours_and_the_series_they_belong_to(tmp_path, source, marked):
    made = write_rtstruct(holed(marked), source, MAKER, tmp_path / "r.dcm")
    data = pydicom.dcmread(tmp_path / "r.dcm")
    assert [one.ROIName for one in data.StructureSetROISequence] == ["Liver", "Tumour 1", "Tumour 2"]
    assert all(RESEARCH in one.ROIDescription for one in data.StructureSetROISequence)
    assert "Tumour not assessed: no contrast." in data.StructureSetDescription
    named = [one.RTROIIdentificationCodeSequence[0].CodeValue for one in data.RTROIObservationsSequence]
    assert named == ["10200004", "108369006", "108369006"]
    colours = [tuple(one.ROIDisplayColor) for one in data.ROIContourSequence]
    assert colours[0] != colours[1] == colours[2]
    assert {one.ROIGenerationAlgorithm for one in data.StructureSetROISequence} == {"AUTOMATIC"}
    assert (data.ApprovalStatus, data.PatientName) == ("UNAPPROVED", source.headers[0].PatientName)
    frame = data.ReferencedFrameOfReferenceSequence[0]
    series = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence[0]
    assert frame.FrameOfReferenceUID == source.headers[0].FrameOfReferenceUID
    assert series.SeriesInstanceUID == source.series_uid
    drawn = np.flatnonzero(marked.liver.any(axis=(1, 2)))
    referred = [one.ReferencedSOPInstanceUID for one in series.ContourImageSequence]
    assert referred == [source.headers[k].SOPInstanceUID for k in drawn]
    again = write_rtstruct(holed(marked), source, MAKER, tmp_path / "again.dcm")
    assert made.SOPInstanceUID == again.SOPInstanceUID
    assert (tmp_path / "r.dcm").read_bytes() == (tmp_path / "again.dcm").read_bytes()


@pytest.mark.parametrize(("tilt", "at"), [(14.0, ()), (0.0, (0, 1, 2, 3.4, 4.6, 6, 7, 8))])
def test_tilted_and_uneven_series_have_contours_on_the_slices_as_taken(tmp_path, tilt, at):
    source = source_from(tmp_path / "ct", SCAN.but(tilt_degrees=tilt, at=at, count=len(at) or 12))
    numbers = np.zeros(source.shape, np.uint8)
    numbers[:, 4:16, 7:20] = np.random.default_rng(3).integers(0, 2, (len(numbers), 12, 13))
    write_rtstruct(Marked(numbers), source, MAKER, tmp_path / "r.dcm")
    assert np.array_equal(regions_of(tmp_path / "r.dcm", source)[1], numbers == 1)


def test_outlines_longer_than_64_kilobytes_of_text_are_kept(tmp_path):
    scan = SCAN.but(size=(110, 110), count=2)
    source = source_from(tmp_path / "ct", scan)
    # A sieve: one outline with a channel to each of a thousand holes.
    numbers = np.zeros(source.shape, np.uint8)
    numbers[0, ::2] = numbers[0, :, 0] = 1
    numbers[0, 1::2, 3::4] = 1
    write_rtstruct(Marked(numbers), source, MAKER, tmp_path / "r.dcm")
    longest = max(
        len(one.ContourData) for one in pydicom.dcmread(tmp_path / "r.dcm").ROIContourSequence[0].ContourSequence
    )
    assert longest * 8 > 65536


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda found: found.pop(3), r"came back with regions \[1, 2\], written were \[1, 2, 3\]"),
        (lambda found: found.update({1: np.roll(found[1], 2, axis=2)}), r"region 1, filled again, has a Dice of 0\."),
    ],
)
def test_a_mismatch_fails_the_export_and_leaves_no_file(tmp_path, source, marked, monkeypatch, change, said):
    def spoilt(path, of):
        found = regions_of(path, of)
        change(found)
        return found

    monkeypatch.setattr(rtstruct, "regions_of", spoilt)
    with pytest.raises(OutputError, match=said):
        write_rtstruct(marked, source, MAKER, tmp_path / "out" / "r.dcm")
    assert list((tmp_path / "out").iterdir()) == []


def test_contours_of_another_scan_are_refused(tmp_path, source, marked):
    write_rtstruct(marked, source, MAKER, tmp_path / "r.dcm")
    elsewhere = source_from(tmp_path / "other", SCAN.but(middle_mm=(12.0, -30.0, 401.0)))
    with pytest.raises(OutputError, match="a contour lies on no slice"):
        regions_of(tmp_path / "r.dcm", elsewhere)


def test_a_dice_of_99_percent_is_the_least():
    whole = np.ones((10, 20, 10), bool)
    few, many = whole.copy(), whole.copy()
    few.ravel()[:30] = False
    many.ravel()[:50] = False
    require_alike({1: few}, {1: whole}, "r.dcm")
    with pytest.raises(OutputError, match=r"Dice of 0\.987"):
        require_alike({1: many}, {1: whole}, "r.dcm")


def test_nothing_marked_or_marked_elsewhere_has_no_contours(tmp_path, source):
    with pytest.raises(BadInput, match="no contours to write"):
        write_rtstruct(Marked(np.zeros(source.shape, np.uint8)), source, MAKER, tmp_path / "r.dcm")
    with pytest.raises(BadInput, match=r"expected the slices' \(12, 30, 36\)"):
        write_rtstruct(Marked(np.ones((3, 30, 36), np.uint8)), source, MAKER, tmp_path / "r.dcm")


def test_the_validator_finds_no_error(tmp_path, source, marked):
    write_rtstruct(holed(marked), source, MAKER, tmp_path / "r.dcm")
    require_valid(tmp_path / "r.dcm")


@pytest.mark.parametrize("name", ["abdomen_jpeg2000", "ircad07_PATIENT_DICOM.zip"])
def test_real_series_with_missing_tags_still_have_valid_contours(tmp_path, shared_data, name):
    (one,) = examine(shared_data / "dicom" / name).series
    source = source_of(one.series, one.stack.slices[:20])
    marked = Marked(numbers_on((20, 30, 36)).repeat(12, axis=1).repeat(12, axis=2), ("Tumour 1", "Tumour 2"))
    numbers = np.zeros(source.shape, np.uint8)
    numbers[:, :360, :432] = marked.numbers
    write_rtstruct(Marked(numbers, marked.lesions), source, MAKER, tmp_path / "r.dcm")
    require_valid(tmp_path / "r.dcm")
