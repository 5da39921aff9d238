"""Temperature, threshold and cleaning chosen on inner patients only."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from hepar.cases import Case
from hepar.errors import BadInput
from hepar.geometry import Geometry
from hepar.inference import Decision, Pipeline, SlabSegmenter
from hepar.preprocess import InPlaneGrid, Window
from hepar.study import tuning
from hepar.study.tuning import (
    Candidates,
    Setting,
    best_temperature,
    found_with,
    held_scan,
    smoothed,
    try_setting,
)
from hepar.volume import LabelMap, Volume

GRID = Geometry.from_spacing((24, 20, 20), (2.0, 1.0, 1.0))


def logistic_scan(temperature: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Truth drawn from the very probabilities that scores / temperature give."""
    rng = np.random.default_rng(seed)
    calibrated = rng.normal(0, 2, (24, 2, 40, 40))
    p = 1 / (1 + np.exp(-calibrated))
    inside, tumour = (rng.random(p[:, 0].shape) < p[:, k] for k in (0, 1))
    truth = (inside.astype(np.uint8) + (inside & tumour)).astype(np.uint8)
    return (calibrated * temperature).astype(np.float16), truth


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_made_the_scores_too_sure_is_found(temperature):
    assert best_temperature([logistic_scan(temperature, 1), logistic_scan(temperature, 2)]) == pytest.approx(
        temperature, rel=0.06
    )


def two_found_one_true() -> Candidates:
    """One true lesion of 100 voxels; found are 80 of it (sure), and 50 elsewhere (doubtful, small)."""
    return Candidates(
        "a", np.array([0.8, 0.1]), np.array([0.9, 0.4]), np.array([80, 50]), np.array([[80, 0]]), true_voxels=100
    )


@pytest.mark.parametrize(
    ("min_ml", "min_confidence", "dice", "false", "missed"),
    [(0, 0, 160 / 230, 1, 0), (0.2, 0, 160 / 180, 0, 0), (0, 0.5, 160 / 180, 0, 0), (1.0, 0, 0, 0, 1)],
)
def test_a_setting_drops_small_or_doubtful_lesions(min_ml, min_confidence, dice, false, missed):
    trial = try_setting([two_found_one_true()], Setting(0.0, min_ml, min_confidence))
    assert trial.tumour_dice == {"a": pytest.approx(dice)}
    assert (trial.false_lesions, trial.missed_lesions) == ({"a": false}, {"a": missed})
    assert trial.merit == pytest.approx(dice - 0.02 * false)


def test_a_tumour_free_patient_costs_by_its_false_lesions_only():
    free = Candidates("b", np.ones(3), np.ones(3), np.full(3, 9), np.zeros((0, 3), np.int64), true_voxels=0)
    trial = try_setting([two_found_one_true(), free], Setting(min_ml=0.2))
    assert set(trial.tumour_dice) == {"a"}
    assert trial.merit == pytest.approx(160 / 180 - 0.02 * 3 / 2)


def cubes() -> tuple[Volume, LabelMap]:
    """Liver at 100, a lesion at 160, and a false one at 152."""
    values, labels = np.zeros(GRID.shape, np.int16), np.zeros(GRID.shape, np.uint8)
    values[2:22, 2:18, 2:18], labels[2:22, 2:18, 2:18] = 100, 1
    values[5:9, 4:8, 4:8], labels[5:9, 4:8, 4:8] = 160, 2
    values[15:18, 12:15, 12:15] = 152
    return Volume(values, GRID), LabelMap(labels, GRID)


def case(name: str = "inner", **more: str) -> Case:
    return Case(name, name, lambda: cubes()[0], lambda: cubes()[1], **more)


def by_grey(batch: np.ndarray) -> np.ndarray:
    grey = batch[:, 0]
    return np.stack([50 - grey, np.zeros_like(grey), grey - 150], axis=1).astype(np.float32) / 4


def segmenter() -> SlabSegmenter:
    return SlabSegmenter(by_grey, Pipeline((Window(0, 255),), InPlaneGrid(pixel_mm=1.0)), "grey")


def test_a_held_scan_is_cut_to_the_liver_with_the_slices_that_smoothing_reaches_and_keeps_its_place():
    (held,) = held_scan(segmenter(), case())
    # 2.5 standard deviations of 2 mm are three slices of 2 mm; the scan has two on either side of the liver.
    assert held.truth.shape == (24, 16, 16)
    assert held.scores.shape == (24, 2, 16, 16)
    assert np.allclose(held.geometry.position_mm((0, 0, 0)), GRID.position_mm((0, 2, 2)))


class SomeSlices(SlabSegmenter):
    """Gives scores of the liver's slices only, as two passes do."""

    def scores(self, ct, progress=None):
        for start, part in super().scores(ct, progress):
            inside = [k for k in range(len(part)) if 2 <= start + k < 22]
            if inside:
                yield start + inside[0], part[inside]


