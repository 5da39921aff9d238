"""Bad input through the command line: the right exit code, one sentence, nothing half-written."""

from __future__ import annotations

import gzip
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from hepar.errors import BadInput, BadModel, OutputError, SomeCasesFailed
from hepar.io import read_labels, write, write_volume

HONEST = np.arange(-512, 488, dtype=np.int16).reshape(10, 10, 10)


def nifti_bytes(values: np.ndarray, **fields: object) -> bytes:
    """A .nii with header fields set behind nibabel's back."""
    block = bytearray(nibabel.Nifti1Image(values, np.diag([1, 1, 2, 1])).to_bytes())
    header = nibabel.Nifti1Header(bytes(block[:348]), check=False)
    for name, value in fields.items():
        header[name] = value
    block[:348] = header.binaryblock
    return bytes(block)


def with_voxel(value: float) -> np.ndarray:
    values = HONEST.astype(np.float32)
    values[4, 4, 4] = value
    return values


def rgb_bytes() -> bytes:
    colour = np.zeros((10, 10, 10), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    return nibabel.Nifti1Image(colour, np.diag([1, 1, 2, 1])).to_bytes()


PACKED = gzip.compress(nifti_bytes(HONEST))
BAD_FILES = {
    "truncated": ("ct.nii.gz", PACKED[: len(PACKED) // 2], r"truncated or damaged"),
    "cut to nothing": ("ct.nii.gz", b"", r"0 bytes, too few"),
    "NaN": ("ct.nii", nifti_bytes(with_voxel(np.nan)), r"1 NaN and 0 infinite voxels"),
    "infinite": ("ct.nii", nifti_bytes(with_voxel(-np.inf)), r"0 NaN and 1 infinite voxels"),
    "2D": ("ct.nii", nifti_bytes(HONEST[0]), r"2 dimensions \(10 x 10\).*expected a 3D scan"),
    "4D": ("ct.nii", nifti_bytes(HONEST[..., None] + np.zeros(2, np.int16)), r"4 dimensions .*expected a 3D scan"),
    "zero spacing": ("ct.nii", nifti_bytes(HONEST, pixdim=[1, 1, 1, 0, 0, 0, 0, 0]), r"every spacing must be above 0"),
    "RGB": ("ct.nii", rgb_bytes(), r"holds RGB; expected one real number per voxel"),
    "labels as CT": ("ct.nii", nifti_bytes((HONEST % 3).astype(np.uint8)), r"looks like a label map"),
    "30000 cubed": (
        "ct.nii.gz",
        gzip.compress(nifti_bytes(HONEST, dim=[3, 30000, 30000, 30000, 1, 1, 1, 1])),
        r"claims a grid of 30000 x 30000 x 30000 voxels",
    ),
    "text": ("ct.nii.gz", b"not a scan " * 50, r"does not begin with a NIfTI header"),
    "unknown kind": ("ct.docx", b"hello", r"of a kind that hepar does not read"),
}


def files_in(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if not p.is_dir())


def assert_said_well(finished, folder: Path) -> None:
    """One sentence for the user: no traceback, no full path."""
    assert finished.err.startswith("hepar: ")
    assert "Traceback" not in finished.err + finished.out
    assert str(folder) not in finished.err + finished.out


def test_an_honest_scan_passes(tmp_path, threshold_model, hepar_command, small_scan):
    ct, truth = small_scan
    write_volume(ct, tmp_path / "ct.nii.gz")
    finished = hepar_command("segment", tmp_path / "ct.nii.gz", "-o", tmp_path / "out", "--model", threshold_model)
    assert (finished.code, finished.err) == (0, "")
    assert files_in(tmp_path / "out") == ["ct.csv", "ct.html", "ct.json", "ct.nii.gz", "ct.png"]
    assert np.array_equal(read_labels(tmp_path / "out" / "ct.nii.gz").labels, truth.labels)


@pytest.mark.parametrize("what", BAD_FILES)
@pytest.mark.parametrize("out", ["out", "out.nii.gz"])
def test_a_bad_scan_ends_with_its_message_and_exit_code_2(tmp_path, threshold_model, hepar_command, what, out):
    name, data, message = BAD_FILES[what]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(data)
    finished = hepar_command("segment", tmp_path / "in" / name, "-o", tmp_path / out, "--model", threshold_model)
    assert finished.code == BadInput.exit_code == 2
    assert_said_well(finished, tmp_path)
    assert re.search(message, finished.err), finished.err
    assert name in finished.err
    assert files_in(tmp_path) == [f"in/{name}"]


@pytest.mark.parametrize(
    ("source", "out"),
    [("in/ct.nii.gz", "in"), ("in/ct.nii.gz", "in/ct.nii.gz"), ("in", "in"), ("in", "in/ct.nii.gz"), ("in", "hard")],
)
def test_labels_never_take_the_place_of_the_scan(tmp_path, threshold_model, hepar_command, small_scan, source, out):
    scan = tmp_path / "in" / "ct.nii.gz"
    write_volume(small_scan[0], scan)
    (tmp_path / "hard").mkdir()
    os.link(scan, tmp_path / "hard" / "ct.nii.gz")
    before = scan.read_bytes()
    finished = hepar_command("segment", tmp_path / source, "-o", tmp_path / out, "--model", threshold_model)
    assert finished.code == 2
    assert_said_well(finished, tmp_path)
    assert re.search(r"give another (place|folder) to -o", finished.err)
    assert scan.read_bytes() == before
    assert files_in(tmp_path) == ["hard/ct.nii.gz", "in/ct.nii.gz"]


def test_an_empty_folder_has_no_scan(tmp_path, threshold_model, hepar_command):
    (tmp_path / "in").mkdir()
    finished = hepar_command("segment", tmp_path / "in", "-o", tmp_path / "out", "--model", threshold_model)
    assert finished.code == 2
    assert_said_well(finished, tmp_path)
    assert "no CT found in 'in'" in finished.err
    assert not (tmp_path / "out").exists()


def test_a_path_that_is_not_there_is_named(tmp_path, threshold_model, hepar_command):
    finished = hepar_command("segment", tmp_path / "gone.nii", "-o", tmp_path / "out", "--model", threshold_model)
    assert finished.code == 2
    assert "no file or folder 'gone.nii'" in finished.err
    assert files_in(tmp_path) == []


def test_bad_files_in_a_folder_are_listed_and_the_good_ones_segmented(
    tmp_path, threshold_model, hepar_command, small_scan
):
    ct, truth = small_scan
    folder = tmp_path / "in"
    for what in ("truncated", "NaN", "labels as CT", "unknown kind"):
        name, data, _ = BAD_FILES[what]
        folder.mkdir(exist_ok=True)
        (folder / (what.replace(" ", "_") + name[2:])).write_bytes(data)
    write_volume(ct, folder / "a_good.nii.gz")
    write_volume(ct, folder / "z_good.nii")
    words = ("segment", folder, "-o", tmp_path / "out", "--model", threshold_model, "--no-report")
    finished = hepar_command(*words)
    assert finished.code == SomeCasesFailed.exit_code == 5
    assert_said_well(finished, tmp_path)
    assert "3 of 5 cases failed" in finished.err
    for case in ("truncated", "NaN", "labels_as_CT"):
        assert f"failed {case}:" in finished.out
    assert finished.out.count("segmented ") == 2
    results = files_in(tmp_path / "out")
    notes = {name for name in results if name.endswith(".failed.json")}
    assert notes == {f"{case}.failed.json" for case in ("truncated", "NaN", "labels_as_CT")}
    assert {name.split(".")[0] for name in set(results) - notes} == {"a_good", "z_good", "cohort"}
    assert np.array_equal(read_labels(tmp_path / "out" / "z_good.nii.gz").labels, truth.labels)


@pytest.mark.parametrize("out", ["blocker", "blocker/out", "blocker/deeper/out", "blocker/out.nii.gz"])
def test_an_output_below_a_file_cannot_be_written(tmp_path, threshold_model, hepar_command, small_scan, out):
    write_volume(small_scan[0], tmp_path / "ct.nii.gz")
    (tmp_path / "blocker").write_text("a file")
    finished = hepar_command("segment", tmp_path / "ct.nii.gz", "-o", tmp_path / out, "--model", threshold_model)
    assert finished.code == OutputError.exit_code == 4
    assert_said_well(finished, tmp_path)
    assert "choose" in finished.err
    assert files_in(tmp_path) == ["blocker", "ct.nii.gz"]
    assert (tmp_path / "blocker").read_text() == "a file"


def test_an_unwritable_output_is_noticed_before_any_scan_is_segmented(
    tmp_path, threshold_model, hepar_command, small_scan
):
    for name in ("one", "two"):
        write_volume(small_scan[0], tmp_path / "in" / f"{name}.nii.gz")
    (tmp_path / "blocker").write_text("a file")
    where = ("-o", tmp_path / "blocker" / "out", "--model", threshold_model)
    finished = hepar_command("segment", tmp_path / "in", *where)
    assert finished.code == 4
    assert "failed" not in finished.out


# The kernel refuses to grow a file beyond the limit: what a full disk does, without filling one.
SEGMENT_WITH_LIMIT = """
import resource, sys
from hepar.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)), resource.RLIM_INFINITY))
main()
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="this system has no file size limits")
@pytest.mark.parametrize("out", ["out", "labels.nii"])
def test_a_full_disk_leaves_nothing_half_written(tmp_path, threshold_model, small_scan, out):
    write_volume(small_scan[0], tmp_path / "ct.nii.gz")
    words = ["2000", "segment", str(tmp_path / "ct.nii.gz"), "-o", str(tmp_path / out), "--model", str(threshold_model)]
    ended = subprocess.run(
        [sys.executable, "-c", SEGMENT_WITH_LIMIT, *words], capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 4, ended.stderr
    assert "free space or choose another folder" in " ".join(ended.stderr.split())
    assert "Traceback" not in ended.stderr
    left = [name for name in files_in(tmp_path) if name != "ct.nii.gz"]
    # Labels that compress below the limit are whole; nothing else is there, no picture and no JSON that marks an end.
    assert left in ([], ["out/ct.nii.gz"])
    for name in left:
        assert np.array_equal(read_labels(tmp_path / name).labels, small_scan[1].labels)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="an administrator may write everywhere")
def test_a_folder_without_permission_cannot_be_written(tmp_path, threshold_model, hepar_command, small_scan):
    write_volume(small_scan[0], tmp_path / "ct.nii.gz")
    (tmp_path / "out").mkdir(mode=0o555)
    words = ("segment", tmp_path / "ct.nii.gz", "-o", tmp_path / "out", "--model", threshold_model)
    assert hepar_command(*words).code == 4
    assert files_in(tmp_path / "out") == []


def test_a_folder_that_is_no_model_is_named_before_anything_is_written(tmp_path, hepar_command, small_scan):
    write_volume(small_scan[0], tmp_path / "ct.nii.gz")
    (tmp_path / "models").mkdir()
    words = ("segment", tmp_path / "ct.nii.gz", "-o", tmp_path / "out", "--model", tmp_path / "models")
    finished = hepar_command(*words)
    assert finished.code == BadModel.exit_code == 3
    assert "models holds no model.json" in finished.err
    assert files_in(tmp_path) == ["ct.nii.gz"]


def test_a_device_that_the_model_cannot_use_is_named(tmp_path, threshold_model, hepar_command, small_scan):
    write_volume(small_scan[0], tmp_path / "ct.nii.gz")
    words = ("segment", tmp_path / "ct.nii.gz", "-o", tmp_path / "out", "--model", threshold_model, "--device", "cuda")
    finished = hepar_command(*words)
    assert finished.code == 2
    assert "use --device cpu or auto" in finished.err
    assert files_in(tmp_path) == ["ct.nii.gz"]


@pytest.mark.parametrize("what", ["truncated", "2D", "NaN", "RGB"])
def test_bad_label_files_are_listed_when_scoring(tmp_path, hepar_command, small_scan, what):
    name, data, _ = BAD_FILES[what]
    for side in ("truth", "found"):
        write(small_scan[1], tmp_path / side / "good.nii.gz")
    write(small_scan[1], tmp_path / "truth" / "bad.nii.gz")
    (tmp_path / "found" / ("bad" + name[2:])).write_bytes(data)
    finished = hepar_command("evaluate", tmp_path / "truth", tmp_path / "found", "-o", tmp_path / "scores")
    assert finished.code == 5
    assert "1 of 2 cases could not be scored" in finished.err
    written = [name for name in files_in(tmp_path / "scores") if "/" not in name]
    assert written == ["cases.csv", "differences.csv", "figures.csv", "scores.html", "scores.json"]
    rows = (tmp_path / "scores" / "cases.csv").read_text().splitlines()
    assert len(rows) == 3


def test_a_picture_of_a_bad_scan_is_not_begun(tmp_path, hepar_command):
    (tmp_path / "ct.nii").write_bytes(BAD_FILES["NaN"][1])
    finished = hepar_command("preview-preprocessing", tmp_path / "ct.nii", "--slice", 2, "-o", tmp_path / "fig.png")
    assert finished.code == 2
    assert "1 NaN" in finished.err
    assert files_in(tmp_path) == ["ct.nii"]


def test_a_slice_that_the_scan_does_not_have_is_named(tmp_path, hepar_command):
    (tmp_path / "ct.nii").write_bytes(nifti_bytes(HONEST))
    finished = hepar_command("preview-preprocessing", tmp_path / "ct.nii", "--slice", 10, "-o", tmp_path / "fig.png")
    assert finished.code == 2
    assert_said_well(finished, tmp_path)
    assert files_in(tmp_path) == ["ct.nii"]
