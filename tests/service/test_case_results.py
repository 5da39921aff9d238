"""What a segmented DICOM series leaves: SEG and SR that say what the report says, on the files' own slices."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
from test_batch import plant_series

from hepar.geometry import Geometry
from hepar.io import read_labels
from hepar.service.case_results import MOST_SEGMENTS, structure_numbers
from hepar.volume import LIVER, TUMOUR, LabelMap

pytest.importorskip("highdicom", reason="the extra hepar[dicom] is not installed")


@pytest.fixture
def segmented(small_scan, tmp_path, threshold_model, hepar_command):
    """The command on a planted series, and the folder of its results."""
    folder = plant_series(small_scan[0], tmp_path / "scan")

    def run(*options: str) -> Path:
        ended = hepar_command("segment", folder, "-o", tmp_path / "out", "--model", threshold_model, *options)
        assert ended.code == 0, ended.err
        return tmp_path / "out"

    return run


def test_the_seg_holds_the_labels_and_the_sr_the_reports_numbers(segmented):
    out = segmented()
    labels, seg = read_labels(out / "scan.nii.gz"), pydicom.dcmread(out / "scan_seg.dcm")
    names = [str(one.SegmentLabel) for one in seg.SegmentSequence]
    assert names == ["Liver", "Tumour 1"]
    frames = np.asarray(seg.pixel_array).reshape(-1, seg.Rows, seg.Columns)
    owner = [
        one.SegmentIdentificationSequence[0].ReferencedSegmentNumber for one in seg.PerFrameFunctionalGroupsSequence
    ]
    count = [int(frames[[n == k for n in owner]].sum()) for k in (1, 2)]
    # The liver's segment holds its tumours.
    assert count == [int(labels.liver.sum()), int(labels.tumour.sum())]
    facts = json.loads((out / "scan.json").read_text(encoding="utf-8"))
    told = str(pydicom.dcmread(out / "scan_sr.dcm"))
    assert "Research use only" in told
    for value in (facts["volumes"]["liver_ml"], facts["tumours"][0]["longest_axial_diameter_mm"]):
        assert any(abs(float(n) - value) < 0.01 * value for n in numbers_of(told)), value


def numbers_of(text: str) -> list[str]:
    """What stands as a numeric value in a printed SR."""
    return [line.split("DS:")[1].strip().strip("'\"") for line in text.splitlines() if "Numeric Value" in line]


@pytest.mark.parametrize(
    ("kind", "files"),
    [("none", set()), ("labelmap", {"scan_seg.dcm", "scan_sr.dcm"}),
     ("fractional", {"scan_seg.dcm", "scan_sr.dcm", "scan_probability_seg.dcm"})],
)  # fmt: skip
def test_kinds_of_seg_are_chosen_by_an_option(segmented, kind, files):
    out = segmented("--seg", kind)
    assert {path.name for path in out.glob("*.dcm")} == files
    if kind != "none":
        expected = {"labelmap": "LABELMAP", "fractional": "BINARY"}[kind]
        assert pydicom.dcmread(out / "scan_seg.dcm").SegmentationType == expected


def test_lesions_bear_the_reports_numbers_and_the_many_share_a_last_one():
    grid = Geometry.from_spacing((8, 60, 60), (5, 2, 2))
    labels = np.full(grid.shape, LIVER, np.uint8)
    labels[3, 2:58:4, 2:58:4] = TUMOUR
    labels[3:6, 20:22, 20:22] = TUMOUR
    marks = structure_numbers(LabelMap(labels, grid))
    assert set(np.unique(marks)) == set(range(1, MOST_SEGMENTS + 3))
    assert marks[4, 20, 20] == 2  # the largest
    assert np.array_equal(marks > 1, labels == TUMOUR)


def test_a_series_without_liver_gets_no_empty_seg_and_a_note(small_scan, tmp_path, threshold_model, hepar_command):
    ct, _ = small_scan
    folder = plant_series(ct.with_values(np.minimum(ct.values, 50)), tmp_path / "scan")
    ended = hepar_command("segment", folder, "-o", tmp_path / "out", "--model", threshold_model)
    assert ended.code == 0 and "neither liver nor tumour was found" in ended.out
    assert not list((tmp_path / "out").glob("*.dcm"))