def test_a_segmenter_that_skips_slices_is_tuned_as_if_it_had_seen_background_there():
    whole = segmenter()
    some = SomeSlices(by_grey, whole.pipeline, "some")
    (held,), (other,) = held_scan(some, case()), held_scan(whole, case())
    assert held.truth.shape == other.truth.shape
    labels = [Decision("liver_first").labels(one.scores.astype(np.float32)) for one in (held, other)]
    assert np.array_equal(*labels)
    assert labels[0].any()
    assert (held.scores[:2, 0] < -20).all()


def test_smoothing_while_tuning_gives_the_labels_that_the_segmenter_will_give():
    (held,) = held_scan(segmenter(), case())
    decision = Decision("liver_first", smooth_mm=2.0)
    asked = replace(segmenter(), pipeline=replace(segmenter().pipeline, decision=decision))
    found = asked.segment(case().ct).axial().labels[:, 2:18, 2:18]
    assert np.array_equal(decision.labels(smoothed(held, 2.0).scores.astype(np.float32)), found)
    assert not np.array_equal(decision.labels(held.scores.astype(np.float32)), found)


def test_smoothing_is_chosen_where_single_slices_hold_false_lesions(tmp_path, monkeypatch):
    def speckled() -> Volume:
        ct, _ = cubes()
        values = ct.values.copy()
        values[15:18] = 100
        values[[8, 12, 16, 20], 2:18, 2:18], values[[5, 8]] = 100, ct.values[[5, 8]]
        values[[12, 16, 20], 10:15, 10:15] = 170
        return Volume(values, GRID)

    written = run_folder(tmp_path, monkeypatch, ["inner"])
    # A threshold on size would do as well, were it tried.
    monkeypatch.setattr(tuning, "MIN_ML", (0.0,))
    monkeypatch.setattr(tuning, "MIN_CONFIDENCE", (0.0,))
    monkeypatch.setattr(tuning, "TUMOUR_BIAS", (0.0,))
    speckles = Case("inner", "inner", speckled, lambda: cubes()[1])
    tuning.tune(tmp_path, [speckles])
    assert written["decision"].smooth_mm == 2.0


def test_candidates_know_size_confidence_and_what_they_share_with_the_truth():
    (held,) = held_scan(segmenter(), case())
    found = found_with(held, 0.0).at(1.0)
    assert found.voxels.tolist() == [64, 27]
    assert found.ml.tolist() == pytest.approx([0.128, 0.054])
    assert found.shared.tolist() == [[64, 0]]
    assert found.confidence[0] > 0.9
    assert found.confidence[1] < 0.7
    # As the model will judge them.
    asked = replace(segmenter(), pipeline=replace(segmenter().pipeline, decision=Decision("liver_first", 2.0)))
    lesions = asked.find(case().ct).lesions()
    assert found_with(held, 0.0).at(2.0).confidence.tolist() == pytest.approx([one.confidence for one in lesions])


def run_folder(tmp_path, monkeypatch, inner: list[str]):
    written = {}
    monkeypatch.setattr(tuning, "load_segmenter", lambda _folder: segmenter())
    monkeypatch.setattr(tuning, "into_model", lambda _folder, decision, ml: written.update(decision=decision, ml=ml))
    (tmp_path / "run.json").write_text(json.dumps({"inner_validation_patients": inner}))
    return written


def test_tuning_uses_inner_patients_alone_and_changes_the_model(tmp_path, monkeypatch):
    written = run_folder(tmp_path, monkeypatch, ["inner"])

    def forbidden(name: str) -> Volume:
        raise AssertionError(f"{name} was read")

    other = Case("tested", "tested", partial(forbidden, "tested"), lambda: cubes()[1])
    union = Case("u", "inner", partial(forbidden, "u"), lambda: cubes()[1], labels="liver_union")
    decision = tuning.tune(tmp_path, [case(), other, union])
    assert written["decision"] == decision
    # Everything can be had here: the false lesion is the doubtful and the small one.
    document = json.loads((tmp_path / "tuning.json").read_text())
    best = max(document["trials"], key=lambda trial: trial["merit"])
    assert best["tumour_dice"] == {"inner": 1.0}
    assert best["false_lesions"] == {"inner": 0}
    assert decision.min_confidence == best["min_confidence"]


@pytest.mark.parametrize("inner", [[], ["elsewhere"]])
def test_nothing_to_tune_on_is_said(tmp_path, monkeypatch, inner):
    run_folder(tmp_path, monkeypatch, inner)
    with pytest.raises(BadInput, match="validation_share"):
        tuning.tune(tmp_path, [case()])


def test_the_command_says_where_the_trials_are(hepar_command, tmp_path, monkeypatch):
    monkeypatch.setattr("hepar.datasets.open_cases", lambda _: [case()])
    run_folder(tmp_path, monkeypatch, ["inner"])
    ended = hepar_command("study", "tune", tmp_path, tmp_path)
    assert ended.code == 0
    assert "tuning.json" in ended.out
