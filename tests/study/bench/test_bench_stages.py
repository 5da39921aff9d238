"""What a method's trainings are, how often they run, and what changes in them and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from hepar import methods
from hepar.preprocess import InPlaneGrid, Window
from hepar.study.bench.stages import (
    Place,
    Stage,
    is_training,
    rebuilt,
    stages_of,
    tiny_of,
    with_matrix,
    with_window,
)
from hepar.training.cascade import CascadeMethod
from hepar.training.deep_method import DeepMethod
from hepar.training.recipe import Recipe
from hepar.training.two_pass import TwoPassMethod

NARROW = (-40.0, 160.0)
# Name, times trained, times that it labels all training slices.
EXPECTED = {
    "unet": [("joint", 1, 0)],
    "vorontsov": [("phases-1", 1, 0), ("phases-2", 1, 0)],
    # The stages, and three inner folds of both for the forest's candidates; each labels for the tumour stage as well.
    "chlebus": [("stages.liver", 4, 5), ("stages.tumour", 4, 1)],
    "chlebus/without_filter": [("stages.liver", 1, 1), ("stages.tumour", 1, 0)],
    # The liver network once more in each of three inner folds.
    "gruber": [("liver", 4, 1), ("tumour", 1, 0)],
    "gruber/true_livers": [("liver", 1, 0), ("tumour", 1, 0)],
    "bellver": [("stages.liver", 1, 1), ("stages.tumour", 1, 0), ("detector", 1, 0)],
    "krishan_mittal": [("liver", 1, 1)],
    "cheng_wei": [],
    "nnunet_3d": [("joint", 1, 0)],
}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_method_tells_its_trainings_and_how_often_they_run(name):
    found = [(stage.name, stage.place.times, stage.place.labels) for stage in stages_of(methods.get(name))]
    assert found == EXPECTED[name]


@pytest.mark.parametrize("name", methods.names())
def test_every_training_of_every_method_is_found_once(name):
    stages = stages_of(methods.get(name))
    assert len({stage.name for stage in stages}) == len(stages)
    assert all(isinstance(stage.training.recipe, Recipe) for stage in stages)
    # Networks are trainings' own: a method with parameters has trainings, and one without has none.
    card = methods.card(name)
    assert card is not None
    assert bool(stages) == (card.parameters is not None or name == "krishan_mittal" or "classical" not in card.kind)


def test_a_stage_that_sees_boxes_says_so():
    boxes = {stage.name: stage.place.box_mm for stage in stages_of(methods.get("bi"))}
    assert boxes == {"liver": None, "tumour": 10.0}
    joint = methods.get("unet")
    two = stages_of(TwoPassMethod(joint, joint, margin_mm=12.0))
    assert [(stage.name, stage.place.box_mm) for stage in two] == [("coarse", None), ("fine", 12.0)]


def test_networks_that_stay_are_counted_once():
    kept = {stage.name: stage.place.networks for stage in stages_of(methods.get("vorontsov"))}
    assert kept == {"phases-1": 1, "phases-2": 0}
    (both,) = stages_of(CascadeMethod(methods.get("unet")))
    assert (both.place.times, both.place.networks) == (2, 2)
    # Inner folds' networks are thrown away.
    assert all(stage.place.networks == 1 for stage in stages_of(methods.get("chlebus")))


def test_one_that_merely_tells_a_stages_recipe_is_no_training():
    assert is_training(methods.get("unet"))
    assert methods.get("gruber").recipe
    assert not is_training(methods.get("gruber"))
    assert not is_training(Window(0, 1))
    assert not is_training("unet")


def test_what_is_not_wanted_comes_back_itself():
    for name in methods.names():
        method = methods.get(name)
        assert rebuilt(method, lambda _: False, lambda *_: None) is method
        assert rebuilt(method, is_training, lambda training, _: training) is method


def test_a_change_reaches_every_training_and_leaves_the_original_alone():
    method = methods.get("bellver")

    def shorter(training: Any, _: Place) -> Any:
        return replace(training, recipe=replace(training.recipe, epochs=1))

    changed = rebuilt(method, is_training, shorter)
    assert [stage.training.recipe.epochs for stage in stages_of(changed)] == [1, 1, 1]
    assert [stage.training.recipe.epochs for stage in stages_of(method)] != [1, 1, 1]
    assert changed.stages.view == method.stages.view


@dataclass(frozen=True)
class OwnMethod:
    """A method of somebody's own kind."""

    first: DeepMethod
    parts: tuple[DeepMethod, ...]
    words: str = "nothing to find here"


