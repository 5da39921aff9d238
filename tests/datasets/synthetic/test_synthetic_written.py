"""Synthetic CTs on disk: LiTS's layout, marked for what they are, made once."""

from __future__ import annotations

import numpy as np
import pytest
from label_trunk import save_organs

from hepar.datasets import open_cases
from hepar.datasets.synthetic import CtSynthesis, synthetic_cases
from hepar.datasets.synthetic.written import write_synthetic
from hepar.errors import BadInput

QUICK = CtSynthesis(seed=3, halved=True)


@pytest.fixture(scope="module")
def organs(tmp_path_factory):
    return save_organs(tmp_path_factory.mktemp("maps") / "organ_labels")


@pytest.fixture(scope="module")
def folder(organs, tmp_path_factory):
    out = tmp_path_factory.mktemp("written") / "ct_seed3"
    write_synthetic(organs, QUICK, out, print)
    return out


def test_the_folder_opens_as_a_data_set_of_synthetic_cases_with_their_patients_names(folder, organs):
    made = synthetic_cases(organs, QUICK)
    cases = open_cases(folder)
    assert [case.patient for case in cases] == [case.patient for case in made]
    assert {case.evidence for case in cases} == {"synthetic"}
    assert cases[0].id == f"{made[0].patient}_synthetic_ct_seed3"


def test_the_files_hold_the_voxels_and_places_of_the_cases(folder, organs):
    read, made = open_cases(folder)[0], synthetic_cases(organs, QUICK)[0]
    assert np.array_equal(read.ct.axial().values, made.ct.axial().values)
    assert np.array_equal(read.truth.axial().labels, made.truth.axial().labels)
    assert np.allclose(read.ct.geometry.affine, made.ct.geometry.affine, atol=1e-4)


def test_what_is_there_is_not_made_again_and_what_is_missing_is(folder, organs):
    first, *others = sorted(folder.glob("volume-*.nii"))
    before = {path: path.stat().st_mtime_ns for path in others}
    (folder / first.name.replace("volume", "segmentation")).unlink()
    write_synthetic(organs, QUICK, folder, print)
    assert len(open_cases(folder)) == 1 + len(others)
    assert {path: path.stat().st_mtime_ns for path in others} == before


def test_a_folder_of_other_settings_is_refused(folder, organs):
    with pytest.raises(BadInput, match="other settings"):
        write_synthetic(organs, CtSynthesis(seed=4, halved=True), folder, print)
