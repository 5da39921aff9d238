"""The Gaussian after the softmax: MATLAB's kernel, per slice, and nearly nothing at the paper's size."""

from __future__ import annotations

import numpy as np
import pytest

from hepar import methods
from hepar.geometry import Geometry
from hepar.inference import SlabSegmenter
from hepar.inference.segmenter import Pipeline
from hepar.methods.korabelnikov import probabilities, smoothed, smoothing
from hepar.preprocess import InPlaneGrid, Window
from hepar.volume import Volume

TAPS = (0.10650698, 0.78698604, 0.10650698)  # imgaussfilt(x, 0.5)


def test_the_kernel_is_matlabs():
    dot = np.zeros((1, 1, 5, 5), np.float32)
    dot[0, 0, 2, 2] = 1
    expected = np.zeros((5, 5))
    expected[1:4, 1:4] = np.outer(TAPS, TAPS)
    assert np.allclose(smoothed(dot, 0.5)[0, 0], expected, atol=1e-6)


def test_edges_are_repeated_and_slices_and_classes_stay_apart():
    values = np.zeros((2, 3, 4, 4), np.float32)
    values[1, 2] = 1
    assert np.array_equal(smoothed(values, 0.5), values)


def test_probabilities_sum_to_one_however_large_the_logits():
    logits = np.random.default_rng(0).normal(0, 300, (2, 3, 4, 5)).astype(np.float32)
    found = probabilities(logits)
    assert np.allclose(found.sum(axis=1), 1)
    assert np.array_equal(found.argmax(axis=1), logits.argmax(axis=1))


@pytest.fixture
def plain() -> SlabSegmenter:
    """Liver from 100 HU on, with logits that are sure of themselves."""

    def predict(batch):
        liver = (batch[:, 0] - 100) / 10
        return np.stack([-liver, liver, np.full_like(liver, -50)], axis=1)

    return SlabSegmenter(predict, Pipeline((Window(0, 255),), InPlaneGrid(matrix=32)), "plain")


def test_a_lone_pixel_goes_with_more_smoothing_and_a_block_stays(plain):
    values = np.zeros((1, 32, 32), np.float32)
    values[0, 5, 5] = values[0, 12:20, 12:20] = 200
    ct = Volume(values, Geometry.from_spacing((1, 32, 32), (1, 1, 1)))
    before, little, much = (s.segment(ct).labels[0] for s in (plain, smoothing(plain), smoothing(plain, 2.0)))
    assert before[5, 5] == little[5, 5] == 1  # .62 of its probability stays
    assert much[5, 5] == 0
    assert before[15, 15] == little[15, 15] == much[15, 15] == 1
    assert 0 < np.count_nonzero(before != much) < 40


def test_the_method_smooths_what_it_trained_and_says_so():
    settings = methods.get("korabelnikov").to_json()
    assert settings["clean"] == ["gaussian on probabilities, sigma 0.5 px"]
    assert settings["prepare"] == [{"step": "Window", "low_hu": -2000, "high_hu": 2000}]
    assert methods.get("korabelnikov/sigma2").to_json() != settings
