"""What a NIfTI header says of place and unit: taken to mm, doubted aloud, refused where it cannot be."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK

from hepar.errors import BadInput
from hepar.geometry import Geometry
from hepar.io import read, read_labels, write, write_volume
from hepar.volume import LabelMap, Volume

GUESS = "the header does not say how the patient lies (sform and qform codes 0): left and right are a guess"


def placed(path: Path, ct: Volume, unit: str, factor: float) -> Path:
    """`ct` on its grid, told in another unit of which a mm has `factor`."""
    affine = ct.geometry.to_nifti()
    affine[:3] *= factor
    image = nibabel.Nifti1Image(ct.values.T, affine)
    image.header.set_xyzt_units(unit)
    image.to_filename(path)
    return path


@pytest.mark.parametrize("form", ["sform", "qform", None])
def test_a_header_without_any_form_makes_left_and_right_a_guess(tmp_path, ct, form):
    image = nibabel.Nifti1Image(ct.values.T, ct.geometry.to_nifti())
    image.set_sform(ct.geometry.to_nifti(), 1 if form == "sform" else 0)
    image.set_qform(ct.geometry.to_nifti(), 1 if form == "qform" else 0)
    image.to_filename(tmp_path / "ct.nii")
    assert read(tmp_path / "ct.nii").notes == (() if form else (GUESS,))


@pytest.mark.parametrize(("unit", "factor"), [("meter", 1e-3), ("micron", 1e3)])
def test_metres_and_micrometres_become_mm(tmp_path, ct, unit, factor):
    found = read(placed(tmp_path / "ct.nii", ct, unit, factor))
    assert found.geometry.same_grid(ct.geometry)
    assert [f"multiplied by {1 / factor:g}" in note and "written in mm" in note for note in found.notes] == [True]


@pytest.mark.parametrize("unit", ["mm", "unknown"])
def test_mm_and_no_unit_are_mm(tmp_path, ct, unit):
    found = read(placed(tmp_path / "ct.nii", ct, unit, 1))
    assert found.geometry.same_grid(ct.geometry)
    assert found.notes == ()


def test_labels_of_a_scan_in_metres_lie_on_it_and_on_labels_in_metres(tmp_path, ct, labels):
    found = read(placed(tmp_path / "ct.nii", ct, "meter", 1e-3))
    write(LabelMap(labels.labels, found.geometry), tmp_path / "labels.nii.gz")
    header = nibabel.load(tmp_path / "labels.nii.gz").header
    assert header.get_xyzt_units()[0] == "mm"
    truth = Volume(labels.labels.astype(np.int16), ct.geometry)
    in_metres = read_labels(placed(tmp_path / "truth.nii", truth, "meter", 1e-3))
    assert in_metres.geometry.same_grid(read_labels(tmp_path / "labels.nii.gz").geometry)


@pytest.mark.parametrize("unit", ["mm", "meter"])
def test_mm_called_metres_are_refused(tmp_path, ct, unit):
    """A habit of some converters: spacing of 0.7 with the unit set to metres."""
    path = placed(tmp_path / "ct.nii", ct, unit, 1)
    if unit == "mm":
        assert read(path).values.any()
        return
    with pytest.raises(BadInput, match=r"voxel spacing of 'ct.nii' is .*00.*expected 0.05 to 50.0 mm.*wrong unit"):
        read(path)


@pytest.mark.parametrize(("spacing", "fine"), [(0.04, False), (0.06, True), (49.0, True), (51.0, False)])
@pytest.mark.parametrize("spot", [("nii", 0), ("nii", 1), ("nii", 2), ("mha", 0)])
def test_spacing_that_no_ct_has_is_refused(tmp_path, ct, labels, spot, spacing, fine):
    suffix, axis = spot
    spacings = [2.0, 0.7, 0.8]
    spacings[axis] = spacing
    grid = Geometry.from_spacing(ct.values.shape, tuple(spacings))
    for name, values in (("ct", ct.values), ("labels", labels.labels.astype(np.int16))):
        if suffix == "nii":
            write_volume(Volume(values, grid), tmp_path / f"{name}.nii")
        else:
            image = SimpleITK.GetImageFromArray(values)
            image.SetSpacing(grid.spacing_mm[::-1])
            SimpleITK.WriteImage(image, tmp_path / f"{name}.mha")
    for reader, name in ((read, "ct"), (read_labels, "labels")):
        if fine:
            assert reader(tmp_path / f"{name}.{suffix}").geometry.same_grid(grid)
        else:
            with pytest.raises(BadInput, match=rf"spacing of '{name}.{suffix}' is .*{spacing:g}.*expected 0.05 to 50"):
                reader(tmp_path / f"{name}.{suffix}")
