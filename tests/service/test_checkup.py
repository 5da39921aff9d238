"""`hepar doctor` on a terminal: a table, a repaired copy, an exit code that a script can trust."""

from __future__ import annotations

import json

import nibabel
import numpy as np
import pytest

from layout_folders import bodies, write_lits


@pytest.fixture
def lits_folder(tmp_path):
    """Two phantoms in the layout of LiTS."""
    return write_lits(tmp_path / "lits", bodies(3, 5))


def test_a_sound_data_set_ends_well(hepar_command, lits_folder, tmp_path):
    ended = hepar_command("doctor", lits_folder, "--json", tmp_path / "found.json")
    assert ended.code == 0, ended.out
    assert "2 cases of 2 patients; nothing found" in ended.out
    assert str(tmp_path) not in (tmp_path / "found.json").read_text(encoding="utf-8")


def test_an_error_is_told_with_its_own_exit_code_and_can_be_repaired(hepar_command, lits_folder, tmp_path):
    path = lits_folder / "segmentation-5.nii"
    image = nibabel.load(path)
    # LiTS 53: the segmentation's affine is the identity.
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj).copy(), np.eye(4)), path)
    ended = hepar_command("doctor", lits_folder, "--json", tmp_path / "found.json")
    assert ended.code == 8
    assert "--repair FOLDER" in ended.out
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert [row["case"] for row in found["findings"] if row["severity"] == "error"] == ["volume-5"]
    assert hepar_command("doctor", lits_folder, "--repair", tmp_path / "repaired").code == 0
    assert hepar_command("doctor", tmp_path / "repaired").code == 0
    assert np.allclose(nibabel.load(path).affine, np.eye(4))


def test_what_is_no_data_set_is_bad_input(hepar_command, tmp_path):
    (tmp_path / "empty").mkdir()
    ended = hepar_command("doctor", tmp_path / "empty")
    assert ended.code == 2


def test_a_sound_data_set_is_not_copied_for_nothing(hepar_command, lits_folder, tmp_path):
    ended = hepar_command("doctor", lits_folder, "--repair", tmp_path / "repaired")
    assert ended.code == 0
    assert "nothing to repair" in ended.out
    assert not (tmp_path / "repaired").exists()


def test_errors_that_cannot_be_repaired_are_told_after_the_repair(hepar_command, lits_folder, tmp_path):
    for name in ("segmentation-5.nii", "segmentation-3.nii"):
        path = lits_folder / name
        image = nibabel.load(path)
        values = np.asarray(image.dataobj).copy()
        if name == "segmentation-3.nii":
            values[:] = 0
        nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), path)
    ended = hepar_command("doctor", lits_folder, "--repair", tmp_path / "repaired")
    assert ended.code == 8
    assert "could not be repaired" in ended.err
    assert (tmp_path / "repaired" / "repairs.json").is_file()


def test_a_folder_in_use_is_refused_before_hours_of_examination(hepar_command, lits_folder, tmp_path):
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "x").write_text("")
    ended = hepar_command("doctor", lits_folder, "--repair", tmp_path / "used")
    assert ended.code == 2
    assert "examin" not in ended.out
