"""Folders of slices: what can be checked of them is, and what gaps between slices make meaningless is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hepar.doctor import examine
from hepar.doctor.intensity import EACH
from layout_folders import bodies, body, write_slices


def change(root: Path, part: str, patient: int, how) -> None:
    for path in sorted((root / part).glob(f"p{patient}_*.png")):
        Image.fromarray(how(np.asarray(Image.open(path))).astype(np.uint8)).save(path)


def found(root: Path) -> list[tuple[str, str, str]]:
    return [(f.case, f.kind, f.severity) for f in examine(root).findings if f.severity != "note"]


@pytest.fixture
def slices(tmp_path) -> Path:
    return write_slices(tmp_path / "own", bodies(1, 2))


def test_pictures_turned_left_to_right_are_found(slices):
    for part in ("images", "labels"):
        change(slices, part, 2, lambda picture: picture[:, ::-1])
    (alarm,) = [f for f in examine(slices).findings if f.severity != "note"]
    assert (alarm.case, alarm.kind, alarm.repairable) == ("own-patient2", "orientation", False)
    assert "left of the middle" in alarm.detail


def test_pictures_turned_upside_down_are_found(slices):
    for part in ("images", "labels"):
        change(slices, part, 2, lambda picture: picture[::-1])
    (alarm,) = [f for f in examine(slices).findings if f.severity != "note"]
    assert (alarm.kind, alarm.detail) == ("orientation", "the liver lies behind")


def test_a_wrong_label_number_or_a_lost_picture_names_its_file(slices):
    change(slices, "labels", 1, lambda picture: picture * 100)
    (slices / "images" / "p2_s004.png").unlink()
    alarms = {f.case: f for f in examine(slices).findings if f.severity != "note"}
    assert {f.kind for f in alarms.values()} == {"unreadable"}
    assert "hold 200; expected 0, 1 and 2" in alarms["own-patient1"].detail
    assert "p2_s004.png" in alarms["own-patient2"].detail


def test_one_scan_under_two_patients_is_found(slices, tmp_path):
    root = write_slices(tmp_path / "twice", bodies(1, 2) | {5: body(2)})
    assert found(root) == [("twice-patient2", "two-names", "error")]


def test_tumour_without_liver_around_it_is_found(slices):
    """On each slice a tumour's outline is looked at, so gaps between slices do no harm."""

    def lone(picture: np.ndarray) -> np.ndarray:
        out = np.minimum(picture, 1)
        out[60:64, 50:54] = 2
        return out

    change(slices, "labels", 1, lone)
    assert found(slices) == [("own-patient1", "tumour-apart", "warning")]


def test_a_patient_with_few_slices_raises_no_alarm(tmp_path):
    """No volume, no pieces, no missing tumour: a few slices say nothing of these."""
    root = write_slices(tmp_path / "few", bodies(1))
    lines = (root / "manifest.csv").read_text().splitlines()
    (root / "manifest.csv").write_text("\n".join([lines[0], lines[8], lines[11]]) + "\n")
    assert found(root) == []


def test_slices_without_a_scale_are_not_hu(slices):
    (slices / "slices.json").unlink()
    diagnosis = examine(slices)
    assert diagnosis.layout == "slices without a grey scale"
    assert [(f.kind, f.detail) for f in diagnosis.findings] == [("not-hu", EACH)] * 2
    for path in (slices / "images").iterdir():
        Image.fromarray(np.asarray(Image.open(path)) // 2).save(path)
    assert {f.detail for f in examine(slices).findings} == {"slices.json is missing"}


def test_the_window_of_slices_is_told(slices):
    told = [f for f in examine(slices).findings if f.severity == "note"]
    assert [(f.kind, f.case) for f in told] == [("windowed", "own-patient1"), ("windowed", "own-patient2")]
    assert "-100..200 HU" in told[0].message
