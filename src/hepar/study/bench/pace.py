"""How long an update of a training and the labelling of a slice take here: a few of them are tried.

On a CPU processor time is measured, shared out over the threads: what others do
at that moment must not cut a training short. So minutes of a budget are those
of a machine with nothing else to do.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hepar.cases import Case
from hepar.inference import SlabSegmenter
from hepar.inference.backends.pytorch import pick_device
from hepar.nets.cost import cost_of
from hepar.study.bench.stages import Stage
from hepar.training.deep_method import DeepMethod, neighbours_of
from hepar.training.deep_method3d import Deep3dMethod
from hepar.training.loop import Tick
from hepar.training.machine import this_machine
from hepar.training.planned_method import PlannedMethod
from hepar.training.planning import fingerprint_of, plan_of
from hepar.training.tile_detection import TileDetection
from hepar.training.two_pass import around_liver
from hepar.volume import LabelMap, Volume

# The first update prepares memory and is not counted, unless it takes this long.
UPDATES, PATIENCE_SECONDS = 3, 15.0
# Slices of the case that is tried on; a slab of them is labelled.
SLICES = 12
# Pixels of a slice where a method works in millimetres.
USUAL_SIDE = 512


@dataclass(frozen=True)
class StagePace:
    """Seconds of one update of `batch` images, seconds to label a slice (0: no slice network), size and cost.

    `gflop` is of one slice of `gflop_size` pixels, or of one block; None where it cannot be counted.
    """

    update: float
    batch: int
    slice: float
    parameters: int
    gflop: float | None
    gflop_size: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> StagePace:
        return cls(**row | {"gflop_size": tuple(row["gflop_size"])})


class _Enough(Exception):
    """A trial has told what it can."""


def measure(stage: Stage, cases: Sequence[Case], device: str) -> StagePace:
    """Try the stage's training on a piece of one of its cases; what comes of it is thrown away."""
    training = planned(stage.training, cases)
    tried = _short(training)
    flat = not isinstance(training, Deep3dMethod)
    case = _piece(_typical(cases), stage.place.box_mm) if flat else _typical(cases)
    with tempfile.TemporaryDirectory() as folder, _quiet():
        update, segmenter = _trial(tried, case, Path(folder), device)
        slice_seconds = _slice_seconds(segmenter, case, device) if isinstance(training, DeepMethod) else 0.0
    if segmenter is None and isinstance(training, DeepMethod):
        # Forward and backward take about three times the forward pass; patches are a part of a slice.
        whole = (_size(training)[0][0] / tried.recipe.patch) ** 2 if tried.recipe.patch else 1.0
        slice_seconds = update / tried.recipe.batch / 3 * max(1.0, whole)
    batch = training.recipe.batch
    return StagePace(update * batch / tried.recipe.batch, batch, slice_seconds, *_cost(training))


def planned(training: Any, cases: Sequence[Case]) -> Any:
    """The training itself, or what its plan from these cases makes of it."""
    if not isinstance(training, PlannedMethod):
        return training
    seen = fingerprint_of(cases, training.recipe.seed)
    return training.planned(plan_of(seen, training.dims, training.memory, training.width, training.blocks))


def clock(device: str, threads: int) -> float:
    """Seconds that count against a budget."""
    return time.process_time() / threads if device == "cpu" else time.monotonic()


def _short(training: Any) -> Any:
    """A few updates of one micro-batch each; nobody is held back, and no weights are looked for."""
    recipe = training.recipe
    sampling = "patient_balanced" if recipe.sampling == "shuffle" else recipe.sampling
    short = replace(
        recipe,
        epochs=1,
        batch=recipe.micro_batch,
        sampling=sampling,
        samples_per_epoch=UPDATES * recipe.micro_batch,
        validation_share=0.0,
        inner_patients=(),
    )
    network = training.network
    if getattr(network, "beside", False):
        # One channel more than the picture's changes little.
        network = replace(network, beside=False)
    return replace(training, recipe=short, network=network, encoder_weights="none")


