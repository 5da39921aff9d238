"""One case's scores, and what happens when there is nothing to score."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from hepar.errors import BadInput, GeometryMismatch
from hepar.geometry import Geometry
from hepar.metrics import EMPTY_RULE, evaluate
from hepar.volume import LabelMap

# One voxel is 5 x 2 x 1 mm = 0.01 mL.
GRID = Geometry.from_spacing((4, 12, 12), (5, 2, 1))


def liver(tumour: bool = True) -> np.ndarray:
    labels = np.zeros(GRID.shape, np.uint8)
    labels[1:3, 2:10, 2:10] = 1
    labels[1:3, 4:6, 4:6] = 2 if tumour else 1
    return labels


def scored(truth: np.ndarray, found: np.ndarray, labels="full"):
    return evaluate(LabelMap(truth, GRID), LabelMap(found, GRID), labels)


def test_the_truth_itself_scores_1_and_0_mm():
    scores = scored(liver(), liver())
    assert set(scores.structures) == {"liver", "liver_exclusive", "tumour"}
    for structure in scores.structures.values():
        assert (structure.dice, structure.assd_mm, structure.hausdorff95_mm) == (1, 0, 0)
        assert structure.truth_ml == structure.found_ml > 0


def test_liver_includes_its_tumours_and_liver_exclusive_does_not():
    scores = scored(liver(), liver(tumour=False))
    assert scores.liver.dice == 1
    assert scores.structures["liver_exclusive"].dice == pytest.approx(2 * 120 / (120 + 128))
    assert scores.liver.truth_ml == pytest.approx(1.28)
    assert scores.structures["liver_exclusive"].truth_ml == pytest.approx(1.2)
    assert scores.tumour.truth_ml == pytest.approx(0.08)


def test_a_missed_tumour_scores_dice_0_and_no_distance():
    scores = scored(liver(), liver(tumour=False))
    assert scores.tumour.dice == 0
    assert math.isnan(scores.tumour.assd_mm)
    assert math.isnan(scores.false_positive_ml)


def test_a_tumour_free_scan_left_alone_is_not_defined_and_without_false_positives():
    scores = scored(liver(tumour=False), liver(tumour=False))
    assert math.isnan(scores.tumour.dice)
    assert math.isnan(scores.tumour.assd_mm)
    assert scores.false_positive_ml == 0


def test_tumour_found_in_a_tumour_free_scan_is_reported_in_ml():
    scores = scored(liver(tumour=False), liver())
    assert scores.tumour.dice == 0
    assert scores.false_positive_ml == pytest.approx(0.08)


def test_an_all_background_prediction_scores_0():
    scores = scored(liver(), np.zeros(GRID.shape, np.uint8))
    assert [s.dice for s in scores.structures.values()] == [0, 0, 0]
    assert all(math.isnan(s.assd_mm) for s in scores.structures.values())


def test_a_truth_that_cannot_tell_tumour_judges_the_union_only():
    union = liver(tumour=False)
    scores = scored(union, liver(), "liver_union")
    assert set(scores.structures) == {"liver"}
    assert scores.liver.dice == 1
    assert scores.tumour is None
    assert math.isnan(scores.false_positive_ml)
    assert scored(union, liver(), "full").tumour.dice == 0


def test_scores_become_json_without_nan():
    text = json.dumps(scored(liver(), liver(tumour=False)).to_json(), allow_nan=False)
    row = json.loads(text)
    assert row["tumour"]["dice"] == 0
    assert row["tumour"]["assd_mm"] is None
    assert row["false_positive_ml"] is None


def test_the_rule_for_empty_masks_is_said_in_words():
    for word in ("Dice", "excluded and counted", "false-positive tumour volume in mL"):
        assert word in EMPTY_RULE


def test_other_grids_and_label_kinds_are_refused():
    moved = Geometry.from_spacing(GRID.shape, (5, 2, 1), (0, 0, 3))
    with pytest.raises(GeometryMismatch, match=r"found\.onto"):
        evaluate(LabelMap(liver(), GRID), LabelMap(liver(), moved))
    with pytest.raises(BadInput, match="'full' or 'liver_union'"):
        scored(liver(), liver(), "half")


def test_a_real_liver_scores_perfectly_against_itself_and_worse_when_shifted(shared_data):
    import nibabel

    image = nibabel.load(shared_data / "ct" / "ircad01_label.nii.gz")
    # Every fourth row and column: the same patient in a sixteenth of the time.
    labels = np.ascontiguousarray(np.asarray(image.dataobj)[::4, ::4].T.astype(np.uint8))
    grid = Geometry.from_nifti(labels.shape[::-1], image.affine @ np.diag([4, 4, 1, 1]))
    truth = LabelMap(labels, grid)
    same = evaluate(truth, truth)
    assert (same.liver.dice, same.liver.assd_mm, same.tumour.dice) == (1, 0, 1)
    assert 1000 < same.liver.truth_ml < 2500
    shifted = evaluate(truth, truth.with_labels(np.roll(labels, 1, axis=0)))
    assert 0.8 < shifted.liver.dice < 1
    assert 0 < shifted.liver.assd_mm < 1.7
