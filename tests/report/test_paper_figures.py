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
    Shot,
    figure5,
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


def shot(truth: np.ndarray = TRUTH, pixel_mm: tuple[float, float] = (1.0, 1.0), banner: str = "") -> Shot:
    return Shot(GREY, truth, pixel_mm, banner)


def words(svg: str) -> list[str]:
    return [re.sub(r"<[^>]*>", "", text).strip() for text in re.findall(r"<text[^>]*>(.*?)</text>", svg, re.DOTALL)]


def test_each_arm_has_the_dice_of_the_slice_shown_and_who_was_not_run_says_so():
    arms = [
        ArmSlice("one", TRUTH),
        ArmSlice("two", half_a_liver()),
        ArmSlice("three", None),
        ArmSlice("four", None, "failed"),
    ]
    shown = words(figure5(shot(), arms).svg)
    # Half of the liver and all of the tumour: 2 * 600 / (1200 + 600) and 1.
    assert [text for text in shown if text.startswith("Dice")] == [
        "Dice 1.000", f"Dice {2 * 600 / 1800:.3f}", "Dice 1.000", "Dice 1.000",
    ]  # fmt: skip
    assert shown.count("not run") == 2
    assert shown.count("failed") == 2
    assert {"liver", "tumour", "(b) one", "(c) two", "(d) three", "(e) four", "(f) truth"} <= set(shown)


def test_what_warns_of_a_result_stands_on_it_and_a_phantom_is_called_one():
    nothing = ArmSlice("one", np.zeros_like(TRUTH), "not converged")
    drawing = figure5(shot(banner="phantom, no CT"), [nothing, ArmSlice("two", TRUTH)])
    shown = words(drawing.svg)
    assert "phantom, no CT" in shown
    assert "phantom, no CT" in drawing.said
    # The liver's row has both warnings, the tumour's says only what is new there.
    assert shown.count("not converged, nothing found") == 1
    assert shown.count("nothing found") == 1


def test_a_slice_without_tumour_on_both_sides_has_no_dice():
    truth = np.minimum(TRUTH, 1)
    shown = words(figure5(shot(truth), [ArmSlice("one", truth)]).svg)
    assert "Dice n/a (empty)" in shown


def test_pixels_that_are_no_squares_are_drawn_as_they_are():
    square, tall = (
        Image.open(io.BytesIO(figure5(shot(pixel_mm=pixel), [ArmSlice("one", TRUTH)]).png))
        for pixel in ((1.0, 1.0), (2.0, 1.0))
    )
    assert square.width == tall.width
    assert tall.height > 1.5 * square.height


def coloured_pixels(labels: np.ndarray) -> int:
    """Of Fig. 5 with an empty truth and one arm."""
    drawn = figure5(shot(np.zeros_like(TRUTH)), [ArmSlice("one", labels)])
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


@pytest.mark.parametrize("draw", [lambda: figure5(shot(), [ArmSlice("one", TRUTH)]), lambda: training_curves([])])
def test_the_same_numbers_give_the_same_drawing(draw):
    first, second = draw(), draw()
    assert first.svg == second.svg
    assert first.png == second.png