def _trial(training: Any, case: Case, folder: Path, device: str) -> tuple[float, SlabSegmenter | None]:
    """Seconds of an update, and what was trained; None where the trial was broken off."""
    machine = this_machine(device)
    told: list[float] = [clock(machine.device, machine.threads)]
    began = time.monotonic()

    def listen(tick: Tick) -> None:
        if tick.ended:
            return
        told.append(clock(machine.device, machine.threads))
        if time.monotonic() - began > PATIENCE_SECONDS:
            raise _Enough

    found: Any = None
    try:
        if isinstance(training, TileDetection):
            training.train([case], lambda one: one.truth.axial().liver, folder, listen, device)
        else:
            found = training.train([case], folder, listen, device)
    except _Enough:
        pass
    steps = np.diff(told)
    return float(np.median(steps[1:]) if len(steps) > 1 else steps[0]), found


def _slice_seconds(segmenter: SlabSegmenter | None, case: Case, device: str) -> float:
    if segmenter is None:
        return 0.0
    device, threads = pick_device(device), this_machine(device).threads
    started = clock(device, threads)
    # A part of a slab takes as long as a whole one.
    segmenter.segment(case.ct.axial().slab(0, segmenter.slab))
    return (clock(device, threads) - started) / segmenter.slab


def _cost(training: Any) -> tuple[int, float | None, tuple[int, ...]]:
    """Parameters, GFLOP and the size that these are of; counted without computing anything."""
    network = training.network.build(0)
    parameters = sum(weights.numel() for weights in network.parameters() if weights.requires_grad)
    size, slices = _size(training)
    try:
        return parameters, cost_of(network.to("meta"), slices, size).gflop, size  # type: ignore[arg-type]
    # Networks may do what a count cannot follow; their cost is then not known.
    except (RuntimeError, NotImplementedError, TypeError, ValueError):
        return parameters, None, size


def _size(training: Any) -> tuple[tuple[int, ...], int]:
    """Pixels (y, x) or voxels (z, y, x) of an image, and its slices or channels."""
    network = training.network
    if isinstance(training, Deep3dMethod):
        side = training.recipe.patch or network.side
        return (side, side, side) if isinstance(side, int) else tuple(side), 1
    if isinstance(training, TileDetection):
        return (training.tiles.shown, training.tiles.shown), 1
    side = training.grid.matrix or USUAL_SIDE
    return (side, side), neighbours_of(network).slices + bool(getattr(network, "beside", False))


def _typical(cases: Sequence[Case]) -> Case:
    """The case with the median number of slices of those that tell tumour from liver, or of all."""
    able = [case for case in cases if case.labels == "full"] or list(cases)
    sizes = [len(case.heights_mm or ()) for case in able]
    return able[int(np.argsort(sizes, kind="stable")[len(sizes) // 2])]


def _piece(case: Case, box_mm: float | None) -> Case:
    """Slices around the middle of the case's liver, in its box where the stage sees no more."""
    cut = around_liver(case, box_mm) if box_mm is not None else case
    case = cut or case
    ct, truth = case.ct.axial(), case.truth.axial()
    shown = np.flatnonzero(truth.liver.any(axis=(1, 2)))
    middle = int(shown[len(shown) // 2]) if len(shown) else len(truth.labels) // 2
    start = max(0, min(middle - SLICES // 2, len(truth.labels) - SLICES))
    stop = min(len(truth.labels), start + SLICES)
    part: Volume = ct.slab(start, stop)
    labels = LabelMap(np.ascontiguousarray(truth.labels[start:stop]), part.geometry)
    heights = case.heights_mm[start:stop] if case.heights_mm else None
    return replace(case, read_ct=lambda: part, read_truth=lambda: labels, heights_mm=heights)


@contextmanager
def _quiet() -> Iterator[None]:
    """A trial's warnings (no ImageNet weights, few slices) are not the bench's."""
    log = logging.getLogger("hepar")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)
