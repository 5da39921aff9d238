"""Whatever is wrong with a file is said in one sentence, soon, and never crashes."""

from __future__ import annotations

import gzip
import time
from pathlib import Path

import nibabel
import numpy as np
import pytest

from hepar.errors import BadInput
from hepar.io import find_scans, read, read_labels, write, write_volume


def nifti_bytes(values: np.ndarray, **fields: object) -> bytes:
    """A .nii with header fields set behind nibabel's back."""
    block = bytearray(nibabel.Nifti1Image(values, np.diag([0.8, 0.8, 2, 1])).to_bytes())
    header = nibabel.Nifti1Header(bytes(block[:348]), check=False)
    for name, value in fields.items():
        header[name] = value
    block[:348] = header.binaryblock
    return bytes(block)


VOXELS = np.arange(-512, 488, dtype=np.int16).reshape(10, 10, 10)


def test_an_honest_file_is_read(tmp_path):
    (tmp_path / "ct.nii").write_bytes(nifti_bytes(VOXELS))
    assert np.array_equal(read(tmp_path / "ct.nii").values, VOXELS.T)


BAD_HEADERS = {
    "zero spacing": ({"pixdim": [1, 0.8, 0.8, 0, 0, 0, 0, 0]}, "spacing of .*0.0.* above 0"),
    "NaN spacing": ({"pixdim": [1, np.nan, 0.8, 2, 0, 0, 0, 0]}, "spacing of .*nan"),
    "flat sform": ({"srow_z": [0, 0, 0, 0]}, "spacing.* above 0"),
    "NaN sform": ({"srow_x": [np.nan, 0, 0, 0]}, "not a finite 4x4"),
    "2D": ({"dim": [2, 10, 100, 1, 1, 1, 1, 1]}, "2 dimensions .*expected a 3D scan"),
    "4D": ({"dim": [4, 5, 10, 10, 2, 1, 1, 1]}, "4 dimensions .*expected a 3D scan"),
    "no dimensions": ({"dim": [0, 0, 0, 0, 0, 0, 0, 0]}, "0 dimensions"),
    "30000 cubed": ({"dim": [3, 30000, 30000, 30000, 1, 1, 1, 1]}, "30000 x 30000 x 30000 .*4,000,000,000"),
    "1000 cubed": ({"dim": [3, 1000, 1000, 1000, 1, 1, 1, 1]}, "2,000,000,000 bytes.*truncated"),
    "negative size": ({"dim": [3, 10, -10, 10, 1, 1, 1, 1]}, "expected a 3D scan"),
    "complex": ({"datatype": 32, "bitpix": 64}, "NIfTI type 32"),
    "RGB": ({"datatype": 128, "bitpix": 24}, "holds RGB"),
    "far offset": ({"vox_offset": np.inf}, "start at byte inf"),
    "NaN intercept": ({"scl_slope": 2.0, "scl_inter": np.nan}, "intercept of nan"),
    "no rotation": ({"sform_code": 0, "qform_code": 1, "quatern_b": 3.0}, "no rotation"),
    "pair": ({"magic": b"ni1"}, "NIfTI pair"),
    "no magic": ({"magic": b"xyz"}, "does not begin with a NIfTI header"),
}


# Gzip may hold a thousand times its size: 1000 cubed is refused there when the voxels end.
KINDS = [(what, packed) for what in BAD_HEADERS for packed in (False, True) if (what, packed) != ("1000 cubed", True)]


@pytest.mark.parametrize(("what", "packed"), KINDS)
def test_bad_headers_are_named(tmp_path, what, packed):
    fields, message = BAD_HEADERS[what]
    data = nifti_bytes(VOXELS, **fields)
    path = tmp_path / ("ct.nii.gz" if packed else "ct.nii")
    path.write_bytes(gzip.compress(data) if packed else data)
    started = time.perf_counter()
    with pytest.raises(BadInput, match=message) as caught:
        read(path)
    assert time.perf_counter() - started < 2
    assert path.name in str(caught.value) or "affine" in str(caught.value) or "spacing" in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("share", [0, 0.01, 0.3, 0.9, 0.999])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_truncated_files_are_named(tmp_path, ct, suffix, share):
    whole = tmp_path / f"whole{suffix}"
    write_volume(ct, whole)
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * share)])
    with pytest.raises(BadInput, match=r"cut\.nii.*(truncated|too few)"):
        read(cut)
    assert np.array_equal(read(whole).values, ct.values)


