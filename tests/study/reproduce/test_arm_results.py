"""An arm's figures over folds: every case counts once, patients are drawn, conditions are kept apart."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from hepar.metrics.figures import ProtocolScores
from hepar.study.reproduce.arm_results import MEASURES, NO_VALUE, ArmResult, arm_results, compared
from hepar.study.reproduce.plan import GROUPS
from hepar.study.reproduce.results import CellResult, StudyResults

DICE, ASSD = MEASURES[0], MEASURES[1]
FACTS: dict[str, Any] = {
    "state": "finished", "recipe": "practical", "epochs_used": 3, "epochs_asked": 40, "updates": 30, "batch": 8,
    "minutes": 2.0, "learning_rate": 1e-3, "converged": True, "encoder": {"source": "none"}, "error": None,
}  # fmt: skip


def entry(case: str, dice: float, labelled: float | None = None, patient: str | None = None) -> dict[str, Any]:
    """A case whose liver DSC is `dice`, on labelled slices `labelled`; NaN: it does not count."""

    def scored(value: float) -> dict[str, Any]:
        terms = {} if math.isnan(value) else {DICE.spec.name: (value, 1.0), ASSD.spec.name: (10 * (1 - value), 1.0)}
        return {"paper": ProtocolScores(terms, (DICE.spec.name,) if value == 0 else ()).to_json()}

    conditions = {"all_slices": scored(dice), "liver_slices": scored(dice if labelled is None else labelled)}
    return {"case": case, "patient": patient or case, "conditions": conditions}


def arm(*folds: list[dict[str, Any]], of: int = 4, name: str = "cdnn_alex", **facts: Any) -> ArmResult:
    cells = [
        CellResult(Path(str(k)), FACTS | {"arm": name, "preprocessing": "with", "fold": k, "id": f"{name}/{k}"} | facts,
                   tuple(rows))
        for k, rows in enumerate(folds)
    ]  # fmt: skip
    return ArmResult(name, "with", name, tuple(cells), of)


def test_a_mean_is_over_all_cases_of_all_folds_alike():
    # Folds of different sizes: a mean of fold means would be another number.
    found = arm([entry("a", 0.9)], [entry("b", 0.6), entry("c", 0.6)]).value(DICE)
    assert found.value == pytest.approx(0.7)
    assert (found.count, found.missed) == (3, 0)


def test_misses_are_counted_and_cases_that_do_not_count_are_not():
    found = arm([entry("a", 0.0), entry("b", math.nan), entry("c", 0.8)]).value(DICE)
    assert (found.count, found.missed) == (2, 1)
    assert found.value == pytest.approx(0.4)


def test_fewer_than_five_patients_have_no_interval():
    four = arm([entry(name, 0.5 + k / 10) for k, name in enumerate("abcd")]).value(DICE)
    assert math.isnan(four.interval.low)
    five = arm([entry(name, 0.5 + k / 10) for k, name in enumerate("abcde")]).value(DICE)
    assert five.interval.low < five.value < five.interval.high
    # Five scans of four patients are four patients.
    scans = [entry(name, 0.5, patient="a" if name == "b" else name) for name in "abcde"]
    assert math.isnan(arm(scans).value(DICE).interval.low)


def test_both_conditions_of_testing_are_there():
    one = arm([entry("a", 0.5, labelled=0.8)])
    assert one.value(DICE).value == pytest.approx(0.5)
    assert one.value(DICE, "liver_slices").value == pytest.approx(0.8)


def test_an_arm_without_cells_has_no_value_and_no_protocol():
    nothing = arm()
    assert nothing.value(DICE) == NO_VALUE
    assert (nothing.state, nothing.protocol, nothing.converged, nothing.patients) == ("not run", "", False, 0)


def test_one_fold_that_has_not_converged_is_enough():
    one, two = arm([entry("a", 0.5)], of=2), arm([entry("b", 0.5)], of=2, converged=False)
    both = ArmResult("x", "with", "x", (*one.cells, *two.cells), 2)
    assert (one.converged, two.converged, both.converged) == (True, False, False)
    assert both.state == "finished, not converged"
    assert one.state == "1 of 2 folds"


def test_how_it_was_trained_stands_in_one_line():
    said = arm([entry("a", 0.5)]).protocol
    assert said == "practical: 3 of 40 epochs, 30 updates of 8, 2.0 min a fold, rate 0.001, start: none"


def test_a_comparison_is_over_the_cases_that_both_tested():
    first = arm([entry("a", 0.9), entry("b", 0.8)], [entry("c", 0.7)])
    second = arm([entry("b", 0.5), entry("a", 0.5)], name="other")
    test = compared(first, second, DICE)
    assert (test.cases, test.patients) == (2, 2)
    assert test.mean_difference == pytest.approx(0.35)
    assert compared(second, first, DICE).mean_difference == pytest.approx(-0.35)
    # Distances have the other sign.
    assert compared(first, second, ASSD).mean_difference == pytest.approx(-3.5)


def test_a_patient_with_two_scans_weighs_once():
    first = arm([entry("a", 1.0), entry("b1", 0.6, patient="b"), entry("b2", 0.8, patient="b")])
    second = arm([entry("a", 0.5), entry("b1", 0.5, patient="b"), entry("b2", 0.5, patient="b")], name="other")
    test = compared(first, second, DICE)
    assert (test.cases, test.patients) == (3, 2)
    assert test.mean_difference == pytest.approx((0.5 + 0.2) / 2)


def test_every_arm_of_the_plan_has_a_row_with_the_folds_it_should_have(tmp_path):
    found = arm_results(StudyResults(tmp_path, {"fold_sizes": [[9, 3]] * 4}, ()))
    assert found.keys() == {one.key for group in GROUPS.values() for one in group}
    assert found["cdnn_alex", "with"].folds == 4
    assert found["cdnn_alex-fcn32s", "with"].folds == 1
