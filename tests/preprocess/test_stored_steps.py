"""Steps travel through JSON, and a model folder can name only steps that hepar ships."""

from __future__ import annotations

import json

import pytest

from hepar import postprocess
from hepar.errors import BadInput, BadModel
from hepar.preprocess import (
    PAPER,
    WITHOUT,
    EqualizeHistogram,
    MedianInPlane,
    Window,
    steps_from_json,
    steps_to_json,
)


@pytest.mark.parametrize("steps", [(), PAPER, WITHOUT, (Window(-150, 250), EqualizeHistogram("cv2"), MedianInPlane(5))])
def test_steps_come_back_from_json(steps):
    assert steps_from_json(json.loads(json.dumps(steps_to_json(steps)))) == steps


def test_other_settings_come_back_as_other_steps():
    assert steps_from_json(steps_to_json([Window(-150, 250)])) != WITHOUT


def test_cleaning_steps_come_back_from_json():
    steps = (postprocess.KeepLargestLiver(), postprocess.FillLiverHoles(), postprocess.DropSmallTumours(0.1))
    rows = postprocess.steps_to_json(steps)
    assert postprocess.steps_from_json(json.loads(json.dumps(rows))) == steps
    with pytest.raises(BadModel, match="KeepLargestLiver"):
        steps_from_json(rows)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"step": "os.system"}], "unknown; .* knows EqualizeHistogram, MedianInPlane, Window"),
        ([{"step": ["Window"]}], "unknown"),
        (["Window"], "unknown"),
        ({"step": "Window"}, "expected a list"),
        ([{"step": "Window", "middle": 3}], "no setting"),
        ([{"step": "Window", "low_hu": "dark"}], "unusable settings"),
        ([{"step": "MedianInPlane", "size": 2}], "unusable settings"),
    ],
)
def test_strange_rows_are_refused(rows, message):
    with pytest.raises(BadModel, match=message):
        steps_from_json(rows)


def test_a_step_that_hepar_does_not_ship_cannot_be_stored():
    with pytest.raises(BadInput, match="cannot be stored"):
        steps_to_json([lambda ct: ct])
