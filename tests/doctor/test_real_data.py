"""On real data: the quirks that its README documents are found as such, and nothing else is alarmed about."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hepar.doctor import Options, examine
from hepar.doctor.anatomy import body_of, orientation
from hepar.doctor.intensity import EACH, scale_of
from hepar.doctor.listing import subjects
from hepar.doctor.place import flipped
from hepar.doctor.reading import read_case
from hepar.geometry import Geometry
from hepar.io import write, write_volume
from hepar.io.nifti import read_stored
from hepar.volume import LabelMap, Volume

# HU of the organs of organ_labels, by number; the portal-venous phase of 3D-IRCADb.
ORGAN_HU = (-1000, 40, 500, -850, 30, 90, 120, 180, 60, 170, 160, 10, 110, 170, 10, 60)
# Cysts and veins within the liver belong to it.
LIVER_ORGANS, TUMOUR_ORGAN = (12, 13, 14), 15
WITH_LUNGS = ("lits028", "lits030", "lits032", "lits034")
SOME_PATIENTS = ("lits000", "lits022", "lits029", "lits039", "lits047")


def alarms(diagnosis) -> list[tuple[str, str, str]]:
    return [(f.case, f.kind, f.severity) for f in diagnosis.findings if f.severity != "note"]


@pytest.fixture(scope="module")
def whole(shared_data, tmp_path_factory):
    """Some patients of lits512, all of ct and slices512, held against slices256. Pictures stay where they are."""
    root = tmp_path_factory.mktemp("real")
    for name in ("ct", "slices512"):
        (root / name).symlink_to(shared_data / name)
    source, part = shared_data / "lits512", root / "lits512"
    part.mkdir()
    for name in ("images", "labels", "scans.csv"):
        (part / name).symlink_to(source / name)
    lines = (source / "manifest.csv").read_text().splitlines()
    kept = [line for line in lines[1:] if line.split(",")[1] in SOME_PATIENTS]
    (part / "manifest.csv").write_text("\n".join([lines[0], *kept]) + "\n")
    return examine(root, Options(against=shared_data / "slices256"))


def test_documented_quirks_are_found_and_nothing_else(whole):
    assert [f for f in alarms(whole) if f[1] != "not-hu"] == [
        ("ct/ircad07", "no-image", "error"),
        ("ct/wholebody3mm", "no-label", "warning"),
        ("lits512-lits039", "tumour-apart", "warning"),
        ("lits512-lits047", "spacing-unknown", "warning"),
    ]
    assert {f.kind for f in whole.findings if not f.case} == {"ircadb", "lits39", "same-patient", "overlap"}


def test_slices_scaled_one_by_one_are_not_hu(whole):
    found = [f for f in whole.findings if f.kind == "not-hu"]
    assert len(found) == 12
    assert {f.detail for f in found} == {EACH}
    assert all(f.case.startswith("slices512-") for f in found)


def test_the_same_patient_in_several_folders_is_told(whole):
    told = [f.detail for f in whole.findings if f.kind == "same-patient"]
    assert "ct, slices512: lits028, lits034" in told
    assert "lits512, slices512: lits029, lits039" in told


def test_8_bit_halves_are_found_in_whole_scans_by_their_content(whole):
    """slices256: 256 x 256 of 0..255 HU; lits512: 512 x 512 of -40..160 HU; ct: all HU. All but one were JPEG once."""
    (overlap,) = [f.detail for f in whole.findings if f.kind == "overlap"]
    # Five of lits512 and ircad01; wholebody3mm is nobody's, and slices512 has no scale to compare by.
    assert overlap == f"{len(SOME_PATIENTS) + 1} of 19 scans by their content, 15 patients by name"
    assert not [f for f in whole.findings if f.kind in ("two-names", "other-scan")]


def test_small_slices_of_98_patients_raise_no_alarm(shared_data):
    diagnosis = examine(shared_data / "slices256")
    assert (len(diagnosis.subjects), diagnosis.patients) == (99, 98)
    assert alarms(diagnosis) == []


@pytest.fixture(scope="module")
def painted(shared_data, tmp_path_factory) -> Path:
    """15 real anatomies as a LiTS folder: expert organ maps, every fourth pixel, painted in HU with noise."""
    root = tmp_path_factory.mktemp("painted")
    rng = np.random.default_rng(7)
    for path in sorted((shared_data / "organ_labels").glob("*_organs.nii.gz")):
        stored = read_stored(path)
        organs = stored.values[:, ::4, ::4]
        grid = Geometry(organs.shape, stored.geometry.affine @ np.diag([1, 4, 4, 1]))
        hu = np.asarray(ORGAN_HU)[organs] + rng.normal(0, 15, organs.shape)
        labels = np.isin(organs, LIVER_ORGANS).astype(np.uint8)
        labels[organs == TUMOUR_ORGAN] = 2
        number = int(path.name[5:7]) + 27
        write_volume(Volume(hu.round().astype(np.int16), grid), root / f"volume-{number}.nii.gz")
        write(LabelMap(labels, grid), root / f"segmentation-{number}.nii.gz")
    return root


def test_15_real_anatomies_are_sound_but_for_lits_39(painted):
    """Its mass hangs outside the liver in the experts' own organ maps, too."""
    diagnosis = examine(painted)
    assert (len(diagnosis.subjects), diagnosis.patients) == (15, 15)
    assert alarms(diagnosis) == [("volume-39", "tumour-apart", "warning")]


@pytest.mark.parametrize("axes", [(False, False, True), (False, True, False), (True, False, False)])
def test_real_anatomies_tell_when_their_header_is_turned(painted, axes):
    """Patients 1, 3, 5 and 7 of 3D-IRCADb are those whose lungs are drawn."""
    with_lungs = [subject for subject in subjects(painted)[1] if subject.patient in WITH_LUNGS]
    assert len(with_lungs) == 4
    for subject in with_lungs:
        reading, _ = read_case(subject)
        grid = flipped(reading.grid, axes)
        turned = replace(reading, grid=grid, label_grid=grid)
        scale, _ = scale_of(turned)
        found = orientation(turned, body_of(turned, scale, turned.values), scale)
        assert [f.remedy.turn for f in found] == [axes], subject.id
