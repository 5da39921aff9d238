"""MetaImage and NRRD: the same voxels at the same places as in NIfTI, and no file from elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from hepar.errors import BadInput
from hepar.geometry import Geometry
from hepar.io import read, read_labels

SUFFIXES = ["mha", "mhd", "nrrd", "nhdr"]


def image_of(values: np.ndarray, grid: Geometry) -> SimpleITK.Image:
    image = SimpleITK.GetImageFromArray(values)
    image.SetSpacing(grid.spacing_mm[::-1])
    image.SetOrigin(grid.affine[:3, 3].tolist())
    image.SetDirection(grid.directions[:, ::-1].ravel().tolist())
    return image


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_voxels_and_places_are_kept(tmp_path, ct, suffix, packed):
    SimpleITK.WriteImage(image_of(ct.values, ct.geometry), tmp_path / f"ct.{suffix}", packed)
    found = read(tmp_path / f"ct.{suffix}")
    assert found.values.dtype == np.int16
    assert np.array_equal(found.values, ct.values)
    assert found.geometry.same_grid(ct.geometry, tolerance_mm=1e-3)


def test_a_mirrored_axis_is_another_place(tmp_path, ct):
    image = image_of(ct.values, ct.geometry)
    image.SetDirection((ct.geometry.directions[:, ::-1] * [1, 1, -1]).ravel().tolist())
    SimpleITK.WriteImage(image, tmp_path / "ct.mha")
    assert not read(tmp_path / "ct.mha").geometry.same_grid(ct.geometry)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_labels_are_read(tmp_path, labels, suffix):
    SimpleITK.WriteImage(image_of(labels.labels.astype(np.int16), labels.geometry), tmp_path / f"labels.{suffix}", True)
    assert np.array_equal(read_labels(tmp_path / f"labels.{suffix}").labels, labels.labels)
    with pytest.raises(BadInput, match="looks like a label map"):
        read(tmp_path / f"labels.{suffix}")


def test_a_fourth_axis_of_one_is_dropped(tmp_path, ct):
    image = SimpleITK.JoinSeries([image_of(ct.values, Geometry.from_spacing(ct.values.shape, (3, 2, 1)))])
    SimpleITK.WriteImage(image, tmp_path / "ct.mha")
    found = read(tmp_path / "ct.mha")
    assert np.array_equal(found.values, ct.values)
    assert found.geometry.spacing_mm == pytest.approx((3, 2, 1))


@pytest.mark.parametrize("suffix", ["mha", "nrrd"])
def test_2d_4d_and_colour_are_refused(tmp_path, ct, suffix):
    volume = SimpleITK.GetImageFromArray(ct.values)
    path = tmp_path / f"ct.{suffix}"
    SimpleITK.WriteImage(volume[:, :, 3], path)
    with pytest.raises(BadInput, match=r"2 dimensions .*expected a 3D scan"):
        read(path)
    SimpleITK.WriteImage(SimpleITK.JoinSeries([volume, volume]), path)
    with pytest.raises(BadInput, match=r"4 dimensions .*expected a 3D scan"):
        read(path)
    SimpleITK.WriteImage(SimpleITK.Compose(volume, volume, volume), path)
    with pytest.raises(BadInput, match=r"colours|4 dimensions"):
        read(path)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_truncated_voxels_are_named_and_itk_stays_silent(tmp_path, ct, suffix, packed, capfd):
    SimpleITK.WriteImage(image_of(ct.values, ct.geometry), tmp_path / f"ct.{suffix}", packed)
    voxels = next((p for p in tmp_path.iterdir() if "raw" in p.name), tmp_path / f"ct.{suffix}")
    # Detached voxels lose half, the others as much as leaves their header whole.
    voxels.write_bytes(voxels.read_bytes()[: -ct.values.nbytes // 4])
    with pytest.raises(BadInput, match="truncated") as caught:
        read(tmp_path / f"ct.{suffix}")
    assert str(tmp_path) not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def edited(folder: Path, suffix: str, old: str, new: str) -> Path:
    """A detached header with a line changed."""
    path = folder / f"ct.{suffix}"
    values = np.arange(-300, 300, dtype=np.int16).reshape(10, 10, 6)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(values), path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return path


ELSEWHERE = [
    "../../etc/passwd",
    "/etc/passwd",
    "sub/ct.raw",
    "..",
    ".",
    "C:\\ct.raw",
    "ct%d.raw 1 3 1",
    "LIST",
    "LIST 2",
]


@pytest.mark.parametrize("name", ELSEWHERE)
@pytest.mark.parametrize("suffix", ["mhd", "nhdr"])
def test_a_header_names_voxels_of_its_own_folder_only(tmp_path, suffix, name):
    path = edited(tmp_path, suffix, "ct.raw", name)
    with pytest.raises(BadInput, match="own folder, given by bare name"):
        read(path)


def test_a_header_with_voxels_in_its_own_folder_is_read(tmp_path):
    for suffix in ("mhd", "nhdr"):
        path = edited(tmp_path, suffix, "ct.raw", "my voxels.raw")
        (tmp_path / "ct.raw").rename(tmp_path / "my voxels.raw")
        assert read(path).values.shape == (10, 10, 6)


@pytest.mark.parametrize("suffix", ["mhd", "nhdr"])
def test_missing_voxels_are_named(tmp_path, suffix):
    path = edited(tmp_path, suffix, "ct.raw", "gone.raw")
    with pytest.raises(BadInput, match=r"'gone.raw', which is not in its folder"):
        read(path)


def test_fewer_axes_than_sizes_are_refused(tmp_path):
    """Found by fuzzing: ITK reads such a file as a picture."""
    path = tmp_path / "ct.mha"
    head = b"ObjectType = Image\nNDims = 2\nDimSize = 6 5 4\nElementType = MET_SHORT\nElementDataFile = LOCAL\n"
    path.write_bytes(head + bytes(6 * 5 * 4 * 2))
    with pytest.raises(BadInput, match=r"'ct\.mha' contradicts itself: a grid of 6 x 5 was read"):
        read(path)


TRICKS = [
    ("mhd", "ElementDataFile = ct.raw", "elementdatafile = ct.raw\nElementDataFile = /etc/passwd", "plain MetaImage"),
    ("mhd", "NDims = 3", "NDims = 3\nComment = " + "a" * 600, "plain MetaImage"),
    ("mhd", "DimSize = 6 10 10", "DimSize = 6 10 10\nDimSize = 1 1 1", "dimsize is given twice"),
    ("mhd", "ElementDataFile = ct.raw", "", "plain MetaImage"),
    ("mhd", "MET_SHORT", "MET_MATRIX", "MET_MATRIX"),
    # Found by fuzzing: fewer axes than sizes.
    ("mhd", "DimSize = 6 10 10", "DimSize = 30000 30000 30000", "30000 x 30000 x 30000"),
    ("mhd", "DimSize = 6 10 10", "DimSize = 600 10 10", "120,000 bytes.*truncated"),
    ("mhd", "ElementSpacing = 1 1 1", "ElementSpacing = 1 1 0", "spacing of .*above 0"),
    ("mhd", "TransformMatrix = 1 0 0", "TransformMatrix = 0 0 0", "ct.mhd.*convert it again|must span"),
    ("nhdr", "data file: ct.raw", "data file: ct.raw\ndatafile: /etc/passwd", "datafile is given twice"),
    ("nhdr", "encoding: raw", "encoding: bzip2", "encoded as 'bzip2'"),
    ("nhdr", "encoding: raw", "", "no 'encoding'"),
    ("nhdr", "sizes: 6 10 10", "sizes: 30000 30000 30000", "30000 x 30000 x 30000"),
    ("nhdr", "sizes: 6 10 10", "sizes: 600 10 10", "120,000 bytes.*truncated"),
    ("nhdr", "(0,0,1)", "(0,0,0)", "ct.nhdr.*convert it again|above 0"),
    ("nhdr", "NRRD0004", "NERD0004", "does not begin with an NRRD header"),
    ("nhdr", "type: short", "type: block", "type block"),
]


@pytest.mark.parametrize(("suffix", "old", "new", "message"), TRICKS)
def test_headers_that_lie_are_refused(tmp_path, suffix, old, new, message, capfd):
    with pytest.raises(BadInput, match=message) as caught:
        read(edited(tmp_path, suffix, old, new))
    assert str(tmp_path) not in str(caught.value)
    assert capfd.readouterr().err == ""
