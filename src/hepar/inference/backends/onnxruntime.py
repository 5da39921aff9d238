"""ONNX Runtime on the CPU: where OpenVINO has no wheel. Needs the extra (`pip install hepar[onnx]`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hepar.errors import BadInput, BadModel, MissingExtra
from hepar.inference.segmenter import Predictor


def onnxruntime_predictor(model: Path, precision: str = "fp32", threads: int = 0) -> tuple[Predictor, str]:
    """A function from float32 (batch, slices, y, x) to logits (batch, 3, y, x), and what runs it.

    `precision` "auto" is fp32; an int8 file says so itself. Raises BadModel when
    the file cannot be read, BadInput for bf16, MissingExtra without the program.
    """
    if precision == "bf16":
        raise BadInput("ONNX Runtime computes in fp32 or int8 on a CPU; use another --precision, or --engine openvino")
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtra("ONNX Runtime is not installed; `pip install hepar[onnx]`") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Warnings of the graph optimiser are for its makers.
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions share no base class but this
        raise BadModel(f"{model.name} is not a model ONNX Runtime can read; fetch or export the model again") from error
    name = session.get_inputs()[0].name

    def predict(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(session.run(None, {name: np.ascontiguousarray(batch)})[0], dtype=np.float32)

    used = "int8" if precision == "int8" else "fp32"
    return predict, f"ONNX Runtime {onnxruntime.__version__} on cpu, {used}"