def test_a_changed_bit_in_gzip_is_noticed(tmp_path, ct):
    write_volume(ct, tmp_path / "ct.nii.gz")
    data = bytearray((tmp_path / "ct.nii.gz").read_bytes())
    data[-8] ^= 1  # the checksum
    (tmp_path / "ct.nii.gz").write_bytes(data)
    with pytest.raises(BadInput, match="truncated or damaged"):
        read(tmp_path / "ct.nii.gz")


def test_gzip_that_holds_less_than_its_header_claims_is_truncated(tmp_path):
    data = nifti_bytes(VOXELS, dim=[3, 100, 10, 10, 1, 1, 1, 1])
    (tmp_path / "ct.nii.gz").write_bytes(gzip.compress(data))
    with pytest.raises(BadInput, match="ends after 2,000 of 20,000 bytes"):
        read(tmp_path / "ct.nii.gz")


def test_nan_and_infinite_voxels_are_counted(tmp_path):
    values = VOXELS.astype(np.float32)
    values[0, 0, :3] = np.nan
    values[1, 1, 1:3] = np.inf
    (tmp_path / "ct.nii").write_bytes(nifti_bytes(values))
    with pytest.raises(BadInput, match="3 NaN and 2 infinite voxels of 1000"):
        read(tmp_path / "ct.nii")


def test_doubles_beyond_float32_count_as_infinite(tmp_path):
    values = VOXELS.astype(np.float64)
    values[0, 0, 0] = 1e300
    (tmp_path / "ct.nii").write_bytes(nifti_bytes(values))
    with pytest.raises(BadInput, match="0 NaN and 1 infinite"):
        read(tmp_path / "ct.nii")


@pytest.mark.parametrize("highest", [0, 1, 2, 15])
def test_a_label_map_is_no_ct(tmp_path, highest):
    for dtype in (np.uint8, np.float32):
        values = np.random.default_rng(1).integers(0, highest + 1, (9, 9, 9)).astype(dtype)
        (tmp_path / "ct.nii").write_bytes(nifti_bytes(values))
        with pytest.raises(BadInput, match="looks like a label map"):
            read(tmp_path / "ct.nii")


def test_a_ct_windowed_to_8_bits_is_a_ct(tmp_path):
    values = np.random.default_rng(1).integers(0, 256, (9, 9, 9)).astype(np.uint8)
    (tmp_path / "ct.nii").write_bytes(nifti_bytes(values))
    assert read(tmp_path / "ct.nii").values.max() > 200


def test_written_labels_are_refused_as_ct_but_read_as_labels(tmp_path, labels):
    write(labels, tmp_path / "x.nii.gz")
    with pytest.raises(BadInput, match="read_labels"):
        read(tmp_path / "x.nii.gz")
    assert np.array_equal(read_labels(tmp_path / "x.nii.gz").labels, labels.labels)


def test_a_text_file_is_no_scan(tmp_path):
    (tmp_path / "ct.nii").write_text("not a scan " * 200)
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(BadInput, match="does not begin with a NIfTI header"):
        read(tmp_path / "ct.nii")
    with pytest.raises(BadInput, match=r"'notes.txt' is of a kind .*\.nii"):
        read(tmp_path / "notes.txt")


def test_what_is_not_there_is_named(tmp_path):
    for call in (read, find_scans, read_labels):
        with pytest.raises(BadInput, match=r"no file .*'ct.nii.gz'"):
            call(tmp_path / "ct.nii.gz")


def test_an_empty_folder_has_no_ct(tmp_path):
    for call in (read, find_scans):
        with pytest.raises(BadInput, match="no CT found"):
            call(tmp_path)


def test_a_folder_of_text_has_no_ct(tmp_path: Path):
    (tmp_path / "readme.txt").write_text("hello")
    (tmp_path / "DICOMDIR").write_bytes(bytes(128) + b"DICM" + bytes(20))
    with pytest.raises(BadInput, match="no CT found"):
        find_scans(tmp_path)
