"""A plan fits the data and the machine, says why, can be taken up again, and trains every layout of the field."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import layout_folders
from hepar.cases import Case
from hepar.errors import BadInput
from hepar.geometry import Geometry
from hepar.study import self_configuration
from hepar.study.self_configuration import (
    MOST_VIEWS,
    TrainingPlan,
    Wishes,
    method_and_data,
    plan_training,
    planned_cases,
    train_planned,
)
from hepar.study.training import TrainingOrder, method_of
from hepar.training.machine import Machine
from hepar.volume import LabelMap, Volume

LAYOUTS = {
    "nnunet": layout_folders.write_nnunet,
    "msd": layout_folders.write_msd,
    "lits": layout_folders.write_lits,
    "slices": layout_folders.write_slices,
}
LAPTOP = Machine("cpu", 2, 8 * 2**30)
# Seconds an update of each candidate takes on the pretended machine, by the network's channels and slices.
PACE = {"fast": 0.5, "halved": 1.0, "full": 1.5, "slices3": 1.6}


def flat_case(
    name: str, *, slices: int = 40, size: int = 64, mm=(2.5, 6.0, 6.0), labels="full", hu=100, far=-1000
) -> Case:
    """A square liver of `hu` with a tumour of 60 HU less, in `far`."""
    grid = Geometry.from_spacing((slices, size, size), mm)
    truth = np.zeros(grid.shape, np.uint8)
    truth[4:-4, 16:40, 16:40] = 1
    truth[10:14, 20:24, 20:24] = 1 if labels == "liver_union" else 2
    values = np.choose(truth, (far, hu, hu - 60)).astype(np.int16)
    return Case(name, name, lambda: Volume(values, grid), lambda: LabelMap(truth, grid), labels)


@pytest.fixture
def planned(monkeypatch, tmp_path):
    """Plans for cases on a machine, nothing timed; `bf16` is how much faster that is than fp32."""

    def plan(cases, *, machine=LAPTOP, pace=PACE, bf16=2.0, can=("fp32", "bf16"), minutes=60.0, **order):
        def seconds(network, recipe, device, _):
            stem = getattr(network, "stem", 1)
            kind = "slices3" if network.slices == 3 else "full" if stem == 1 else "fast"
            kind = "halved" if stem == 2 and network.channels[0] == 32 else kind
            return pace[kind] * (1 if recipe.precision == "bf16" else bf16) if recipe.precision in can else math.inf

        monkeypatch.setattr(self_configuration, "training_cases", lambda _: cases)
        monkeypatch.setattr(self_configuration, "this_machine", lambda _: machine)
        monkeypatch.setattr(self_configuration, "update_seconds", seconds)
        made = TrainingOrder("", (), tmp_path / f"run{len(list(tmp_path.iterdir()))}", **order)
        return plan_training(made, Wishes(minutes))

    return plan


def patients(count: int, **how) -> list[Case]:
    return [flat_case(f"p{i}", **how) for i in range(count)]


def chosen(plan: TrainingPlan, what: str) -> str:
    return next(row.chosen for row in plan.rows if row.what == what)


def why(plan: TrainingPlan, what: str) -> str:
    return next(row.why for row in plan.rows if row.what == what)


def recipe_of(plan: TrainingPlan):
    return method_of(plan.applied(TrainingOrder("", (), Path("run")))).recipe


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_planned_and_trained_by_one_call(layout, tmp_path):
    root = LAYOUTS[layout](tmp_path / layout, layout_folders.bodies(1))
    order = TrainingOrder("", (root,), tmp_path / "run", settings=("batch=3",))
    plan = plan_training(order, Wishes(0.01, trial_seconds=0.0))
    heard = []
    segmenter = train_planned(order, plan, heard.append)
    assert len([tick for tick in heard if tick.ended]) == 2
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["finished"]
    assert run["method"]["grid"]["pixel_mm"] == 5.0
    found = segmenter.segment(layout_folders.body(1)[0])
    assert found.geometry.same_grid(layout_folders.body(1)[0].geometry)


def test_the_command_without_a_method_shows_its_plan_and_trains(hepar_command, tmp_path, monkeypatch):
    monkeypatch.setattr(self_configuration, "update_seconds", lambda *_: 0.5)
    root = layout_folders.write_lits(tmp_path / "own", layout_folders.bodies(1))
    words = ("train", root, "-o", tmp_path / "run", "--minutes", 0.02, "--set", "patch=64")
    ended = hepar_command(*words)
    assert (ended.code, ended.err) == (0, "")
    assert "training plan" in ended.out
    assert "epoch 2:" in ended.out
    assert "--set pixel_mm=5 " in ended.out
    assert str(tmp_path) not in (tmp_path / "run" / "plan.json").read_text()
    # Once more takes the same plan up and finds nothing left to do.
    again = hepar_command("train", root, "-o", tmp_path / "run", "--set", "patch=64")
    assert (again.code, "epoch 2:" in again.out) == (0, False)


def test_a_larger_network_is_chosen_where_the_time_allows_it(planned):
    names = [planned(patients(8), minutes=minutes).method for minutes in (10, 60, 240)]
    assert names == ["residual_unet/fast", "residual_unet/halved", "residual_unet/slices3"]
    # What is larger than a network that is too slow is not even tried.
    tried = why(planned(patients(8), minutes=10), "network")
    assert ("halved" in tried, "full" in tried) == (True, False)
    slow = {name: 5 * seconds for name, seconds in PACE.items()}
    assert planned(patients(8), pace=slow).method == "residual_unet/fast"


def test_weights_that_know_pictures_choose_the_network_they_belong_to(planned):
    plan = planned(patients(8), encoder_weights="squeezenet.npz")
    assert plan.method == "squeeze_unet"
    assert planned(patients(8, mm=(10.0, 6.0, 6.0)), encoder_weights="imagenet").method == "squeeze_unet/single"
    assert planned(patients(8), encoder_weights="none").method.startswith("residual_unet")
    assert "--encoder-weights" in why(planned(patients(8)), "network")


def test_slices_without_near_neighbours_are_not_given_neighbours(planned):
    assert planned(patients(8, mm=(8.0, 6.0, 6.0)), minutes=240).method == "residual_unet"
    lone = [replace(case, heights_mm=(float("nan"),) * 40) for case in patients(8)]
    assert planned(lone, minutes=240).method == "residual_unet"


def test_the_time_asked_for_is_used_and_not_passed(planned):
    for minutes in (5, 60):
        recipe = recipe_of(planned(patients(9), minutes=minutes))
        updates = recipe.epochs * recipe.samples_per_epoch / recipe.batch
        seconds = updates * (PACE["fast"] if minutes == 5 else PACE["halved"])
        assert 0.75 * 60 * minutes < seconds < 0.9 * 60 * minutes
        assert recipe.warmup_updates <= max(50, updates / 10)


def test_little_data_is_not_shown_forever(planned):
    plan = planned(patients(1), minutes=600)
    recipe = recipe_of(plan)
    assert recipe.epochs * recipe.samples_per_epoch <= MOST_VIEWS * 40
    assert "teaches nothing new" in why(plan, "length")


def test_pixels_and_patch_follow_the_data(planned):
    coarse = planned(patients(2))
    assert (chosen(coarse, "pixel"), chosen(coarse, "patch")) == ("6 mm", "64 x 64 pixels")
    fine = planned(patients(2, mm=(2.5, 0.7, 0.7), size=512, slices=12))
    assert (chosen(fine, "pixel"), chosen(fine, "patch")) == ("1.5 mm", "256 x 256 pixels")
    assert why(fine, "patch") == "slices fit in it"
    wide = planned(patients(2, mm=(2.5, 1.2, 1.2), size=512, slices=12))
    assert "parts of them" in why(wide, "patch")


def test_precision_is_what_is_faster_here(planned):
    assert recipe_of(planned(patients(2), bf16=1.9)).precision == "bf16"
    assert recipe_of(planned(patients(2), bf16=0.3)).precision == "fp32"
    assert recipe_of(planned(patients(2), can=("fp32",))).precision == "fp32"


def test_the_window_is_kept_where_the_liver_lies_in_it_and_moved_where_not(planned):
    usual = planned(patients(2))
    assert chosen(usual, "window") == "-40 to 160 HU"
    assert "cut to a window" not in why(usual, "window")
    assert "2 of 2 scans looked at were cut to a window" in why(planned(patients(2, far=-40)), "window")
    shifted = planned(patients(2, hu=1124, far=24))
    assert "are these Hounsfield units?" in why(shifted, "window")
    (window,) = (setting for setting in shifted.settings if setting.startswith("window="))
    low, high = (float(part) for part in window.removeprefix("window=").split(","))
    assert low < 1064
    assert high > 1124


def test_patients_are_held_back_only_where_there_are_some_to_spare(planned):
    assert recipe_of(planned(patients(9))).validation_share == 0.15
    assert recipe_of(planned(patients(5))).validation_share == 0
    # Ten slices of a patient judge nothing.
    assert recipe_of(planned(patients(9, slices=12))).validation_share == 0
    assert recipe_of(planned(patients(9, labels="liver_union"))).validation_share == 0


def test_scans_are_thinned_until_they_fit_in_memory(planned):
    cases = patients(4, slices=60, mm=(1.0, 6.0, 6.0))
    roomy = planned(cases)
    assert (roomy.slice_step_mm, chosen(roomy, "slices")) == (0, "all")
    one_scan = 60 * 64 * 64
    # Room for the scan being read and 0.45 of all slices: every third.
    tight = Machine("cpu", 2, int((20 * one_scan + 0.45 * 4 * 2 * one_scan) / 0.6))
    plan = planned(cases, machine=tight)
    assert plan.slice_step_mm == 3.0
    assert "would not fit" in why(plan, "slices")
    kept = planned_cases(TrainingOrder("", (), Path("run")), plan)
    assert [case.ct.geometry.shape[0] for case in kept] == [20] * 4


def test_a_small_gpu_takes_a_batch_in_pieces(planned):
    small = Machine("cuda", 4, 8 * 2**30, device_bytes=2**29)
    cases = patients(2, mm=(2.5, 0.7, 0.7), size=512, slices=12)
    roomy, tight = (recipe_of(planned(cases, machine=machine)) for machine in (LAPTOP, small))
    assert 1 <= tight.micro_batch < roomy.micro_batch == roomy.batch == tight.batch


def test_labels_that_say_nothing_of_tumours_are_told(planned):
    assert "only the liver can be learned" in why(planned(patients(3, labels="liver_union")), "data")
    mixed = planned([*patients(3), flat_case("u", labels="liver_union")])
    assert "1 scans mark liver-or-tumour only" in why(mixed, "data")
    assert "tumours fill" in why(mixed, "data")


def test_what_the_user_sets_himself_wins_and_is_told(planned):
    plan = planned(patients(8), settings=("epochs=3", "pixel_mm=4", "precision=fp32"))
    assert why(plan, "pixel") == why(plan, "precision") == why(plan, "length") == "as asked"
    method = method_of(plan.applied(TrainingOrder("", (), Path("run"), settings=("epochs=3", "pixel_mm=4"))))
    assert (method.recipe.epochs, method.grid.pixel_mm) == (3, 4)
    assert not any(setting.startswith(("epochs", "pixel_mm", "precision")) for setting in plan.settings)
    by_matrix = planned(patients(8), settings=("matrix=128",))
    assert chosen(by_matrix, "pixel") == "matrix of 128"


def test_a_machine_too_small_for_any_network_is_told(planned):
    with pytest.raises(BadInput, match="not even the smallest network fits"):
        planned(patients(2), pace=dict.fromkeys(PACE, float("inf")))


def test_a_plan_is_taken_up_again_whatever_the_machine_does_by_then(planned, monkeypatch, tmp_path):
    first = planned(patients(8))
    home = next(tmp_path.iterdir())
    monkeypatch.setattr(self_configuration, "update_seconds", lambda *_: 99.0)
    order = TrainingOrder("", (), home)
    assert plan_training(order) == first == plan_training(order, Wishes(60))
    with pytest.raises(BadInput, match="holds a plan for 60 minutes, not 30"):
        plan_training(order, Wishes(30))
    (home / "plan.json").write_text('{"rows": 3}')
    with pytest.raises(BadInput, match=r"plan\.json is not a plan"):
        plan_training(order)


def test_orders_that_contradict_a_plan_are_refused(planned, tmp_path):
    for minutes in (0, -1, float("nan"), float("inf")):
        with pytest.raises(BadInput, match="expected a number above 0"):
            planned(patients(1), minutes=minutes)
    with pytest.raises(BadInput, match="recipe literal belongs to a method"):
        planned(patients(1), recipe="literal")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "run.json").write_text("{}")
    with pytest.raises(BadInput, match="holds a training that was not planned"):
        plan_training(TrainingOrder("", (), tmp_path / "old"))


def test_data_without_liver_is_refused_before_hours_of_training(planned):
    empty = flat_case("e")
    nothing = LabelMap(np.zeros(empty.ct.values.shape, np.uint8), empty.ct.geometry)
    with pytest.raises(BadInput, match="none of 1 cases that were looked at shows liver"):
        planned([replace(empty, read_truth=lambda: nothing)])
    with pytest.raises(BadInput, match="no cases to train on"):
        planned([])


def test_the_first_word_is_a_method_or_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("own", "more"):
        (tmp_path / name).mkdir()
    assert method_and_data(["own", "more"]) == ("", (Path("own"), Path("more")))
    assert method_and_data(["own"], 30) == ("", (Path("own"),))
    assert method_and_data(["residual_unet/fast", "own"]) == ("residual_unet/fast", (Path("own"),))
    # Misspelt: answered with the known methods, not as a missing folder.
    assert method_and_data(["residual_unett", "own"])[0] == "residual_unett"
    (tmp_path / "residual_unet").mkdir()
    assert method_and_data(["residual_unet", "own"])[0] == "residual_unet"
    assert method_and_data(["./residual_unet", "own"])[0] == ""
    with pytest.raises(BadInput, match="no data to train residual_unet on"):
        method_and_data(["residual_unet"])
    with pytest.raises(BadInput, match="--minutes is for no method"):
        method_and_data(["residual_unet", "own"], 30)
