"""A fold's decision is chosen on the other folds' test patients, found by models that never saw them."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from hepar.cases import Case, Fold
from hepar.errors import BadInput
from hepar.geometry import Geometry
from hepar.inference import Pipeline, SlabSegmenter
from hepar.preprocess import InPlaneGrid, Window
from hepar.study import cross_tuning
from hepar.study.cross_tuning import once_tested, tune_across
from hepar.volume import LabelMap, Volume

GRID = Geometry.from_spacing((24, 20, 20), (2.0, 1.0, 1.0))
FOLDS = [
    Fold(train=("b", "c"), test=("a", "always")),
    Fold(train=("a", "c"), test=("b", "always")),
    Fold(train=("a", "b"), test=("c", "always")),
]


def grey(batch: np.ndarray) -> np.ndarray:
    """A model for which brightness is all: tumour from 150 on."""
    one = batch[:, 0]
    return np.stack([50 - one, np.zeros_like(one), one - 150], axis=1).astype(np.float32) / 4


def cubes(false_lesion: int) -> tuple[Volume, LabelMap]:
    """Liver, a true lesion, and a brighter patch that is none."""
    values, labels = np.zeros(GRID.shape, np.int16), np.zeros(GRID.shape, np.uint8)
    values[2:22, 2:18, 2:18], labels[2:22, 2:18, 2:18] = 100, 1
    values[5:9, 4:8, 4:8], labels[5:9, 4:8, 4:8] = 160, 2
    values[15:18, 12:15, 12:15] = false_lesion
    return Volume(values, GRID), LabelMap(labels, GRID)


def case(patient: str, false_lesion: int = 100, **more: str) -> Case:
    return Case(patient, patient, lambda: cubes(false_lesion)[0], lambda: cubes(false_lesion)[1], **more)


@pytest.fixture
def runs(tmp_path, monkeypatch) -> dict[int, Path]:
    folders = {number: tmp_path / f"fold{number}" for number in range(3)}
    for folder in folders.values():
        folder.mkdir()
    pipeline = Pipeline((Window(0, 255),), InPlaneGrid(pixel_mm=1.0))
    monkeypatch.setattr(cross_tuning, "load_segmenter", lambda _: SlabSegmenter(grey, pipeline, "grey"))
    monkeypatch.setattr(cross_tuning, "into_model", lambda folder, *_: (folder.parent / "into").touch())
    return folders


def chosen(run: Path) -> dict:
    return json.loads((run / "tuning.json").read_text())


def test_each_fold_learns_from_the_patients_of_the_others_and_of_nobody_else(runs):
    forbidden = Case("always", "always", partial(pytest.fail, "read"), partial(pytest.fail, "read"))
    union = Case("u", "a", partial(pytest.fail, "read"), partial(pytest.fail, "read"), labels="liver_union")
    tune_across(runs, FOLDS, [case("a"), case("b"), case("c"), forbidden, union], print)
    assert [chosen(run)["patients"] for run in runs.values()] == [["b", "c"], ["a", "c"], ["a", "b"]]
    assert all((run / "into").exists() for run in runs.values())


def test_a_fold_whose_own_patients_are_odd_is_not_swayed_by_them(runs):
    # In patient a alone a patch that is no lesion looks like one, surely enough to need a threshold.
    tune_across(runs, FOLDS, [case("a", false_lesion=153), case("b"), case("c")], print)
    plain = {"tumour_bias": 0.0, "min_confidence": 0.0}
    assert plain.items() <= chosen(runs[0])["decision"].items()
    assert not plain.items() <= chosen(runs[1])["decision"].items()


def test_patients_of_several_folds_belong_to_none():
    assert [once_tested(FOLDS, number) for number in range(3)] == [{"a"}, {"b"}, {"c"}]


def test_one_fold_or_no_stacks_are_refused(runs):
    with pytest.raises(BadInput, match="two folds or more"):
        tune_across({0: runs[0]}, FOLDS, [case("a")], print)
    with pytest.raises(BadInput, match="no other fold"):
        tune_across(runs, FOLDS, [case("a")], print)


def test_what_all_folds_choose_together_rests_on_every_patient_once(runs, tmp_path):
    cases = [case("a", false_lesion=153), case("b"), case("c")]
    tune_across(runs, FOLDS, cases, print, tmp_path / "joint.json")
    joint = json.loads((tmp_path / "joint.json").read_text())
    assert joint["patients"] == ["a", "b", "c"]
    # The odd patient counts here, as it does for the folds that did not test it.
    assert joint["decision"]["min_confidence"] == chosen(runs[1])["decision"]["min_confidence"] > 0
    assert "never saw" in joint["found_by"]
