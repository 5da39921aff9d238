"""What a path holds: files and series, each with an id of its own, opened only when read."""

from __future__ import annotations

import pickle
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from hepar.errors import BadInput
from hepar.io import find_scans, read, write_volume


def zipped(folder: Path, target: Path) -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            archive.write(path, path.relative_to(folder))
    return target


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
    assert [scan.id for scan in find_scans(tmp_path)] == [
        *(f"{tmp_path.name}{end}" for end in ("_series3", "_series9", "_series_1")),
        "a",
        "a_2",
    ]


def test_series_of_a_study_are_named_after_the_folder(tmp_path, series):
    series.write(tmp_path / "study")
    assert [scan.id for scan in find_scans(tmp_path / "study")] == ["study"]
    series.but(uid="1.2.3", number=9).write(tmp_path / "study")
    assert [scan.id for scan in find_scans(tmp_path / "study")] == ["study_series3", "study_series9"]


def patients(series, folder: Path) -> None:
    """Two patients in folders named after them; a series number that both have, and two missing ones."""
    for place, (name, number) in enumerate([("DOE_JOHN", 3), ("ROE_JANE", 3), ("DOE_JOHN", None), ("ROE_JANE", None)]):
        series.but(uid=f"1.2.{place}", number=number).write(folder / f"{name}_1951" / f"art{place}")
    series.but(uid="1.2.9", number=9).write(folder / "DOE_JOHN_1951" / "late")


@pytest.mark.parametrize("packed", [False, True])
def test_neither_ids_nor_names_repeat_folders_further_inside(tmp_path, series, packed):
    path = tmp_path / "study"
    patients(series, path)
    if packed:
        path = zipped(path, tmp_path / "study.zip")
    scans = find_scans(path)
    ends = ("_series3_1", "_series_1", "_series9", "_series3_2", "_series_2")
    assert [scan.id for scan in scans] == [f"study{end}" for end in ends]
    shown = " ".join(scan.id + scan.name for scan in scans)
    with pytest.raises(BadInput) as caught:
        read(path)
    assert not re.search("DOE|JOHN|ROE|1951|art", shown + str(caught.value))
    assert [scan.id for scan in find_scans(path)] == [scan.id for scan in scans]


def test_a_folder_typed_as_the_study_gives_its_name(tmp_path, series):
    patients(series, tmp_path)
    ids = {scan.id for scan in find_scans(tmp_path / "DOE_JOHN_1951")}
    assert ids == {"DOE_JOHN_1951_series3", "DOE_JOHN_1951_series_1", "DOE_JOHN_1951_series9"}


def test_zips_of_a_folder_are_scans_and_a_damaged_one_fails_alone(tmp_path, ct, series):
    folder = tmp_path / "study"
    write_volume(ct, folder / "c.nii.gz")
    series.write(tmp_path / "one" / "DOE")
    series.but(uid="1.2.3", number=9).write(tmp_path / "two" / "ROE")
    zipped(tmp_path / "one", folder / "a.zip")
    (folder / "b.zip").write_bytes((folder / "a.zip").read_bytes()[:500])
    shutil.copytree(tmp_path / "one", tmp_path / "two", dirs_exist_ok=True)
    zipped(tmp_path / "two", folder / "D.ZIP")
    with zipfile.ZipFile(folder / "papers.zip", "w") as archive:
        archive.writestr("readme.txt", "no CT")
    zipped(tmp_path / "one", folder / "deeper.zip").rename(tmp_path / "deeper.zip")
    (folder / "deeper").mkdir()
    (tmp_path / "deeper.zip").rename(folder / "deeper" / "deeper.zip")
    scans = find_scans(folder)
    assert [scan.id for scan in scans] == ["D_series3", "D_series9", "a", "b", "c"]
    assert scans[1].name == "D.ZIP: DICOM series 9 (CT, 6 slices)"
    for scan in scans:
        if scan.id == "b":
            with pytest.raises(BadInput, match=r"'b.zip' is no .zip that can be read"):
                pickle.loads(pickle.dumps(scan)).read()
        else:
            assert scan.read().values.any()


def forbid(monkeypatch, *names: str) -> None:
    """Files that the user may not read, though root may."""
    honest = Path.open

    def opened(path: Path, *args, **options):
        if path.name in names:
            raise PermissionError(13, "Permission denied", str(path))
        return honest(path, *args, **options)

    monkeypatch.setattr(Path, "open", opened)


@pytest.mark.parametrize("name", ["bad.nii", "bad.nii.gz", "bad.mha"])
def test_a_volume_file_that_may_not_be_read_fails_alone(tmp_path, ct, monkeypatch, name):
    for file in ("good.nii.gz", "bad.nii.gz", "bad.nii"):
        write_volume(ct, tmp_path / file)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(ct.values), tmp_path / "bad.mha")
    forbid(monkeypatch, name)
    for scan in find_scans(tmp_path):
        if scan.name == name:
            with pytest.raises(BadInput, match=rf"'{name}' cannot be read.*Permission denied.*check .*rights"):
                scan.read()
        else:
            assert np.array_equal(scan.read().values, ct.values)


def test_a_file_beside_slices_that_may_not_be_read_is_passed_over_and_noted(tmp_path, series, monkeypatch):
    for folder in ("a", "b"):
        series.write(tmp_path / folder)
        (tmp_path / folder / "locked").write_bytes(b"who knows")
    forbid(monkeypatch, "locked")
    (tmp_path / "b" / "locked").unlink()
    noted, whole = read(tmp_path / "a"), read(tmp_path / "b")
    assert np.array_equal(noted.values, whole.values)
    assert whole.notes == ()
    assert [note.startswith("files beside the slices that could not be read: 1.") for note in noted.notes] == [True]


def test_a_slice_in_the_middle_that_may_not_be_read_is_missing(tmp_path, series, monkeypatch):
    file = series.write(tmp_path)[2]
    forbid(monkeypatch, file.name)
    missing, unread = read(tmp_path).notes
    assert missing.startswith("slices 1 missing") and unread.startswith("files beside the slices")


def test_a_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    def refused(path: Path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refused)
    with pytest.raises(BadInput, match=r"cannot be read \(Permission denied\)") as caught:
        find_scans(tmp_path)
    assert str(tmp_path) not in str(caught.value)


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
