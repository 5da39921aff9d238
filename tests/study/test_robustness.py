"""The robustness table: drops against the same model on the unchanged scan, kept, resumed and told honestly."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest

from hepar.cases import Case
from hepar.errors import BadInput
from hepar.study.arms import Trial
from hepar.study.conditions import CONDITIONS, Scan
from hepar.study.left_out import VOLUMES
from hepar.study.robustness import (
    RobustnessOrder,
    compared,
    longest_run,
    robustness,
    robustness_table,
    run_robustness,
    summary,
)
from hepar.volume import LabelMap, Volume


def quiet(_: str) -> None:
    """Says nothing."""


@pytest.fixture
def trial(small_scan) -> Trial:
    ct, truth = small_scan
    values = ct.values.copy()
    # A scan has air and bone; without, liver and tumour would be the ends of its range, which are held.
    values[:, 0, 0], values[:, -1, -1] = -900, 900
    return Trial(VOLUMES, Case("c", "p", lambda: ct.with_values(values), lambda: truth))


def bright(ct: Volume) -> LabelMap:
    """Liver from 120 HU, tumour from 200 HU, as bright as the small scan's own; bone from 800 HU is neither."""
    found = (ct.values >= 120).astype(np.uint8) + (ct.values >= 200).astype(np.uint8)
    return LabelMap(np.where(ct.values < 800, found, 0).astype(np.uint8), ct.geometry)


def test_the_labels_of_a_threshold_follow_every_storage_and_shift_with_the_window(trial, tmp_path):
    rows = robustness(RobustnessOrder((trial,)), bright, "net@1", tmp_path / "r.json", quiet)
    by_name = {row["condition"]: row for row in rows}
    assert by_name.keys() == {condition.name for condition in CONDITIONS}
    for row in rows:
        if row["applies"] and row["same_labels"]:
            assert row["equal"] == 1
            assert (row["liver_drop"], row["tumour_drop"]) == (0, 0)
    assert by_name["+20 HU"]["tumour_before"] == 1
    # Liver of 150 HU and tumour of 220 become 130 and 200: nothing is lost.
    assert by_name["-20 HU"]["tumour_drop"] == 0
    assert by_name["native"]["liver_drop"] == 1
    assert by_name["half contrast"]["tumour_drop"] > 0.4


def moved(labels: np.ndarray, grid) -> LabelMap:
    return LabelMap(labels.astype(np.uint8), grid)


def test_a_drop_is_dice_before_minus_dice_after_on_the_same_voxels(small_scan):
    ct, truth = small_scan
    half = np.where(np.arange(truth.labels.shape[2]) < 12, truth.labels, 0)
    changed = Scan(ct, truth, truth)
    row = compared(changed, moved(half, ct.geometry))
    shared = np.count_nonzero(half)
    assert row["liver_after"] == pytest.approx(2 * shared / (shared + np.count_nonzero(truth.labels)))
    assert row["liver_drop"] == pytest.approx(1 - row["liver_after"])
    assert row["equal"] == pytest.approx(np.mean(half == truth.labels))
    free = truth.with_labels(np.minimum(truth.labels, 1))
    row = compared(Scan(ct, free, free), truth)
    assert math.isnan(row["tumour_drop"])
    assert (row["false_ml_before"], row["false_ml_after"]) == (0, truth.volume_ml(2))


def test_finished_cases_are_kept_for_the_same_model_and_seed(trial, tmp_path):
    asked: list[tuple[int, ...]] = []

    def segment(ct: Volume) -> LabelMap:
        asked.append(ct.values.shape)
        return bright(ct)

    order = RobustnessOrder((trial,), ("flipped", "noise x2"))
    first = robustness(order, segment, "net@1", tmp_path / "r.json", quiet)
    assert len(asked) == 3
    assert [row["condition"] for row in first] == ["flipped", "noise x2"]
    assert robustness(order, segment, "net@1", tmp_path / "r.json", quiet) == first
    assert len(asked) == 3
    # One more condition is all that is run then, and changes no other.
    more = robustness(replace(order, conditions=("noise x2", "+20 HU")), segment, "net@1", tmp_path / "r.json", quiet)
    assert len(asked) == 5
    assert more[:2] == first
    assert more[2]["condition"] == "+20 HU"
    # Another fold's rows stand beside them, another model of the fold takes their place.
    both = robustness(replace(order, fold=1), segment, "net@1", tmp_path / "r.json", quiet)
    assert [(row["fold"], row["condition"]) for row in both] == [
        (0, "flipped"), (0, "noise x2"), (0, "+20 HU"), (1, "flipped"), (1, "noise x2"),
    ]  # fmt: skip
    assert len(asked) == 8
    found = robustness(order, segment, "net@2", tmp_path / "r.json", quiet)
    assert len(asked) == 11
    assert [(row["fold"], row["model"]) for row in found] == [(1, "net@1")] * 2 + [(0, "net@2")] * 2
    (tmp_path / "r.json").write_text("{")
    with pytest.raises(BadInput, match=r"r\.json is damaged; remove it"):
        robustness(order, segment, "net@2", tmp_path / "r.json", quiet)


