"""A trained run as an ONNX model folder that runs without torch, checked against torch."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

from hepar.errors import BadInput, BadModel
from hepar.files import replace_whole, write_text
from hepar.inference import ModelCard, open_model, save_model
from hepar.inference.backends.openvino import openvino_predictor
from hepar.inference.backends.pytorch import load_network, torch_predictor

# Above this, engine and torch disagree by more than summation order explains (logits are of order 10).
LARGEST_DIFFERENCE = 5e-3


def export_run(run: Path, out: Path, card: Path) -> str:
    """Write `out` from the run's model; gives a line on how closely the engine follows torch.

    `card` is a JSON file with the fields of ModelCard. Raises BadModel when the
    exported network and torch disagree, BadInput for a bad card.
    """
    model = open_model(run / "model")
    network = load_network(model.network, model.weights).eval()
    try:
        described = ModelCard(**json.loads(card.read_text(encoding="utf-8")))
    except (ValueError, TypeError, OSError) as error:
        raise BadInput(f"'{card.name}' is not a model card: {error}") from error
    # Nothing is replaced before the new file has passed: an earlier model stays whole.
    with replace_whole(out / "model.onnx") as temporary:
        write_onnx(network, temporary)
        difference, agreement = compare(network, temporary)
        if difference > LARGEST_DIFFERENCE:
            raise BadModel(f"exported logits differ from torch's by up to {difference:.2g}; no model was written")
    save_model(out, described, model.pipeline, out / "model.onnx", model.network)
    write_text(out / "run.json", (run / "run.json").read_text(encoding="utf-8"))
    return f"exported to {out.name}: logits within {difference:.1e} of torch's, {agreement:.4%} of labels agree"


def slices_seen(network: nn.Module) -> int:
    """Channels of the network's input; 1 for networks of single slices."""
    return int(getattr(getattr(network, "grey", None), "slices", 1))


def write_onnx(network: nn.Module, path: Path) -> None:
    """Any batch and any size in multiples of 32, as many channels as the network sees slices (opset 17)."""
    example = torch.zeros(2, slices_seen(network), 64, 96)
    axes = {0: "batch", 2: "y", 3: "x"}
    with warnings.catch_warnings():
        # The tracing exporter is announced as legacy; it writes plain, self-contained files.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network, (example,), str(path), input_names=["grey"], output_names=["logits"], opset_version=17,
            dynamic_axes={"grey": axes, "logits": axes}, dynamo=False,
        )  # fmt: skip


def compare(network: nn.Module, onnx: Path) -> tuple[float, float]:
    """Largest logit difference and label agreement on smooth random images of three sizes."""
    rng = np.random.default_rng(0)
    engine, reference = openvino_predictor(onnx), torch_predictor(network)
    worst, agree, slices = 0.0, [], slices_seen(network)
    for batch, *size in ((2, 64, 96), (1, 256, 256), (1, 320, 352)):
        coarse = rng.uniform(0, 255, (batch, slices, size[0] // 16, size[1] // 16))
        grey = np.kron(coarse, np.ones((16, 16))).astype(np.float32)
        found, expected = engine(grey), reference(grey)
        worst = max(worst, float(np.abs(found - expected).max()))
        agree.append(float((found.argmax(1) == expected.argmax(1)).mean()))
    return worst, float(np.mean(agree))
