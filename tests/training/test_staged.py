"""Liver and tumour networks trained in sequence: who saw what, what the second learns from, how a run goes on."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from hepar.cases import Case
from hepar.errors import BadInput
from hepar.geometry import Geometry
from hepar.inference.staged import FoundLiver, View
from hepar.nets.cdnn_squeeze import CdnnSqueeze
from hepar.preprocess import InPlaneGrid, Window
from hepar.training.deep_method import DeepMethod
from hepar.training.out_of_fold import inner_folds, train_out_of_fold
from hepar.training.recipe import Recipe
from hepar.training.staged import BesideTraining, StagedMethod, read_found, write_found
from hepar.volume import LabelMap, Volume

GRID = Geometry.from_spacing((4, 32, 32), (5, 2, 2))
STAGE = DeepMethod(
    CdnnSqueeze(width=0.05),
    prepare=(Window(0, 255),),
    grid=InPlaneGrid(matrix=32),
    recipe=Recipe(epochs=1, batch=2, micro_batch=2, slices="all"),
    encoder_weights="none",
)
# Livers as they are: a network of one update finds none.
METHOD = StagedMethod(STAGE, replace(STAGE, prepare=(Window(-100, 255),)), liver_seen="truth")


def case(name: str, shift: int = 0, **more: object) -> Case:
    labels = np.zeros(GRID.shape, np.uint8)
    labels[1:3, 8 + shift : 20 + shift, 8:20] = 1
    labels[2, 12:15, 12:15] = 2
    ct = Volume(np.choose(labels, (20, 120, 60)).astype(np.int16), GRID)
    return Case(name, name, lambda: ct, lambda: LabelMap(labels, GRID), evidence="phantom", **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return [case("a"), case("b", 2), case("c", 4)]


class OfSquares:
    """A stand-in for a stage: keeps the cases it trains on, and finds a square wherever it is asked."""

    def __init__(self, square: slice) -> None:
        self.square, self.trained = square, {}
        self.recipe = Recipe()
        self.name = f"square of {square.start}"

    def train(self, cases, folder, listen, device="auto"):
        self.trained[folder.name] = list(cases)
        folder.mkdir(parents=True, exist_ok=True)
        facts = {"training_patients": [one.patient for one in cases], "updates": 1, "minutes_training": 0.0}
        (folder / "run.json").write_text(json.dumps(facts | {"inner_validation_patients": []}))
        return self

    def load(self, folder):
        return self

    def segment(self, ct: Volume) -> LabelMap:
        labels = np.zeros(ct.values.shape, np.uint8)
        labels[1:4, self.square, self.square] = 1
        return LabelMap(labels, ct.geometry)

    def to_json(self):
        return {"square": [self.square.start, self.square.stop]}


def seen_by_the_tumour_stage(method: StagedMethod, cases, folder) -> list[Case]:
    """What the second stage of a method whose first finds pixels 10 to 24 trains on."""
    kept: list[Case] = []

    class Stopped(Exception):
        pass

    class Second(DeepMethod):
        def train(self, cases, folder, listen=lambda _: None, device="auto"):
            kept.extend(cases)
            raise Stopped

    own = {name: getattr(method.tumour, name) for name in method.tumour.__dataclass_fields__}
    staged = replace(method, liver=OfSquares(slice(10, 24)), tumour=Second(**own))
    with pytest.raises(Stopped):
        staged.train(cases, folder)
    return kept


def test_the_tumour_stage_learns_from_the_liver_that_was_found_and_not_from_the_true_one(cases, tmp_path):
    method = replace(METHOD, liver_seen="found", view=View(margin_mm=2))
    (seen, *_) = seen_by_the_tumour_stage(method, cases, tmp_path / "run")
    ct, truth = seen.ct, seen.truth
    assert ct.geometry.same_grid(truth.geometry)
    assert ct.values.shape == (3, 32, 32)  # slices 1 to 3, as found
    rows, columns = (np.flatnonzero((ct.values > 0).any(axis=axes)) for axes in ((0, 2), (0, 1)))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (9, 24, 9, 24)
    # 9 pixels of tumour, all of them in the light; labels of the liver teach nothing here.
    assert np.bincount(truth.labels.ravel()).tolist() == [3 * 32 * 32 - 9, 0, 9]
    # Prepared by the second stage's own window.
    assert set(np.unique(ct.values[1, 12:15, 12:15])) == {round((60 + 100) * 255 / 355)}


def test_what_lies_in_the_dark_is_taught_as_background(cases, tmp_path):
    method = replace(METHOD, liver_seen="found", view=View(margin_mm=2), teaches="all")
    far = replace(cases[0], read_truth=lambda: LabelMap(np.full(GRID.shape, 2, np.uint8), GRID))
    (seen,) = seen_by_the_tumour_stage(method, [far], tmp_path / "run")
    assert np.array_equal(seen.truth.labels > 0, seen.ct.values > 0)


def test_all_labels_and_the_box_alone(cases, tmp_path):
    method = replace(METHOD, liver_seen="found", view=View(masked=False, cropped=True, margin_mm=4), teaches="all")
    (seen, *_) = seen_by_the_tumour_stage(method, cases, tmp_path / "run")
    assert seen.ct.values.shape == (4, 18, 18)
    assert np.array_equal(seen.truth.labels, cases[0].truth.labels[0:4, 8:26, 8:26])
    assert (seen.ct.values > 0).all()


def test_true_livers_only_where_they_are_asked_for(cases, tmp_path):
    truth, mixed = (
        seen_by_the_tumour_stage(replace(METHOD, liver_seen=seen, view=View(margin_mm=2)), cases, tmp_path / seen)
        for seen in ("truth", "mixed")
    )
    assert truth[0].ct.values.shape[0] == 2
    lit = [np.flatnonzero((slice_ > 0).any(axis=1)).min() for slice_ in mixed[0].ct.values]
    # Slices 1 and 3 as found, slice 2 as it is.
    assert lit == [9, 7, 9]


def test_out_of_fold_livers_come_from_trainings_without_the_patient(cases, tmp_path):
    method = replace(METHOD, liver_seen="out_of_fold", inner_folds=2)
    stage = OfSquares(slice(10, 24))
    folds = inner_folds(cases, 2, seed=1)
    finders = train_out_of_fold(stage, cases, tmp_path, folds, print)
    assert finders.keys() == {"a", "b", "c"}
    for fold, home in zip(folds, ("fold-1", "fold-2"), strict=True):
        assert [one.patient for one in stage.trained[home]] == list(fold.train)
    assert sorted(patient for fold in folds for patient in fold.test) == ["a", "b", "c"]
    seen_by_the_tumour_stage(method, cases, tmp_path / "run")
    assert (tmp_path / "run/liver-folds/fold-2/run.json").exists()


def test_a_training_that_saw_whom_it_answers_for_is_our_mistake(cases, tmp_path):
    class Greedy(OfSquares):
        def train(self, some, folder, listen, device="auto"):
            return super().train(cases, folder, listen, device)

    with pytest.raises(AssertionError, match="fold 1 saw a patient it is tested on"):
        train_out_of_fold(Greedy(slice(1, 4)), cases, tmp_path, inner_folds(cases, 2, 0), print)


def test_one_patient_has_no_out_of_fold_answer(cases, tmp_path):
    with pytest.raises(BadInput, match="1 patient to train on; out-of-fold predictions need at least 2"):
        seen_by_the_tumour_stage(replace(METHOD, liver_seen="out_of_fold"), cases[:1], tmp_path / "run")


def test_a_found_liver_is_kept_with_its_case_and_its_finder(tmp_path):
    rng = np.random.default_rng(0)
    mask, probability = rng.random((3, 5, 7)) < 0.5, rng.integers(0, 256, (3, 5, 7)).astype(np.uint8)
    for extra in (None, probability):
        write_found(tmp_path / "x.npz", FoundLiver(mask, extra), "case 1", "net@1")
        found, owner, origin = read_found(tmp_path / "x.npz")
        assert (owner, origin) == ("case 1", "net@1")
        assert np.array_equal(found.mask, mask)
        assert (found.probability is None) == (extra is None)
        assert extra is None or np.array_equal(found.probability, extra)


def test_the_liver_of_another_case_is_refused(cases, tmp_path):
    (seen, *_) = seen_by_the_tumour_stage(METHOD, cases, tmp_path / "run")
    livers = tmp_path / "run/livers"
    (livers / "b.npz").replace(livers / "a.npz")
    with pytest.raises(AssertionError, match="liver of b was handed to a"):
        _ = seen.ct


def test_both_stages_are_run_folders_and_training_goes_on_in_them(cases, tmp_path):
    segmenter = METHOD.train(cases, tmp_path / "run")
    run = json.loads((tmp_path / "run/run.json").read_text())
    assert run["finished"] is True
    assert run["method"] == json.loads(json.dumps(METHOD.to_json()))
    assert run["training_cases"] == ["a", "b", "c"]
    assert run["updates"] == sum(run["stages"][stage]["updates"] for stage in ("liver", "tumour")) == 6 + 3
    assert run["stages"]["liver"]["slices"]["training_with_tumour"] == 0
    assert run["stages"]["tumour"]["slices"] == {
        "training": 6, "training_with_liver": 3, "training_with_tumour": 3, "training_liver_union": 0,
        "inner_validation": 0,
    }  # fmt: skip
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "run/livers").iterdir()}
    ticks: list[object] = []
    again = METHOD.train(cases, tmp_path / "run", ticks.append)
    assert ticks == []
    assert again.name == METHOD.load(tmp_path / "run").name == segmenter.name
    assert {path: path.stat().st_mtime_ns for path in written} == written
    with pytest.raises(BadInput, match="run holds another training"):
        replace(METHOD, view=View(margin_mm=9)).train(cases, tmp_path / "run")


def test_a_second_channel_is_cut_and_resampled_as_the_picture_is(cases):
    own = {name: getattr(STAGE, name) for name in STAGE.__dataclass_fields__}
    store = BesideTraining(**own, channel={one.id: one.read_ct for one in cases}).slices(cases)
    assert len(store) == 12
    assert all(np.array_equal(*store.seen(i)) for i in range(12))
    assert store.part(store.cases == "b").seen(2)[1] is store.around[6][1]


def test_labels_that_do_not_tell_tumour_from_liver_teach_the_liver_only(cases, tmp_path):
    union = replace(cases[1], labels="liver_union")
    METHOD.train([cases[0], union], tmp_path / "run")
    stages = json.loads((tmp_path / "run/run.json").read_text())["stages"]
    assert [stages[stage]["training_cases"] for stage in ("liver", "tumour")] == [["a", "b"], ["a"]]
    with pytest.raises(BadInput, match="no training case tells tumour from liver"):
        METHOD.train([union], tmp_path / "other")


def test_a_first_stage_that_finds_nothing_stops_the_training(cases, tmp_path):
    with pytest.raises(BadInput, match="finds no liver in any training case; train it longer"):
        replace(METHOD, liver=OfSquares(slice(0, 0)), liver_seen="found").train(cases, tmp_path / "run")


def test_each_changes_both_stages():
    changed = METHOD.each(lambda stage: replace(stage, grid=InPlaneGrid(matrix=64)))
    assert changed.liver.grid == changed.tumour.grid == InPlaneGrid(matrix=64)
    assert changed.recipe is METHOD.tumour.recipe
