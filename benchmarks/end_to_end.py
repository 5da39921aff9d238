"""A CT of 512 x 512 x 300 from .nii.gz to labels on disk: hepar, the same weights by hand, and nnU-Net's predictor.

    python benchmarks/end_to_end.py -o docs/benchmarks/end_to_end --nnunet ENVIRONMENT/bin/python

Every round opens the weights, reads, segments and writes; imports are not
counted (`start_up.py`). hepar runs as `hepar segment` does, with `--fast`, at
fp32, and at fp32 without its search for the liver's range. `torch eager` is
the shipped model's own weights in PyTorch eager with nibabel and scipy
(`torch_eager.py`), on every slice. nnU-Net runs in an environment of its own
with a network of as many operations per slice (`nnunet_predictor.py` says how
to get it). The same run measures what convolutions reach on this machine;
`limit` is operations / that + reading + writing, `share` is limit / measured.
Labels must overlap; the run fails where they do not.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from pairs import Clocked, Timed, arguments, bars, in_own_process, in_turns, publish, require_overlap, surroundings
from scans import scan

from hepar.inference import EngineOptions, Model, SlabSegmenter, load_segmenter, open_model
from hepar.inference.backends.ceiling import convolution_gflops, gflop_of
from hepar.inference.two_pass import TwoPassSegmenter
from hepar.io import read, read_labels, write, write_volume
from hepar.volume import LabelMap

OURS, BY_HAND, NNUNET = "hepar", "torch eager", "nnU-Net"
# Another arithmetic, another resampling, no range search: the same organ, not the same voxels.
LEAST_DICE = 0.97
TARGETS = {BY_HAND: 5.0, NNUNET: 10.0}
SHARE, DEFAULT_S, FAST_S = 0.8, 30.0, 8.0
STAGES = ("open", "read", "segment", "write")
Calls = Counter[tuple[int, ...]]


def main() -> None:
    order = parsed()
    model = open_model(order.model)
    options = EngineOptions(threads=order.threads)
    ct, _ = scan(order.slices or (16 if order.quick else 300), 128 if order.quick else 512)
    size = model.pipeline.grid.plan(ct.geometry).padded_size
    gflop = gflop_of(model.weights, (1, model.pipeline.neighbours.slices, *size))
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "ct.nii.gz"
        write_volume(ct, file)
        programs = ours(file, model, options) | peers(file, model, order, gflop)
        before = convolution_gflops(precision_of(model, options), order.threads)
        timed = in_turns(programs, order.rounds, warm=not order.cold)
        after = convolution_gflops(precision_of(model, options), order.threads)
        overlaps = compared(timed)
    limits = {name: limit(timed.results[name], (before + after) / 2) for name in timed.results if name == OURS}
    rows = [row | {"limit_s": round(limits[row["program"]], 2) if row["program"] in limits else ""}
            for row in timed.rows(OURS)]  # fmt: skip
    result = {
        "what": "seconds from a .nii.gz to labels on disk",
        "model": model.id,
        "shape_zyx": ct.values.shape,
        "gflop_per_slice_by_hand": gflop,
        **surroundings(order),
        **timed.as_json(OURS),
        "stages_s": {n: r["stages"] for n, r in timed.results.items() if "stages" in r},
        "ceiling_gflops": {"before": before, "after": after},
        "hepar_gflop": timed.results[OURS]["gflop"],
        "engine": timed.results[OURS]["engine"],
        "limit_s": limits[OURS],
        "share_of_limit": limits[OURS] / timed.median(OURS),
        "dice_with_hepar": overlaps,
        "peer not installed": [] if order.nnunet else [f"{NNUNET} (--nnunet; see benchmarks/nnunet_predictor.py)"],
    }
    result["targets_met"] = judged(timed, result["share_of_limit"])
    publish(order.out, result, rows, bars(rows, "program", "median_s", f"{len(ct.values)} slices to labels on disk"))


def parsed() -> argparse.Namespace:
    parser = arguments(__doc__ or "", rounds=3)
    parser.add_argument("-m", "--model", type=Path, help="Model folder; default: the shipped one.")
    parser.add_argument("--slices", type=int, help="Instead of 300.")
    parser.add_argument("--threads", type=int, default=0, help="Of every program; 0: all cores.")
    parser.add_argument("--nnunet", type=Path, help="Python of an environment with nnunetv2.")
    parser.add_argument("--cold", action="store_true", help="Leave out the round that does not count.")
    return parser.parse_args()


def ours(file: Path, model: Model, options: EngineOptions) -> dict[str, Callable[[], Any]]:
    exact = replace(options, precision="fp32")
    programs = {OURS: partial(by_hepar, file, model, options), "hepar fp32": partial(by_hepar, file, model, exact)}
    if model.first:
        programs["hepar --fast"] = partial(by_hepar, file, model.fast, options)
        programs["hepar fp32, every slice"] = partial(by_hepar, file, replace(model, first=None), exact)
    return programs


def peers(file: Path, model: Model, order: argparse.Namespace, gflop: float) -> dict[str, Callable[[], Any]]:
    programs: dict[str, Callable[[], Any]] = {BY_HAND: partial(by_hand, file, model, order.threads)}
    if order.nnunet:
        programs[NNUNET] = partial(by_nnunet, file, gflop, order)
    return programs


def by_hepar(file: Path, model: Model, options: EngineOptions) -> dict[str, Any]:
    """Labels, seconds of each stage, operations, and what ran."""
    marks = [time.perf_counter()]
    segmenter, passes = counted(load_segmenter(model, options=options), model)
    marks.append(time.perf_counter())
    ct = read(file)
    marks.append(time.perf_counter())
    found = segmenter.find(ct).labels
    marks.append(time.perf_counter())
    write(found, file.with_name("hepar.nii.gz"))
    marks.append(time.perf_counter())
    stages = {name: end - start for name, start, end in zip(STAGES, marks, marks[1:], strict=False)}
    gflop = sum(n * gflop_of(weights, shape) for weights, calls in passes.items() for shape, n in calls.items())
    return {"labels": found, "stages": stages, "gflop": gflop, "engine": segmenter.engine}


def counted(segmenter: SlabSegmenter, model: Model) -> tuple[SlabSegmenter, dict[Path, Calls]]:
    """The segmenter, and the input shapes that each pass's network is given from now on, by its weights."""

    def heard(predict: Any, calls: Calls) -> Any:
        def hearing(batch: Any) -> Any:
            calls[batch.shape] += 1
            return predict(batch)

        return hearing

    passes: dict[Path, Calls] = {model.weights: Counter()}
    segmenter = replace(segmenter, predict=heard(segmenter.predict, passes[model.weights]))
    if isinstance(segmenter, TwoPassSegmenter) and segmenter.first and model.first:
        calls = passes.setdefault(model.first.model.weights, Counter())
        segmenter = replace(segmenter, first=replace(segmenter.first, predict=heard(segmenter.first.predict, calls)))
    return segmenter, passes


