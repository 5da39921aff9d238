"""Folds from labels, and the committed ones."""

from pathlib import Path

import numpy as np

from hepar.cases import Case, load_folds
from hepar.datasets import lits512
from hepar.geometry import Geometry
from hepar.study.folds import burden_of, make_folds
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
