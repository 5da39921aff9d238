"""Which slice Fig. 2 and 5 show: chosen by a rule, from a study of phantoms whose scores are made up."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hepar.errors import BadInput
from hepar.service import paper_example
from hepar.service.paper_example import ORDER, TUMOUR_DSC, arm_slices, example_of, shot_of
from hepar.study.reproduce.protocol import data_cases


def scores_of(dice: float) -> Any:
    return SimpleNamespace(value=lambda spec: dice if spec is TUMOUR_DSC.spec else 1.0)


def documents(dice: dict[str, float], arm: tuple[str, str] = ("cdnn_alex", "with"), phantoms: int = 4) -> Any:
    """A study in which one arm has these tumour DSCs by case."""
    cell = SimpleNamespace(scores=lambda *_: {case: scores_of(value) for case, value in dice.items()})
    empty = {(row.arm, row.preprocessing): SimpleNamespace(cells=()) for row in ORDER}
    own = SimpleNamespace(cells=(cell,), title="An arm", preprocessing=arm[1])
    facts = {"order": {"phantoms": phantoms, "seed": 1}, "cases": ["phantom000"]}
    return SimpleNamespace(arms=empty | {arm: own}, facts=facts)


def test_the_patient_in_the_middle_is_shown_on_the_slice_with_most_tumour():
    found = example_of(documents({"phantom000": 0.9, "phantom001": 0.2, "phantom002": 0.5}), None)
    assert found.case.id == "phantom002"
    truth = next(case for case in data_cases(None, 4, "full", 1) if case.id == "phantom002").truth.axial().labels
    area = (truth > 1).sum(axis=(1, 2))
    assert area[found.index] == area.max() > 0
    assert "median tumour DSC (0.500) of An arm with preprocessing" in found.rule
    assert (found.banner, found.stands_in) == ("phantom, no CT", False)


def test_of_an_even_number_the_better_one_and_the_rule_says_so():
    found = example_of(documents({"phantom000": 0.9, "phantom001": 0.2}), None)
    assert found.case.id == "phantom000"
    assert "the better of the two in the middle" in found.rule


def test_a_patient_without_tumour_does_not_count():
    found = example_of(documents({"phantom000": 0.9, "phantom001": 0.2, "phantom002": 0.5, "phantom003": np.nan}), None)
    assert found.case.id == "phantom002"


def test_where_the_proposed_arm_was_not_run_another_of_table_1_decides():
    found = example_of(documents({"phantom001": 0.2}, arm=("cdnn_resnet18", "without")), None)
    assert found.case.id == "phantom001"


@pytest.mark.parametrize("told", [{"dice": {}, "phantoms": 4}, {"dice": {"phantom000": 0.5}, "phantoms": 0}])
def test_without_scores_or_ct_a_phantom_stands_in(told, monkeypatch):
    # The same case as the study's first phantom: small, and known to show a tumour.
    monkeypatch.setattr(paper_example, "stand_in", lambda: data_cases(None, 1, "full", 1)[0])
    found = example_of(documents(**told), None)
    assert found.stands_in
    assert "--data" in found.rule


def test_the_picture_is_the_liver_with_a_margin():
    found = example_of(documents({"phantom000": 0.5}), None)
    shot, box = shot_of(found, found.ct)
    assert shot.truth.shape == shot.grey.shape
    assert np.count_nonzero(shot.truth) == np.count_nonzero(found.truth)
    # 25 mm of 4 mm pixels.
    assert np.flatnonzero((shot.truth > 0).any(axis=1))[0] == 6
    assert found.truth[box].shape == shot.truth.shape


def test_data_without_the_studys_cases_are_refused(monkeypatch):
    monkeypatch.setattr(paper_example, "data_cases", lambda *_: data_cases(None, 4, "full", 1)[1:])
    with pytest.raises(BadInput, match="none of the study's cases; give the folder"):
        example_of(documents({"phantom000": 0.5}), Path("elsewhere"))


def test_arms_stand_in_the_papers_order_and_say_why_they_have_no_labels():
    told = documents({"phantom000": 0.5})
    example = example_of(told, None)
    for row, state in zip(ORDER, ("not run", "failed: no memory", "not run", "not run"), strict=True):
        empty = SimpleNamespace(title=row.arm, preprocessing=row.preprocessing, state=state, cells=())
        told.arms[row.arm, row.preprocessing] = empty
    arms = arm_slices(told, example, (slice(None), slice(None)))
    assert [arm.title for arm in arms] == [
        "cdnn_resnet18\nwithout preprocessing", "cdnn_alex\nwithout preprocessing",
        "cdnn_resnet18\nwith preprocessing", "cdnn_alex\nwith preprocessing",
    ]  # fmt: skip
    # What broke is told on the terminal and in the tables; a picture has no room for it.
    assert [arm.note for arm in arms[:2]] == ["not run", "failed"]
