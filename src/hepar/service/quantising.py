"""Eight-bit weights for a model folder: calibrated on scans, kept only if Dice stands."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepar.cases import Case
from hepar.errors import BadInput, BadModel
from hepar.inference import EXACT, EngineOptions, Model, SlabSegmenter, load_segmenter, open_model
from hepar.inference.backends.int8 import write_int8
from hepar.inference.model import add_int8
from hepar.inference.two_pass import TwoPassSegmenter
from hepar.metrics.overlap import dice

Say = Callable[[str], None]
# Issue of every quantised network: more than this is not the same model.
LARGEST_DROP = 0.005
FILE = "model_int8.xml"
# Of every slab that passes, a few slices are enough for ranges.
EVERY, SLICES = 3, 2


@dataclass(frozen=True)
class Cost:
    """Mean Dice over cases in fp32 and int8; NaN where no case has the structure."""

    exact: dict[str, float]
    int8: dict[str, float]
    cases: int

    @property
    def drop(self) -> dict[str, float]:
        return {name: self.exact[name] - self.int8[name] for name in self.exact}

    def __str__(self) -> str:
        return ", ".join(f"{name} {self.exact[name]:.4f} -> {self.int8[name]:.4f}" for name in self.exact)


def quantise(folder: Path, calibrating: Sequence[Case], judging: Sequence[Case], say: Say = lambda _: None) -> Cost:
    """Write int8 weights into `folder` and its first pass, and what they cost into both `model.json`.

    Ranges come from `calibrating`, Dice from `judging`; the two share no
    patient. Raises BadModel, and leaves the folder as it was, when mean liver
    or tumour Dice falls by more than .005; BadInput for a model of another kind.
    """
    model = open_model(folder)
    if model.kind != "onnx":
        raise BadInput(f"{model.card.name} runs on PyTorch; export it first (`hepar export`), then quantise")
    if not judging or {c.patient for c in calibrating} & {c.patient for c in judging}:
        raise BadInput("give cases to judge on whose patients are not calibrated on, with --folds and --fold")
    passes = [model] if model.first is None else [model, model.first.model]
    before = [(one.folder / "model.json").read_bytes() for one in passes]
    seen = _seen(load_segmenter(model, options=EXACT), calibrating, say)
    for one, inputs in zip(passes, seen, strict=True):
        _write(one, inputs)
    cost = _cost(folder, judging, say)
    worst = max((drop for drop in cost.drop.values() if not np.isnan(drop)), default=0.0)
    if worst > LARGEST_DROP:
        for one, text in zip(passes, before, strict=True):
            (one.folder / "model.json").write_bytes(text)
            for name in (FILE, FILE.replace(".xml", ".bin")):
                (one.folder / name).unlink(missing_ok=True)
        raise BadModel(f"int8 costs {worst:.4f} Dice ({cost}), more than {LARGEST_DROP}; the model stays as it was")
    facts = {"judged_on": cost.cases, "dice_fp32": cost.exact, "dice_int8": cost.int8, "drop": cost.drop}
    for one in passes:
        add_int8(one.folder, one.folder / FILE, facts)
    return cost


def _seen(segmenter: SlabSegmenter, cases: Sequence[Case], say: Say) -> list[list[NDArray[np.float32]]]:
    """Network inputs of every pass, the last pass first, as they occur while scans are segmented."""
    recorded: list[list[NDArray[np.float32]]] = [[], []]

    def recording(predict: Any, where: list[NDArray[np.float32]]) -> Any:
        calls = iter(range(1 << 30))

        def heard(batch: NDArray[np.float32]) -> NDArray[np.float32]:
            if next(calls) % EVERY == 0:
                where.append(batch[:SLICES].copy())
            logits: NDArray[np.float32] = predict(batch)
            return logits

        return heard

    own = replace(segmenter, predict=recording(segmenter.predict, recorded[0]))
    if isinstance(own, TwoPassSegmenter):
        assert own.first is not None
        own = replace(own, first=replace(own.first, predict=recording(own.first.predict, recorded[1])))
    for case in cases:
        own.segment(case.ct)
        say(f"calibrated on {case.id}")
    return recorded if isinstance(own, TwoPassSegmenter) else recorded[:1]


def _write(model: Model, inputs: Sequence[NDArray[np.float32]]) -> None:
    """Both files whole or none: written apart, then moved."""
    with tempfile.TemporaryDirectory(dir=model.folder, prefix=".writing-") as scratch:
        write_int8(model.weights, inputs, Path(scratch) / FILE)
        for name in (FILE.replace(".xml", ".bin"), FILE):
            (Path(scratch) / name).replace(model.folder / name)
    add_int8(model.folder, model.folder / FILE, {})


def _cost(folder: Path, cases: Sequence[Case], say: Say) -> Cost:
    """Mean Dice of liver and tumour over cases that have them, at both precisions."""
    means: dict[str, dict[str, float]] = {}
    for precision in ("fp32", "int8"):
        segmenter = load_segmenter(folder, options=EngineOptions(precision=precision))
        found: dict[str, list[float]] = {"liver": [], "tumour": []}
        for case in cases:
            truth, labels = case.truth, segmenter.segment(case.ct)
            for name, there, here in (("liver", truth.liver, labels.liver), ("tumour", truth.tumour, labels.tumour)):
                if there.any() and (name == "liver" or case.labels == "full"):
                    found[name].append(dice(there, here))
            say(f"{precision}: {case.id}")
        means[precision] = {name: float(np.mean(values)) if values else float("nan") for name, values in found.items()}
    return Cost(means["fp32"], means["int8"], len(cases))
