"""What the study is made of: cells, folds and splits, windows, rates, epochs; no training."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from hepar.cases import Fold
from hepar.errors import BadInput
from hepar.preprocess import EqualizeHistogram, MedianInPlane, Window
from hepar.study.reproduce.budget import epochs_of, hours_left, updates_an_epoch
from hepar.study.reproduce.convergence import convergence, of_all
from hepar.study.reproduce.encoders import starts_of
from hepar.study.reproduce.order import Decided, StudyOrder, arm_method, joint_method, minutes_of, name, window_of_arm
from hepar.study.reproduce.plan import GROUPS, plan_cells
from hepar.study.reproduce.protocol import CaseSurvey, deal, in_paper, kept_folds, usable_window, window_of
from hepar.study.reproduce.rate import best_rate, networks_of
from hepar.training.cascade import CascadeMethod
from hepar.training.pace import Pace


def lits(count: int, full: bool = True) -> dict[str, CaseSurvey]:
    """As many surveyed scans as LiTS has; every tenth one is free of tumours."""
    return {
        f"lits{n:03d}": CaseSurvey(f"lits{n:03d}", 100, 40, 1000, 0 if n % 10 == 0 else n, full, "real")
        for n in range(count)
    }


def order(tmp_path: Path, **changes: object) -> StudyOrder:
    return replace(StudyOrder(None, tmp_path, phantoms=4), **changes)  # type: ignore[arg-type]


def ids(cells) -> list[str]:
    return [cell.id for cell in cells]


def test_table_1_is_four_arms_on_every_fold_fold_by_fold():
    cells = plan_cells(("table1",), 4, narrow=False)
    assert len(cells) == len(set(ids(cells))) == 16
    assert ids(cells)[:5] == [
        "cdnn_resnet18/without/fold0", "cdnn_alex/without/fold0", "cdnn_resnet18/with/fold0", "cdnn_alex/with/fold0",
        "cdnn_resnet18/without/fold1",
    ]  # fmt: skip


def test_an_arm_of_two_groups_is_trained_once_and_knows_both():
    cells = plan_cells(("table1", "joint_cascade"), 4, narrow=False)
    assert len(cells) == 20
    assert next(c for c in cells if c.id == "cdnn_alex/with/fold3").groups == ("table1", "joint_cascade")


def test_ablations_run_on_the_first_fold_and_last():
    cells = plan_cells(("decoders", "alexnets", "table1"), 4, narrow=False)
    assert {cell.fold for cell in cells if "decoders" in cell.groups} == {0}
    assert all(cell.groups == ("table1",) for cell in cells[:16])


@pytest.mark.parametrize("groups", [("largest_component",), ("korabelnikov",), ()])
def test_a_network_that_is_taken_over_is_in_the_plan_before(groups):
    cells = plan_cells(groups, 4, narrow=True)
    for place, cell in enumerate(cells):
        assert cell.trained_by is None or cell.trained_by in ids(cells)[:place]
    assert any(cell.trained_by for cell in cells)


def test_korabelnikov_trains_for_itself_where_the_data_has_its_window():
    (narrow,) = [c for c in plan_cells(("korabelnikov",), 1, narrow=True) if c.arm.finish == "gaussian"]
    (wide,) = plan_cells(("korabelnikov",), 1, narrow=False)
    assert narrow.trained_by == "cdnn_alex/without/fold0"
    assert wide.trained_by is None
    assert window_of_arm(wide.arm, Decided())[1] == {"asked": [-2000, 2000], "used": [-2000, 2000], "testable": True}
    told = window_of_arm(narrow.arm, Decided(window=(-40.0, 160.0)))[1]
    assert told == {"asked": [-2000, 2000], "used": [-40, 160], "testable": False}


def test_an_unknown_group_is_answered_with_the_known_ones():
    with pytest.raises(BadInput, match="no group of arms is called table3; there are table1, fair"):
        plan_cells(("table3",), 4, narrow=False)


def test_the_papers_130_scans_make_folds_of_33_33_32_32(tmp_path):
    surveyed = {case: row for case, row in lits(131).items() if in_paper(row.patient)}
    folds = deal(surveyed, 4, None, seed=2018)
    assert sorted(len(fold.test) for fold in folds) == [32, 32, 33, 33]
    assert sorted(p for fold in folds for p in fold.test) == sorted(surveyed)
    free = [sum(surveyed[p].tumour == 0 for p in fold.test) for fold in folds]
    assert sorted(free) == [3, 3, 3, 4]
    assert not in_paper("lits130")
    assert in_paper("patient7")


@pytest.mark.parametrize(("split", "sizes"), [("105/15", (105, 15)), ("104/26", (104, 26)), ("99/30", (99, 30))])
def test_published_splits_have_their_sizes_on_lits_and_their_proportion_elsewhere(split, sizes):
    (fold,) = deal(lits(131), 4, split, seed=1)
    assert (len(fold.train), len(fold.test)) == sizes
    (few,) = deal(lits(26), 4, split, seed=1)
    assert len(few.train) + len(few.test) == 26
    assert len(few.test) == round(26 * sizes[1] / sum(sizes))


def test_bellvers_hold_out_is_the_published_one():
    (fold,) = deal(lits(131), 4, "104/26", seed=1)
    assert fold.test == tuple(f"lits{n}" for n in range(105, 131))
    assert "lits059" not in fold.train
    with pytest.raises(BadInput, match="no split is called 50/50"):
        deal(lits(9), 4, "50/50", seed=1)


def test_folds_are_dealt_once_and_kept(tmp_path):
    first = kept_folds(lits(12), ("4", None, 1), tmp_path / "folds.json")
    again = kept_folds(lits(12), ("4", None, 2), tmp_path / "folds.json")
    assert again == first
    with pytest.raises(BadInput, match="trains or tests on no patient of the data"):
        kept_folds({"x": replace(lits(1)["lits000"], patient="other")}, ("4", None, 1), tmp_path / "folds.json")


def test_data_windowed_to_less_gives_its_own_window():
    assert usable_window(Window(-100, 400), None) == (Window(-100, 400), True)
    assert usable_window(Window(-100, 400), (-40.0, 160.0)) == (Window(-40.0, 160.0), False)
    assert usable_window(Window(0, 100), (-40.0, 160.0)) == (Window(0, 100), True)


def test_slices_say_their_window_and_volumes_have_none(tmp_path):
    assert window_of(tmp_path) is None
    (tmp_path / "manifest.csv").write_text("file,patient\na,b\n")
    (tmp_path / "slices.json").write_text(json.dumps({"low_hu": -150, "high_hu": 250}))
    assert window_of(tmp_path) == (-150.0, 250.0)


def arm_of(cells, name_):
    return next(cell.arm for cell in cells if name(cell.arm) == name_)


def test_preprocessing_follows_the_arm_and_all_else_is_the_same(tmp_path):
    cells = plan_cells(("table1", "equalisation"), 4, narrow=True)
    decided = Decided(window=(-40.0, 160.0), learning_rate=1e-3)
    made = {key: joint_method(arm_of(cells, f"cdnn_alex/{key}"), order(tmp_path, matrix=256), decided)
            for key in ("with", "without", "equalise", "median")}  # fmt: skip
    window, equalise, median = Window(-40.0, 160.0), EqualizeHistogram(), MedianInPlane()
    steps = {"with": (window, equalise, median), "without": (window,), "equalise": (window, equalise),
             "median": (window, median)}  # fmt: skip
    assert {key: method.prepare for key, method in made.items()} == steps
    assert len({replace(method, prepare=()) for method in made.values()}) == 1
    assert (made["with"].recipe.learning_rate, made["with"].grid.matrix, made["with"].clean) == (1e-3, 256, ())


def test_the_literal_recipe_keeps_its_batch_and_rate(tmp_path):
    (cell,) = plan_cells(("literal",), 1, narrow=False)
    method = joint_method(cell.arm, order(tmp_path, settings=("batch=8", "precision=bf16")), Decided(learning_rate=1.0))
    assert (method.recipe.batch, method.recipe.learning_rate, method.recipe.epochs) == (1000, 1e-4, 40)
    assert method.recipe.precision == "bf16"


def test_a_cascade_is_the_joint_network_twice(tmp_path):
    cells = plan_cells(("joint_cascade",), 1, narrow=False)
    joint, cascade = (arm_method(cell.arm, order(tmp_path), Decided()) for cell in cells)
    assert isinstance(cascade, CascadeMethod)
    assert cascade.joint == joint


def test_a_setting_with_an_option_of_its_own_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r"learning_rate \(--learning-rate\)"):
        order(tmp_path, settings=("learning_rate=1e-3",))


@pytest.mark.parametrize(("text", "minutes"), [("8min", 8), ("8", 8), ("90s", 1.5), ("0.5h", 30)])
def test_a_budget_reads_as_people_write_it(text, minutes):
    assert minutes_of(text) == minutes


@pytest.mark.parametrize("text", ["", "soon", "-3", "0", "8days", "1.2.3"])
def test_a_budget_that_is_no_time_is_refused(text):
    with pytest.raises(BadInput, match="is no time; write 8min"):
        minutes_of(text)


FOLDS = [Fold(("lits000", "lits001"), ("lits002",)), Fold(("lits001", "lits002"), ("lits000",))]


def test_a_budget_scales_epochs_down_and_never_up(tmp_path):
    (arm,) = [cell.arm for cell in plan_cells(("fair",), 1, narrow=False) if cell.arm.method == "cdnn_squeeze"]
    for minutes, used in ((1, 7), (100, 40), (0.01, 1), (None, 40)):
        study = order(tmp_path / str(minutes), budget_minutes=minutes)
        timing = epochs_of([arm], study, Decided(), (lits(3), FOLDS), lambda *_: Pace(2.0, 0.1))
        row = timing["cdnn_squeeze/with"]
        # 80 slices with liver in batches of 20: 4 updates of 2 s.
        assert (row["updates_an_epoch"], row["seconds_an_epoch"]) == (4, 8.0)
        assert (row["epochs_asked"], row["epochs_used"]) == (40, used)


def test_what_was_measured_once_is_kept(tmp_path):
    arms, study = [GROUPS["table1"][0]], order(tmp_path, budget_minutes=1.0)
    first = epochs_of(arms, study, Decided(), (lits(3), FOLDS), lambda *_: Pace(2.0, 0.1))
    assert epochs_of(arms, study, Decided(), (lits(3), FOLDS), lambda *_: Pace(9.0, 0.1)) == first


def test_an_estimate_counts_both_networks_of_a_cascade_and_divides_by_workers(tmp_path):
    cells = plan_cells(("joint_cascade",), 2, narrow=False)
    where = (lits(3), FOLDS)
    timing = epochs_of([c.arm for c in cells], order(tmp_path), Decided(), where, lambda *_: Pace(9.0, 0.0))
    one, both = (hours_left([cell], timing, where, 1) for cell in cells[:2])
    assert both == pytest.approx(2 * one, rel=0.05)
    assert hours_left(cells, timing, where, 2) == pytest.approx(one + both)


def test_an_epoch_of_a_batch_larger_than_the_data_is_one_update(tmp_path):
    (cell,) = plan_cells(("literal",), 1, narrow=False)
    assert updates_an_epoch(joint_method(cell.arm, order(tmp_path), Decided()), FOLDS[0], lits(3)) == 1


def test_an_epoch_that_ends_early_has_as_many_updates_as_it_shows(tmp_path):
    cell, *_ = plan_cells(("table1",), 1, narrow=False)
    method = joint_method(cell.arm, order(tmp_path), Decided())
    drawn = [replace(method, recipe=replace(method.recipe, batch=2, samples_per_epoch=n)) for n in (6, 10**6)]
    whole = replace(method, recipe=replace(method.recipe, batch=2))
    assert [updates_an_epoch(one, FOLDS[0], lits(3)) for one in (*drawn, whole)] == [3, 40, 40]


def test_a_flat_loss_has_converged_and_a_falling_or_rising_one_has_not():
    assert convergence([1.0, 0.5, 0.31, 0.3, 0.3, 0.3, 0.3, 0.3]).converged
    falling, rising = convergence([1 / n for n in range(1, 9)]), convergence([1.0] * 6 + [1.2, 1.2])
    assert not falling.converged and not rising.converged
    assert "-26.9 %" in falling.why and "+20.0 %" in rising.why
    assert "7 epochs are too few" in convergence([0.3] * 7).why
    assert not of_all([[0.3] * 8, [1 / n for n in range(1, 9)]]).converged


def trial(arm: str, rate: float, dice: float, loss: float | None) -> dict:
    return {"arm": arm, "rate": rate, "dice": dice, "loss": loss}


def test_the_rate_is_the_best_over_all_networks_and_a_divergence_counts():
    rows = [trial("a", 1e-2, 0.0, None), trial("b", 1e-2, 0.8, 0.1), trial("a", 1e-3, 0.5, 0.3),
            trial("b", 1e-3, 0.5, 0.3)]  # fmt: skip
    assert best_rate(rows) == 1e-3
    tied = [trial("a", 1e-2, 0.0, None), trial("a", 1e-3, 0.0, 0.9), trial("a", 1e-4, 0.0, 0.5)]
    assert best_rate(tied) == 1e-4


def test_a_rate_is_tried_once_for_each_network_of_the_main_arms():
    arms = [cell.arm for cell in plan_cells((), 4, narrow=True)]
    tried = [name(arm) for arm in networks_of(arms)]
    assert tried == ["cdnn_resnet18/with", "cdnn_alex/with", "cdnn_alex-scratch/with", "cdnn_squeeze/with"]


def test_random_encoders_are_told_and_a_lost_weights_file_is_not_replaced(tmp_path):
    arms, said = [GROUPS["table1"][0], GROUPS["fair"][0]], []
    study = order(tmp_path, weights="none")
    assert starts_of(arms, study, said.append) == {"cdnn_resnet18/without": "none", "cdnn_alex-scratch/with": "none"}
    (line,) = said  # the arm that asks for random weights needs no warning
    assert line == "CDNN-ResNet18: no ImageNet weights, as asked; its encoder starts from random weights (He)"
    kept = json.loads((tmp_path / "encoders.json").read_text())
    kept["cdnn_resnet18/without"]["source"] = "resnet18.pth"
    (tmp_path / "encoders.json").write_text(json.dumps(kept))
    from hepar.errors import BadModel

    with pytest.raises(BadModel, match=r"resnet18.pth, which the study began with, is not there any more"):
        starts_of(arms, study, said.append)
