"""Scores smoothed along z: the same whatever the slabs, a mean that keeps constants, nothing lost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter1d

from hepar.errors import BadInput
from hepar.geometry import Geometry
from hepar.inference import Decision, ModelCard, Pipeline, SlabSegmenter, open_model, save_model
from hepar.inference.decision import decision_from_json, decision_to_json
from hepar.inference.smoothing import along_z
from hepar.preprocess import InPlaneGrid, Window
from hepar.volume import Volume


def in_slabs(scores: np.ndarray, slab: int, first: int = 0):
    return ((first + k, scores[k : k + slab]) for k in range(0, len(scores), slab))


def together(slabs) -> tuple[list[int], np.ndarray]:
    parts = list(slabs)
    return [start for start, _ in parts], np.concatenate([scores for _, scores in parts])


@given(st.integers(1, 30), st.integers(1, 9), st.integers(0, 5), st.sampled_from([0.0, 0.3, 1.0, 2.7]))
def test_every_slice_comes_once_in_order_and_slabs_change_nothing(count, slab, first, sd):
    scores = np.random.default_rng(count).normal(size=(count, 2, 3, 4)).astype(np.float32)
    starts, found = together(along_z(in_slabs(scores, slab, first), sd))
    _, at_once = together(along_z(in_slabs(scores, count, first), sd))
    assert found.shape == scores.shape
    assert starts[0] == first
    np.testing.assert_allclose(found, at_once, atol=1e-5)


def test_inside_it_is_the_gaussian_filter_and_a_constant_stays_itself_to_the_ends():
    scores = np.random.default_rng(0).normal(size=(40, 2, 3, 3)).astype(np.float32)
    _, found = together(along_z(in_slabs(scores, 8), 1.6))
    expected = gaussian_filter1d(scores, 1.6, axis=0, truncate=4 / 1.6)
    np.testing.assert_allclose(found[4:-4], expected[4:-4], atol=1e-5)
    _, same = together(along_z(in_slabs(np.full((9, 1, 2, 2), 7.0, np.float32), 2), 3.0))
    np.testing.assert_allclose(same, 7.0, rtol=1e-6)


def test_no_more_than_a_slab_and_the_reach_is_held():
    given_out = 0

    def slabs():
        nonlocal given_out
        for k in range(0, 400, 8):
            given_out = k + 8
            yield k, np.zeros((8, 1, 1, 1), np.float32)

    waiting = [given_out - start - len(part) for start, part in along_z(slabs(), 2.0)]
    assert max(waiting) <= 5


def bright_slice_segmenter(decision: Decision) -> SlabSegmenter:
    def predict(batch: np.ndarray) -> np.ndarray:
        grey = batch[:, 0]
        return np.stack([50 - grey, np.zeros_like(grey), grey - 150], axis=1).astype(np.float32)

    return SlabSegmenter(predict, Pipeline((Window(0, 255),), InPlaneGrid(pixel_mm=1.0), decision=decision), "grey")


@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("slice_mm", [1.0, 5.0])
def test_a_lesion_of_one_thin_slice_goes_and_the_same_of_one_thick_slice_stays(slice_mm, flipped):
    values = np.full((20, 12, 12), 100, np.int16)
    affine = Geometry.from_spacing(values.shape, (slice_mm, 1, 1)).affine.copy()
    affine[:, 0] *= -1 if flipped else 1
    values[9, 4:8, 4:8] = 160
    ct = Volume(values, Geometry(values.shape, affine))
    smooth = bright_slice_segmenter(Decision("liver_first", smooth_mm=2.0))
    assert smooth.segment(ct).tumour.any() == (slice_mm == 5.0)
    assert np.array_equal(smooth.find(ct).labels.labels, smooth.segment(ct).labels)
    assert replace(smooth, slab=3).segment(ct).labels.tobytes() == smooth.segment(ct).labels.tobytes()


def test_a_model_without_smoothing_is_written_as_before_it_existed(tmp_path):
    assert "smooth_mm" not in decision_to_json(Decision("liver_first", 1.2))
    smooth = Decision("liver_first", 1.2, smooth_mm=2.0)
    assert decision_from_json(decision_to_json(smooth)) == smooth
    (tmp_path / "model.onnx").write_bytes(b"weights")
    card = ModelCard("m", "d", "l", "t", "n")
    ids = []
    for decision in (Decision("liver_first", 1.2), smooth):
        pipeline = Pipeline((Window(0, 255),), InPlaneGrid(pixel_mm=1.0), decision=decision)
        save_model(tmp_path, card, pipeline, tmp_path / "model.onnx", {})
        opened = open_model(tmp_path)
        assert opened.pipeline.decision == decision
        ids.append(opened.id)
    assert ids[0] != ids[1]


@pytest.mark.parametrize("smooth_mm", [-1.0, float("nan"), 100.0])
def test_a_senseless_smoothing_is_refused(smooth_mm):
    with pytest.raises(BadInput, match="smooth_mm"):
        Decision(smooth_mm=smooth_mm)
