"""A field behind stages: chosen on patients whom no stage saw, by liver and tumour alike, and kept with the run."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from hepar.cases import Case
from hepar.classical.dense_crf import DenseCrf
from hepar.errors import BadInput
from hepar.geometry import Geometry
from hepar.inference import Pipeline, SlabSegmenter
from hepar.inference.refined import RefinedSegmenter
from hepar.inference.staged import StagedSegmenter, View
from hepar.nets.cdnn_squeeze import CdnnSqueeze
from hepar.preprocess import InPlaneGrid, Window
from hepar.training.deep_method import DeepMethod
from hepar.training.recipe import Recipe
from hepar.training.refined import RefinedMethod
from hepar.training.staged import StagedMethod
from hepar.volume import LabelMap, Volume

GRID = Geometry.from_spacing((10, 28, 28), (3, 2, 2))
GREY = (Window(0, 255),)
NONE, GOOD = DenseCrf(near=0.0, alike=0.0), DenseCrf(updates=2)
# So strong that a small tumour drowns in its liver.
DROWNS = DenseCrf(near=60.0, near_mm=6.0, alike=0.0, updates=2)


def case(name: str, tumour: bool = True, noise: float = 14, **more) -> Case:
    z, y, x = np.mgrid[:10, :28, :28]
    labels = ((z - 5) ** 2 * 2 + (y - 14) ** 2 + (x - 14) ** 2 < 90).astype(np.uint8)
    if tumour:
        labels[(z - 5) ** 2 * 2 + (y - 13) ** 2 + (x - 16) ** 2 < 14] = 2
    rng = np.random.default_rng(ord(name[-1]))
    hu = np.choose(labels, (40, 110, 75)) + rng.normal(0, noise, labels.shape)
    ct, truth = Volume(hu.astype(np.int16), GRID), LabelMap(labels, GRID)
    return Case(name, f"patient of {name}", lambda: ct, lambda: truth, evidence=more.pop("evidence", "phantom"), **more)


def by_grey(limit: float, side: int):
    """A network that judges each pixel by itself; `side` +1: liver above the limit, -1: tumour below it."""

    def predict(batch: np.ndarray) -> np.ndarray:
        grey = np.where(batch[:, 0] > 0, side * (batch[:, 0] - limit) / 12, -40)
        rest = np.full_like(grey, -40)
        return np.stack([-grey, grey, rest] if side > 0 else [-grey, rest, grey], axis=1).astype(np.float32)

    return predict


class Stages(StagedMethod):
    """A stand-in: remembers whom it learned from, and finds by grey values."""

    def train(self, cases, folder, listen=lambda _: None, device="auto"):
        type(self).learned = [one.id for one in cases]
        type(self).trainings = getattr(type(self), "trainings", 0) + 1
        folder.mkdir(parents=True, exist_ok=True)
        facts = {"training_patients": [one.patient for one in cases], "updates": 5, "minutes_training": 0.25}
        (folder / "run.json").write_text(json.dumps(facts | {"inner_validation_patients": []}))
        return self.load(folder)

    def load(self, folder):
        grid = InPlaneGrid(pixel_mm=2.0, multiple=1)
        liver = SlabSegmenter(by_grey(58, 1), Pipeline(GREY, grid), "liver", slab=4)
        return StagedSegmenter(
            liver, SlabSegmenter(by_grey(92, -1), Pipeline((), grid), "tumour", slab=4), GREY, View()
        )


STAGE = DeepMethod(
    CdnnSqueeze(width=0.05),
    prepare=GREY,
    grid=InPlaneGrid(matrix=32),
    recipe=Recipe(epochs=1, batch=2, micro_batch=2, slices="all"),
    encoder_weights="none",
)


@pytest.fixture
def method() -> RefinedMethod:
    class Fresh(Stages):
        pass

    return RefinedMethod(Fresh(STAGE, STAGE), tried=(NONE, GOOD, DROWNS), held_back=0.5)


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return [case(name) for name in "abcd"]


def run_of(folder) -> dict:
    return json.loads((folder / "run.json").read_text())


def test_the_field_that_is_best_on_patients_held_back_is_taken(method, cases, tmp_path):
    segmenter = method.train(cases, tmp_path)
    run = run_of(tmp_path)
    assert isinstance(segmenter, RefinedSegmenter)
    assert segmenter.crf == GOOD
    assert run["crf"]["chosen"]["updates"] == 2
    nothing, good, drowns = run["crf"]["inner_mean"]
    assert good > nothing + 0.05 > drowns + 0.1
    assert run["crf"]["inner_mean"] == pytest.approx(np.mean([row["mean"] for row in run["trials"]], axis=0), abs=1e-4)
    for row in run["trials"]:
        assert row["mean"] == pytest.approx((np.array(row["liver"]) + row["tumour"]) / 2, abs=1e-4)


def test_what_was_measured_is_what_the_segmenter_does(method, cases, tmp_path):
    segmenter = method.train(cases, tmp_path)
    row = run_of(tmp_path)["trials"][0]
    (judged,) = [one for one in cases if one.id == row["case"]]
    found, truth = segmenter.segment(judged.ct), judged.truth
    for name in ("liver", "tumour"):
        a, b = getattr(found, name), getattr(truth, name)
        assert row[name][1] == pytest.approx(2 * (a & b).sum() / (a.sum() + b.sum()), abs=1e-4)


def test_no_stage_sees_a_patient_who_chooses_the_field(method, cases, tmp_path):
    twice = [*cases, replace(cases[0], id="a again")]
    method.train(twice, tmp_path)
    run = run_of(tmp_path)
    chosen_on = {row["case"] for row in run["trials"]}
    learned = set(type(method.stages).learned)
    assert chosen_on and learned
    assert chosen_on | learned == {"a", "b", "c", "d", "a again"} and not chosen_on & learned
    # A patient's scans stay together.
    assert ("a" in learned) == ("a again" in learned)
    assert set(run["inner_validation_patients"]) == {f"patient of {name[0]}" for name in chosen_on}
    assert run["training_cases"] == ["a", "a again", "b", "c", "d"]


def test_stages_that_saw_who_was_held_back_are_our_mistake(method, cases, tmp_path):
    class Greedy(Stages):
        def train(self, some, folder, listen=lambda _: None, device="auto"):
            return super().train(cases, folder, listen, device)

    with pytest.raises(AssertionError, match="a stage saw a patient who was held back"):
        replace(method, stages=Greedy(STAGE, STAGE)).train(cases, tmp_path)


def test_only_cases_that_tell_real_tumour_from_liver_judge(method, tmp_path):
    union, drawn = case("u", labels="liver_union"), case("s", evidence="synthetic")
    method.train([case("a"), case("b"), union, drawn], tmp_path)
    judges = {row["case"] for row in run_of(tmp_path)["trials"]}
    assert len(judges) == 1 and judges <= {"a", "b"}
    assert {"u", "s"} <= set(type(method.stages).learned)


def test_a_case_without_tumour_judges_by_its_liver_alone(method, tmp_path):
    method.train([case(name, tumour=False) for name in "ab"], tmp_path)
    (row,) = run_of(tmp_path)["trials"]
    assert row["tumour"] == [None, None, None]
    assert row["mean"] == pytest.approx(row["liver"])


def test_one_patient_or_one_field_leaves_nothing_to_choose(method, cases, tmp_path, caplog):
    assert method.train(cases[:1], tmp_path / "one").crf == NONE
    assert "nobody can be held back to choose a field of 3; the first is taken" in caplog.text
    assert type(method.stages).learned == ["a"]
    caplog.clear()
    single = replace(method, tried=(GOOD,))
    assert single.train(cases, tmp_path / "single").crf == GOOD
    assert type(method.stages).learned == ["a", "b", "c", "d"] and not caplog.text
    assert run_of(tmp_path / "single")["crf"]["inner_mean"] is None


def test_at_a_tie_the_first_is_taken(method, cases, tmp_path):
    same = replace(NONE, updates=7)
    assert replace(method, tried=(NONE, same)).train(cases, tmp_path).crf == NONE


def test_a_finished_run_is_loaded_and_trains_no_more(method, cases, tmp_path):
    first = method.train(cases, tmp_path)
    written = (tmp_path / "run.json").read_bytes()
    again = method.train(cases, tmp_path)
    assert type(method.stages).trainings == 1
    assert (tmp_path / "run.json").read_bytes() == written
    ct = cases[0].ct
    assert np.array_equal(again.segment(ct).labels, first.segment(ct).labels)
    assert method.load(tmp_path).crf == first.crf


def test_a_run_says_its_settings_and_what_it_took(method, cases, tmp_path):
    method.train(cases, tmp_path)
    run = run_of(tmp_path)
    assert run["finished"] is True
    assert run["method"] == json.loads(json.dumps(method.to_json()))
    assert [one["near"] for one in run["method"]["tried"]] == [0.0, 1.0, 60.0]
    assert run["updates"] == run["stages"]["updates"] == 5 and run["minutes_training"] >= 0.25
    assert {path.name for path in tmp_path.iterdir()} == {"run.json", "crf.json", "stages"}


def test_another_training_in_the_same_folder_is_refused(method, cases, tmp_path):
    method.train(cases, tmp_path / "run")
    with pytest.raises(BadInput, match="run holds another training"):
        replace(method, held_back=0.3).train(cases, tmp_path / "run")


@pytest.mark.parametrize("wrong", [{"tried": ()}, {"held_back": 1.0}, {"held_back": -0.1}])
def test_settings_that_mean_nothing_are_refused(method, wrong):
    with pytest.raises(BadInput, match="expected one field or more, and a share from 0 to below 1"):
        replace(method, **wrong)


def test_each_changes_both_stages_and_tiny_leaves_one_field(method):
    changed = method.each(lambda stage: replace(stage, grid=InPlaneGrid(matrix=64)))
    assert changed.stages.liver.grid == changed.stages.tumour.grid == InPlaneGrid(matrix=64)
    assert changed.recipe is changed.stages.tumour.recipe
    small = replace(method, tried=(GOOD, NONE)).tiny()
    assert small.tried == (replace(GOOD, updates=2),) and small.stages.liver.grid == InPlaneGrid(matrix=64)
