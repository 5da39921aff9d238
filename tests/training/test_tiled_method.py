"""Classical methods: what a run folder says, how a training goes on, which settings are chosen and by whom."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from hepar.cases import Fold
from hepar.classical.region_growing import GrowLiver
from hepar.classical.tile_view import TileView
from hepar.classical.tiles import Tiles
from hepar.errors import BadInput
from hepar.metrics import evaluate
from hepar.training import classical
from hepar.training.classical import TiledMethod, TileRecipe
from hepar.training.tile_learners import SupportVectors, out_of_fold
from hepar.training.tile_tables import TileTable
from tiled_livers import liver_case

METHOD = TiledMethod(
    GrowLiver(),
    TileView(Tiles(6, 3)),
    SupportVectors(c=(1.0, 10.0), gamma=(1.0,)),
    TileRecipe(tiles=200),
)


@pytest.fixture(scope="module")
def cases():
    return [liver_case(name, seed) for seed, name in enumerate("abcd")]


@pytest.fixture(scope="module")
def trained(cases, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "tiled"
    return METHOD.train(cases[:3], folder), folder


def test_a_patient_who_did_not_teach_is_segmented(trained, cases):
    scores = evaluate(cases[3].truth, trained[0].segment(cases[3].ct))
    assert scores.liver.dice > 0.9
    assert scores.tumour.dice > 0.6


def test_a_run_folder_tells_everything_needed_to_repeat_it(trained):
    _, folder = trained
    run = json.loads((folder / "run.json").read_text())
    assert run["finished"] is True and run["seed"] == METHOD.recipe.seed
    assert run["method"] == json.loads(json.dumps(METHOD.to_json()))
    assert (run["training_patients"], run["evidence"]) == (["a", "b", "c"], ["phantom"])
    assert {"scikit-learn", "scikit-image", "hepar"} <= run["versions"].keys()
    assert {"command", "updates", "minutes_training", "inner_validation_patients"} <= run.keys()
    assert run["tiles"]["normal"] >= run["tiles"]["tumour"] > 0
    chosen = run["classifier"]
    assert chosen["c"] in METHOD.learner.c and len(chosen["tried"]) == 2
    assert chosen["out_of_fold"]["auc"] > 0.9
    assert {path.name for path in folder.iterdir()} == {"run.json", "tiles", "model"}


def test_what_has_finished_is_kept(trained, cases, monkeypatch):
    segmenter, folder = trained
    monkeypatch.setattr(classical, "tiles_of", None)  # nothing is looked at again
    again = METHOD.train(cases[:3], folder)
    assert again.name == segmenter.name


def test_a_broken_training_goes_on_with_the_next_case(trained, cases, tmp_path):
    class PowerCut(Exception):
        pass

    def cut_after_two(tick):
        if tick.share_of_epoch > 0.6:
            raise PowerCut

    with pytest.raises(PowerCut):
        METHOD.train(cases[:3], tmp_path / "run", cut_after_two)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["finished"] is False
    kept = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "run" / "tiles").iterdir()}
    assert kept.keys() == {"a.npz", "b.npz"}
    again = METHOD.train(cases[:3], tmp_path / "run")
    now = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "run" / "tiles").iterdir()}
    assert {name: now[name] for name in kept} == kept and now.keys() == {"a.npz", "b.npz", "c.npz"}
    # Bit for bit what an unbroken training learned, up to when it was written.
    ours, theirs = again.model.classifier.arrays(), trained[0].model.classifier.arrays()
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


def test_another_training_in_the_same_folder_is_refused(trained, cases):
    _, folder = trained
    kept = (folder / "run.json").read_bytes()
    other = replace(METHOD, recipe=replace(METHOD.recipe, seed=1))
    for method, given in ((other, cases[:3]), (METHOD, cases), (replace(METHOD, cut=0.4), cases[:3])):
        with pytest.raises(BadInput, match="holds another training"):
            method.train(given, folder)
    assert (folder / "run.json").read_bytes() == kept


def test_cases_that_cannot_teach_are_refused(cases, tmp_path):
    union = replace(cases[0], labels="liver_union")
    for given, message in (
        ([], "no cases to train on"),
        ([cases[0], cases[0]], "cases a occur twice"),
        ([union], "no training case tells tumour from liver"),
    ):
        with pytest.raises(BadInput, match=message):
            METHOD.train(given, tmp_path / "none")
    well = replace(cases[0], read_truth=lambda: cases[0].truth.with_labels(cases[0].truth.liver.astype(np.uint8)))
    with pytest.raises(BadInput, match=r"'tumour': 0.*expected some of each"):
        METHOD.train([well], tmp_path / "well")


def test_tumours_of_union_labels_are_not_taught(cases, tmp_path):
    segmenter = METHOD.train([cases[0], replace(cases[1], labels="liver_union")], tmp_path / "run")
    assert {path.name for path in (tmp_path / "run" / "tiles").iterdir()} == {"a.npz"}
    assert segmenter.segment(cases[3].ct).tumour.any()


def test_three_classes_need_to_be_told_which_patient_has_which(tmp_path):
    method = replace(METHOD, kinds=("normal", "carcinoma", "metastasis"), recipe=TileRecipe(tiles=300, folds=2))
    given = [
        liver_case(name, seed, lesion_hu=hu, grain_hu=grain)
        for name, seed, hu, grain in (("a", 0, 160, 25), ("b", 1, 60, 3), ("c", 2, 160, 25), ("d", 3, 60, 3))
    ]
    with pytest.raises(BadInput, match="labels do not say which is which"):
        method.train(given, tmp_path / "unnamed")
    with pytest.raises(BadInput, match=r"kinds \['cyst'\]; expected kinds of carcinoma, metastasis"):
        replace(method, lesion_kinds=(("a", "cyst"),))
    named = (("a", "carcinoma"), ("b", "metastasis"), ("c", "carcinoma"), ("d", "metastasis"))
    segmenter = replace(method, lesion_kinds=named).train(given, tmp_path / "named")
    assert segmenter.model.kinds == method.kinds
    for fresh, kind in ((liver_case("e", 7, 160, 25), "carcinoma"), (liver_case("f", 8, 60, 3), "metastasis")):
        largest = max(segmenter.kinds(fresh.ct), key=lambda one: one.voxels)
        assert largest.kind == kind and largest.share > 0.5
        assert set(np.unique(segmenter.segment(fresh.ct).labels)) == {0, 1, 2}


def test_out_of_fold_scores_come_from_classifiers_that_never_saw_the_patient():
    kinds = np.tile([0, 1], 30)
    patients = np.repeat(list("abcdef"), 10)
    table = TileTable(np.random.default_rng(0).normal(size=(60, 2)), kinds, patients)
    folds = table.folds(3, seed=0)
    taught: list[set[str]] = []

    class Remembers:
        classes = 2

        def __init__(self, part):
            taught.append(set(part.patients))

        def scores(self, features):
            return np.full((len(features), 2), 0.5)

    found, scores = out_of_fold(table, folds, Remembers)  # type: ignore[arg-type]
    assert sorted(found.tolist()) == sorted(kinds.tolist()) and len(scores) == 60
    assert [set(fold.train) for fold in folds] == taught
    with pytest.raises(BadInput, match="both sides"):
        Fold(("a",), ("a",))


def test_the_better_setting_wins_and_ties_go_to_the_smoother_one():
    rng = np.random.default_rng(0)
    # A ring around a disc: a kernel that is far too narrow learns by heart.
    angle, radius = rng.uniform(0, 2 * np.pi, 400), np.repeat([1.0, 3.0], 200) + rng.normal(0, 0.3, 400)
    features = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    table = TileTable(features, np.repeat([0, 1], 200), np.tile(list("abcd"), 100))
    machine, facts = SupportVectors(c=(1.0,), gamma=(1.0, 1000.0)).fit(table, table.folds(2, 0), 0)
    assert facts["gamma"] == 1.0 and machine.gamma == 0.5
    assert facts["out_of_fold"]["balanced_accuracy"] == facts["tried"][0]["balanced_accuracy"] > 0.95
    far = TileTable(np.array([[0.0], [9.0]] * 20), np.tile([0, 1], 20), np.tile(list("aabb"), 10))
    _, tied = SupportVectors(c=(1.0, 10.0), gamma=(1.0, 4.0)).fit(far, far.folds(2, 0), 0)
    assert (tied["c"], tied["gamma"]) == (1.0, 1.0)
    # Nobody to judge: the middle of both lists.
    assert SupportVectors().fit(far, [], 0)[1] == {"c": 10.0, "gamma": 1.0}


def test_settings_that_mean_nothing_are_refused():
    with pytest.raises(BadInput, match="at least one of each"):
        SupportVectors(c=())
    with pytest.raises(BadInput, match="expected 2 tiles or more"):
        TileRecipe(tiles=1)
    with pytest.raises(BadInput, match="a share above 0 up to 1"):
        TileRecipe(lesion_share=0)
