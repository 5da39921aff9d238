"""Han: what is documented is what the method does, and which lesions stay."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hepar import methods
from hepar.geometry import Geometry
from hepar.inference.decision import Finding
from hepar.inference.neighbours import Neighbours
from hepar.inference.segmenter import Pipeline, SlabSegmenter
from hepar.inference.staged import View
from hepar.methods.han import CARD, NEXT_SLICES_MM, SureSegmenter
from hepar.nets.encoder_decoder import parameter_count
from hepar.preprocess import InPlaneGrid, Window
from hepar.training.loop import trained_slices
from hepar.training.sampling import gather
from hepar.training.store import SliceStore
from hepar.volume import LabelMap, Volume

GRID = Geometry.from_spacing((4, 16, 16), (2.5, 1, 1))


def test_the_recipe_is_the_papers():
    method = methods.get("han")
    for stage in (method.liver, method.tumour):
        recipe = stage.recipe
        assert (recipe.optimizer, recipe.learning_rate, recipe.momentum, recipe.weight_decay) == (
            "sgd",
            1e-3,
            0.9,
            5e-4,
        )
        assert (recipe.epochs, recipe.schedule, recipe.loss) == (50, "tenth_less", "cross_entropy")
        assert recipe.label_weights == (0.2, 1.2, 2.2)
        assert stage.prepare == (Window(-200, 200),)
    assert (method.liver.recipe.slices, method.tumour.recipe.slices) == ("all", "any_label")


def test_a_patch_is_five_slices_of_320_pixels():
    images = [np.full((512, 512), k, np.uint8) for k in range(5)]
    truth = np.ones((512, 512), np.uint8)
    who = np.array(["p"])
    store = SliceStore(images[2:3], [truth], who, who, np.array([False]), [tuple(images)])
    recipe = methods.get("han").tumour.recipe
    seen, labels, _ = gather(trained_slices(store, recipe), np.array([0]), recipe, np.random.default_rng(0))
    assert (seen.shape, labels.shape) == ((1, 5, 320, 320), (1, 320, 320))
    assert seen[0, :, 0, 0].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("spacing_mm", [0.7, 2.5, 5.0])
def test_the_second_network_sees_the_next_slices_whatever_their_spacing(spacing_mm):
    network = methods.get("han").tumour.network
    assert network.step_mm == NEXT_SLICES_MM
    seen = Neighbours(network.slices, network.step_mm).of(9, spacing_mm)
    assert seen[4].tolist() == [2, 3, 4, 5, 6]


def test_the_first_network_sees_slices_about_two_and_a_half_millimetres_apart():
    network = methods.get("han").liver.network
    assert Neighbours(network.slices, network.step_mm).of(21, 0.5)[10].tolist() == [0, 5, 10, 15, 20]


def finding(*peaks: float) -> Finding:
    """A liver with lesions in a row, each of a faint voxel and one of its peak."""
    labels = np.ones(GRID.shape, np.uint8)
    probability = np.zeros(GRID.shape, np.uint8)
    for k, peak in enumerate(peaks):
        labels[1, 2:4, 3 * k] = 2
        probability[1, 2:4, 3 * k] = (140, round(255 * peak))
    return Finding(LabelMap(labels, GRID), probability)


def test_lesions_without_a_sure_voxel_become_liver():
    left = finding(0.95, 0.79, 0.8, 0.55).without_faint(0.8)
    assert left.labels.labels[1, 2, ::3].tolist()[:4] == [2, 1, 2, 1]
    assert (left.labels.labels == 2).sum() == 4
    assert not (left.labels.labels == 0).any()


def test_a_rule_that_nothing_fails_changes_nothing():
    found = finding(0.95, 0.55)
    assert found.without_faint(0.0) is found
    empty = finding()
    assert empty.without_faint(0.8) is empty


def stage(logits: tuple[float, float, float]) -> SlabSegmenter:
    """Says the same of every bright pixel, and background of the others."""

    def predict(batch: np.ndarray) -> np.ndarray:
        bright = batch[:, :1] > 127
        return np.where(
            bright, np.array(logits, np.float32)[:, None, None], np.array([9, 0, 0], np.float32)[:, None, None]
        )

    return SlabSegmenter(predict, Pipeline((Window(-200, 200),), InPlaneGrid(matrix=16, multiple=16)), "stage")


@pytest.mark.parametrize(("tumour_logit", "label"), [(1.0, 1), (3.0, 2)])
def test_the_second_networks_labels_count_and_its_unsure_lesions_do_not(tumour_logit, label):
    values = np.full(GRID.shape, -100, np.float32)
    values[1:3, 4:8, 4:8] = 100
    segmenter = SureSegmenter(
        stage((0.0, 5.0, -5.0)), stage((-9.0, 0.0, tumour_logit)), (Window(-200, 200),),
        View(masked=False, margin_mm=0.0), "second",
    )  # fmt: skip
    found = segmenter.segment(Volume(values, GRID))
    assert np.array_equal(found.labels, np.where(values > 0, label, 0))
    anyway = replace(segmenter, least_peak=0.0).segment(Volume(values, GRID))
    assert np.array_equal(anyway.labels, np.where(values > 0, 2, 0))


def test_the_card_counts_both_networks():
    method = methods.get("han")
    with torch.device("meta"):
        built = [one.network.build() for one in (method.liver, method.tumour)]
    assert sum(map(parameter_count, built)) == CARD.parameters
