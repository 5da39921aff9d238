"""Figures of the paper's study: what they show is what they were given."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from PIL import Image

from hepar.report.paper_figures import (
    ArmSlice,
    Curve,
    Layer,
    figure5,
    network_diagram,
    pipeline_diagram,
    training_curves,
)

TRUTH = np.zeros((40, 60), np.uint8)
TRUTH[5:35, 5:45] = 1
TRUTH[10:20, 10:20] = 2
GREY = np.linspace(0, 255, TRUTH.size).reshape(TRUTH.shape)


def half_a_liver() -> np.ndarray:
    found = TRUTH.copy()
    found[20:] = 0
    return found


def words(svg: str) -> list[str]:
    return [re.sub(r"<[^>]*>", "", text).strip() for text in re.findall(r"<text[^>]*>(.*?)</text>", svg, re.DOTALL)]


def test_each_arm_has_the_dice_of_the_slice_shown_and_who_was_not_run_says_so():
    arms = [ArmSlice("one", TRUTH), ArmSlice("two", half_a_liver()), ArmSlice("three", None)]
    shown = words(figure5(GREY, TRUTH, arms, (1.0, 1.0)).svg)
    # Half of the liver and all of the tumour: 2 * 600 / (1200 + 600) and 1.
    assert [text for text in shown if text.startswith("Dice")] == [
        "Dice 1.000", f"Dice {2 * 600 / 1800:.3f}", "Dice 1.000", "Dice 1.000",
    ]  # fmt: skip
    assert shown.count("not run") == 2
    assert {"liver", "tumour", "one", "two", "three", "truth"} <= set(shown)


def test_a_slice_without_tumour_on_both_sides_has_no_dice():
    truth = np.minimum(TRUTH, 1)
    shown = words(figure5(GREY, truth, [ArmSlice("one", truth)], (1.0, 1.0)).svg)
    assert "Dice n/a (empty)" in shown


def test_pixels_that_are_no_squares_are_drawn_as_they_are():
    square, tall = (
        Image.open(io.BytesIO(figure5(GREY, TRUTH, [ArmSlice("one", TRUTH)], pixel).png))
        for pixel in ((1.0, 1.0), (2.0, 1.0))
    )
    assert square.width == tall.width
    assert tall.height > 1.5 * square.height


def coloured_pixels(labels: np.ndarray) -> int:
    """Of Fig. 5 with an empty truth and one arm."""
    drawn = figure5(GREY, np.zeros_like(TRUTH), [ArmSlice("one", labels)], (1.0, 1.0))
    picture = np.asarray(Image.open(io.BytesIO(drawn.png)).convert("RGB")).astype(int)
    return int((picture.max(axis=2) - picture.min(axis=2) > 60).sum())


def test_the_figure_shows_colour_only_where_something_was_found():
    assert coloured_pixels(TRUTH) > 100 > coloured_pixels(np.zeros_like(TRUTH))


def test_a_curve_that_has_not_flattened_is_marked():
    curves = [Curve("flat", 0, (1.0, 0.5), True), Curve("flat", 1, (1.0, 0.4), True), Curve("steep", 0, (1.0,), False)]
    drawn = training_curves(curves)
    shown = words(drawn.svg)
    assert shown.count("not converged") == 1
    assert shown.count("fold 0") == 2
    assert shown.count("fold 1") == 1
    assert "stroke-dasharray" in drawn.svg


def test_no_training_is_an_empty_figure_and_no_error():
    assert training_curves([]).png.startswith(b"\x89PNG")


def test_diagrams_name_every_step_and_layer():
    steps = [("CT", "in"), ("Network", "through"), ("Labels", "out")]
    assert {name for name, _ in steps} <= set(words(pipeline_diagram(steps).svg))
    layers = [Layer("conv1", "conv 11x11 /4", 96, (176, 176)), Layer("pool1", "pool 3 /2", 96, (88, 88))]
    shown = words(network_diagram(layers, "Fig. 3").svg)
    assert {"conv1", "pool1", "conv 11x11 /4", "176x176", "88x88", "96"} <= set(shown)


@pytest.mark.parametrize("draw", [lambda: pipeline_diagram([("A", "b")]), lambda: training_curves([])])
def test_the_same_numbers_give_the_same_drawing(draw):
    assert draw().svg == draw().svg
    assert draw().png == draw().png
