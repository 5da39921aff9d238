"""Folds are made over patients, evenly, repeatably, and no patient stands on both sides."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hepar.cases import Case, Fold, inner_split, load_folds, patient_folds, save_folds
from hepar.errors import BadInput
from hepar.geometry import Geometry
from hepar.volume import Volume

# As LiTS: 130 patients, 13 of them tumour-free.
BURDEN = {f"lits{i:03}": 0.0 if i % 10 == 3 else float(i * 37 % 130 + 1) for i in range(130)}
FREE = {patient for patient, ml in BURDEN.items() if ml == 0}


def test_130_patients_make_folds_of_33_33_32_32():
    folds = patient_folds(BURDEN, 4, seed=0)
    assert sorted(len(fold.test) for fold in folds) == [32, 32, 33, 33]


def test_every_patient_is_tested_once_and_trained_otherwise():
    folds = patient_folds(BURDEN, 4, seed=0)
    assert sorted(patient for fold in folds for patient in fold.test) == sorted(BURDEN)
    for fold in folds:
        assert not set(fold.train) & set(fold.test)
        assert set(fold.train) | set(fold.test) == set(BURDEN)


@pytest.mark.parametrize("seed", range(10))
def test_tumour_free_and_heavy_patients_spread_evenly(seed):
    heavy = set(sorted(BURDEN, key=BURDEN.get)[-40:])
    for fold in patient_folds(BURDEN, 4, seed):
        assert len(FREE & set(fold.test)) in (3, 4)
        assert len(heavy & set(fold.test)) in (9, 10, 11)


def test_the_same_seed_deals_the_same_folds_whatever_the_order_of_patients():
    backwards = dict(reversed(BURDEN.items()))
    assert patient_folds(BURDEN, 4, seed=7) == patient_folds(backwards, 4, seed=7)


def test_another_seed_deals_other_folds():
    assert patient_folds(BURDEN, 4, seed=7) != patient_folds(BURDEN, 4, seed=8)


@pytest.mark.parametrize("count", [0, 1, 131])
def test_impossible_numbers_of_folds_are_refused(count):
    with pytest.raises(BadInput, match="use 2 up to"):
        patient_folds(BURDEN, count, seed=0)


def test_folds_come_back_from_their_file(tmp_path):
    folds = patient_folds(BURDEN, 4, seed=0)
    save_folds(folds, tmp_path / "folds.json")
    assert load_folds(tmp_path / "folds.json") == folds
    assert [path.name for path in tmp_path.iterdir()] == ["folds.json"]


def test_a_patient_on_both_sides_is_refused_even_from_a_file(tmp_path):
    with pytest.raises(BadInput, match="both sides"):
        Fold(("a", "b"), ("b", "c"))
    (tmp_path / "folds.json").write_text(json.dumps([{"train": ["a"], "test": ["a"]}]))
    with pytest.raises(BadInput, match="both sides"):
        load_folds(tmp_path / "folds.json")


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[{"train": []}]', '[{"train": "ab", "test": "cd"}]', "\xff"])
def test_a_file_that_holds_no_folds_is_refused(tmp_path, text):
    (tmp_path / "folds.json").write_text(text, encoding="latin-1")
    with pytest.raises(BadInput, match=r"folds\.json is not a list of"):
        load_folds(tmp_path / "folds.json")


def test_a_missing_fold_file_is_named_without_its_folder(tmp_path):
    with pytest.raises(BadInput, match=r"^folds\.json cannot be read as a fold file: No such file"):
        load_folds(tmp_path / "folds.json")


def test_inner_validation_is_held_back_by_patient():
    inner = inner_split(BURDEN, 0.2, seed=0)
    assert len(inner.test) == 26
    assert not set(inner.train) & set(inner.test)
    assert inner_split(BURDEN, 0, seed=0) == Fold(tuple(sorted(BURDEN)), ())
    assert inner_split({"only": 1.0}, 0.2, seed=0) == Fold(("only",), ())


def test_all_scans_of_a_patient_go_with_the_patient():
    scans = [Case(f"scan{i}", patient, read_ct=lambda: None) for i, patient in enumerate(["a", "a", "b", "c"])]
    fold = Fold(("a",), ("b",))
    assert [case.id for case in fold.training_cases(scans)] == ["scan0", "scan1"]
    assert [case.id for case in fold.test_cases(scans)] == ["scan2"]


def test_a_case_reads_only_when_asked():
    read = []

    def read_ct() -> Volume:
        read.append("ct")
        return Volume(np.zeros((1, 2, 3), np.int16), Geometry.from_spacing((1, 2, 3), (1, 1, 1)))

    case = Case("scan", "patient", read_ct)
    assert read == []
    assert case.ct.values.shape == (1, 2, 3)
    assert read == ["ct"]
    with pytest.raises(BadInput, match="case scan has no reference labels"):
        _ = case.truth
