"""`hepar report`: the same page from anybody's labels."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hepar.geometry import Geometry
from hepar.io import write, write_volume
from hepar.volume import LabelMap


@pytest.fixture
def given(small_scan, tmp_path):
    ct, labels = small_scan
    write_volume(ct, tmp_path / "ct.nii.gz")
    write(labels, tmp_path / "corrected.nii.gz")
    return tmp_path


def test_labels_from_elsewhere_get_the_whole_report(given, small_scan, hepar_command):
    ended = hepar_command("report", given / "ct.nii.gz", given / "corrected.nii.gz", "-o", given / "out")
    assert (ended.code, ended.err) == (0, "")
    assert "Quality gates:" in ended.out and "out/corrected.html" in ended.out
    assert {path.name for path in (given / "out").iterdir()} == {
        "corrected.html", "corrected.png", "corrected.csv", "corrected.json",
    }  # fmt: skip
    facts = json.loads((given / "out" / "corrected.json").read_text(encoding="utf-8"))
    assert facts["model"]["name"] == "labels as given"
    assert facts["volumes"]["liver_ml"] == pytest.approx(small_scan[1].volume_ml(1) + small_scan[1].volume_ml(2))


def test_beside_a_reference_they_are_scored(given, hepar_command):
    pair = (given / "ct.nii.gz", given / "corrected.nii.gz")
    ended = hepar_command("report", *pair, "-o", given / "out", "--truth", given / "corrected.nii.gz")
    assert ended.code == 0
    page = (given / "out" / "corrected.html").read_text(encoding="utf-8")
    assert "Agreement with the reference labels" in page and "1.000" in page


def test_labels_of_another_scan_are_refused(given, small_scan, hepar_command):
    _, labels = small_scan
    moved = labels.geometry.affine.copy()
    moved[0, 3] += 5
    write(LabelMap(labels.labels, Geometry(labels.labels.shape, moved)), given / "other.nii.gz")
    ended = hepar_command("report", given / "ct.nii.gz", given / "other.nii.gz", "-o", given / "out")
    assert ended.code == 2 and "other.nii.gz" in ended.err and "this very scan" in ended.err
    assert not (given / "out").exists()


def test_a_folder_of_several_scans_is_refused(given, small_scan, hepar_command):
    (given / "in").mkdir()
    for name in ("a.nii.gz", "b.nii.gz"):
        write_volume(small_scan[0], given / "in" / name)
    ended = hepar_command("report", given / "in", given / "corrected.nii.gz", "-o", given / "out")
    assert ended.code == 2 and "holds 2 scans" in ended.err


def test_a_page_that_was_corrected_differs_from_the_first(given, small_scan, hepar_command):
    _, labels = small_scan
    write(labels.with_labels(np.minimum(labels.labels, np.uint8(1))), given / "none.nii.gz")
    for name in ("corrected", "none"):
        hepar_command("report", given / "ct.nii.gz", given / f"{name}.nii.gz", "-o", given / "out")
    facts = [json.loads((given / "out" / f"{n}.json").read_text(encoding="utf-8")) for n in ("corrected", "none")]
    assert len(facts[0]["tumours"]) == 1 and facts[1]["tumours"] == []


def test_a_file_instead_of_a_folder_is_refused(given, hepar_command):
    ended = hepar_command("report", given / "ct.nii.gz", given / "corrected.nii.gz", "-o", given / "page.html")
    assert ended.code == 2 and "'page.html' looks like a file" in ended.err
    assert not (given / "page.html").exists()
