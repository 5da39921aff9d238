"""How fast convolutions can go on this machine, and how many operations a network needs: the limit of any engine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from hepar.inference.backends.openvino import openvino_core

# A 3x3 convolution of many channels, on a picture that stays in the cache, repeated: what processors do best.
CHANNELS, SIDE, LAYERS = 128, 64, 12


def convolution_gflops(precision: str = "fp32", threads: int = 0, rounds: int = 5) -> float:
    """GFLOP/s of plain 3x3 convolutions in OpenVINO; `precision` is fp32 or bf16, median of `rounds`.

    A multiplication and its addition count as two. Eight-bit networks have no
    ceiling here: only a quantised network computes in int8.
    """
    core, _ = openvino_core()
    settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32"}
    settings |= {"INFERENCE_NUM_THREADS": threads} if threads else {}
    compiled = core.compile_model(_convolutions(), "CPU", settings)
    image = np.ones((1, CHANNELS, SIDE, SIDE), np.float32)
    compiled(image)
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        compiled(image)
        seconds.append(time.perf_counter() - started)
    return LAYERS * 2 * 9 * CHANNELS**2 * SIDE**2 / 1e9 / statistics.median(seconds)


@lru_cache(maxsize=32)
def gflop_of(model: Path, shape: tuple[int, ...]) -> float:
    """GFLOP of one call of an ONNX or IR network on an input of `shape`.

    Convolutions and matrix products count, a multiplication and its addition as two; all else is left out, as usual.
    """
    network = openvino_core()[0].read_model(model)
    network.reshape(list(shape))
    return sum(_flop(op) for op in network.get_ordered_ops()) / 1e9


def _flop(op: Any) -> float:
    kind = op.get_type_name()
    if kind not in ("Convolution", "GroupConvolution", "ConvolutionBackpropData", "MatMul"):
        return 0.0
    given, weights, out = ([int(n) for n in port.get_shape()] for port in (op.input(0), op.input(1), op.output(0)))
    if kind == "MatMul":
        return 2.0 * _product(out) * given[-2 if op.get_attributes()["transpose_a"] else -1]
    # Every pixel meets all of a channel's weights: one of the output, or where transposed one of the input.
    pixels = given if kind == "ConvolutionBackpropData" else out
    return 2.0 * pixels[0] * _product(pixels[2:]) * _product(weights)


def _product(sizes: Sequence[int]) -> int:
    return int(np.prod(sizes, dtype=np.int64))


def _convolutions() -> Any:
    from openvino import Model, opset13

    image = opset13.parameter([1, CHANNELS, SIDE, SIDE], np.float32)
    # Small numbers of both signs: a chain that neither vanishes nor overflows.
    kernel = np.random.default_rng(0).normal(0, (9 * CHANNELS) ** -0.5, (CHANNELS, CHANNELS, 3, 3)).astype(np.float32)
    grey: Any = image
    for _ in range(LAYERS):
        grey = opset13.convolution(grey, opset13.constant(kernel), [1, 1], [1, 1], [1, 1], [1, 1])
    return Model([grey], [image], "ceiling")
