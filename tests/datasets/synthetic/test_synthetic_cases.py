"""Whole synthetic CTs: what a case promises, what seeds and settings change."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from label_trunk import label_trunk, save_organs

from hepar.cases import Fold
from hepar.datasets.synthetic import CtSynthesis, make_ct, synthetic_cases
from hepar.errors import BadInput

QUICK = CtSynthesis(seed=3, halved=False, phases=(0, 0, 1, 0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_organs(tmp_path_factory.mktemp("maps") / "organ_labels")


@pytest.fixture(scope="module")
def case(folder):
    return synthetic_cases(folder, QUICK)[0]


@pytest.fixture(scope="module")
def ct(case):
    return case.ct


def test_a_case_says_that_it_is_synthetic_and_names_patient_and_seed(case):
    assert case.evidence == "synthetic"
    assert case.id == "lits028_synthetic_seed3_000"
    assert case.patient == "lits028"


def test_a_fold_keeps_the_anatomy_of_its_test_patients_out_of_training(folder):
    cases = synthetic_cases(folder, QUICK, per_patient=2)
    fold = Fold(train=("lits028",), test=("lits034",))
    assert {c.patient for c in fold.training_cases(cases)} == {"lits028"}
    assert len({c.id for c in cases}) == 4


def test_ct_and_truth_lie_on_one_grid_in_hounsfield_units(case, ct):
    assert ct.geometry.same_grid(case.truth.geometry)
    assert ct.values.dtype == np.int16
    assert ct.values.min() >= -1024
    assert ct.values.max() <= 3071


def test_the_note_of_a_ct_says_what_it_is(ct):
    assert ct.notes == ("synthetic CT made by hepar from a real organ map (portal phase)",)


def test_the_same_settings_give_the_same_voxels(folder, ct):
    again = synthetic_cases(folder, QUICK)[0].ct
    assert np.array_equal(again.values, ct.values)


def test_another_seed_gives_another_anatomy_and_other_densities(folder, case, ct):
    other = synthetic_cases(folder, replace(QUICK, seed=4))[0]
    assert not np.array_equal(other.truth.labels, case.truth.labels)
    assert not np.array_equal(other.ct.values, ct.values)


def test_each_number_and_each_patient_has_chance_of_its_own(folder):
    first, second, neighbour = (synthetic_cases(folder, QUICK, per_patient=2)[n].truth for n in (0, 1, 2))
    assert not np.array_equal(first.labels, second.labels)
    assert not np.array_equal(first.labels, neighbour.labels)


def test_nothing_is_read_before_it_is_asked_for(tmp_path):
    folder = save_organs(tmp_path / "maps", numbers=(1,))
    cases = synthetic_cases(folder, QUICK)
    (folder / "ircad01_organs.nii.gz").write_bytes(b"no volume any more")
    with pytest.raises(BadInput):
        cases[0].read_ct()


def test_liver_tumour_fat_air_and_bone_have_their_densities(case, ct):
    truth, organs = case.truth, label_trunk()
    liver = np.median(ct.values[truth.labels == 1])
    assert 60 < liver < 150
    assert np.median(ct.values[truth.tumour]) < liver - 8
    assert np.median(ct.values[:, 0]) < -900
    assert np.median(ct.values[organs.labels == 2]) > 150
    fat = (ct.values > -140) & (ct.values < -70)
    assert fat.mean() > 0.05


def test_thinning_and_halving_leave_the_patient_where_he_was(folder):
    whole = synthetic_cases(folder, replace(QUICK, warp_mm=0, stretch=0))[0].truth
    small = synthetic_cases(folder, replace(QUICK, warp_mm=0, stretch=0, step=2, halved=True))[0].truth
    assert small.geometry.shape == tuple(-(-n // 2) for n in whole.geometry.shape)
    for mine, other in zip(small.geometry.spacing_mm, whole.geometry.spacing_mm, strict=True):
        assert mine == pytest.approx(2 * other)
    there = whole.labels[::2, ::2, ::2]
    assert np.array_equal(small.tumour, there == 2)
    # Which vessels count as within the liver is asked on either grid, and differs by single voxels.
    assert np.count_nonzero(small.labels != there) < 0.02 * np.count_nonzero(there)
    assert small.geometry.position_mm((0, 0, 0)) == pytest.approx(whole.geometry.position_mm((0, 0, 0)))


def test_an_arterial_scan_has_brighter_vessels_than_a_native_one():
    organs = label_trunk()
    brightest = {}
    for phase, shares in (("native", (1, 0, 0, 0)), ("arterial", (0, 1, 0, 0))):
        made = make_ct(organs, replace(QUICK, phases=shares), np.random.default_rng(5))
        assert phase in made.notes[0]
        # The made aorta runs in front of the spine, to its left.
        brightest[phase] = np.median(made.values[5:12, 47:50, 47:51])
    assert brightest["arterial"] > brightest["native"] + 60


def test_settings_survive_json():
    settings = CtSynthesis(seed=9, step=2, phases=(0, 0, 0.5, 0.5))
    assert CtSynthesis(**json.loads(json.dumps(asdict(settings)))) == settings


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"phases": (0, 0, 0, 0)}, "four shares of native, arterial, portal, late"),
        ({"phases": (1, 1)}, "four shares"),
        ({"phases": (-1, 1, 1, 1)}, "four shares"),
        ({"step": 0}, "makes no scan"),
        ({"warp_mm": -1.0}, "makes no scan"),
        ({"stretch": 0.6}, "stretch below 0.5"),
    ],
)
def test_settings_that_make_no_scan_are_refused(wrong, message):
    with pytest.raises(BadInput, match=message):
        CtSynthesis(**wrong)


def test_a_folder_without_organ_maps_is_refused(tmp_path):
    (tmp_path / "ircad01_ct.nii.gz").write_bytes(b"")
    with pytest.raises(BadInput, match="expected files like ircad01_organs"):
        synthetic_cases(tmp_path, QUICK)


def test_real_maps_give_a_case_each(shared_data):
    cases = synthetic_cases(shared_data / "organ_labels", CtSynthesis(seed=1), per_patient=2)
    assert len(cases) == 30
    assert cases[0].patient == "lits028"
    assert cases[-1].patient == "lits046"


def test_a_real_map_keeps_its_experts_liver(shared_data):
    from hepar.io import read_labels

    settings = CtSynthesis(seed=1, warp_mm=0, stretch=0, halved=True, below_mm=1e4, above_mm=1e4)
    made = synthetic_cases(shared_data / "organ_labels", settings)[0].truth
    truth = read_labels(shared_data / "ct" / "ircad01_label.nii.gz").axial().labels[:, ::2, ::2]
    both = np.count_nonzero(made.liver & (truth > 0))
    assert 2 * both / (np.count_nonzero(made.liver) + np.count_nonzero(truth)) > 0.995
    assert np.array_equal(made.tumour, truth == 2)
