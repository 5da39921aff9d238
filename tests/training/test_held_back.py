"""Who judges a training: patients by their burden in real scans, or those named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hepar.cases import Case
from hepar.datasets.phantom import PhantomSettings, phantom_case
from hepar.errors import BadInput
from hepar.training.held_back import hold_back
from hepar.training.recipe import Recipe
from hepar.training.store import SliceStore

SHARE = Recipe(validation_share=0.5)


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    """Patients a and b, each scanned, and a synthetic CT of each; a phantom c."""
    one = phantom_case(PhantomSettings(seed=0), "phantom")
    real = [replace(one, id=name, patient=name, evidence="real") for name in "ab"]
    made = [replace(case, id=f"{case.id} synthetic", evidence="synthetic") for case in real]
    return [*real, *made, replace(one, id="c", patient="c")]


@pytest.fixture
def store(cases) -> SliceStore:
    """A slice a case."""
    blank = [np.zeros((4, 4), np.uint8) for _ in cases]
    patients, ids = np.array([case.patient for case in cases]), np.array([case.id for case in cases])
    return SliceStore(blank, blank, patients, ids, np.zeros(len(cases), dtype=bool))


def test_burden_is_that_of_cases_that_are_not_synthetic(store, cases):
    asked = []

    def burden(part: SliceStore) -> dict[str, float]:
        asked.extend(part.cases)
        return dict.fromkeys(part.patients, 0.1)

    inner, rest, judging = hold_back(store, cases, SHARE, burden)
    assert asked == ["a", "b", "c"]
    (held,) = inner
    assert held in "ab"  # a phantom is nobody's patient
    assert list(judging.cases) == [held]
    assert held not in rest.patients
    assert len(rest) == 3


def test_named_patients_are_held_back_without_a_look_at_their_burden(store, cases):
    def unasked(_: SliceStore) -> dict[str, float]:
        raise AssertionError

    inner, rest, judging = hold_back(store, cases, replace(SHARE, inner_patients=("c", "a")), unasked)
    assert inner == ("c", "a")
    assert (list(rest.cases), list(judging.cases)) == (["b", "b synthetic"], ["a", "c"])
    with pytest.raises(BadInput, match="inner patients x, y are not in the training data"):
        hold_back(store, cases, replace(SHARE, inner_patients=("y", "a", "x")), unasked)


def test_nobody_held_back_leaves_all_to_train_on(store, cases):
    inner, rest, judging = hold_back(store, cases, Recipe(), lambda part: dict.fromkeys(part.patients, 0.1))
    assert (inner, len(rest), judging) == ((), 5, None)
