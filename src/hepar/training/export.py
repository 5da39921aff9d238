"""A trained run as an ONNX model folder that runs without torch, checked against torch."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from hepar.errors import BadInput, BadModel
from hepar.files import replace_whole, write_json
from hepar.inference import Decision, ModelCard, Pipeline, open_model, save_model
from hepar.inference.backends.openvino import openvino_predictor
from hepar.inference.backends.pytorch import load_network, torch_predictor
from hepar.inference.decision import decision_from_json
from hepar.postprocess import DropSmallTumours

# Above this, engine and torch disagree by more than summation order explains (logits are of order 10).
LARGEST_DIFFERENCE = 5e-3
# With weights of half precision: 11 bits of a weight instead of 24.
LARGEST_HALF_DIFFERENCE = 0.1
LEAST_HALVED = 1024
Weights = Literal["fp32", "fp16"]


class Ensemble(nn.Module):
    """Mean of the logits of several networks of one input."""

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, grey: Tensor) -> Tensor:
        return torch.stack([member(grey) for member in self.members]).mean(dim=0)


def export_run(
    runs: Sequence[Path],
    out: Path,
    card: Path,
    weights: Weights = "fp32",
    first_margin_mm: float | None = None,
    tuning: Path | None = None,
) -> str:
    """Write `out` from the runs' models, several as one that averages; gives a line on how closely it follows torch.

    `card` is a JSON file with the fields of ModelCard. `weights` "fp16" stores
    them in half the size; arithmetic stays what the engine chooses. Several
    runs' logits are averaged, and so are their temperatures, biases, smoothing,
    and what a lesion needs to be kept, unless `tuning` (a `tuning.json`) says how
    to decide. With `first_margin_mm` the model that lies in `out`/coarse already
    finds the liver, and this one sees its box with that margin. Raises BadModel
    when the exported network and torch disagree, or runs prepare scans
    differently; BadInput for a bad card or tuning.
    """
    models = [open_model(run / "model") for run in runs]
    if first_margin_mm is not None:
        open_model(out / "coarse")  # missing or damaged: said before the work
    if any(model.first for model in models):
        raise BadModel("models of two passes have no ONNX form yet; use the run's model folder as it is")
    if any("side" in model.network for model in models):
        raise BadModel("networks of 3D blocks have no ONNX form yet; use the run's model folder as it is")
    decision, least_ml = _tuned(tuning) if tuning else _averaged([model.pipeline for model in models])
    pipelines = [_deciding(model.pipeline, decision, least_ml) for model in models]
    if any(pipeline != pipelines[0] for pipeline in pipelines):
        names = ", ".join(run.name for run in runs)
        raise BadModel(f"{names} prepare or clean scans differently; export them one by one")
    networks = [load_network(model.network, model.weights).eval() for model in models]
    network = networks[0] if len(networks) == 1 else Ensemble(networks).eval()
    try:
        described = ModelCard(**json.loads(card.read_text(encoding="utf-8")))
    except (ValueError, TypeError, OSError) as error:
        raise BadInput(f"'{card.name}' is not a model card: {error}") from error
    # Nothing is replaced before the new file has passed: an earlier model stays whole.
    with replace_whole(out / "model.onnx") as temporary:
        write_onnx(network, temporary)
        if weights == "fp16":
            halve_weights(temporary)
        difference, agreement = compare(network, temporary)
        if difference > (LARGEST_DIFFERENCE if weights == "fp32" else LARGEST_HALF_DIFFERENCE):
            raise BadModel(f"exported logits differ from torch's by up to {difference:.2g}; no model was written")
    kind = models[0].network if len(models) == 1 else {"ensemble": [model.network for model in models]}
    save_model(out, described, pipelines[0], out / "model.onnx", kind, first_margin_mm)
    facts = [json.loads((run / "run.json").read_text(encoding="utf-8")) for run in runs]
    write_json(out / "run.json", facts[0] if len(facts) == 1 else {"runs": facts})
    return f"exported to {out.name}: logits within {difference:.1e} of torch's, {agreement:.4%} of labels agree"


def _tuned(tuning: Path) -> tuple[Decision, float]:
    """Decision and least lesion volume in mL of a `tuning.json`. Raises BadInput."""
    try:
        chosen = json.loads(tuning.read_text(encoding="utf-8"))
        return decision_from_json(chosen["decision"]), float(chosen["min_ml"])
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise BadInput(f"'{tuning.name}' is no tuning: {error}; expected `decision` and `min_ml`") from error


def _averaged(pipelines: Sequence[Pipeline]) -> tuple[Decision, float]:
    """Each run chose on patients of its own; one choice for their average. Raises BadModel for different rules."""
    decisions = [pipeline.decision for pipeline in pipelines]
    rules = {decision.rule for decision in decisions}
    if len(rules) > 1:
        raise BadModel(f"the runs decide by {' and '.join(sorted(rules))}; tune all of them, or export them one by one")
    means = {
        name: round(float(np.mean([getattr(decision, name) for decision in decisions])), 3)
        for name in ("temperature", "tumour_bias", "min_confidence", "smooth_mm")
    }
    least_ml = round(float(np.mean([_least_ml(pipeline) for pipeline in pipelines])), 3)
    return Decision(decisions[0].rule, **means), least_ml


def _least_ml(pipeline: Pipeline) -> float:
    return next((step.min_ml for step in pipeline.clean if isinstance(step, DropSmallTumours)), 0.0)


def _deciding(pipeline: Pipeline, decision: Decision, least_ml: float) -> Pipeline:
    clean = tuple(step for step in pipeline.clean if not isinstance(step, DropSmallTumours))
    drop = (DropSmallTumours(least_ml),) if least_ml else ()
    return replace(pipeline, decision=decision, clean=(*clean, *drop))


def slices_seen(network: nn.Module) -> int:
    """Channels of the network's input; 1 for networks of single slices."""
    first = network.members[0] if isinstance(network, Ensemble) else network
    return int(getattr(getattr(first, "grey", None), "slices", 1))


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


def halve_weights(path: Path) -> None:
    """Store the large weights of an ONNX file in half precision, cast back to single where they are used.

    Engines fold the casts when they load the file. Small ones (biases, means) stay as they are.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(str(path))
    graph, casts = model.graph, []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < LEAST_HALVED:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend([*casts, *nodes])
    onnx.save(model, str(path))


def compare(network: nn.Module, onnx: Path) -> tuple[float, float]:
    """Largest logit difference and label agreement on smooth random images of three sizes."""
    rng = np.random.default_rng(0)
    engine, reference = openvino_predictor(onnx)[0], torch_predictor(network)[0]
    worst, agree, slices = 0.0, [], slices_seen(network)
    for batch, *size in ((2, 64, 96), (1, 256, 256), (1, 320, 352)):
        coarse = rng.uniform(0, 255, (batch, slices, size[0] // 16, size[1] // 16))
        grey = np.kron(coarse, np.ones((16, 16))).astype(np.float32)
        found, expected = engine(grey), reference(grey)
        worst = max(worst, float(np.abs(found - expected).max()))
        agree.append(float((found.argmax(1) == expected.argmax(1)).mean()))
    return worst, float(np.mean(agree))
