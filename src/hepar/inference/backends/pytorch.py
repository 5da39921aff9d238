"""PyTorch, for networks that were not exported. Needs torch (`pip install hepar[train]`)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hepar.errors import BadInput, BadModel, MissingExtra
from hepar.inference.segmenter import Predictor

if TYPE_CHECKING:
    from torch import nn


def torch_predictor(
    network: nn.Module, device: str = "cpu", precision: str = "fp32", threads: int = 0
) -> tuple[Predictor, str]:
    """A function from float32 (batch, slices, y, x) to logits (batch, 3, y, x), and what runs it.

    `precision` "auto" is bf16 on a CUDA device that computes in it, else fp32:
    on a CPU it pays on few processors only. `threads` (0: unchanged) holds for
    the whole process.
    """
    import torch

    if threads:
        torch.set_num_threads(threads)
    kind = torch.device(device).type
    half = precision == "bf16" or (precision == "auto" and kind == "cuda" and torch.cuda.is_bf16_supported())
    network = network.to(device).eval()
    flat = all(weight.ndim <= 4 for weight in network.parameters())
    if half and flat:
        # Known to torch, not to its type hints.
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def predict(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode(), torch.autocast(kind, torch.bfloat16, enabled=half):
            given = torch.from_numpy(batch).to(device)
            if half and flat:
                given = given.to(memory_format=torch.channels_last)
            logits: NDArray[np.float32] = network(given).float().cpu().numpy()
        return logits

    return predict, f"PyTorch {torch.__version__} on {device}, {'bf16' if half else 'fp32'}"


def load_network(settings: dict[str, Any], weights: Path) -> nn.Module:
    """Rebuild a network from its JSON settings and a safetensors file.

    Raises MissingExtra without torch, BadModel when settings and weights disagree.
    """
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        from hepar.nets.registry import network_from_json
    except ImportError as error:
        raise MissingExtra("this model runs on PyTorch; install it with `pip install hepar[train]`") from error
    try:
        network = network_from_json(settings).build(seed=0)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BadModel(f"the model's network settings {settings} build no network ({error!r})") from error
    try:
        network.load_state_dict(load_file(weights))
    except (SafetensorError, RuntimeError, OSError) as error:
        raise BadModel(f"{weights.name} does not fit the network in the model's settings: {error}") from error
    return network


def pick_device(wanted: str) -> str:
    """`auto` becomes cuda, mps or cpu, in this order; raises BadInput when `wanted` is not there."""
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        return next(name for name, has in there.items() if has)
    kind, _, number = wanted.partition(":")
    count = torch.cuda.device_count() if kind == "cuda" else 1
    if not there.get(kind, False) or (number and not (number.isdecimal() and int(number) < count)):
        raise BadInput(f"device {wanted} is not on this machine; use --device cpu or auto")
    return wanted
