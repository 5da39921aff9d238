"""How a budget is shared: one factor for all trainings, never more than asked; fewer patients where labelling costs."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepar import methods
from hepar.cases import Fold
from hepar.study.bench.networks import TrainedNetwork, convergence_of, networks_in
from hepar.study.bench.pace import StagePace
from hepar.study.bench.scaling import LEAST_PATIENTS, CellPlan, StagePlan, plan_cell, planned_by, slices_of
from hepar.study.bench.stages import stages_of
from hepar.study.reproduce.protocol import CaseSurvey
from hepar.training.deep_method3d import Deep3dMethod

PATIENTS = [f"lits{number:03d}" for number in range(20)]
FOLD = Fold(tuple(PATIENTS[:15]), tuple(PATIENTS[15:]))
# A hundred slices a patient, eighty of them with liver; more tumour with every patient.
SURVEYED = {
    patient: CaseSurvey(patient, 100, 80, 100_000, 1000 * number, True, "real")
    for number, patient in enumerate(PATIENTS)
}


def paces(method: Any, update: float = 1.0, a_slice: float = 0.1) -> dict[str, StagePace]:
    return {
        stage.name: StagePace(update, stage.training.recipe.batch, a_slice, 10, 1.0, (512, 512))
        for stage in stages_of(method)
    }


def plan(name: str, minutes: float, **pace: float) -> CellPlan:
    method = methods.get(name)
    return plan_cell(method, paces(method, **pace), FOLD, SURVEYED, minutes)


def seconds_of(found: CellPlan, update: float = 1.0) -> float:
    return sum(stage.times * stage.updates * update for stage in found.stages)


def test_a_budget_that_holds_the_recipe_changes_nothing():
    found = plan("unet", minutes=1e6)
    assert (found.share, found.shrunk, found.sentences) == (1.0, False, ())
    assert planned_by(methods.get("unet"), found) == methods.get("unet")


def test_epochs_shrink_while_eight_whole_ones_fit():
    method = methods.get("unet")
    an_epoch = 15 * 80 // method.recipe.batch
    found = plan("unet", minutes=10 * an_epoch / 60)
    (stage,) = found.stages
    assert (stage.epochs, stage.updates, stage.whole) == (10, 10 * an_epoch, True)
    changed = planned_by(method, found)
    assert changed.recipe == replace(method.recipe, epochs=10, validate_every=10)
    assert found.sentences == (f"joint: {10 * an_epoch} of {stage.updates_asked} updates (10 whole epochs)",)


def test_below_eight_epochs_the_updates_that_fit_become_eight_pieces():
    method = methods.get("unet")
    found = plan("unet", minutes=45 / 60)
    (stage,) = found.stages
    assert (stage.epochs, stage.updates, stage.whole) == (8, 40, False)
    recipe = planned_by(method, found).recipe
    assert (recipe.epochs, recipe.samples_per_epoch, recipe.batch) == (8, 5 * method.recipe.batch, method.recipe.batch)
    assert (recipe.sampling, method.recipe.sampling) == ("shuffle", "shuffle")
    assert found.sentences == (f"joint: 40 of {stage.updates_asked} updates (less than eight epochs)",)


def test_a_recipe_that_draws_its_slices_keeps_its_way_of_drawing():
    method = methods.get("nnunet_2d")
    found = plan("nnunet_2d", minutes=0.5)
    assert planned_by(method, found).recipe.sampling == method.recipe.sampling == "third_labelled"
    assert len(found.sentences) == 1


def test_one_update_is_the_least():
    found = plan("unet", minutes=0.001)
    (stage,) = found.stages
    assert (stage.epochs, stage.updates) == (1, 1)
    assert planned_by(methods.get("unet"), found).recipe.samples_per_epoch == methods.get("unet").recipe.batch


def test_all_trainings_of_a_method_shrink_by_one_factor():
    found = plan("vorontsov", minutes=20)
    shares = [stage.updates / stage.updates_asked for stage in found.stages]
    assert shares == pytest.approx([found.share] * 2, rel=0.1)
    assert seconds_of(found) == pytest.approx(20 * 60, rel=0.1)


def test_inner_trainings_count_as_often_as_they_run():
    once, often = plan("gruber/true_livers", minutes=30), plan("gruber", minutes=30)
    assert [stage.times for stage in often.stages] == [4, 1]
    assert often.share < once.share
    assert seconds_of(often) <= 30 * 60


def test_warm_up_shrinks_alike():
    method = replace(methods.get("unet"), recipe=replace(methods.get("unet").recipe, warmup_updates=1000))
    found = plan_cell(method, paces(method), FOLD, SURVEYED, 1.0)
    warmup = planned_by(method, found).recipe.warmup_updates
    assert warmup == int(1000 * found.share)
    assert warmup < found.stages[0].updates


def test_labelling_between_stages_comes_out_of_the_budget():
    cheap, dear = plan("bellver", 30, a_slice=0.01), plan("bellver", 30, a_slice=0.3)
    assert dear.labelling_minutes == pytest.approx(0.3 * 1500 / 60)
    assert sum(stage.updates for stage in dear.stages) < sum(stage.updates for stage in cheap.stages)
    assert seconds_of(dear) + 60 * dear.labelling_minutes <= 30 * 60


def test_patients_are_left_out_where_labelling_them_would_take_half_of_it():
    found = plan("bellver", 10, a_slice=0.3)
    assert 0 < found.left_out < 15
    assert 0.3 * slices_of(found.patients, SURVEYED) <= 300
    # One more would have been too many.
    assert 0.3 * (slices_of(found.patients, SURVEYED) + 100) > 300
    assert found.sentences[-1] == f"{len(found.patients)} of 15 patients train: its stages label all that train"
    # They are spread over the burden, the heaviest among them.
    assert PATIENTS[14] in found.patients
    assert any(patient in found.patients for patient in PATIENTS[:5])


def test_enough_patients_stay_however_long_labelling_takes():
    found = plan("bellver", 1, a_slice=10.0)
    assert len(found.patients) == LEAST_PATIENTS
    # Then the trainings still get their half.
    assert seconds_of(found) <= 30
    assert sum(stage.updates for stage in found.stages) > 3


def test_who_labels_nothing_trains_on_everybody():
    assert plan("unet", 0.1, a_slice=100.0).patients == FOLD.train


def test_patients_that_the_data_do_not_hold_take_no_part():
    strangers = Fold((*FOLD.train, "lits900"), FOLD.test)
    method = methods.get("unet")
    assert plan_cell(method, paces(method), strangers, SURVEYED, 1.0).patients == FOLD.train


def test_test_patients_are_never_among_those_that_train():
    for name in methods.names():
        assert not set(plan(name, 5).patients) & set(FOLD.test)


def test_a_method_without_trainings_has_nothing_to_shrink():
    found = plan("cheng_wei", 1e-3)
    assert (found.stages, found.share, found.shrunk, found.sentences) == ((), 1.0, False, ())
    assert planned_by(methods.get("cheng_wei"), found) is methods.get("cheng_wei")


def test_epochs_of_blocks_and_plans_are_their_own_number_of_updates():
    blocks = methods.get("residual_unet3d")
    assert isinstance(blocks, Deep3dMethod)
    samples = blocks.recipe.samples_per_epoch or 500
    (stage,) = plan("residual_unet3d", 1e9).stages
    assert stage.updates_asked == blocks.recipe.epochs * (samples // blocks.recipe.batch)
    (planned,) = plan("nnunet_3d", 1e9).stages
    assert planned.updates_asked == 250 * methods.get("nnunet_3d").recipe.epochs


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["unet", "vorontsov", "chlebus", "gruber", "bellver", "bi", "nnunet_3d", "krishan_mittal"]),
    st.floats(0.01, 300),
    st.floats(0.001, 60),
    st.floats(0.0, 5),
)
def test_no_plan_asks_for_more_than_its_recipe_or_its_budget(name, minutes, update, a_slice):
    found = plan(name, minutes, update=update, a_slice=a_slice)
    assert 0 < found.share <= 1
    for stage in found.stages:
        assert 1 <= stage.updates <= stage.updates_asked
        assert stage.epochs >= 1
    # A training of one update may be longer than a small budget.
    least = sum(stage.times for stage in found.stages) * update
    assert seconds_of(found, update) <= 60 * minutes + least
    assert CellPlan.from_json(json.loads(json.dumps(found.to_json()))) == found


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(methods.names()), st.floats(0.05, 100))
def test_every_method_can_be_planned_and_says_its_settings(name, minutes):
    found = plan(name, minutes)
    changed = planned_by(methods.get(name), found)
    epochs = {stage.name: stage.training.recipe.epochs for stage in stages_of(changed)}
    assert epochs == {stage.name: stage.epochs for stage in found.stages}
    json.dumps(changed.to_json(), allow_nan=False)


def stage_plan(**changes: Any) -> StagePlan:
    return replace(StagePlan("joint", 1, 400, 40, 8, 20), **changes)


def cell_plan(*stages: StagePlan) -> CellPlan:
    return CellPlan(("a",), 0, 0.1, 0.0, stages)


FLAT, FALLING = (1.0,) * 8, (8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0)


def test_a_training_in_pieces_has_not_converged_whatever_its_loss_says():
    found = convergence_of([TrainedNetwork("joint", 40, 1.0, FLAT)], cell_plan(stage_plan()))
    assert (found.converged, found.why) == (False, "the budget ended it after 40 of 400 updates of its recipe")


def test_whole_epochs_are_judged_by_their_losses():
    whole = cell_plan(stage_plan(samples_per_epoch=None))
    assert convergence_of([TrainedNetwork("joint", 40, 1.0, FLAT)], whole).converged
    assert not convergence_of([TrainedNetwork("joint", 40, 1.0, FALLING)], whole).converged
    # One network that still learns is enough.
    both = [TrainedNetwork("liver", 40, 1.0, FLAT), TrainedNetwork("tumour", 40, 1.0, FALLING)]
    assert not convergence_of(both, whole).converged


def test_no_network_no_doubt():
    assert convergence_of([], cell_plan()).converged


def test_networks_are_found_however_deep_they_lie(tmp_path):
    for name, updates in (("", 4), ("stages/liver", 6), ("folds/fold-1/tumour", 8)):
        folder = tmp_path / name
        folder.mkdir(parents=True, exist_ok=True)
        rows = [
            {"updates": updates // 2, "loss": 2.0, "seconds": 30.0},
            {"updates": updates, "loss": 1.0, "seconds": 30.0},
        ]
        (folder / "history.json").write_text(json.dumps(rows))
    found = networks_in(tmp_path)
    assert [(one.name, one.updates, one.minutes, one.loss) for one in found] == [
        ("folds/fold-1/tumour", 8, 1.0, (2.0, 1.0)),
        ("joint", 4, 1.0, (2.0, 1.0)),
        ("stages/liver", 6, 1.0, (2.0, 1.0)),
    ]
    assert networks_in(tmp_path / "nothing") == []
