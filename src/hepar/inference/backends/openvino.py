"""OpenVINO on the CPU, the engine of the base install."""

from __future__ import annotations

import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepar.errors import BadInput, BadModel
from hepar.inference.segmenter import Predictor


def openvino_predictor(model: Path, precision: str = "fp32", threads: int = 0) -> tuple[Predictor, str]:
    """A function from float32 (batch, slices, y, x) to logits (batch, 3, y, x), from an ONNX file or IR; and its name.

    `precision` "auto" is bf16 where the processor computes in it, else fp32; an
    int8 file computes in int8 where it was quantised, in fp32 elsewhere.
    `threads` 0: all cores. Raises BadModel when the file cannot be read,
    BadInput for bf16 on a processor without it.
    """
    core, version = openvino_core()
    try:
        network = core.read_model(model)
    except RuntimeError as error:
        raise BadModel(f"{model.name} is not a model OpenVINO can read; fetch or export the model again") from error
    used = _precision(precision)
    # Stated, since the program's own default depends on the processor: bf16 logits differ in the third decimal.
    settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "bf16" if used == "bf16" else "f32"}
    settings |= {"INFERENCE_NUM_THREADS": threads} if threads else {}

    @lru_cache(maxsize=2)
    def compiled(shape: tuple[int, ...]) -> Any:
        # A fixed shape compiles to faster kernels than a dynamic one.
        fixed = network.clone()
        fixed.reshape(list(shape))
        return core.compile_model(fixed, "CPU", settings)

    def predict(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(compiled(batch.shape)(np.ascontiguousarray(batch))[0], dtype=np.float32)

    return predict, f"OpenVINO {version} on cpu, {used}"


def computes_in_bf16() -> bool:
    """Whether this processor does, and not only stores in it."""
    return "BF16" in openvino_core()[0].get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def openvino_core() -> tuple[Any, str]:
    """The program without its telemetry client, and its version."""
    # The package brings a telemetry client for its model converter. hepar makes no network
    # call: barred here, OpenVINO falls back to its own empty stub.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    from openvino import Core, __version__

    return Core(), __version__.split("-")[0]


def _precision(wanted: str) -> str:
    has_bf16 = computes_in_bf16()
    if wanted == "bf16" and not has_bf16:
        raise BadInput("this processor does not compute in bf16; use --precision fp32 or auto")
    if wanted == "auto":
        return "bf16" if has_bf16 else "fp32"
    return wanted
