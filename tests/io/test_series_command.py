"""`hepar series` and `hepar segment` on folders of DICOM: what is listed, picked and told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from series_files import ROOT, SeriesFiles

from hepar.io import read_labels

HIGH = SeriesFiles(count=26, gap_mm=5, size=(30, 36), pixel_mm=(3.0, 3.6))


@pytest.fixture
def study(tmp_path) -> Path:
    """Four series of one study in one flat folder, with a text file."""
    folder = tmp_path / "study"
    kernel = {"ConvolutionKernel": "Br38"}
    HIGH.but(tags=kernel | {"SeriesDescription": "Doe abdomen nativ"}).write(folder)
    HIGH.but(uid=f"{ROOT}.4", number=4, name="J", tags=kernel | {"SeriesDescription": "Doe portalvenoes"}).write(folder)
    HIGH.but(uid=f"{ROOT}.5", number=5, name="K", tags={"SeriesDescription": "Doe Lunge"}).write(folder)
    HIGH.but(uid=f"{ROOT}.6", number=6, name="L", column=(0, 0, -1)).write(folder)
    (folder / "readme.txt").write_text("no DICOM")
    return folder


def test_series_are_listed_with_the_picked_one_and_why(study, hepar_command):
    ended = hepar_command("series", study)
    assert ended.code == 0
    rows = [line.split() for line in ended.lines if "x 36" in line]
    assert [row[0] for row in rows] == ["3", "*", "5", "6"]
    assert "picked: DICOM series 4 (CT, 26 slices) was chosen of 4 series: phase: portal venous" in ended.out
    assert "series 3: native; series 5: lung or bone kernel; series 6: coronal" in ended.out
    assert "passed over: 1 no DICOM" in ended.out


def test_the_list_as_json_has_no_patient_data(study, hepar_command, tmp_path):
    ended = hepar_command("series", study, "--json", tmp_path / "list.json")
    text = (tmp_path / "list.json").read_text(encoding="utf-8")
    listed = json.loads(text)
    assert [row["number"] for row in listed["series"]] == [3, 4, 5, 6]
    assert [row["phase"] for row in listed["series"]] == ["native", "portal venous", "unknown", "unknown"]
    assert [row["picked"] for row in listed["series"]] == [False, True, False, False]
    assert listed["passed_over"] == {"no DICOM": 1}
    for secret in ("Secret", "Doe", str(tmp_path), ROOT):
        assert secret not in text and secret not in ended.out


def test_a_series_that_cannot_be_read_is_marked_and_another_one_picked(tmp_path, hepar_command):
    HIGH.but(tags={"SeriesDescription": "portal"}, at=(0, 1, 2, 3, 9, 10)).write(tmp_path)
    HIGH.but(uid=f"{ROOT}.4", number=4, name="J").write(tmp_path)
    ended = hepar_command("series", tmp_path)
    assert "error slices 5 missing between others" in ended.out
    assert "picked: DICOM series 4" in ended.out and "series 3: cannot be read (slices 5 missing" in ended.out


@pytest.mark.parametrize("what", ["nothing", "text", "file"])
def test_a_path_without_series_is_said(tmp_path, hepar_command, what):
    if what != "nothing":
        (tmp_path / "a.txt").write_text("text")
    ended = hepar_command("series", tmp_path / "a.txt" if what == "file" else tmp_path)
    assert ended.code == 2
    said = {"nothing": "found nothing", "text": "found 1 no DICOM", "file": "'a.txt' is one file"}
    assert said[what] in ended.err and str(tmp_path) not in ended.err


def test_segment_takes_the_picked_series_and_prints_why(study, hepar_command, threshold_model, tmp_path):
    ended = hepar_command("segment", study, "-o", tmp_path / "out", "--model", threshold_model, "--no-report")
    assert ended.code == 0, ended.err
    assert "DICOM series 4 (CT, 26 slices) was chosen of 4 series" in ended.out
    found = read_labels(tmp_path / "out" / "study.nii.gz")
    assert found.labels.shape == (26, 30, 36)
