"""Folds from labels, and the committed ones."""

from pathlib import Path

import numpy as np
import pytest

from hepar.cases import Case, Fold, load_folds
from hepar.datasets import lits512, open_cases
from hepar.errors import BadInput
from hepar.geometry import Geometry
from hepar.study.folds import burden_of, extend_folds, make_folds
from hepar.volume import LabelMap

COMMITTED = Path(__file__).resolve().parents[2] / "studies" / "folds_lits26.json"


def case(patient: str, tumour: int, labels: str = "full") -> Case:
    voxels = np.ones((1, 10, 10), dtype=np.uint8)
    voxels.ravel()[:tumour] = 2
    truth = LabelMap(voxels, Geometry.from_spacing((1, 10, 10), (5, 1, 1)))
    return Case(f"{patient}-{tumour}", patient, lambda: None, lambda: truth, labels)


def test_burden_pools_the_cases_of_a_patient_and_leaves_union_labels_out():
    cases = [case("a", 10), case("a", 30), case("b", 0), case("c", 50, "liver_union")]
    assert burden_of(cases) == {"a": 0.2, "b": 0.0}


def test_patients_that_are_always_tested_never_train():
    cases = [case(p, 5 * i) for i, p in enumerate("abcdefgh")]
    folds = make_folds(cases, 4, seed=1, always_test=["h", "elsewhere"])
    assert all({"h", "elsewhere"} <= set(fold.test) for fold in folds)
    assert sorted(p for fold in folds for p in set(fold.test) - {"h", "elsewhere"}) == list("abcdefg")
    assert folds != make_folds(cases, 4, seed=2, always_test=["h", "elsewhere"])


def test_the_committed_folds_are_those_of_the_data(shared_data):
    made = make_folds(lits512.cases(shared_data / "lits512"), 4, 2018, ["lits028", "lits034"])
    assert made == load_folds(COMMITTED)


ALL_FOLDERS = COMMITTED.with_name("folds_all.json")


def test_added_patients_are_dealt_and_nobody_changes_sides():
    old = [Fold(("a",), ("b", "z")), Fold(("b",), ("a", "z"))]
    cases = [case("a", 10), case("z", 10), *(case(f"new{i}", 5 * i) for i in range(6)), case("union", 0, "liver_union")]
    folds = extend_folds(old, cases, seed=3)
    for before, after in zip(old, folds, strict=True):
        assert set(before.train) <= set(after.train)
        assert set(before.test) <= set(after.test)
    tested = [p for fold in folds for p in fold.test if p not in "abz"]
    assert sorted(tested) == sorted([*(f"new{i}" for i in range(6)), "union"])
    with pytest.raises(BadInput, match="found 1 new patients for 2 folds"):
        extend_folds(old, [case("x", 1)], seed=3)


def test_the_committed_folds_of_all_folders_are_those_of_the_data(shared_data):
    cases = [c for name in ("lits512", "slices256") for c in open_cases(shared_data / name)]
    assert extend_folds(load_folds(COMMITTED), cases, 2018) == load_folds(ALL_FOLDERS)
