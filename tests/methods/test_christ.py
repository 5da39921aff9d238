"""Christ et al.: the U-Net twice, the second on the found liver alone, and a field whose weights patients choose."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hepar import methods
from hepar.classical.dense_crf import DenseCrf
from hepar.geometry import Geometry
from hepar.inference.staged import FoundLiver
from hepar.methods.christ import CARD, FIELDS
from hepar.nets.encoder_decoder import parameter_count
from hepar.postprocess import KeepLargestLiver
from hepar.preprocess import EqualizeHistogram, Window
from hepar.study.bench.stages import stages_of
from hepar.training.detected import DetectedMethod
from hepar.training.refined import RefinedMethod
from hepar.volume import Volume


def test_both_stages_are_u_nets_without_normalisation_as_large_as_the_card_says():
    stages = methods.get("christ").stages
    assert stages.liver.network == stages.tumour.network
    assert (stages.liver.network.batch_norm, stages.liver.network.dropout) == (False, 0.0)
    with torch.device("meta"):
        count = parameter_count(stages.liver.network.build())
    assert 2 * count == CARD.parameters == 62_061_446


def test_pictures_are_prepared_as_published_and_as_the_program_does_it():
    method, programmed = methods.get("christ"), methods.get("christ/as_programmed")
    for stage in (method.stages.liver, method.stages.tumour):
        assert stage.prepare == (Window(-100, 400), EqualizeHistogram())
        assert stage.grid.matrix == 388
    assert programmed.stages.liver.prepare == programmed.stages.tumour.prepare == (Window(-100, 400),)
    assert replace(programmed, stages=method.stages) == method


def test_losses_are_weighed_for_the_rarer_label():
    for stage, covered in ((methods.get("christ").stages.liver, 0.07), (methods.get("christ").stages.tumour, 0.05)):
        none, *labels = stage.recipe.label_weights
        assert stage.recipe.loss == "cross_entropy"
        assert all(weight * covered == pytest.approx(none * (1 - covered), rel=0.05) for weight in labels)


def test_the_second_network_sees_the_liver_that_was_found_enlarged_and_dark_around():
    stages = methods.get("christ").stages
    assert (stages.liver_seen, stages.joins, stages.tumour.recipe.slices) == ("found", "inside", "all")
    assert stages.liver.clean == (KeepLargestLiver(),)
    mask = np.zeros((6, 40, 40), bool)
    mask[2:4, 10:20, 15:35] = True
    grid = Geometry.from_spacing(mask.shape, (5, 2, 2))
    box = stages.view.box(FoundLiver(mask).mask, grid)
    assert box == (slice(2, 4), slice(10, 20), slice(15, 35))
    (blackout,) = stages.view.steps((), mask, grid)
    lit = blackout(Volume(np.full(mask.shape, 90.0, np.float32), grid)).values > 0
    # A pixel around the liver, as the view has it.
    assert lit[3, 9, 20] and not lit[3, 8, 20] and not lit[0].any()
    plan = stages.tumour.grid.plan(Geometry.from_spacing((2, 10, 20), (5, 2, 2)))
    assert plan.size == (388, 388)


def test_the_field_is_an_option_and_the_cascade_is_there_without_it():
    method, plain = methods.get("christ"), methods.get("christ/without_crf")
    assert isinstance(method, RefinedMethod)
    assert method.stages == plain
    assert method.tried == FIELDS and FIELDS[0] == DenseCrf()
    assert len(set(FIELDS)) == len(FIELDS)


def test_patients_may_choose_no_field_at_all_and_are_held_back_for_it():
    method = methods.get("christ")
    assert [crf.ties for crf in method.tried] == [True] * 5 + [False]
    assert 0 < method.held_back < 0.5


def test_bellver_has_the_field_behind_its_detector():
    method, refined = methods.get("bellver"), methods.get("bellver/crf")
    assert isinstance(refined.stages, DetectedMethod) and refined.stages == method
    assert not refined.tried[-1].ties and refined.tried[0].ties
    # The detector is shrunk with the networks, and one field is left.
    small = refined.tiny()
    assert len(small.tried) == 1 and small.stages.detector != method.detector


def test_a_budget_is_shared_among_the_same_trainings_with_and_without_the_field():
    for with_field, without in (("christ", "christ/without_crf"), ("bellver/crf", "bellver")):
        inner, outer = (stages_of(methods.get(name)) for name in (without, with_field))
        assert [f"stages.{stage.name}" for stage in inner] == [stage.name for stage in outer]
        assert [stage.place.times for stage in inner] == [stage.place.times for stage in outer]
        assert [stage.place.labels for stage in inner] == [stage.place.labels for stage in outer]


def test_its_figures_say_what_they_were_measured_on():
    assert [(one.structure, one.dice) for one in CARD.published] == [
        ("liver", 0.943),
        ("tumour", 0.56),
        ("tumour", 0.529),
    ]
    assert "3DIRCADb" in CARD.published[0].data and "ISBI" in CARD.published[2].data
    assert "0.931 without" in CARD.published[0].note
