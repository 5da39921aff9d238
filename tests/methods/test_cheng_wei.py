"""Cheng and Wei: region growing, packets, and rules that learn, are stored and can be read."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from hepar import methods
from hepar.classical.rough_sets import RoughRules, cut_into_values, dependency
from hepar.classical.tiles import Tiles
from hepar.errors import BadInput
from hepar.methods.cheng_wei import CARD
from hepar.training.tile_learners import RoughSets
from hepar.training.tile_tables import TileTable
from tiled_livers import liver_case


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    method = methods.get("cheng_wei")
    small = replace(method, view=replace(method.view, tiles=Tiles(8, 4)), recipe=replace(method.recipe, tiles=300))
    folder = tmp_path_factory.mktemp("runs") / "rough"
    return small.train([liver_case(name, seed) for seed, name in enumerate("abc")], folder), folder, small


def test_the_method_is_the_one_that_its_card_describes():
    method = methods.get("cheng_wei")
    assert (method.view.features, method.view.tiles) == ("wavelets", Tiles(32, 16))
    assert (method.liver.tolerance, method.learner.values) == (2.0, 4)
    assert CARD.year == 2016 and [one.dice for one in CARD.published] == [None, None]


def test_rules_find_the_lesions_of_a_patient_who_did_not_teach(trained):
    segmenter, _, _ = trained
    case = liver_case("d", 9)
    found, truth = segmenter.segment(case.ct), case.truth
    assert (found.tumour & truth.tumour).sum() > 0.7 * truth.tumour.sum()
    assert found.tumour.sum() < 0.6 * found.liver.sum()


def test_the_run_says_the_reduct_and_how_well_rules_did_on_other_patients(trained):
    segmenter, folder, _ = trained
    found = json.loads((folder / "run.json").read_text())["classifier"]
    assert found["out_of_fold"]["auc"] > 0.8
    assert 0 < len(found["reduct"]) < 32
    stored = json.loads((folder / "model" / "tiles.json").read_text())["classifier"]
    assert len(stored["rules"]) == found["rules"]
    assert {a for rule in stored["rules"] for a, _ in rule["if"]} <= set(found["reduct"])
    assert isinstance(segmenter.model.classifier, RoughRules)


def test_a_second_training_finds_the_same_rules(trained, tmp_path):
    segmenter, _, method = trained
    again = method.train([liver_case(name, seed) for seed, name in enumerate("abc")], tmp_path / "again")
    assert again.model.classifier == segmenter.model.classifier


def test_the_learner_keeps_what_is_certain():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(120, 6))
    table = TileTable(features, (features[:, 2] > 0).astype(int), np.repeat(list("abc"), 40))
    rules, facts = RoughSets(values=2).fit(table, table.folds(3, 0), 0)
    values = cut_into_values(features, rules.cuts)
    assert facts["dependency"] == round(dependency(values, table.kinds, range(6)), 4)
    # Where nothing is certain, rules are about everything.
    doubt = TileTable(np.tile(features[:60], (2, 1)), np.repeat([0, 1], 60), np.tile(list("ab"), 60))
    rules, facts = RoughSets().fit(doubt, [], 0)
    assert (facts["dependency"], facts["reduct"]) == (0.0, list(range(6)))
    assert np.isfinite(rules.scores(features)).all()
    with pytest.raises(BadInput, match="expected 2 or more"):
        RoughSets(values=1)
