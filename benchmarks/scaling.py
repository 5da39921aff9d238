"""What `hepar segment` costs against slices (50 to 1,026) and against cases in a row (1 to 64): seconds and memory.

    python benchmarks/scaling.py -o docs/benchmarks/scaling

Every size runs in processes of its own, one after the other and in turns: a
scan of 512 x 512 x N from .nii.gz to labels on disk, and N cases of one folder
by one process, as `hepar segment FOLDER` does. Memory is the process's peak,
Python and libraries included. Straight lines are fitted to the medians; peak
memory is compared with what scan and labels alone take. The largest scan is
also segmented in slabs of another size: its labels must be the same, byte by
byte, or the run fails.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from pairs import (
    Clocked,
    Disagreement,
    Timed,
    arguments,
    in_own_process,
    in_turns,
    linear_fit,
    peak_mb,
    publish,
    surroundings,
)  # fmt: skip
from scans import scan

from hepar.inference import EngineOptions, load_segmenter, open_model
from hepar.io import read, write, write_volume

SLICES, CASES = (50, 100, 200, 300, 500, 750, 1026), (1, 2, 4, 8, 16, 32, 64)
QUICK_SLICES, QUICK_CASES = (6, 12, 18), (1, 2, 3)
CASE_SLICES = 32
OTHER_SLAB = 5
# What hepar promises: under 2 GB at 1,026 slices, time linear in them, no growth over 64 cases.
MOST_MB, LEAST_R2, MOST_GROWTH_MB = 2000, 0.99, 20


def main() -> None:
    order = parsed()
    if order.alone:
        print(json.dumps(alone(order)))
        return
    side, sizes = (128, (QUICK_SLICES, QUICK_CASES)) if order.quick else (512, (SLICES, CASES))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        slices = over_slices(folder, sizes[0], side, order)
        other = one_run(folder / f"{sizes[0][-1]}.nii.gz", order, OTHER_SLAB).result
        require_same_labels(slices.results[str(sizes[0][-1])], other)
        cases = over_cases(folder, sizes[1], side, order)
    rows = [*table("slices", slices, scan_mb(side)), *table("cases", cases, None)]
    result = {
        "what": "seconds and peak memory of hepar segment",
        "side": side,
        **surroundings(order),
        "seconds": {"slices": slices.seconds, "cases": cases.seconds},
        "fits": fits(rows),
        "engine": other["engine"],
        "same_labels_with_slabs_of": [other["slab"], slices.results[str(sizes[0][-1])]["slab"]],
    }
    result["targets_met"] = judged(rows, result["fits"])
    publish(order.out, result, rows, drawn(rows))


def parsed() -> argparse.Namespace:
    parser = arguments(__doc__ or "", rounds=3)
    parser.add_argument("-m", "--model", type=Path, help="Model folder; default: the shipped one.")
    parser.add_argument("--threads", type=int, default=0, help="Of the network; 0: all cores.")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16", "int8"), default="auto")
    parser.add_argument("--alone", type=Path, nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--slab", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def over_slices(folder: Path, sizes: Sequence[int], side: int, order: argparse.Namespace) -> Timed:
    for size in sizes:
        write_volume(scan(size, side)[0], folder / f"{size}.nii.gz")
    programs: dict[str, Callable[[], Any]] = {
        str(size): partial(one_run, folder / f"{size}.nii.gz", order) for size in sizes
    }
    return in_turns(programs, order.rounds, warm=False)


def over_cases(folder: Path, sizes: Sequence[int], side: int, order: argparse.Namespace) -> Timed:
    """The same small scan again and again: what grows is not the scan."""
    file = folder / "case.nii.gz"
    write_volume(scan(CASE_SLICES, side)[0], file)
    programs: dict[str, Callable[[], Any]] = {
        str(size): partial(one_run, file, order, None, size) for size in sizes
    }  # fmt: skip
    return in_turns(programs, order.rounds, warm=False)


def one_run(file: Path, order: argparse.Namespace, slab: int | None = None, cases: int = 1) -> Clocked:
    """A process that segments `file` so many times."""
    words: list[object] = ["-o", file.parent, "--threads", order.threads, "--precision", order.precision]
    words += ["--model", order.model] if order.model else []
    words += ["--slab", slab] if slab else []
    facts = in_own_process(Path(__file__), *words, "--alone", *[file] * cases)
    return Clocked(facts, facts["seconds"])


def alone(order: argparse.Namespace) -> dict[str, Any]:
    """Seconds from opening the model to the last label on disk, peak memory after each case, and the labels' hash."""
    started = time.perf_counter()
    segmenter = load_segmenter(
        open_model(order.model), options=EngineOptions(precision=order.precision, threads=order.threads)
    )
    if order.slab:
        segmenter = replace(segmenter, slab=order.slab)
    peaks, target = [], order.out / "found.nii.gz"
    for file in order.alone:
        write(segmenter.find(read(file)).labels, target)
        peaks.append(peak_mb())
    seconds = time.perf_counter() - started
    return {
        "seconds": seconds,
        "peaks_mb": peaks,
        "labels": hashlib.sha256(target.read_bytes()).hexdigest(),
        "slab": segmenter.slab,
        "engine": segmenter.engine,
    }


