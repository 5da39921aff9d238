"""From scores to labels, probabilities and the confidence of lesions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hepar.errors import BadInput, BadModel
from hepar.geometry import Geometry
from hepar.inference import Decision, Finding, ModelCard, Pipeline, SlabSegmenter, open_model, save_model
from hepar.preprocess import InPlaneGrid, Window
from hepar.volume import LabelMap, Volume

LOGITS = arrays(np.float32, (2, 3, 4, 5), elements=st.floats(-20, 20, width=32))


def softmax(logits: np.ndarray) -> np.ndarray:
    p = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


@given(LOGITS)
def test_argmax_and_liver_first_differ_only_where_no_label_has_half_the_probability(logits):
    labels = [Decision(rule).labels(Decision(rule).scores(logits)) for rule in ("argmax", "liver_first")]
    sure = softmax(logits).max(axis=1) > 0.5 + 1e-4
    assert np.array_equal(labels[0][sure], labels[1][sure])


def test_liver_first_gives_a_pixel_to_the_liver_that_is_likelier_inside_than_outside():
    logits = np.log(np.array([0.4, 0.35, 0.25], np.float32)).reshape(1, 3, 1, 1)
    first = Decision("liver_first")
    assert Decision().labels(logits).item() == 0
    assert first.labels(first.scores(logits)).item() == 1


@given(LOGITS, st.sampled_from(["argmax", "liver_first"]))
def test_probability_is_the_softmax_s_in_255ths(logits, rule):
    decision = Decision(rule, tumour_bias=2.0)
    found = decision.tumour_probability(decision.scores(logits))
    assert np.abs(found / 255 - softmax(logits)[:, 2]).max() <= 0.51 / 255


@given(LOGITS, st.sampled_from(["argmax", "liver_first"]))
def test_a_bias_adds_tumour_and_changes_no_liver(logits, rule):
    plain, keen = Decision(rule), Decision(rule, tumour_bias=1.5)
    before, after = (d.labels(d.scores(logits)) for d in (plain, keen))
    assert np.all(after[before == 2] == 2)
    if rule == "liver_first":
        assert np.array_equal(before > 0, after > 0)


def test_a_higher_temperature_draws_probabilities_to_the_middle():
    logits = np.array([0.0, 1.0, 5.0], np.float32).reshape(1, 3, 1, 1)
    found = [
        int(Decision("liver_first", t).tumour_probability(Decision("liver_first").scores(logits)).item())
        for t in (0.5, 1, 4)
    ]
    assert found[0] > found[1] > found[2] > 100


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"rule": "best"}, "argmax or liver_first"), ({"temperature": 0}, "above 0"), ({"tumour_bias": np.nan}, "finite"),
     ({"min_confidence": 1.5}, "0 to 1")],
)  # fmt: skip
def test_impossible_decisions_are_refused(settings, words):
    with pytest.raises(BadInput, match=words):
        Decision(**settings)


def two_lesions() -> Finding:
    labels = np.ones((2, 6, 8), np.uint8)
    labels[0, 1:3, 1:3], labels[:, 4, 5:8] = 2, 2
    probability = np.zeros(labels.shape, np.uint8)
    probability[0, 1:3, 1:3], probability[:, 4, 5:8] = 51, 204
    return Finding(LabelMap(labels, Geometry.from_spacing(labels.shape, (1, 1, 1))), probability)


def test_the_confidence_of_a_lesion_is_its_mean_probability():
    assert [(lesion.voxels, lesion.confidence) for lesion in two_lesions().lesions()] == [(4, 0.2), (6, 0.8)]


def test_doubtful_lesions_become_liver():
    kept = two_lesions().without_doubtful(0.5).labels.labels
    assert (kept == 2).sum() == 6
    assert (kept == 0).sum() == 0
    assert two_lesions().without_doubtful(0.1).labels.labels.tolist() == two_lesions().labels.labels.tolist()


FOUND = arrays(np.uint8, (3, 5, 6), elements=st.integers(0, 2))
PROBABILITY = arrays(np.uint8, (3, 5, 6), elements=st.integers(0, 255))


@given(FOUND, PROBABILITY)
def test_lesions_are_those_of_the_whole_scan_whatever_box_was_searched(labels, probability):
    from scipy.ndimage import label

    found = Finding(LabelMap(labels, Geometry.from_spacing(labels.shape, (1, 1, 1))), probability)
    parts, count = label(labels == 2)
    expected = [
        (k, int((parts == k).sum()), pytest.approx(probability[parts == k].mean() / 255)) for k in range(1, count + 1)
    ]
    assert [(lesion.number, lesion.voxels, lesion.confidence) for lesion in found.lesions()] == expected


@given(FOUND, PROBABILITY, st.floats(0, 1))
def test_exactly_the_doubtful_lesions_become_liver_and_nothing_else_changes(labels, probability, least):
    found = Finding(LabelMap(labels.copy(), Geometry.from_spacing(labels.shape, (1, 1, 1))), probability)
    kept = found.without_doubtful(least)
    changed = kept.labels.labels != labels
    assert (labels[changed] == 2).all()
    assert (kept.labels.labels[changed] == 1).all()
    assert sum(lesion.voxels for lesion in found.lesions() if lesion.confidence < least) == changed.sum()
    assert all(lesion.confidence >= least for lesion in kept.lesions())
    # What came in is left as it was.
    assert np.array_equal(found.labels.labels, labels)


def bright_is_tumour(batch: np.ndarray) -> np.ndarray:
    grey = batch[:, 0]
    return np.stack([100 - grey, np.zeros_like(grey), grey - 150], axis=1).astype(np.float32) / 10


def test_find_gives_the_labels_of_segment_and_a_probability_on_the_same_grid():
    affine = np.array([[0, 0, 1.0, 3], [0, -2.0, 0, 5], [1.5, 0, 0, -7], [0, 0, 0, 1]])
    grid = Geometry((9, 20, 18), affine)
    ct = Volume(np.random.default_rng(0).integers(0, 256, grid.shape).astype(np.int16), grid)
    pipeline = Pipeline((Window(0, 255),), InPlaneGrid(matrix=32), decision=Decision("liver_first"))
    segmenter = SlabSegmenter(bright_is_tumour, pipeline, "bright", slab=4)
    found, labels = segmenter.find(ct), segmenter.segment(ct)
    assert np.array_equal(found.labels.labels, labels.labels)
    assert found.labels.geometry.same_grid(grid)
    assert found.tumour_probability.shape == grid.shape
    sure = found.tumour_probability > 140
    assert sure.any()
    assert np.all(labels.labels[sure] == 2)


def test_doubtful_lesions_do_not_leave_the_segmenter():
    grid = Geometry.from_spacing((2, 16, 16), (1, 1, 1))
    values = np.full(grid.shape, 120, np.int16)
    values[:, 2:5, 2:5], values[:, 9:12, 9:12] = 240, 151
    pipeline = Pipeline((Window(0, 255),), InPlaneGrid(pixel_mm=1.0), decision=Decision("liver_first"))
    ct = Volume(values, grid)
    loose = SlabSegmenter(bright_is_tumour, pipeline, "bright", slab=4).segment(ct).labels
    strict = replace(pipeline, decision=replace(pipeline.decision, min_confidence=0.8))
    kept = SlabSegmenter(bright_is_tumour, strict, "bright", slab=4).segment(ct).labels
    assert ((loose == 2).sum(), (kept == 2).sum()) == (36, 18)
    assert np.array_equal(loose > 0, kept > 0)


def test_a_model_folder_remembers_the_decision_and_its_id_depends_on_it(tmp_path):
    ids = []
    for number, decision in enumerate((Decision(), Decision("liver_first", 1.4, 0.5, 0.3))):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "weights.safetensors").write_bytes(b"x")
        pipeline = Pipeline((Window(0, 255),), InPlaneGrid(pixel_mm=1.0), decision=decision)
        card = ModelCard("m", "d", "l", "t", "none")
        ids.append(save_model(folder, card, pipeline, folder / "weights.safetensors", {}).id)
        assert open_model(folder).pipeline.decision == decision
    assert ids[0] != ids[1]
    text = (tmp_path / "1" / "model.json").read_text().replace("liver_first", "whatever")
    (tmp_path / "1" / "model.json").write_text(text)
    with pytest.raises(BadModel, match="decision rule"):
        open_model(tmp_path / "1")