def test_methods_of_an_unknown_kind_are_searched_as_well():
    joint = methods.get("unet")
    stages = stages_of(OwnMethod(joint, (joint, joint)))
    assert [stage.name for stage in stages] == ["first", "parts-1", "parts-2"]


def test_windows_beyond_the_data_become_the_datas():
    method, told = with_window(methods.get("bellver"), NARROW)
    assert told == [{"asked": [-150, 250], "used": [-40.0, 160.0], "testable": False}]
    assert {stage.training.prepare for stage in stages_of(method)} == {(Window(*NARROW),)}


def test_windows_within_the_data_stay_and_so_does_the_method():
    for there in (None, (-1000.0, 1000.0)):
        method, told = with_window(methods.get("bellver"), there)
        assert method is methods.get("bellver")
        assert [row["testable"] for row in told] == [True]


def test_a_classical_methods_window_counts_too():
    _, told = with_window(methods.get("krishan_mittal"), NARROW)
    assert {"asked": [-100, 400], "used": [-40.0, 160.0], "testable": False} in told


def test_other_steps_stay_where_they_are():
    before = methods.get("cdnn_alex").prepare
    method, _ = with_window(methods.get("cdnn_alex"), NARROW)
    assert method.prepare[1:] == before[1:]
    assert method.prepare[0] == Window(*NARROW) != before[0]


def test_a_matrix_makes_larger_pictures_smaller_and_no_picture_larger():
    assert with_matrix(methods.get("unet"), None) is methods.get("unet")
    assert with_matrix(methods.get("unet"), 256).grid == InPlaneGrid(matrix=256)
    phases = with_matrix(methods.get("vorontsov"), 256).phases
    assert [phase.grid.matrix for phase in phases] == [256, 256]
    assert with_matrix(methods.get("vorontsov"), 384).phases[0].grid.matrix == 256


def test_pixels_in_millimetres_and_patches_follow_the_matrix():
    bi = with_matrix(methods.get("bi"), 256)
    assert bi.liver.grid.matrix == 256
    assert bi.tumour.grid.pixel_mm == pytest.approx(1.5)
    assert (bi.liver.recipe.patch, bi.tumour.recipe.patch) == (160, 160)
    # 2 mm are coarser than 256 pixels ask for.
    chlebus = with_matrix(methods.get("chlebus"), 256).stages
    assert (chlebus.liver.grid.pixel_mm, chlebus.liver.recipe.patch) == (2.0, 256)
    assert chlebus.tumour.grid.matrix == 256


def test_a_patch_stays_what_five_halvings_divide():
    for matrix in (96, 200, 256, 300):
        patch = with_matrix(methods.get("bi"), matrix).liver.recipe.patch
        assert patch % 32 == 0
        assert patch >= 32


def test_blocks_and_plans_keep_their_size():
    for name in ("residual_unet3d", "nnunet_3d", "nnunet_2d"):
        assert with_matrix(methods.get(name), 128) is methods.get(name)


@pytest.mark.parametrize("name", methods.names())
def test_every_method_can_be_made_tiny(name):
    small = tiny_of(methods.get(name))
    for stage, large in zip(stages_of(small), stages_of(methods.get(name)), strict=True):
        assert stage.training.recipe.epochs <= max(22, large.training.recipe.epochs)
    assert type(small) is type(methods.get(name))


def test_a_stage_alone_is_called_joint():
    assert Stage(methods.get("unet"), Place()).name == "joint"
    assert Stage(methods.get("unet"), Place("stages.liver")).name == "stages.liver"
