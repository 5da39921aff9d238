"""nnU-Net in two shapes: planned from the training cases, resumed by the same plan, the recipe as published."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from hepar import methods
from hepar.cases import Case
from hepar.datasets.phantom import PhantomSettings, phantom_case
from hepar.errors import BadInput
from hepar.inference.blocks import BlockSegmenter
from hepar.methods import nnunet_2d, nnunet_3d
from hepar.nets.encoder_decoder import parameter_count
from hepar.training.planning import Fingerprint, plan_of

LITS = Fingerprint(((1.0, 0.767),) * 131, ((432, 512, 512),) * 131, 100.0, 40.0, -17.0, 200.0)


@pytest.fixture(scope="module")
def case() -> Case:
    return phantom_case(PhantomSettings(seed=3, shape=(10, 32, 32), spacing_mm=(19, 12, 12), lesions=1), "phantom")


@pytest.fixture(params=[2, 3])
def short(request):
    method = methods.get(f"nnunet_{request.param}d").tiny()
    return replace(method, recipe=replace(method.recipe, epochs=2, samples_per_epoch=2))


@pytest.mark.parametrize("module", [nnunet_2d, nnunet_3d])
def test_the_recipe_is_the_published_one(module):
    recipe = module.method.recipe
    assert (recipe.optimizer, recipe.learning_rate, recipe.momentum, recipe.nesterov) == ("sgd", 1e-2, 0.99, True)
    assert (recipe.weight_decay, recipe.schedule, recipe.epochs, recipe.clip_norm) == (3e-5, "poly", 1000, 12.0)
    assert (recipe.loss, recipe.deep_supervision, recipe.sampling) == ("dice_cross_entropy", 0.5, "third_labelled")


@pytest.mark.parametrize("module", [nnunet_2d, nnunet_3d])
def test_the_card_counts_what_is_planned_for_lits(module):
    method = module.method
    inner = method.planned(plan_of(LITS, method.dims, method.memory))
    with torch.device("meta"):
        assert parameter_count(inner.network.build()) == module.CARD.parameters
    assert inner.recipe.samples_per_epoch == 250 * inner.recipe.batch
    assert (inner.recipe.patch, inner.recipe.batch) == ((512, 12) if method.dims == 2 else (None, 2))
    assert inner.grid.pixel_mm == 0.767
    # Mean and spread of the labels are 0 and 1 for the network.
    step = inner.prepare[0]
    grey = 255 * (100.0 - step.low_hu) / (step.high_hu - step.low_hu)
    assert (grey - inner.network.grey_mean) / inner.network.grey_std == pytest.approx(0, abs=1e-6)


def test_a_run_says_its_plan_and_goes_on_by_it(short, case, tmp_path):
    segmenter = short.train([case], tmp_path / "run")
    assert isinstance(segmenter, BlockSegmenter) == (short.dims == 3)
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    plan = json.loads((tmp_path / "run" / "plan.json").read_text())
    assert run["finished"] is True
    assert run["plan"] == plan
    assert run["training_patients"] == ["phantom"]
    assert run["updates"] == 2 * 2 / short.batch
    # Another plan in the folder is another training of the network inside, and refused.
    (tmp_path / "run" / "plan.json").write_text(json.dumps(plan | {"mean_hu": plan["mean_hu"] + 1}))
    with pytest.raises(BadInput, match="network holds another training"):
        short.train([case], tmp_path / "run")


def test_another_training_in_the_folder_is_refused(short, case, tmp_path):
    short.train([case], tmp_path / "run")
    with pytest.raises(BadInput, match="run holds another training"):
        replace(short, batch=4).train([case], tmp_path / "run")
    with pytest.raises(BadInput, match="no cases to train on"):
        short.train([], tmp_path / "none")


def test_the_plan_comes_from_the_cases_that_train(short, case, tmp_path):
    other = phantom_case(PhantomSettings(seed=4, shape=(10, 32, 32), spacing_mm=(19, 9, 9), lesions=1), "other")
    plans = []
    for name, cases in (("one", [case]), ("two", [other])):
        short.train(cases, tmp_path / name)
        plans.append(json.loads((tmp_path / name / "plan.json").read_text())["spacing_mm"][-1])
    assert plans == [12, 9]
