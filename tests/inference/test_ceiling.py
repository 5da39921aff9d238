"""Operations are counted exactly, and the ceiling is that of a network whose operations are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from hepar.inference import open_model
from hepar.inference.backends import ceiling
from hepar.inference.backends.ceiling import convolution_gflops, gflop_of
from hepar.nets.cost import cost_of
from hepar.nets.registry import network_from_json
from hepar.training.export import write_onnx


def stored(network: nn.Module, folder) -> object:
    write_onnx(network.eval(), folder / "model.onnx")
    return folder / "model.onnx"


LAYERS = {
    "convolution": (nn.Conv2d(1, 6, 3, padding=1), 2 * 9 * 6),
    "with steps": (nn.Conv2d(1, 6, 3, stride=2, padding=1), 2 * 9 * 6 / 4),
    "transposed": (nn.ConvTranspose2d(1, 6, 2, stride=2), 2 * 4 * 6),
}


@pytest.mark.parametrize("name", LAYERS)
def test_operations_of_a_layer_are_those_of_a_sum_by_hand(name, tmp_path):
    layer, per_pixel = LAYERS[name]
    assert gflop_of(stored(layer, tmp_path), (1, 1, 32, 64)) == pytest.approx(per_pixel * 32 * 64 / 1e9)


def test_groups_meet_only_their_own_channels(tmp_path):
    network = nn.Sequential(nn.Conv2d(1, 8, 1), nn.Conv2d(8, 8, 3, padding=1, groups=4))
    by_hand = 2 * (8 + 8 * 2 * 9) * 32 * 32
    assert gflop_of(stored(network, tmp_path), (1, 1, 32, 32)) == pytest.approx(by_hand / 1e9)


def test_matrix_products_count(tmp_path):
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(96, 5))

        def forward(self, x):
            return x @ self.weight

    assert gflop_of(stored(Mixed(), tmp_path), (2, 1, 64, 96)) == pytest.approx(2 * 2 * 64 * 96 * 5 / 1e9)


def test_the_shipped_first_pass_costs_what_torch_counts():
    first = open_model().fast
    network = network_from_json(first.network).build()
    assert gflop_of(first.weights, (1, 3, 64, 96)) == pytest.approx(cost_of(network, 3, (64, 96)).gflop)


def test_twice_the_slices_are_twice_the_operations():
    file = open_model().fast.weights
    assert gflop_of(file, (4, 3, 64, 64)) == pytest.approx(2 * gflop_of(file, (2, 3, 64, 64)))


def test_the_ceiling_is_operations_over_the_median_time(monkeypatch):
    times = iter([0.0, 1.0, 1.0, 3.0, 3.0, 7.0])  # rounds of 1, 2 and 4 s
    monkeypatch.setattr(ceiling.time, "perf_counter", lambda: next(times))
    operations = ceiling.LAYERS * 2 * 9 * ceiling.CHANNELS**2 * ceiling.SIDE**2 / 1e9
    assert convolution_gflops(threads=1, rounds=3) == pytest.approx(operations / 2)


def test_the_network_of_the_ceiling_neither_vanishes_nor_overflows():
    core, _ = ceiling.openvino_core()
    network = ceiling._convolutions()
    assert sum(map(ceiling._flop, network.get_ordered_ops())) == ceiling.LAYERS * 2 * 9 * 128**2 * 64**2
    out = core.compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(np.ones((1, 128, 64, 64), "f4"))[0]
    # Numbers too small to be normal are slow, and no network has them.
    assert 1e-3 < np.abs(out).mean() < 1e3
