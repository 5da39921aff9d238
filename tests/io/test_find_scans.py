"""What a path holds: files and series, each with an id of its own, opened only when read."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK

from hepar.errors import BadInput
from hepar.io import find_scans, read, write_volume


def test_a_file_is_one_scan_named_after_its_stem(tmp_path, ct):
    for name in ("a.nii", "b.c.nii.gz", "D.NII.GZ"):
        write_volume(ct, tmp_path / name)
    assert [find_scans(tmp_path / n)[0].id for n in ("a.nii", "b.c.nii.gz", "D.NII.GZ")] == ["a", "b.c", "D"]


def test_a_mixed_folder_gives_all_its_scans(tmp_path, ct, series):
    folder = tmp_path / "study"
    series.write(folder / "dicom")
    write_volume(ct, folder / "one.nii.gz")
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(ct.values), folder / "two.mhd")
    (folder / "notes.txt").write_text("hello")
    (folder / "._one.nii.gz").write_bytes(b"left by another system")
    write_volume(ct, folder / "deeper" / "not listed.nii")
    scans = find_scans(str(folder))
    assert [scan.id for scan in scans] == ["study", "one", "two"]
    assert [scan.read().values.shape for scan in scans] == [(6, 7, 9), ct.values.shape, ct.values.shape]
    with pytest.raises(BadInput, match=r"3 scans in 'study': DICOM series 3 \(CT, 6 slices\), one.nii.gz, two.mhd"):
        read(folder)


def test_a_folder_with_one_scan_is_that_scan(tmp_path, ct):
    write_volume(ct, tmp_path / "one.nii.gz")
    assert np.array_equal(read(tmp_path).values, ct.values)


def test_ids_are_unique(tmp_path, ct, series):
    write_volume(ct, tmp_path / "a.nii")
    write_volume(ct, tmp_path / "a.nii.gz")
    series.write(tmp_path / "a")
    series.but(uid="1.2.3", number=9).write(tmp_path / "a")
    series.but(uid="1.2.4", number=None).write(tmp_path / "a" / "b")
    assert [scan.id for scan in find_scans(tmp_path)] == ["a_series3", "a_series9", "a_b", "a", "a_2"]


def test_series_of_a_study_are_named_after_the_folder(tmp_path, series):
    series.write(tmp_path / "study")
    assert [scan.id for scan in find_scans(tmp_path / "study")] == ["study"]
    series.but(uid="1.2.3", number=9).write(tmp_path / "study")
    assert [scan.id for scan in find_scans(tmp_path / "study")] == ["study_series3", "study_series9"]


def test_a_broken_file_is_found_and_fails_when_read(tmp_path, ct):
    write_volume(ct, tmp_path / "good.nii.gz")
    (tmp_path / "bad.nii.gz").write_bytes(b"broken")
    bad, good = find_scans(tmp_path)
    assert np.array_equal(good.read().values, ct.values)
    with pytest.raises(BadInput, match=r"bad.nii.gz"):
        bad.read()


def test_scans_travel_to_other_processes(tmp_path, ct, series):
    series.write(tmp_path / "s")
    write_volume(ct, tmp_path / "a.nii")
    for scan in find_scans(tmp_path):
        assert np.array_equal(pickle.loads(pickle.dumps(scan)).read().values, scan.read().values)


def test_importing_io_loads_no_format_library():
    code = "import sys, hepar.io; sys.exit(any(m in sys.modules for m in ('nibabel', 'SimpleITK', 'pydicom', 'torch')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_reading_nifti_loads_no_itk(tmp_path, ct):
    write_volume(ct, tmp_path / "a.nii.gz")
    code = (
        "import sys, hepar.io; hepar.io.read(sys.argv[1]); "
        "sys.exit(any(m in sys.modules for m in ('SimpleITK', 'hepar.io.dicom', 'torch')))"
    )
    assert subprocess.run([sys.executable, "-c", code, tmp_path / "a.nii.gz"], check=False).returncode == 0
