"""One function from array to logits, whatever runs it: OpenVINO, ONNX Runtime or PyTorch, at a stated precision.

Labels of the three agree at fp32; bf16 and int8 are faster where the processor
computes in them, and give slightly other logits. `hepar bench` measures both.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from hepar.errors import BadInput, BadModel
from hepar.inference.segmenter import Predictor

Program = Literal["auto", "openvino", "onnxruntime", "torch"]
Precision = Literal["auto", "fp32", "bf16", "int8"]


@dataclass(frozen=True)
class EngineOptions:
    """What a user asks for. `threads` 0: as many as the machine has cores. Raises BadInput.

    `program` "auto" is OpenVINO for ONNX models on a CPU and PyTorch for the
    others; `precision` "auto" is bf16 where the device computes in it, else fp32.
    """

    device: str = "auto"
    program: Program = "auto"
    precision: Precision = "auto"
    threads: int = 0

    def __post_init__(self) -> None:
        if self.program not in get_args(Program) or self.precision not in get_args(Precision):
            raise BadInput(
                f"engine is {self.program!r} at precision {self.precision!r}; expected one of "
                f"{', '.join(get_args(Program))} at one of {', '.join(get_args(Precision))}"
            )
        if self.threads < 0:
            raise BadInput(f"threads is {self.threads}; expected 1 or more, or 0 for all cores")


# What figures are measured with: the same logits on every machine, up to rounding.
EXACT = EngineOptions(precision="fp32")


@dataclass(frozen=True)
class Weights:
    """What a model folder gives to run: an ONNX file, or a network's settings and its safetensors file.

    `int8` is the quantised ONNX file, where the model has one.
    """

    kind: Literal["onnx", "torch"]
    file: Path
    network: dict[str, Any]
    int8: Path | None = None


def predictor_for(weights: Weights, wanted: EngineOptions) -> tuple[Predictor, str]:
    """The function, and what runs it in words (`OpenVINO 2026.4 on cpu, bf16`): a result records it.

    Raises BadInput when the wish cannot be met, BadModel for broken weights,
    MissingExtra when the program is not installed.
    """
    program = wanted.program
    if program == "auto":
        program = "openvino" if weights.kind == "onnx" else "torch"
    if weights.kind != ("torch" if program == "torch" else "onnx"):
        other = "torch" if weights.kind == "torch" else "openvino or onnxruntime"
        raise BadInput(f"the model is stored for {other}, not for {program}; leave --engine away, or export it first")
    if program == "torch":
        return _torch(weights, wanted)
    if wanted.device not in ("auto", "cpu"):
        raise BadInput(f"an ONNX model runs on the CPU, not on {wanted.device}; use --device cpu or auto")
    file = _onnx_file(weights, wanted.precision)
    if program == "openvino":
        from hepar.inference.backends.openvino import openvino_predictor

        return openvino_predictor(file, wanted.precision, wanted.threads)
    if file.suffix == ".xml":
        raise BadInput("the model's int8 weights are OpenVINO's; use --engine openvino, or another --precision")
    from hepar.inference.backends.onnxruntime import onnxruntime_predictor

    return onnxruntime_predictor(file, wanted.precision, wanted.threads)


def _onnx_file(weights: Weights, precision: Precision) -> Path:
    if precision != "int8":
        return weights.file
    if weights.int8 is None:
        raise BadModel("the model has no int8 weights; export it, then `hepar quantise` it, or use another --precision")
    return weights.int8


def _torch(weights: Weights, wanted: EngineOptions) -> tuple[Predictor, str]:
    from hepar.inference.backends.pytorch import load_network, pick_device, torch_predictor

    if wanted.precision == "int8":
        raise BadInput("PyTorch runs no int8 model here; export it, then `hepar quantise` it")
    device = pick_device(wanted.device)
    return torch_predictor(load_network(weights.network, weights.file), device, wanted.precision, wanted.threads)
