"""The forest that judges lesions: learned from candidates of networks that never saw the patient, stored as arrays."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest

from hepar.cases import Case
from hepar.errors import BadInput, BadModel
from hepar.geometry import Geometry
from hepar.inference.decision import Finding
from hepar.inference.filtered import FilteredSegmenter
from hepar.inference.forest import Forest, load_forest, save_forest
from hepar.training.object_filter import FilteredMethod, grow_forest
from hepar.training.recipe import Recipe
from hepar.volume import LabelMap, Volume

GRID = Geometry.from_spacing((6, 24, 24), (3, 1, 1))
DARK, BRIGHT = (slice(1, 4), slice(4, 8), slice(4, 8)), (slice(2, 5), slice(14, 18), slice(14, 18))


def case(name: str, **more: str) -> Case:
    """A liver with a dark block, which is a tumour, and a bright one, which is a vessel."""
    values = np.full(GRID.shape, 100, np.float32) + np.random.default_rng(len(name)).normal(0, 3, GRID.shape)
    labels = np.ones(GRID.shape, np.uint8)
    values[DARK], values[BRIGHT], labels[DARK] = 40, 160, 2
    ct = Volume(values.astype(np.float32), GRID)
    patient, _, _ = name.partition("/")
    return Case(name, patient, lambda: ct, lambda: LabelMap(labels, GRID), evidence="phantom", **more)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Finder:
    """Finds every block that is not of liver's brightness, whoever it was trained on."""

    name: str

    def find(self, ct: Volume, progress: object = None) -> Finding:
        odd = np.abs(ct.values - 100) > 40
        return Finding(LabelMap(1 + odd.astype(np.uint8), ct.geometry), odd * np.uint8(200))


class Stages:
    """A stand-in for networks in sequence, which keeps whom it was trained on."""

    recipe = Recipe()

    def __init__(self) -> None:
        self.trained: dict[str, list[str]] = {}

    def train(self, cases, folder, listen=None, device="auto"):
        self.trained[folder.name] = [one.patient for one in cases]
        folder.mkdir(parents=True, exist_ok=True)
        facts = {"training_patients": self.trained[folder.name], "updates": 5, "minutes_training": 1.0}
        (folder / "run.json").write_text(json.dumps(facts | {"inner_validation_patients": []}))
        return self.load(folder)

    def load(self, folder):
        return Finder(folder.name)

    def to_json(self):
        return {"stages": "stand-in"}


CASES = [case(name) for name in ("a", "bb", "ccc/1", "ccc/2")]


@pytest.fixture
def method() -> FilteredMethod:
    return FilteredMethod(Stages(), inner_folds=3, trees=8)  # type: ignore[arg-type]


def test_the_filter_drops_what_the_truth_calls_false_and_keeps_tumours(method, tmp_path):
    segmenter = method.train(CASES, tmp_path / "run")
    found = segmenter.segment(case("dddd").ct)
    assert (found.labels[DARK] == 2).all()
    assert (found.labels[BRIGHT] == 1).all()
    assert np.array_equal(method.load(tmp_path / "run").segment(case("dddd").ct).labels, found.labels)


def test_no_network_judges_a_case_of_a_patient_it_was_trained_on(method, tmp_path):
    method.train(CASES, tmp_path / "run")
    inner = {name: patients for name, patients in method.stages.trained.items() if name.startswith("fold")}
    assert len(inner) == 3
    for one in CASES:
        path = tmp_path / "run" / "candidates" / f"{one.id.replace('/', '_')}.npz"
        with np.load(path) as kept:
            name, finder = kept["who"].tolist()
        assert name == one.id
        assert one.patient not in inner[finder]


def test_run_json_says_how_many_candidates_there_were_and_what_all_trainings_took(method, tmp_path):
    method.train(CASES, tmp_path / "run")
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["filter"] == {"candidates": 8, "true": 4, "used": True}
    assert (run["finished"], run["updates"], run["minutes_training"]) == (True, 20, 4.0)
    assert run["method"]["trees"] == 8


def test_candidates_are_looked_for_once_for_each_finder(method, tmp_path, monkeypatch):
    method.train(CASES, tmp_path / "run")
    monkeypatch.setattr(Finder, "find", lambda *_: pytest.fail("looked again"))
    method.train(CASES, tmp_path / "run")


