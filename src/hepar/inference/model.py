"""A model is a folder: weights, the steps around them, and a card. Loading runs no code from it.

model.json          settings, hashes, card
model.onnx          for OpenVINO (no torch), or
weights.safetensors for PyTorch
WEIGHTS_LICENSE.txt terms of the weights, which may be narrower than the code's
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from hepar import postprocess
from hepar.errors import BadInput, BadModel
from hepar.files import write_json, write_text
from hepar.inference.blocks import BlockSegmenter
from hepar.inference.decision import ARGMAX, decision_from_json, decision_to_json
from hepar.inference.engine import EXACT, EngineOptions, Weights, predictor_for
from hepar.inference.neighbours import Neighbours
from hepar.inference.segmenter import Pipeline, SlabSegmenter
from hepar.inference.two_pass import TwoPassSegmenter
from hepar.preprocess.intensity import steps_from_json, steps_to_json
from hepar.preprocess.spatial import InPlaneGrid

FORMAT = 1
KINDS = ("onnx", "torch")
SHIPPED = "liver_tumour_small"


@dataclass(frozen=True)
class ModelCard:
    """What a user must know of a model; every figure names its run folder."""

    name: str
    description: str
    licence: str
    trained_on: str
    limits: str
    figures: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Model:
    """A model folder, checked: the weights' SHA-256 is the one in `model.json`."""

    folder: Path
    card: ModelCard
    pipeline: Pipeline
    kind: Literal["onnx", "torch"]
    weights: Path
    sha256: str
    network: dict[str, Any]
    first: FirstPass | None = None
    int8: Path | None = None

    @property
    def id(self) -> str:
        """Name and hash over weights and the steps around them: what a result records as its origin."""
        around = [steps_to_json(self.pipeline.prepare), asdict(self.pipeline.grid)]
        around += [postprocess.steps_to_json(self.pipeline.clean), self.sha256]
        around += list(_beyond_defaults(self.pipeline).values())
        # Blocks are cut as the network's settings say: another spacing gives other labels with the same weights.
        around += [self.network] if "side" in self.network else []
        around += [self.first.model.id, str(self.first.margin_mm)] if self.first else []
        hashed = hashlib.sha256(json.dumps(around, sort_keys=True).encode()).hexdigest()
        return f"{self.card.name}@{hashed[:12]}"

    @property
    def fast(self) -> Model:
        """The first pass by itself: less work, less accurate. Raises BadModel where the model has one pass only."""
        if self.first is None:
            raise BadModel(f"{self.card.name} has one pass, so none is faster; leave --fast away")
        return self.first.model


@dataclass(frozen=True)
class FirstPass:
    """The model that finds the liver for a second one, which sees `margin_mm` around it."""

    model: Model
    margin_mm: float


def save_model(
    folder: Path,
    card: ModelCard,
    pipeline: Pipeline,
    weights: Path,
    network: dict[str, Any],
    first_margin_mm: float | None = None,
) -> Model:
    """Write `model.json` beside `weights`, which already lies in `folder`.

    With `first_margin_mm` the model in `folder`/coarse finds the liver first.
    """
    facts = {
        "format": FORMAT,
        "kind": "onnx" if weights.suffix == ".onnx" else "torch",
        "weights": weights.name,
        "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "network": network,
        "prepare": steps_to_json(pipeline.prepare),
        "grid": asdict(pipeline.grid),
        "clean": postprocess.steps_to_json(pipeline.clean),
        **_beyond_defaults(pipeline),
        **({} if first_margin_mm is None else {"first_pass": {"margin_mm": first_margin_mm}}),
        "card": asdict(card),
    }
    terms = folder / "WEIGHTS_LICENSE.txt"
    if not terms.exists():
        write_text(terms, f"Terms of the weights in this folder: {card.licence}\nTrained on: {card.trained_on}\n")
    write_json(folder / "model.json", facts)
    return open_model(folder)


