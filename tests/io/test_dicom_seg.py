"""DICOM SEG: segments are told by code, else by name; frames find their slices of the scan by position."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from hepar.errors import BadInput, GeometryMismatch, MissingExtra
from hepar.geometry import Geometry
from hepar.io import write
from hepar.io.dicom_seg import is_segmentation, open_segmentation
from hepar.predictions import LabelMapping, match, open_predictions, open_truth, read_pair
from hepar.volume import LabelMap

highdicom = pytest.importorskip("highdicom", reason="DICOM SEG needs hepar[dicom]")

SHAPE = (7, 12, 10)
ORIGIN, SPACING = (-50.5, 30.25, 410.0), (2.5, 0.8, 0.7)
# Tilted a little, as a head rest or a lying patient does: 10 degrees about the left-right axis.
TILT = np.deg2rad(10)
ROW, COLUMN = (1.0, 0.0, 0.0), (0.0, float(np.cos(TILT)), float(np.sin(TILT)))


def grid() -> Geometry:
    affine = np.eye(4)
    normal = np.cross(ROW, COLUMN)
    for axis, direction in enumerate((normal, COLUMN, ROW)):
        affine[:3, axis] = np.asarray(direction) * SPACING[axis]
    affine[:3, 3] = ORIGIN
    return Geometry(SHAPE, affine)


def scan() -> list[Dataset]:
    """CT slices as highdicom asks for them, of a patient whose name must show nowhere."""
    slices = []
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    for z in range(SHAPE[0]):
        one = Dataset()
        one.file_meta = FileMetaDataset()
        one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        one.SOPClassUID, one.SOPInstanceUID = CTImageStorage, generate_uid()
        one.StudyInstanceUID, one.SeriesInstanceUID, one.FrameOfReferenceUID = study, series, frame
        one.PatientName, one.PatientID, one.Modality = "Secret^Name", "SecretId", "CT"
        one.PatientBirthDate = one.PatientSex = one.StudyDate = one.StudyTime = one.AccessionNumber = one.StudyID = ""
        one.ReferringPhysicianName = ""
        one.Rows, one.Columns = SHAPE[1:]
        one.PixelSpacing, one.SliceThickness = list(SPACING[1:]), SPACING[0]
        one.ImageOrientationPatient = [*ROW, *COLUMN]
        one.ImagePositionPatient = [round(float(p), 6) for p in grid().position_mm((z, 0, 0))]
        one.SamplesPerPixel, one.BitsAllocated, one.BitsStored, one.HighBit = 1, 16, 16, 15
        one.PixelRepresentation, one.PhotometricInterpretation = 0, "MONOCHROME2"
        one.InstanceNumber = z + 1
        slices.append(one)
    return slices


def code(value: str, meaning: str) -> highdicom.sr.CodedConcept:
    return highdicom.sr.CodedConcept(value, "99OURS" if value.startswith("x") else "SCT", meaning)


def segment(number: int, label: str, kind: str, region: str | None = None) -> highdicom.seg.SegmentDescription:
    return highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=label,
        segmented_property_category=code("49755003", "Morphologically abnormal structure"),
        segmented_property_type=code(kind, label),
        algorithm_type="MANUAL",
        anatomic_regions=[code(region, "somewhere")] if region else None,
    )


LIVER, TUMOUR = segment(1, "Organ", "10200004"), segment(2, "Finding", "108369006")


def truth() -> np.ndarray:
    labels = np.zeros(SHAPE, np.uint8)
    labels[1:6, 2:9, 1:8] = 1
    labels[3:5, 4:6, 3:5] = 2
    return labels


def masks(*which: np.ndarray) -> np.ndarray:
    """(z, y, x, segment), as highdicom takes segments that may overlap."""
    return np.stack(which, axis=-1).astype(np.uint8)


OVERLAPPING = masks(truth() >= 1, truth() == 2)


def save(path: Path, pixels: np.ndarray, segments, kind: str = "BINARY", **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    made = highdicom.seg.Segmentation(
        scan(), pixels, kind, segments, generate_uid(), 1, generate_uid(), 1, "maker", "model", "1", "serial", **options
    )
    made.save_as(path)
    return path


def opened(path: Path):
    with path.open("rb") as file:
        return open_segmentation(file, path.name)


def read(path: Path, mapping: str | None = None):
    (source,) = open_predictions(path, LabelMapping.parse(mapping) if mapping else None).sources.values()
    return source.read()


def paired(folder: Path, found: Path, resample="none"):
    write(LabelMap(truth(), grid()), folder / "truth.nii.gz")
    ((_, here, there),) = match(open_truth(folder / "truth.nii.gz"), open_predictions(found)).pairs
    return read_pair(here, there, resample)


@pytest.mark.parametrize(("kind", "pixels"), [("BINARY", OVERLAPPING), ("LABELMAP", truth()), ("BINARY", truth())])
def test_segments_are_told_by_code_and_tumour_wins(tmp_path, kind, pixels):
    path = save(tmp_path / "a.dcm", pixels, [LIVER, TUMOUR], kind)
    assert [(s.number, s.label, s.structure) for s in opened(path).segments] == [(1, "Organ", 1), (2, "Finding", 2)]
    pair = paired(tmp_path, path)
    assert (pair.found.labels == truth()).all()
    assert pair.found.geometry.same_grid(grid())


def test_the_grid_is_that_of_the_frames(tmp_path):
    found = read(save(tmp_path / "a.dcm", OVERLAPPING, [LIVER, TUMOUR]))
    # Slices 0 and 6 are empty and left out.
    assert found.sparse
    assert found.labels.geometry.shape == (5, 12, 10)
    assert np.allclose(found.labels.geometry.position_mm((0, 0, 0)), grid().position_mm((1, 0, 0)), atol=1e-4)
    assert found.header_spacing_mm == pytest.approx(SPACING)
    assert (found.labels.labels == truth()[1:6]).all()


@pytest.mark.parametrize("slices", [[3], [2, 4], [2, 5], [0, 3, 6], [1, 2, 5]])
def test_frames_find_their_slices_whatever_was_left_out(tmp_path, slices):
    drawn = np.zeros(SHAPE, np.uint8)
    for z in slices:
        drawn[z, 4:8, 2 : 4 + z] = 1
    pair = paired(tmp_path, save(tmp_path / "a.dcm", masks(drawn), [LIVER]))
    assert (pair.found.labels == drawn).all()


def test_a_scan_stored_the_other_way_round_is_no_obstacle(tmp_path):
    path = save(tmp_path / "a.dcm", OVERLAPPING, [LIVER, TUMOUR])
    affine = grid().affine.copy()
    affine[:3, 3] = grid().position_mm((6, 11, 9))
    affine[:3, :3] *= -1
    write(LabelMap(np.ascontiguousarray(truth()[::-1, ::-1, ::-1]), Geometry(SHAPE, affine)), tmp_path / "t.nii.gz")
    ((_, here, there),) = match(open_truth(tmp_path / "t.nii.gz"), open_predictions(path)).pairs
    pair = read_pair(here, there)
    assert (pair.found.labels == pair.truth.labels).all()
    assert pair.notes == ("a.dcm: set into the scan's slices by its positions",)


def test_two_segmentations_are_scored_on_what_both_need(tmp_path):
    low, high = truth(), truth()
    low[5:], high[:2] = 0, 0
    here = save(tmp_path / "truth" / "a.dcm", masks(low >= 1, low == 2), [LIVER, TUMOUR])
    there = save(tmp_path / "found" / "a.dcm", masks(high >= 1, high == 2), [LIVER, TUMOUR])
    ((_, a, b),) = match(open_truth(here), open_predictions(there)).pairs
    pair = read_pair(a, b)
    assert pair.truth.geometry.same_grid(pair.found.geometry)
    assert (pair.truth.labels == low[1:6]).all()
    assert (pair.found.labels == high[1:6]).all()


def test_a_segmentation_as_truth_lies_on_the_predictions_grid(tmp_path):
    here = save(tmp_path / "t.dcm", OVERLAPPING, [LIVER, TUMOUR])
    write(LabelMap(truth(), grid()), tmp_path / "f.nii.gz")
    ((_, a, b),) = match(open_truth(here), open_predictions(tmp_path / "f.nii.gz")).pairs
    pair = read_pair(a, b)
    assert (pair.truth.labels == truth()).all()
    assert pair.truth.geometry.same_grid(grid())


def test_another_lattice_is_an_error_as_ever(tmp_path):
    path = save(tmp_path / "a.dcm", OVERLAPPING, [LIVER, TUMOUR])
    affine = grid().affine.copy()
    affine[:3, 3] += (0, 0, 1.2)
    write(LabelMap(truth(), Geometry(SHAPE, affine)), tmp_path / "t.nii.gz")
    ((_, here, there),) = match(open_truth(tmp_path / "t.nii.gz"), open_predictions(path)).pairs
    with pytest.raises(GeometryMismatch, match=r"'a.dcm' lies on another grid.*shape \(5, 12, 10\) against"):
        read_pair(here, there)
    assert read_pair(here, there, "nearest").found.labels.shape == SHAPE


@pytest.mark.parametrize(
    ("described", "label"),
    [
        (segment(1, "anything", "10200004"), 1),
        (segment(1, "anything", "4147007"), 2),
        (segment(1, "anything", "108369006", region="10200004"), 2),
        (segment(1, "liver lesion", "x1"), 2),
        (segment(1, "Liver", "x1"), 1),
    ],
)
def test_what_a_segment_shows(tmp_path, described, label):
    found = read(save(tmp_path / "a.dcm", masks(truth() >= 1), [described]))
    assert found.labels.labels.max() == label


@pytest.mark.parametrize(
    "described",
    [
        segment(1, "anything", "108369006", region="64033007"),  # kidney
        segment(1, "Kidney tumour", "108369006"),
        segment(1, "liver_vessels", "x1"),
        segment(1, "thing", "x1"),
    ],
)
def test_what_is_neither_liver_nor_its_tumour_needs_a_mapping(tmp_path, described):
    path = save(tmp_path / "a.dcm", masks(truth() >= 1), [described])
    with pytest.raises(
        BadInput, match=rf"'a.dcm' has the segments 1 {described.SegmentLabel}; none is known.*--map 1=1"
    ):
        read(path)
    for mapping in ("1=2", f"{described.SegmentLabel}=2"):
        assert read(path, mapping).labels.labels.max() == 2


def test_folders_of_segmentations(tmp_path):
    for case in ("P1", "P2"):
        save(tmp_path / "by_folder" / case / "segmentations.dcm", OVERLAPPING, [LIVER, TUMOUR])
        save(tmp_path / "flat" / f"{case}.dcm", OVERLAPPING, [LIVER, TUMOUR])
        scan()[0].save_as(tmp_path / "by_folder" / case / "ct.dcm", enforce_file_format=False)
    for folder in ("by_folder", "flat"):
        found = open_predictions(tmp_path / folder)
        assert (found.layout, list(found.sources)) == ("DICOM SEG", ["P1", "P2"])
        assert found.sources["P2"].read().labels.labels.max() == 2


def test_files_without_an_ending_are_known_by_their_content(tmp_path):
    save(tmp_path / "out" / "IM0001", OVERLAPPING, [LIVER, TUMOUR])
    assert list(open_predictions(tmp_path / "out").sources) == ["IM0001"]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "scan.dcm").write_bytes(bytes(128) + b"DICM")
    with pytest.raises(BadInput, match=r"'other' holds DICOM files, but no segmentation \(SEG\)"):
        open_predictions(tmp_path / "other")


def test_a_fractional_segmentation_is_refused(tmp_path):
    path = save(tmp_path / "a.dcm", masks(truth() >= 1) * 0.5, [LIVER], "FRACTIONAL")
    with pytest.raises(BadInput, match="type FRACTIONAL; expected BINARY or LABELMAP"):
        read(path)


def test_a_ct_slice_is_no_segmentation(tmp_path):
    path = tmp_path / "ct.dcm"
    one = scan()[0]
    one.PixelData = bytes(SHAPE[1] * SHAPE[2] * 2)
    pydicom.dcmwrite(path, one, enforce_file_format=True)
    with path.open("rb") as file:
        assert not is_segmentation(file)
    with pytest.raises(BadInput, match=r"'ct.dcm' is DICOM but no segmentation"):
        read(path)


def test_frames_in_no_even_stack_are_refused(tmp_path):
    path = save(tmp_path / "a.dcm", OVERLAPPING, [LIVER, TUMOUR])
    data = pydicom.dcmread(path)
    for item in data.PerFrameFunctionalGroupsSequence[2:4]:
        item.PlanePositionSequence[0].ImagePositionPatient[2] += 0.9
    data.save_as(path)
    with pytest.raises(BadInput, match=r"'a.dcm'.*even"):
        read(path)


@pytest.mark.parametrize("keep", [0.3, 0.97])
def test_a_damaged_file_is_told_without_the_patient(tmp_path, keep):
    path = save(tmp_path / "a.dcm", OVERLAPPING, [LIVER, TUMOUR])
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(BadInput, match=r"'a.dcm'") as error:
        read(path)
    assert "Secret" not in str(error.value)
    assert error.value.__cause__ is None


def test_without_highdicom_the_extra_is_named(tmp_path, monkeypatch):
    path = save(tmp_path / "a.dcm", OVERLAPPING, [LIVER, TUMOUR])
    monkeypatch.setitem(sys.modules, "highdicom.seg", None)
    with pytest.raises(MissingExtra, match=r"pip install hepar\[dicom\]"):
        read(path)
