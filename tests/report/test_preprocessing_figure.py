"""The figure of the preprocessing stages: one panel each, a red box, its enlargement."""

from __future__ import annotations

import numpy as np
import pytest

from hepar.errors import BadInput
from hepar.report.preprocessing_figure import ZoomBox, default_box, preprocessing_figure


@pytest.fixture
def stages() -> list[tuple[str, np.ndarray]]:
    y, x = np.mgrid[:100, :120]
    body = np.where(np.hypot((x - 60) / 50, (y - 50) / 40) < 1, 120, 0)
    return [("original", body), ("equalised", body + 40), ("median", body * 2)]


def red(picture) -> np.ndarray:
    values = np.asarray(picture, dtype=int)
    return (values[..., 0] > 200) & (values[..., 1] < 80)


def test_there_is_one_panel_for_each_stage(stages):
    one, three = preprocessing_figure(stages[:1], panel_px=200), preprocessing_figure(stages, panel_px=200)
    assert three.width - one.width == pytest.approx(2 * 214)
    assert three.height == one.height


def test_the_box_is_red_and_stands_where_asked(stages):
    figure = preprocessing_figure(stages[:1], box=ZoomBox(20, 30, 24), panel_px=240)
    upper = red(figure)[: 14 + 30 + 200]
    rows, columns = np.nonzero(upper)
    # Panel margin 14, caption 30, 2 pixels per voxel.
    assert rows.min() == pytest.approx(44 + 40, abs=2)
    assert columns.min() == pytest.approx(14 + 60, abs=2)
    assert columns.max() - columns.min() == pytest.approx(48, abs=2)


def test_the_enlargement_shows_the_pixels_of_the_box(stages):
    picture = stages[0][1].copy()
    picture[20:32, 30:42] = 255
    figure = np.asarray(preprocessing_figure([("x", picture)], box=ZoomBox(20, 30, 12), panel_px=240).convert("L"))
    inset = figure[-14 - 230 : -14 - 10, 24:244]
    assert inset.min() == 255


def test_pixels_that_are_not_square_keep_their_shape(stages):
    square = preprocessing_figure(stages, (1.0, 1.0), panel_px=200)
    tall = preprocessing_figure(stages, (2.0, 1.0), panel_px=200)
    assert tall.height > 1.7 * square.height


def test_the_default_box_lies_in_the_patients_right_half(stages):
    box = default_box(stages[0][1])
    assert box.column >= 10 and box.column + box.side <= 60
    assert box.row >= 10 and box.row + box.side <= 90


def test_an_empty_slice_still_has_a_box():
    figure = preprocessing_figure([("empty", np.zeros((40, 40)))], panel_px=100)
    assert figure.height > 200


@pytest.mark.parametrize(
    ("wrong", "box", "message"),
    [
        ([], None, "no stages"),
        ([("a", np.zeros((5, 5))), ("b", np.zeros((5, 6)))], None, "same .row, column. shape"),
        ([("a", np.zeros((20, 20)))], ZoomBox(15, 0, 10), "lie inside"),
        ([("a", np.zeros((20, 20)))], ZoomBox(-1, 0, 10), "lie inside"),
    ],
)
def test_stages_and_boxes_that_do_not_fit_are_refused(wrong, box, message):
    with pytest.raises(BadInput, match=message):
        preprocessing_figure(wrong, box=box)