def test_candidates_of_one_kind_teach_nothing_and_all_lesions_stay(method, tmp_path):
    truthful = [replace(one, read_truth=lambda: LabelMap(np.ones(GRID.shape, np.uint8), GRID)) for one in CASES]
    segmenter = method.train(truthful, tmp_path / "run")
    told = json.loads((tmp_path / "run" / "run.json").read_text())["filter"]
    assert (told["candidates"], told["true"], told["used"]) == (8, 0, False)
    assert not (tmp_path / "run" / "forest.npz").exists()
    assert (segmenter.segment(CASES[0].ct).labels[BRIGHT] == 2).all()


def test_cases_that_do_not_tell_tumour_from_liver_teach_the_forest_nothing(method, tmp_path):
    method.train([*CASES, case("union", labels="liver_union")], tmp_path / "run")
    assert json.loads((tmp_path / "run" / "run.json").read_text())["filter"]["candidates"] == 8


def test_without_inner_folds_there_is_no_filter_and_with_them_one_patient_is_too_few(method, tmp_path):
    without = replace(method, inner_folds=0).train(CASES[:1], tmp_path / "none")
    assert without.forest is None
    with pytest.raises(BadInput, match="need at least 2"):
        method.train(CASES[:1], tmp_path / "one")


def rows(seed: int, count: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(count, 36))
    return features, features[:, 3] + 0.5 * features[:, 20] + rng.normal(0, 0.3, count) > 0


def test_the_stored_forest_answers_as_scikit_learn_does(tmp_path):
    from sklearn.ensemble import RandomForestClassifier

    features, true = rows(0)
    save_forest(grow_forest(features, true, 20, seed=5), tmp_path / "forest.npz")
    theirs = RandomForestClassifier(20, random_state=5).fit(features, true).predict_proba(rows(1)[0])[:, 1]
    ours = load_forest(tmp_path / "forest.npz").probability(rows(1)[0])
    assert np.allclose(ours, theirs, atol=1e-12)
    assert ((ours > 0.5) == rows(1)[1]).mean() > 0.8


def test_a_seed_grows_one_forest():
    one, same, other = (grow_forest(*rows(0), 4, seed).threshold for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert one.shape != other.shape or not np.array_equal(one, other)


def test_a_forest_whose_ways_end_nowhere_is_refused(tmp_path):
    features, true = rows(0)
    forest = grow_forest(features, true, 2, seed=0)
    inner = np.flatnonzero(forest.feature >= 0)
    for name, value in (("left", len(forest.feature)), ("right", 0), ("feature", 36), ("feature", -2)):
        table = getattr(forest, name).copy()
        table[inner[-1]] = value
        with pytest.raises(BadModel, match="do not fit together"):
            replace(forest, **{name: table})
    with pytest.raises(BadModel, match=r"forest\.npz is missing or no forest"):
        load_forest(tmp_path / "forest.npz")
    (tmp_path / "forest.npz").write_bytes(b"cos\nsystem\n")
    with pytest.raises(BadModel, match="no forest"):
        load_forest(tmp_path / "forest.npz")


def test_no_rows_have_no_probabilities():
    leaf = np.zeros(1, np.int64)
    stump = Forest(leaf, leaf - 1, leaf * 1.0, leaf, leaf, np.array([0.3]), ("one",))
    assert stump.probability(np.zeros((0, 1))).shape == (0,)
    assert stump.probability(np.zeros((2, 1))).tolist() == [0.3, 0.3]


def test_a_tilted_scan_is_filtered_as_the_straight_one(method, tmp_path):
    segmenter = method.train(CASES, tmp_path / "run")
    assert isinstance(segmenter, FilteredSegmenter)
    ct = case("dddd").ct
    turned = Geometry((24, 6, 24), GRID.affine[:, [1, 0, 2, 3]])
    swapped = Volume(np.ascontiguousarray(ct.values.swapaxes(0, 1)), turned)
    found = segmenter.find(swapped)
    assert found.labels.geometry is turned
    assert np.array_equal(found.labels.labels.swapaxes(0, 1), segmenter.segment(ct).labels)
    assert (found.tumour_probability.swapaxes(0, 1)[BRIGHT] == 200).all()