def open_model(folder: Path | str | None = None) -> Model:
    """The model in `folder`; the shipped one when None.

    Raises BadModel when the folder is not a model folder, or its weights were changed or damaged.
    """
    where = shipped_model() if folder is None else Path(folder)
    settings = where / "model.json"
    if not settings.is_file():
        raise BadModel(f"{where.name} holds no model.json; give a model folder made by `hepar train` or `hepar export`")
    try:
        facts = json.loads(settings.read_text(encoding="utf-8"))
        if facts["format"] != FORMAT:
            raise BadModel(f"{where.name} has model format {facts['format']}, this hepar reads {FORMAT}; update hepar")
        # Only a bare name: a model folder must not point at files elsewhere.
        weights = where / Path(facts["weights"]).name
        pipeline = Pipeline(
            steps_from_json(facts["prepare"]),
            InPlaneGrid(**facts["grid"]),
            postprocess.steps_from_json(facts["clean"]),
            Neighbours(**facts.get("neighbours", {})),
            decision_from_json(facts.get("decision", {})),
        )
        card, kind = ModelCard(**facts["card"]), facts["kind"]
        sha256, network = facts["sha256"], facts["network"]
        if kind not in KINDS:
            raise BadModel(f"{where.name} is a model of kind {kind!r}; hepar runs {' and '.join(KINDS)}. Update hepar")
    except (BadInput, ValueError, KeyError, TypeError) as error:
        raise BadModel(f"{where.name}/model.json is damaged ({error}); fetch or export the model again") from error
    _require_hash(weights, sha256)
    first = _first_pass(where, facts.get("first_pass"))
    return Model(where, card, pipeline, kind, weights, sha256, network, first, _int8(where, facts.get("int8")))


def add_int8(folder: Path, weights: Path, facts: dict[str, Any]) -> Model:
    """Record quantised weights, which already lie in `folder`, and what they cost (`facts`) in `model.json`."""
    settings = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in _files_of(weights)}
    settings["int8"] = {"weights": weights.name, "sha256": hashes} | facts
    write_json(folder / "model.json", settings)
    return open_model(folder)


def _require_hash(weights: Path, sha256: str) -> None:
    if not weights.is_file() or hashlib.sha256(weights.read_bytes()).hexdigest() != sha256:
        raise BadModel(
            f"{weights.parent.name}/{weights.name} is missing or not the file that model.json describes; fetch the "
            "model again"
        )


def _int8(folder: Path, facts: Any) -> Path | None:
    """The quantised weights, checked; None where `model.json` names none."""
    if facts is None:
        return None
    try:
        weights, hashes = folder / Path(facts["weights"]).name, dict(facts["sha256"])
        named = [(path, str(hashes[path.name])) for path in _files_of(weights)]
    except (KeyError, TypeError) as error:
        raise BadModel(f"{folder.name}/model.json is damaged ({error}); fetch or export the model again") from error
    for path, sha256 in named:
        _require_hash(path, sha256)
    return weights


def _files_of(weights: Path) -> list[Path]:
    """OpenVINO keeps a network in two files, ONNX in one."""
    return [weights, weights.with_suffix(".bin")] if weights.suffix == ".xml" else [weights]


def _first_pass(folder: Path, facts: Any) -> FirstPass | None:
    """The coarse model in the folder's own `coarse`. Raises BadModel when it is named and not there."""
    if facts is None:
        return None
    try:
        margin_mm = float(facts["margin_mm"])
    except (ValueError, KeyError, TypeError) as error:
        raise BadModel(f"{folder.name}/model.json is damaged ({error}); fetch or export the model again") from error
    return FirstPass(open_model(folder / "coarse"), margin_mm)


def _beyond_defaults(pipeline: Pipeline) -> dict[str, Any]:
    """Neighbours and decision where they are not the defaults: settings and ids of older models stay what they were."""
    seen = {"neighbours": asdict(pipeline.neighbours)} if pipeline.neighbours.slices > 1 else {}
    decided = {"decision": decision_to_json(pipeline.decision)} if pipeline.decision != ARGMAX else {}
    return seen | decided


def load_segmenter(
    model: Model | Path | str | None = None, device: str = "auto", options: EngineOptions = EXACT
) -> SlabSegmenter:
    """A segmenter from a model folder; the shipped model when None.

    Computes in fp32 unless `options` say otherwise; `device` goes before theirs.
    """
    opened = model if isinstance(model, Model) else open_model(model)
    wanted = options if device == "auto" else replace(options, device=device)
    predict, engine = predictor_for(Weights(opened.kind, opened.weights, opened.network, opened.int8), wanted)
    if "side" in opened.network:  # a network of blocks
        seen = {name: opened.network[name] for name in ("side", "slice_mm")}
        return BlockSegmenter(predict, opened.pipeline, opened.id, engine=engine, **seen)
    if opened.first:
        first, margin_mm = load_segmenter(opened.first.model, options=wanted), opened.first.margin_mm
        return TwoPassSegmenter(predict, opened.pipeline, opened.id, engine=engine, first=first, margin_mm=margin_mm)
    return SlabSegmenter(predict, opened.pipeline, opened.id, engine=engine)


def shipped_model() -> Path:
    """The folder of the model inside the package."""
    return Path(str(resources.files("hepar"))) / "models" / SHIPPED
