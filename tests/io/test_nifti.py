"""NIfTI: what is written is what is read, voxel by voxel and millimetre by millimetre."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepar.errors import BadInput, OutputError
from hepar.geometry import Geometry
from hepar.io import read, read_labels, write, write_volume
from hepar.volume import LabelMap, Volume


@st.composite
def grids(draw: st.DrawFn) -> Geometry:
    """Any axis order, any flips, any rotation, unequal spacing."""
    number = st.floats(-1, 1, allow_nan=False)
    quaternion = np.array([2 + draw(number), *(draw(number) for _ in range(3))])
    w, x, y, z = quaternion / np.linalg.norm(quaternion)
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    axes = np.eye(3)[list(draw(st.permutations(range(3))))] * [draw(st.sampled_from((-1, 1))) for _ in range(3)]
    affine = np.eye(4)
    affine[:3, :3] = rotation @ axes * [draw(st.floats(0.3, 8)) for _ in range(3)]
    affine[:3, 3] = [draw(st.floats(-2000, 2000)) for _ in range(3)]
    shape = tuple(draw(st.integers(1, 6)) for _ in range(3))
    return Geometry(shape, affine)  # type: ignore[arg-type]


@given(grid=grids(), packed=st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_volume_and_its_labels_come_back_on_one_grid(tmp_path_factory, grid, packed):
    folder, suffix = tmp_path_factory.mktemp("nii"), ".nii.gz" if packed else ".nii"
    values = np.arange(np.prod(grid.shape)).reshape(grid.shape).astype(np.int16) - 1000
    labels = (values % 3).astype(np.uint8)
    write_volume(Volume(values, grid), folder / f"ct{suffix}")
    ct = read(folder / f"ct{suffix}")
    write(LabelMap(labels, ct.geometry), folder / f"labels{suffix}")
    again = read_labels(folder / f"labels{suffix}")
    assert np.array_equal(ct.values, values) and ct.values.dtype == np.int16
    assert np.array_equal(again.labels, labels)
    assert ct.geometry.same_grid(grid, tolerance_mm=1e-3)
    # Not even rounding lies between a scan and its labels.
    assert np.array_equal(again.geometry.affine, ct.geometry.affine)


def test_another_grid_does_not_come_back_as_this_one(ct, tmp_path):
    moved = ct.geometry.affine.copy()
    moved[0, 3] += 0.05
    write_volume(Volume(ct.values, Geometry(ct.geometry.shape, moved)), tmp_path / "ct.nii")
    assert not read(tmp_path / "ct.nii").geometry.same_grid(ct.geometry)


def test_nibabel_sees_the_same_voxels_at_the_same_places(ct, tmp_path):
    write_volume(ct, tmp_path / "ct.nii.gz")
    image = nibabel.load(tmp_path / "ct.nii.gz")
    assert np.array_equal(np.asarray(image.dataobj), ct.values.transpose(2, 1, 0))
    index = np.array([3, 5, 2])  # z, y, x
    left, posterior, superior = ct.geometry.position_mm(index)
    seen = image.affine @ [*index[::-1], 1]
    assert seen[:3] == pytest.approx((-left, -posterior, superior), abs=1e-3)


def test_sform_and_qform_name_the_same_grid(labels, tmp_path):
    write(labels, tmp_path / "labels.nii.gz")
    header = nibabel.load(tmp_path / "labels.nii.gz").header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (1, 1)
    assert header.get_sform() == pytest.approx(header.get_qform(), abs=1e-3)
    assert header.get_data_dtype() == np.uint8
    assert header.get_xyzt_units()[0] == "mm"


def test_a_sheared_grid_has_no_qform_and_keeps_its_shear(tmp_path):
    affine = Geometry.from_spacing((4, 5, 6), (2.0, 0.7, 0.7)).affine.copy()
    affine[1, 0] = 0.4  # gantry tilt
    grid = Geometry((4, 5, 6), affine)
    write(LabelMap(np.ones(grid.shape, np.uint8), grid), tmp_path / "labels.nii")
    header = nibabel.load(tmp_path / "labels.nii").header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (1, 0)
    assert read_labels(tmp_path / "labels.nii").geometry.same_grid(grid)


def test_equal_labels_make_equal_files_and_different_ones_different_files(labels, tmp_path):
    other = labels.with_labels(labels.labels[::-1].copy())
    for name, one in (("a", labels), ("b", labels), ("c", other)):
        write(one, tmp_path / f"{name}.nii.gz")
    a, b, c = ((tmp_path / f"{n}.nii.gz").read_bytes() for n in "abc")
    assert a == b
    assert a != c


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        *((whole, np.int16) for whole in (np.int8, np.uint16, np.int32, np.int64, ">i2")),
        *((fractional, np.float32) for fractional in (np.float64, ">f4")),
    ],
)
def test_whole_numbers_become_int16_and_others_float32(tmp_path, stored, expected):
    values = np.arange(60).reshape(3, 4, 5) * (2 if stored is np.int8 else 7)
    image = nibabel.Nifti1Image(values.astype(stored), np.eye(4), dtype=np.dtype(stored))
    if np.dtype(stored).byteorder == ">":
        image = nibabel.Nifti1Image(values.astype(stored), np.eye(4), nibabel.Nifti1Header(endianness=">"))
        image.set_data_dtype(stored)
    image.to_filename(tmp_path / "ct.nii")
    found = read(str(tmp_path / "ct.nii"))
    assert found.values.dtype == expected and found.values.dtype.isnative
    assert np.array_equal(found.values, values.transpose(2, 1, 0))


def test_integers_beyond_int16_become_float32(tmp_path):
    values = np.arange(-30, 30, dtype=np.int32).reshape(3, 4, 5) * 2000
    nibabel.Nifti1Image(values, np.eye(4)).to_filename(tmp_path / "ct.nii")
    found = read(tmp_path / "ct.nii")
    assert found.values.dtype == np.float32
    assert np.array_equal(found.values, values.transpose(2, 1, 0))


@pytest.mark.parametrize(("slope", "inter", "dtype"), [(1, -1024, np.int16), (0.5, -10.25, np.float32)])
def test_slope_and_intercept_are_applied(tmp_path, slope, inter, dtype):
    values = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    image = nibabel.Nifti1Image(values, np.eye(4))
    image.header.set_slope_inter(slope, inter)
    # nibabel divides what it is given by the slope; the file should hold `values` as they stand.
    block = bytearray(_bytes_of(image))
    block[112:120] = np.array([slope, inter], "<f4").tobytes()
    (tmp_path / "ct.nii").write_bytes(block)
    found = read(tmp_path / "ct.nii")
    assert found.values.dtype == dtype
    assert found.values == pytest.approx(values.transpose(2, 1, 0) * slope + inter)


def test_the_qform_counts_where_there_is_no_sform(tmp_path, oblique_grid):
    image = nibabel.Nifti1Image(np.arange(840, dtype=np.int16).reshape(12, 7, 10) - 99, oblique_grid.to_nifti())
    image.set_sform(None, 0)
    image.set_qform(oblique_grid.to_nifti(), 1)
    image.to_filename(tmp_path / "ct.nii")
    assert read(tmp_path / "ct.nii").geometry.same_grid(oblique_grid)


def test_nifti_2_is_read(tmp_path, ct):
    nibabel.Nifti2Image(ct.values.transpose(2, 1, 0), ct.geometry.to_nifti()).to_filename(tmp_path / "ct.nii.gz")
    found = read(tmp_path / "ct.nii.gz")
    assert np.array_equal(found.values, ct.values)
    assert found.geometry.same_grid(ct.geometry)


def test_a_fourth_axis_of_one_is_dropped(tmp_path):
    values = np.arange(-60, 60, 2, dtype=np.int16).reshape(3, 4, 5, 1)
    nibabel.Nifti1Image(values, np.eye(4)).to_filename(tmp_path / "ct.nii")
    assert np.array_equal(read(tmp_path / "ct.nii").values, values[..., 0].transpose(2, 1, 0))


def test_labels_kept_as_floats_are_labels(tmp_path, labels):
    image = nibabel.Nifti1Image(labels.labels.astype(np.float64).T, labels.geometry.to_nifti())
    image.to_filename(tmp_path / "labels.nii.gz")
    assert np.array_equal(read_labels(tmp_path / "labels.nii.gz").labels, labels.labels)


@pytest.mark.parametrize(
    ("value", "message"), [(0.5, "not whole numbers"), (3.0, r"\[0.0, 3.0\].*expected 0 back"), (np.nan, "not whole")]
)
def test_other_numbers_are_no_labels(tmp_path, value, message):
    values = np.zeros((4, 4, 4))
    values[1, 2, 3] = value
    nibabel.Nifti1Image(values, np.eye(4)).to_filename(tmp_path / "labels.nii")
    with pytest.raises(BadInput, match=message):
        read_labels(tmp_path / "labels.nii")


def test_gzip_under_a_plain_name_is_read(tmp_path, ct):
    write_volume(ct, tmp_path / "ct.nii.gz")
    (tmp_path / "ct.nii.gz").rename(tmp_path / "ct.nii")
    assert np.array_equal(read(tmp_path / "ct.nii").values, ct.values)


def test_float_volumes_are_kept(tmp_path, ct):
    values = ct.values / np.float32(3)
    write_volume(ct.with_values(values), tmp_path / "ct.nii.gz")
    assert np.array_equal(read(tmp_path / "ct.nii.gz").values, values)


def test_parent_folders_are_made_and_old_files_replaced(tmp_path, labels):
    target = tmp_path / "a" / "b" / "labels.nii.gz"
    write(labels.with_labels(np.zeros_like(labels.labels)), target)
    write(labels, str(target))
    assert np.array_equal(read_labels(target).labels, labels.labels)
    assert [p.name for p in target.parent.iterdir()] == ["labels.nii.gz"]


def test_what_cannot_be_written_leaves_nothing(tmp_path, labels):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OutputError, match=r"labels.nii.gz.*folder"):
        write(labels, tmp_path / "file" / "labels.nii.gz")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_disk_that_fills_up_leaves_the_old_file(tmp_path, labels, monkeypatch):
    target = tmp_path / "labels.nii.gz"
    write(labels, target)
    old = target.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hepar.io.nifti._write", full)
    with pytest.raises(OutputError, match="No space left"):
        write(labels.with_labels(labels.labels[::-1].copy()), target)
    assert target.read_bytes() == old
    assert len(list(tmp_path.iterdir())) == 1


def test_labels_are_not_written_under_a_foreign_name(tmp_path, labels):
    with pytest.raises(BadInput, match=r"ends in .nii or .nii.gz"):
        write(labels, tmp_path / "labels.png")


def test_real_scan_and_label_lie_on_one_grid(shared_data: Path):
    ct, truth = read(shared_data / "ct/ircad01_ct.nii.gz"), read_labels(shared_data / "ct/ircad01_label.nii.gz")
    image = nibabel.load(shared_data / "ct/ircad01_ct.nii.gz")
    assert ct.geometry.same_grid(truth.geometry)
    assert ct.values.dtype == np.int16
    assert np.array_equal(ct.values[60], np.asarray(image.dataobj[..., 60]).T)
    # The data's own description: liver 113 ± 23 HU, tumour 79 ± 28 HU.
    assert ct.values[truth.labels == 1].mean() == pytest.approx(113, abs=1)
    assert ct.values[truth.labels == 2].mean() == pytest.approx(79, abs=1)


def test_real_int32_whole_body_is_read_as_int16(shared_data: Path):
    ct = read(shared_data / "ct/wholebody3mm_ct.nii.gz")
    with gzip.open(shared_data / "ct/wholebody3mm_ct.nii.gz") as file:
        stored = np.frombuffer(file.read()[352:], "<i4").reshape(112, 101, 122)
    assert ct.values.dtype == np.int16
    assert np.array_equal(ct.values, stored)
    assert ct.geometry.spacing_mm == pytest.approx((3, 3, 3))


def _bytes_of(image: nibabel.Nifti1Image) -> bytes:
    image.header.set_slope_inter(1, 0)
    return image.to_bytes()
