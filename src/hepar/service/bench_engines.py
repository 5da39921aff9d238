"""What runs a model fastest on this machine, and whether it still finds the same: `hepar bench`.

Every engine and precision that is here segments the same slab of a phantom, in
turns, so that what else the machine does at the moment meets all of them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hepar.datasets.phantom import DEMO, make_phantom
from hepar.errors import BadInput, BadModel, MissingExtra
from hepar.geometry import Geometry
from hepar.inference import EngineOptions, Model, SlabSegmenter, load_segmenter
from hepar.inference.engine import Precision, Program
from hepar.metrics.overlap import dice
from hepar.volume import LabelMap, Volume

Say = Callable[[str], None]
# As for int8 weights (`service.quantising`): further from fp32 is another model.
LARGEST_DROP = 0.005
# Below this gain, the engine that is closer to fp32: medians of a few rounds tell no less apart.
WORTH = 1.05
WANTED: dict[str, tuple[tuple[Program, tuple[Precision, ...]], ...]] = {
    "onnx": (("openvino", ("fp32", "bf16", "int8")), ("onnxruntime", ("fp32", "int8"))),
    "torch": (("torch", ("fp32", "bf16")),),
}


@dataclass(frozen=True)
class Measured:
    """One engine at one precision. Without it on this machine, `problem` says why and the figures are None.

    `slices_per_s` is a median over rounds; `start_s` is loading, compiling and
    the first slab; `drop` is 1 - Dice against fp32's labels, liver or tumour,
    whichever is more.
    """

    options: EngineOptions
    engine: str = ""
    slices_per_s: float | None = None
    start_s: float | None = None
    drop: float | None = None
    problem: str = ""


@dataclass(frozen=True)
class Bench:
    """All that was measured, the pick among it, and why."""

    model: str
    slices: int
    rounds: int
    rows: tuple[Measured, ...]
    pick: Measured
    why: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def bench(model: Model, slices: int = 32, rounds: int = 5, threads: int = 0, say: Say = lambda _: None) -> Bench:
    """Measure what is here with `model` on `slices` of a phantom. Raises BadInput for fewer than 1 slice or round."""
    if min(slices, rounds) < 1:
        raise BadInput(f"{slices} slices in {rounds} rounds; expected at least 1 of both")
    ct = phantom_slab(slices)
    slices = len(ct.values)
    opened, missing = [], []
    for options in _options(model, threads):
        try:
            opened.append((options, *_opened(model, options, ct)))
            say(f"{name_of(options)}: ready")
        except (BadInput, BadModel, MissingExtra) as error:
            missing.append(Measured(options, problem=str(error)))
            say(f"{name_of(options)}: not here")
    if not opened:
        raise BadModel(f"no engine here runs {model.card.name}: {'; '.join(row.problem for row in missing)}")
    seconds = _in_turns([segmenter for _, segmenter, _, _ in opened], ct, rounds)
    exact = opened[0][2]  # fp32 is the first of every list
    rows = tuple(
        Measured(options, segmenter.engine, slices / statistics.median(spent), start_s, difference(exact, labels))
        for (options, segmenter, labels, start_s), spent in zip(opened, seconds, strict=True)
    )
    pick, why = picked(rows)
    return Bench(model.id, slices, rounds, (*rows, *missing), pick, why)


def picked(rows: Sequence[Measured]) -> tuple[Measured, str]:
    """The fastest of what finds the same as fp32; where it gains little, what is closer to fp32. And why, in a line."""
    there = [row for row in rows if row.slices_per_s is not None and row.drop is not None]
    same = [row for row in there if _drop(row) <= LARGEST_DROP]
    # Where even the first differs from itself, a machine computes differently each time: nothing to choose by.
    fastest = max(same or there[:1], key=_speed)
    near = [row for row in same if _speed(row) * WORTH >= _speed(fastest)]
    pick = min(near or [fastest], key=lambda row: (_drop(row), -_speed(row)))
    left = [row for row in there if row not in same and _speed(row) > _speed(pick)]
    why = f"{_speed(pick):.1f} slices/s, {_speed(pick) / _speed(there[0]):.1f} times {name_of(there[0].options)}"
    why += f"; labels within {_drop(pick):.4f} Dice of fp32's"
    if pick is not fastest:
        why += f"; {name_of(fastest.options)} is less than {WORTH - 1:.0%} faster and further from fp32"
    if left:
        why += "; faster, but another result: " + ", ".join(f"{name_of(r.options)} ({_drop(r):.4f})" for r in left)
    return pick, why


def difference(exact: LabelMap, found: LabelMap) -> float:
    """1 - Dice of liver or tumour, whichever is more; two empty structures are the same."""
    pairs = ((exact.liver, found.liver), (exact.tumour, found.tumour))
    return max(1 - dice(here, there) if here.any() or there.any() else 0.0 for here, there in pairs)


def phantom_slab(slices: int) -> Volume:
    """The middle of the demo's phantom, where its liver lies: `slices` of 512 x 512 pixels of .75 mm, at most 64."""
    ct, _ = make_phantom(DEMO)
    start = max(0, (len(ct.values) - slices) // 2)
    part = ct.slab(start, start + slices)
    # A pixel becomes four: what is measured is speed, at the size that scanners give.
    fine = part.values.repeat(2, axis=1).repeat(2, axis=2)
    z, y, x = part.geometry.spacing_mm
    return Volume(fine, Geometry.from_spacing(fine.shape, (z, y / 2, x / 2)), part.notes)


def command(row: Measured) -> str:
    """What to write behind `hepar segment` to get this engine."""
    return f"--device {row.options.device} --engine {row.options.program} --precision {row.options.precision}"


def _options(model: Model, threads: int) -> Iterator[EngineOptions]:
    """fp32 on the CPU first: what the others are compared with."""
    for device in _devices(model):
        for program, precisions in WANTED[model.kind]:
            for precision in precisions:
                yield EngineOptions(device, program, precision, threads)


def _devices(model: Model) -> list[str]:
    if model.kind == "onnx":
        return ["cpu"]
    from hepar.inference.backends.pytorch import pick_device

    best = pick_device("auto")
    return ["cpu"] if best == "cpu" else ["cpu", best]


def _opened(model: Model, options: EngineOptions, ct: Volume) -> tuple[SlabSegmenter, LabelMap, float]:
    """Segmenter, labels and seconds of the first slab, loading and compiling included."""
    started = time.perf_counter()
    segmenter = load_segmenter(model, options=options)
    labels = segmenter.segment(ct)
    return segmenter, labels, time.perf_counter() - started


def _in_turns(segmenters: Sequence[SlabSegmenter], ct: Volume, rounds: int) -> list[list[float]]:
    seconds: list[list[float]] = [[] for _ in segmenters]
    for _ in range(rounds):
        for spent, segmenter in zip(seconds, segmenters, strict=True):
            started = time.perf_counter()
            segmenter.segment(ct)
            spent.append(time.perf_counter() - started)
    return seconds


def _speed(row: Measured) -> float:
    return row.slices_per_s or 0.0


def _drop(row: Measured) -> float:
    return 1.0 if row.drop is None else row.drop


def name_of(options: EngineOptions) -> str:
    return f"{options.program} {options.precision}" + ("" if options.device == "cpu" else f" on {options.device}")