def require_same_labels(one: dict[str, Any], other: dict[str, Any]) -> None:
    if one["slab"] == other["slab"]:
        raise ValueError(f"both were cut into slabs of {one['slab']} slices: nothing is compared")
    if one["labels"] != other["labels"]:
        raise Disagreement(f"slabs of {one['slab']} and of {other['slab']} slices give other labels")


def scan_mb(side: int) -> float:
    """int16 voxels and two bytes of results (labels, tumour probability) of one slice, in MB of 2^20 bytes."""
    return side * side * 4 / 2**20


def table(axis: str, timed: Timed, slice_mb: float | None) -> list[dict[str, Any]]:
    """A line a size; `growth_mb` is what the peak gained from the second case to the last."""
    rows = []
    for size, seconds in timed.seconds.items():
        peaks = timed.results[size]["peaks_mb"]
        rows.append(
            {
                "axis": axis,
                "count": int(size),
                "median_s": round(statistics.median(seconds), 3),
                "peak_mb": round(max(peaks), 1),
                "scan_and_results_mb": round(int(size) * slice_mb, 1) if slice_mb else "",
                "growth_mb": round(peaks[-1] - peaks[1], 1) if len(peaks) > 1 else "",
            }
        )
    return rows


def fits(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """Straight lines through seconds and peak memory, by axis."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for axis in ("slices", "cases"):
        own = [row for row in rows if row["axis"] == axis]
        counts = [row["count"] for row in own]
        found[axis] = {what: linear_fit(counts, [row[what] for row in own]) for what in ("median_s", "peak_mb")}
    return found


def judged(rows: Sequence[dict[str, Any]], lines: dict[str, dict[str, dict[str, float]]]) -> dict[str, bool]:
    largest = max((row for row in rows if row["axis"] == "slices"), key=lambda row: row["count"])
    grown = [row["growth_mb"] for row in rows if row["growth_mb"] != ""]
    return {
        f"{largest['count']} slices under {MOST_MB} MB": largest["peak_mb"] < MOST_MB,
        f"time linear in slices (R2 at least {LEAST_R2})": lines["slices"]["median_s"]["r2"] >= LEAST_R2,
        f"no growth over cases (at most {MOST_GROWTH_MB} MB)": max(grown, default=0) <= MOST_GROWTH_MB,
    }


def drawn(rows: Sequence[dict[str, Any]]) -> Callable[[Any], None]:
    """Seconds (line) and peak memory (dashed, on the right) against slices."""

    def draw(axes: Any) -> None:
        own = [row for row in rows if row["axis"] == "slices"]
        counts = [row["count"] for row in own]
        axes.plot(counts, [row["median_s"] for row in own], "o-", color="tab:blue")
        axes.set_xlabel("slices")
        axes.set_ylabel("seconds", color="tab:blue")
        axes.set_ylim(0, 1.1 * max(row["median_s"] for row in own))
        right = axes.twinx()
        right.plot(counts, [row["peak_mb"] for row in own], "s--", color="tab:red")
        right.set_ylabel("peak memory, MB", color="tab:red")
        right.set_ylim(0, 1.1 * max(row["peak_mb"] for row in own))
        axes.set_title("hepar segment against slices")

    return draw


if __name__ == "__main__":
    main()
