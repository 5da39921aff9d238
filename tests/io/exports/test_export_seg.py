"""Segmentations: what was marked comes back voxel by voxel, by other readers too, or no file is written."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import datetime

import numpy as np
import pydicom
import pytest
from exported_series import MAKER, SCAN, numbers_on, require_valid, source_from

from hepar.errors import BadInput, MissingExtra, OutputError
from hepar.geometry import Geometry
from hepar.io.dicom_seg import open_segmentation
from hepar.io.exports import seg
from hepar.io.exports.marked import RESEARCH, Marked
from hepar.io.exports.seg import frames_of, parts_of, require_same, write_probability, write_seg
from hepar.io.exports.source import source_of
from hepar.io.series.diagnosis import examine
from hepar.volume import LabelMap

highdicom = pytest.importorskip("highdicom", reason="DICOM SEG needs hepar[dicom]")
KINDS = ("BINARY", "LABELMAP")


def read_by_our_reader(path) -> LabelMap:
    with path.open("rb") as file:
        found = open_segmentation(file, path.name)
    return found.labels({one.number: one.structure for one in found.segments})


@pytest.mark.parametrize("kind", KINDS)
def test_marks_come_back_through_another_reader(tmp_path, source, marked, kind):
    write_seg(marked, source, MAKER, tmp_path / "s.dcm", kind)
    found = read_by_our_reader(tmp_path / "s.dcm")
    affine = np.eye(4)
    affine[:3, 0] = SCAN.position_mm(1) - SCAN.position_mm(0)
    affine[:3, 1], affine[:3, 2] = np.array(SCAN.column) * 1.1, np.array(SCAN.row) * 1.3
    affine[:3, 3] = SCAN.position_mm(0)
    assert np.array_equal(found.onto(Geometry(source.shape, affine)).labels, np.minimum(marked.numbers, 2))


@pytest.mark.parametrize("kind", KINDS)
def test_every_lesion_is_a_segment_of_its_own_with_codes_and_algorithm(tmp_path, source, marked, kind):
    write_seg(marked, source, MAKER, tmp_path / "s.dcm", kind)
    data = pydicom.dcmread(tmp_path / "s.dcm")
    parts = [one for one in data.SegmentSequence if one.SegmentNumber > 0]
    assert [one.SegmentLabel for one in parts] == ["Liver", "Tumour 1", "Tumour 2"]
    types = [one.SegmentedPropertyTypeCodeSequence[0] for one in parts]
    assert [(t.CodeValue, t.CodingSchemeDesignator) for t in types] == [("10200004", "SCT")] + 2 * [
        ("108369006", "SCT")
    ]
    for one in parts:
        assert one.SegmentAlgorithmType == "AUTOMATIC"
        named = one.SegmentationAlgorithmIdentificationSequence[0]
        assert (named.AlgorithmName, named.AlgorithmVersion) == (MAKER.model, MAKER.version)
        assert RESEARCH in one.SegmentDescription
    assert {one.AnatomicRegionSequence[0].CodeValue for one in parts[1:]} == {"10200004"}


def test_it_stands_in_the_study_and_frame_of_the_scan(tmp_path, source, marked):
    write_seg(marked, source, MAKER, tmp_path / "s.dcm")
    data, first = pydicom.dcmread(tmp_path / "s.dcm"), source.headers[0]
    for tag in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "PatientName"):
        assert getattr(data, tag) == getattr(first, tag)
    assert data.SeriesInstanceUID != first.SeriesInstanceUID
    referred = {item.ReferencedSOPInstanceUID for item in data.ReferencedSeriesSequence[0].ReferencedInstanceSequence}
    drawn = np.flatnonzero(marked.liver.any(axis=(1, 2)))
    assert referred == {source.headers[k].SOPInstanceUID for k in drawn}


def test_the_liver_holds_its_tumours_only_where_segments_may_overlap(tmp_path, source, marked):
    write_seg(marked, source, MAKER, tmp_path / "b.dcm", "BINARY")
    write_seg(marked, source, MAKER, tmp_path / "l.dcm", "LABELMAP")
    assert np.array_equal(frames_of(tmp_path / "b.dcm", source)[1], marked.numbers >= 1)
    assert np.array_equal(frames_of(tmp_path / "l.dcm", source)[1], marked.numbers == 1)
    said = [pydicom.dcmread(tmp_path / f"{name}.dcm").SegmentSequence for name in "bl"]
    assert said[0][0].SegmentDescription.startswith("Liver with its tumours")
    assert said[1][1].SegmentDescription.startswith("Liver without its tumours")


def test_voxel_counts_are_those_that_pydicom_counts(tmp_path, source, marked):
    write_seg(marked, source, MAKER, tmp_path / "s.dcm")
    data = pydicom.dcmread(tmp_path / "s.dcm")
    counts = dict.fromkeys((1, 2, 3), 0)
    for frame, item in zip(data.pixel_array, data.PerFrameFunctionalGroupsSequence, strict=True):
        counts[item.SegmentIdentificationSequence[0].ReferencedSegmentNumber] += int(frame.sum())
    own = np.bincount(marked.numbers.ravel())
    assert counts == {1: own[1:].sum(), 2: own[2], 3: own[3]}


def test_lesions_without_voxels_take_no_segment(tmp_path, source):
    numbers = np.where(numbers_on(source.shape) == 3, 4, numbers_on(source.shape)).astype(np.uint8)
    marked = Marked(numbers, ("Tumour 1", "Tumour 2", "Further tumours"))
    assert [(p.segment, p.number, p.name) for p in parts_of(marked)] == [
        (1, 1, "Liver"), (2, 2, "Tumour 1"), (3, 4, "Further tumours"),
    ]  # fmt: skip
    write_seg(marked, source, MAKER, tmp_path / "s.dcm")
    assert np.array_equal(frames_of(tmp_path / "s.dcm", source)[3], numbers == 4)


def test_a_remark_stands_in_every_segment(tmp_path, source, marked):
    write_seg(replace(marked, remark="Tumour not assessed: no contrast."), source, MAKER, tmp_path / "s.dcm")
    said = [one.SegmentDescription for one in pydicom.dcmread(tmp_path / "s.dcm").SegmentSequence]
    assert len(said) == 3 and all("Tumour not assessed: no contrast." in text for text in said)


@pytest.mark.parametrize("slices", [[4], [2, 5], [0, 11]])
def test_frames_find_their_slices_whatever_was_left_out(tmp_path, source, slices):
    numbers = np.zeros(source.shape, np.uint8)
    for k in slices:
        numbers[k, 3 : 9 + k, 5:20] = 1
    write_seg(Marked(numbers), source, MAKER, tmp_path / "s.dcm")
    assert np.array_equal(frames_of(tmp_path / "s.dcm", source)[1], numbers)


@pytest.mark.parametrize(("tilt", "at"), [(14.0, ()), (0.0, (0, 1, 2, 3.4, 4.6, 6, 7, 8))])
def test_tilted_and_uneven_series_are_marked_on_the_slices_as_taken(tmp_path, tilt, at):
    source = source_from(tmp_path / "ct", SCAN.but(tilt_degrees=tilt, at=at, count=len(at) or 12))
    numbers = np.random.default_rng(3).integers(0, 2, source.shape).astype(np.uint8)
    write_seg(Marked(numbers), source, MAKER, tmp_path / "s.dcm")
    assert np.array_equal(frames_of(tmp_path / "s.dcm", source)[1], numbers)


def test_probabilities_come_back_in_every_255th(tmp_path, source):
    tumour = (np.arange(np.prod(source.shape)) % 256).astype(np.uint8).reshape(source.shape)
    write_probability(tumour, source, MAKER, tmp_path / "p.dcm")
    data = pydicom.dcmread(tmp_path / "p.dcm")
    assert (data.SegmentationType, data.SegmentationFractionalType, data.MaximumFractionalValue) == (
        "FRACTIONAL", "PROBABILITY", 255,
    )  # fmt: skip
    assert np.array_equal(frames_of(tmp_path / "p.dcm", source)[1], tumour)


def spoilt(change):
    """`frames_of` after a byte went wrong on the way to the disk."""

    def read(path, source):
        found = frames_of(path, source)
        change(found)
        return found

    return read


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda found: found[2].__setitem__((5, 12, 12), 0), r"other voxels than written \(segment 2: 1 differ\)"),
        (lambda found: found.pop(3), r"came back with segments \[1, 2\], written were \[1, 2, 3\]"),
        (lambda found: found.update({1: found[1][:, ::-1]}), r"segment 1: \d+ differ"),
    ],
)
def test_a_mismatch_fails_the_export_and_leaves_no_file(tmp_path, source, marked, monkeypatch, change, said):
    monkeypatch.setattr(seg, "frames_of", spoilt(change))
    with pytest.raises(OutputError, match=said):
        write_seg(marked, source, MAKER, tmp_path / "out" / "s.dcm")
    assert list((tmp_path / "out").iterdir()) == []


def test_an_older_file_stays_when_the_new_one_fails(tmp_path, source, marked, monkeypatch):
    write_seg(marked, source, MAKER, tmp_path / "s.dcm")
    before = (tmp_path / "s.dcm").read_bytes()
    monkeypatch.setattr(seg, "frames_of", spoilt(lambda found: found[1].fill(0)))
    with pytest.raises(OutputError):
        write_seg(marked, source, MAKER, tmp_path / "s.dcm")
    assert (tmp_path / "s.dcm").read_bytes() == before


def test_frames_of_another_scan_are_refused(tmp_path, source, marked):
    write_seg(marked, source, MAKER, tmp_path / "s.dcm")
    elsewhere = source_from(tmp_path / "other", SCAN.but(middle_mm=(12.0, -30.0, 401.0)))
    with pytest.raises(OutputError, match="lies on no slice of the scan"):
        frames_of(tmp_path / "s.dcm", elsewhere)


def test_equal_maps_pass_the_comparison():
    require_same({1: np.ones((2, 2, 2), np.uint8)}, {1: np.ones((2, 2, 2), np.uint8)}, "s.dcm")


def test_nothing_marked_or_marked_elsewhere_is_no_segmentation(tmp_path, source):
    with pytest.raises(BadInput, match="neither liver nor tumour was found"):
        write_seg(Marked(np.zeros(source.shape, np.uint8)), source, MAKER, tmp_path / "s.dcm")
    with pytest.raises(BadInput, match="probability is 0 everywhere"):
        write_probability(np.zeros(source.shape, np.uint8), source, MAKER, tmp_path / "s.dcm")
    with pytest.raises(BadInput, match=r"expected the slices' \(12, 30, 36\)"):
        write_seg(Marked(np.ones((3, 30, 36), np.uint8)), source, MAKER, tmp_path / "s.dcm")
    with pytest.raises(BadInput, match="expected uint8"):
        write_probability(np.zeros((3, 30, 36), np.uint8), source, MAKER, tmp_path / "s.dcm")
    assert not (tmp_path / "s.dcm").exists()


@pytest.mark.parametrize("numbers", [np.zeros((2, 2, 2), np.int32), np.zeros((2, 2), np.uint8)])
def test_marks_are_uint8_on_slices(numbers):
    with pytest.raises(BadInput, match="expected uint8"):
        Marked(numbers)


def test_a_number_without_a_name_is_refused():
    with pytest.raises(BadInput, match="found structure 3 but 1 lesions have a name"):
        Marked(np.full((1, 1, 1), 3, np.uint8), ("Tumour 1",))


def test_two_results_on_one_series_are_two_objects(tmp_path, source, marked):
    later = replace(MAKER, made=datetime(2026, 2, 3, 4, 5, 7))
    for name, maker in (("a", MAKER), ("b", MAKER), ("c", later), ("d", replace(MAKER, model="other@abc"))):
        write_seg(marked, source, maker, tmp_path / name)
    uids = [pydicom.dcmread(tmp_path / name).SOPInstanceUID for name in "abcd"]
    assert uids[0] == uids[1] and len(set(uids)) == 3


def test_without_highdicom_the_extra_is_named(tmp_path, source, marked, monkeypatch):
    monkeypatch.setitem(sys.modules, "highdicom.seg", None)
    with pytest.raises(MissingExtra, match=r"pip install hepar\[dicom\]"):
        write_seg(marked, source, MAKER, tmp_path / "s.dcm")


def test_the_validator_finds_no_error(tmp_path, source, marked):
    # Label maps are younger than the validator that distributions bring, so they cannot be judged by it.
    write_seg(marked, source, MAKER, tmp_path / "s.dcm")
    require_valid(tmp_path / "s.dcm")
    write_probability(marked.numbers * 60, source, MAKER, tmp_path / "p.dcm")
    require_valid(tmp_path / "p.dcm")


@pytest.mark.parametrize("name", ["abdomen_jpeg2000", "ircad07_PATIENT_DICOM.zip"])
def test_real_series_with_missing_tags_still_have_a_valid_segmentation(tmp_path, shared_data, name):
    (one,) = examine(shared_data / "dicom" / name).series
    kept = one.stack.slices[:20]
    source = source_of(one.series, kept)
    numbers = np.zeros(source.shape, np.uint8)
    numbers[5:9, 100:220, 90:260], numbers[6:8, 120:140, 100:130] = 1, 2
    write_seg(Marked(numbers, ("Tumour 1",)), source, MAKER, tmp_path / "s.dcm")
    assert source.notes
    require_valid(tmp_path / "s.dcm")