def by_hand(file: Path, model: Model, threads: int) -> dict[str, Any]:
    import torch
    from torch_eager import OnnxNetwork, segment_plainly

    torch.set_num_threads(threads or os.cpu_count() or 1)
    labels = segment_plainly(file, file.with_name("by_hand.nii.gz"), model, OnnxNetwork(model.weights))
    return {"labels": labels}


def by_nnunet(file: Path, gflop: float, order: argparse.Namespace) -> Clocked:
    script = Path(__file__).with_name("nnunet_predictor.py")
    side = 128 if order.quick else 512
    words = ("--gflop", gflop, "--threads", order.threads, "--side", side)
    facts = in_own_process(script, file, file.parent, *words, python=order.nnunet)
    # Random weights: nothing to compare but that there are labels on the scan's grid.
    facts["shape_zyx"] = read_labels(facts.pop("labels")).labels.shape
    return Clocked(facts, facts["seconds"])


def precision_of(model: Model, options: EngineOptions) -> str:
    """fp32 or bf16, as `hepar` computes with these options."""
    return "bf16" if load_segmenter(model, options=options).engine.endswith("bf16") else "fp32"


def limit(result: dict[str, Any], gflops: float) -> float:
    """Seconds that nothing with these operations can undercut: arithmetic at the ceiling, reading, writing."""
    return float(result["gflop"] / gflops + result["stages"]["read"] + result["stages"]["write"])


def compared(timed: Timed) -> dict[str, dict[str, float]]:
    """Dice of every program's labels with hepar's at fp32; raises Disagreement, or RuntimeError where all is empty."""
    exact = LabelMap(timed.results["hepar fp32"]["labels"].labels, timed.results["hepar fp32"]["labels"].geometry)
    if not exact.liver.any():
        raise RuntimeError("hepar found no liver: what was timed is not a segmentation")
    found = {}
    for name, result in timed.results.items():
        labels = result.get("labels")
        if labels is None:
            continue
        other = labels if isinstance(labels, LabelMap) else LabelMap(labels, exact.geometry)
        # The fast model is another one: it must find the liver, not the same voxels.
        least = 0.8 if name == "hepar --fast" else LEAST_DICE
        found[name] = {
            "liver": require_overlap(exact.liver, other.liver, f"{name}, liver", least),
            "tumour": require_overlap(exact.tumour, other.tumour, f"{name}, tumour", 0.0),
        }
    return found


def judged(timed: Timed, share: float) -> dict[str, bool]:
    met = {
        f"{least:g} times {peer}": timed.times_faster(OURS, peer)["median"] >= least
        for peer, least in TARGETS.items()
        if peer in timed.seconds
    }
    met[f"{SHARE:.0%} of the limit"] = share >= SHARE
    met[f"default under {DEFAULT_S:g} s"] = timed.median(OURS) < DEFAULT_S
    if "hepar --fast" in timed.seconds:
        met[f"--fast under {FAST_S:g} s"] = timed.median("hepar --fast") < FAST_S
    return met


if __name__ == "__main__":
    main()
