"""OpenVINO on the CPU, the engine of the base install."""

from __future__ import annotations

import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepar.errors import BadModel
from hepar.inference.segmenter import Predictor


def openvino_predictor(model: Path) -> Predictor:
    """A function from float32 (batch, slices, y, x) to logits (batch, 3, y, x), from an ONNX file or IR.

    Raises BadModel when the file cannot be read.
    """
    # The package brings a telemetry client for its model converter. hepar makes no network
    # call: barred here, OpenVINO falls back to its own empty stub.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    from openvino import Core

    core = Core()
    try:
        network = core.read_model(model)
    except RuntimeError as error:
        raise BadModel(f"{model.name} is not a model OpenVINO can read; fetch or export the model again") from error

    @lru_cache(maxsize=2)
    def compiled(shape: tuple[int, ...]) -> Any:
        # A fixed shape compiles to faster kernels than a dynamic one.
        fixed = network.clone()
        fixed.reshape(list(shape))
        # The CPU default may be bfloat16: logits then differ from PyTorch's in the third decimal.
        return core.compile_model(fixed, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def predict(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(compiled(batch.shape)(np.ascontiguousarray(batch))[0], dtype=np.float32)

    return predict
