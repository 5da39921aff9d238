"""Odd and incomplete DICOM: slices without a place are never lost silently, and no value is shown."""

from __future__ import annotations

import logging
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest

from hepar.errors import BadInput
from hepar.io import find_scans, read
from hepar.io.dicom_series import quiet_pydicom

SECRET = "DOE^JOHN 1951"


def edited(file: Path, change: Callable[[pydicom.Dataset], object]) -> None:
    """The file with something changed, whatever pydicom thinks of the new value."""
    with quiet_pydicom(), pydicom.config.disable_value_validation():
        data = pydicom.dcmread(file)
        change(data)
        data.save_as(file)


def no_position(data: pydicom.Dataset) -> None:
    del data.ImagePositionPatient


def two_numbers(data: pydicom.Dataset) -> None:
    data.ImagePositionPatient = [1, 2]


def no_pixel_spacing(data: pydicom.Dataset) -> None:
    del data.PixelSpacing


def no_rows(data: pydicom.Dataset) -> None:
    del data.Rows


@pytest.mark.parametrize("damage", [no_position, two_numbers, no_pixel_spacing, no_rows])
@pytest.mark.parametrize("where", [0, 3, 5])
def test_a_slice_without_a_place_is_not_left_out_silently(tmp_path, series, damage, where):
    edited(series.write(tmp_path)[where], damage)
    with pytest.raises(BadInput, match=r"series 3 \(CT, 5 slices\) .*: 6 image files, 1 of them without a place"):
        read(tmp_path)


def test_without_a_series_uid_the_folder_tells_what_lacks_a_place(tmp_path, series):
    for name in ("a", "b"):
        files = series.but(uid="").write(tmp_path / name)
    edited(files[-1], no_position)
    whole, lacking = find_scans(tmp_path)
    assert len(whole.read().values) == 6
    with pytest.raises(BadInput, match="6 image files, 1 of them without a place"):
        lacking.read()


def test_pictures_of_other_series_scouts_and_reports_are_no_lost_slices(tmp_path, series):
    series.write(tmp_path)
    for file in series.but(uid="1.2.7").write(tmp_path / "screenshots"):
        edited(file, no_position)
    (scout, *rest) = series.but(origin_mm=(0, 0, 0)).write(tmp_path / "scout")
    for file in rest:
        file.unlink()

    def localizer(data: pydicom.Dataset) -> None:
        no_position(data)
        data.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]

    edited(scout, localizer)
    (report, *rest) = series.but(modality="SR").write(tmp_path / "report")
    for file in rest:
        file.unlink()
    edited(report, no_position)
    ct = read(tmp_path)
    assert np.array_equal(ct.values, series.stored.astype(int) - 1024)
    assert ct.notes == ()


def test_a_cut_file_of_no_known_series_is_noted(tmp_path, series):
    last = series.write(tmp_path)[-1]
    edited(last, lambda data: data.pop("SeriesInstanceUID"))
    edited(last, no_position)
    ct = read(tmp_path)
    assert len(ct.values) == 5
    assert any("could not be read: 1. If they are slices" in note for note in ct.notes)


def malformed(data: pydicom.Dataset) -> None:
    data.SeriesInstanceUID = SECRET
    data.SOPInstanceUID = SECRET
    data.PatientID = SECRET * 20


LOUD = "import logging, sys; logging.basicConfig(level=logging.DEBUG); import hepar.io as io; "
READ = "import pydicom; io.read(sys.argv[1])"
SHOW = "import pydicom; print(pydicom.dcmread(sys.argv[1]).SeriesInstanceUID.is_valid)"


def output(code: str, path: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", LOUD + code, path], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout + done.stderr


def test_no_value_of_a_malformed_series_is_logged(tmp_path, series):
    files = series.write(tmp_path / "scan")
    for file in files:
        edited(file, malformed)
    # The twin: without our care pydicom does show it.
    assert "DOE" in output(SHOW, files[0])
    shown = output(READ, tmp_path / "scan")
    assert "DOE" not in shown and "1951" not in shown


def test_pydicom_speaks_again_afterwards(caplog):
    top, known = logging.getLogger("pydicom"), logging.getLogger("pydicom.known")
    known.setLevel(logging.DEBUG)
    with caplog.at_level(logging.DEBUG, logger="pydicom"):
        with quiet_pydicom(), warnings.catch_warnings():
            for logger in (top, known, logging.getLogger("pydicom.made_inside")):
                logger.critical("silenced")
            warnings.warn("silenced", UserWarning, stacklevel=1)
        assert caplog.text == ""
        for logger in (top, known, logging.getLogger("pydicom.made_inside")):
            logger.debug("heard %s", logger.name)
    assert caplog.messages == ["heard pydicom", "heard pydicom.known", "heard pydicom.made_inside"]