def test_an_unknown_condition_is_named():
    with pytest.raises(BadInput, match="no condition is called fog; there are noise x2, low dose"):
        _ = RobustnessOrder((), ("fog",)).wanted


def test_stacks_with_gaps_are_tested_on_their_longest_even_run(trial):
    case = replace(trial.case, heights_mm=(0.0, 30.0, 32.0, 34.0, 36.0, 60.0))
    ct, truth = longest_run(case)
    assert ct.values.shape[0] == 4
    assert np.array_equal(ct.values, trial.case.ct.values[1:5])
    assert truth.geometry.same_grid(ct.geometry)
    assert np.array_equal(truth.labels, trial.case.truth.labels[1:5])
    with pytest.raises(BadInput, match="case c holds slices whose places are not known"):
        longest_run(replace(case, heights_mm=(math.nan,) * 6))


def row(patient: str, drop: float, **changed) -> dict:
    facts = {"case": patient, "patient": patient, "condition": "flipped", "applies": True, "same_labels": True}
    dice = {f"{s}_{k}": v for s in ("liver", "tumour") for k, v in (("before", 0.9), ("after", 0.9 - drop))}
    return facts | dice | {"liver_drop": drop, "tumour_drop": math.nan, "equal": 1.0} | changed


def test_the_table_has_means_intervals_worst_cases_and_names_labels_that_stayed_behind():
    rows = [row("a", 0.1), row("b", 0.3), row("c", 0.2, equal=0.5), {**row("d", 0), "applies": False}]
    # Two folds tested e: one patient still, whose drop is .2.
    rows += [row("e", 0.0), row("e", 0.4), row("f", 0.2)]
    liver, tumour = summary(rows)
    assert (liver["patients"], liver["drop"], liver["worst"]) == (5, pytest.approx(0.2), 0.3)
    assert 0.1 <= liver["low"] <= 0.2 <= liver["high"] <= 0.3
    assert tumour["patients"] == 0
    text = robustness_table(rows)
    assert "| flipped | rows and columns stored in reverse, affine alike | liver | 5 | 0.900 | 0.700 | 0.200 [" in text
    assert "**Labels did not follow the storage**: c (flipped: 0.500000)." in text
    assert "Scans that cannot show a condition: flipped 1." in text
    assert "Dice is left out where both maps are empty" in text
    assert "did not follow" not in robustness_table([row("a", 0.1)])


def test_false_tumour_of_tumour_free_patients_is_told_in_ml():
    rows = [row("a", 0.0, false_ml_before=1.0, false_ml_after=4.5)]
    assert "| flipped | 1 | 1.0 | 4.5 |" in robustness_table(rows)


def test_a_model_folder_is_tested_on_strangers_and_leaves_table_and_numbers(trial, threshold_model, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(threshold_model, model)
    (model / "run.json").write_text(json.dumps({"training_patients": ["p"]}))
    order = RobustnessOrder((trial,), ("flipped", "oblique header", "feet last", "sagittal storage"))
    with pytest.raises(BadInput, match="the model trained on p"):
        run_robustness(model, order, tmp_path / "out", quiet)
    (model / "run.json").write_text(json.dumps({"training_patients": []}))
    rows = run_robustness(model, order, tmp_path / "out", quiet)
    assert [r["equal"] for r in rows] == [1.0] * 4
    assert (tmp_path / "out" / "robustness.md").read_text() == robustness_table(rows)
    assert len(json.loads((tmp_path / "out" / "robustness.json").read_text())["rows"]) == 4
