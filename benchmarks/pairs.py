"""What all benchmarks share: programs that take turns in one run, medians, ratios, a straight line, memory, files.

A program is a function without arguments. Every round runs each of them once,
and each round begins with another one, so that a machine that slows down slows
all of them down. A ratio is the median over rounds of peer / hepar in the same
round: what disturbs one round disturbs one of the ratios.
"""

from __future__ import annotations

import argparse
import csv
import importlib.metadata
import io
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from hepar import files

Work = Callable[[], Any]
Row = Mapping[str, Any]
LIBRARIES = (
    "hepar", "numpy", "scipy", "openvino", "onnxruntime", "torch", "nibabel", "simpleitk", "isal", "scikit-image",
    "opencv-python-headless", "monai",
)  # fmt: skip


class Disagreement(Exception):
    """A peer gives another result: a ratio of their times would compare different work."""


@dataclass(frozen=True)
class Clocked:
    """What a program gives when it clocks itself: a process that first has to start, say."""

    result: Any
    seconds: float


@dataclass(frozen=True)
class Timed:
    """Seconds of each program by round, and what it gave in the last round."""

    seconds: dict[str, list[float]]
    results: dict[str, Any]

    def median(self, name: str) -> float:
        return statistics.median(self.seconds[name])

    def times_faster(self, ours: str, peer: str) -> dict[str, float]:
        """How many times longer the peer takes: median, least and most over rounds."""
        ratios = [there / here for here, there in zip(self.seconds[ours], self.seconds[peer], strict=True)]
        return {"median": statistics.median(ratios), "least": min(ratios), "most": max(ratios)}

    def rows(self, ours: str) -> list[dict[str, Any]]:
        """A line a program: its median, its rounds, and how much longer it takes than `ours`."""
        return [
            {
                "program": name,
                "median_s": round(self.median(name), 5),
                "rounds": len(self.seconds[name]),
                "times_as_long": round(self.times_faster(ours, name)["median"], 2),
            }
            for name in self.seconds
        ]

    def as_json(self, ours: str) -> dict[str, Any]:
        ratios = {name: self.times_faster(ours, name) for name in self.seconds if name != ours}
        return {"seconds": self.seconds, "median_s": {n: self.median(n) for n in self.seconds}, "times_as_long": ratios}


def in_turns(
    programs: Mapping[str, Work], rounds: int, units: Mapping[str, float] | None = None, warm: bool = True
) -> Timed:
    """Run every program `rounds` times, after one time that does not count if `warm`.

    `units` says how many slices a program's one run is, where they differ: seconds are then those of one.
    """
    names = list(programs)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    results: dict[str, Any] = {}
    for number in range(-1 if warm else 0, rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            given, spent = _clocked(programs[name])
            results[name] = given
            if number >= 0:
                seconds[name].append(spent / (units or {}).get(name, 1.0))
    return Timed(seconds, results)


def _clocked(work: Work) -> tuple[Any, float]:
    started = time.perf_counter()
    given = work()
    spent = time.perf_counter() - started
    return (given.result, given.seconds) if isinstance(given, Clocked) else (given, spent)


def linear_fit(x: Sequence[float], y: Sequence[float]) -> dict[str, float]:
    """Least squares y = slope x + offset; `r2` is 1 on a line, `worst` the largest |residual| / y."""
    if len(set(x)) < 2:
        raise ValueError(f"a line needs two different places, got {sorted(set(x))}")
    slope, offset = np.polyfit(x, y, 1)
    found, measured = slope * np.asarray(x) + offset, np.asarray(y, dtype=float)
    left, spread = float(((measured - found) ** 2).sum()), float(((measured - measured.mean()) ** 2).sum())
    return {
        "slope": float(slope),
        "offset": float(offset),
        "r2": 1 - left / spread if spread else 1.0,
        "worst": float((np.abs(measured - found) / np.abs(measured)).max()),
    }


def require_equal(ours: Any, theirs: Any, what: str) -> None:
    """Raises Disagreement unless both arrays hold the same numbers in the same places."""
    here, there = np.asarray(ours), np.asarray(theirs)
    if here.shape != there.shape:
        raise Disagreement(f"{what}: shape {there.shape} against hepar's {here.shape}")
    differ = np.count_nonzero(here != there)
    if differ:
        raise Disagreement(f"{what}: {differ} of {here.size} values differ from hepar's")


def require_overlap(ours: Any, theirs: Any, what: str, least: float) -> float:
    """Dice of two masks, 1 for two empty ones; raises Disagreement below `least`."""
    here, there = np.asarray(ours, bool), np.asarray(theirs, bool)
    both = int(here.sum()) + int(there.sum())
    dice = 2 * int((here & there).sum()) / both if both else 1.0
    if dice < least:
        raise Disagreement(f"{what}: Dice {dice:.4f} with hepar's, expected at least {least}")
    return dice


def peak_mb(status: Path = Path("/proc/self/status")) -> float:
    """Peak memory of this process in MB of 2^20 bytes.

    Not getrusage's on Linux: a process started from a large one begins there with that one's peak.
    """
    try:
        rows = dict(line.split(":", 1) for line in status.read_text(encoding="ascii").splitlines() if ":" in line)
        return float(rows["VmHWM"].split()[0]) / 1024
    except (OSError, KeyError):
        import resource

        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return used / 2**20 if sys.platform == "darwin" else used / 1024


def in_own_process(script: Path, *words: object, python: str | Path = sys.executable) -> dict[str, Any]:
    """What a script prints as the last line, JSON, in a process of its own. Raises RuntimeError with its last words."""
    command = [str(python), str(script), *map(str, words)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise RuntimeError(f"{script.name} ended with {ended.returncode}: {ended.stderr.strip()[-500:]}")
    facts: dict[str, Any] = json.loads(ended.stdout.strip().splitlines()[-1])
    return facts


def arguments(about: str, rounds: int) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("-o", "--out", type=Path, required=True, help="Folder of results.json, table.csv, plot.png.")
    parser.add_argument("--rounds", type=int, default=rounds, help="Every program runs so many times; medians count.")
    parser.add_argument("--quick", action="store_true", help="A small size, to see that it runs: no figure to quote.")
    return parser


def surroundings(order: argparse.Namespace) -> dict[str, Any]:
    """What stands in every results.json: the command, the machine, who else was working, versions."""
    return {
        "command": _command(sys.argv),
        "quick": order.quick,
        "load": round(os.getloadavg()[0], 2),
        "processors": os.cpu_count(),
        "processor": _processor(),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in LIBRARIES},
    }


def publish(
    out: Path, result: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], draw: Callable[[Any], None]
) -> None:
    """results.json, table.csv and plot.png; `draw` gets empty axes. The table is printed too."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    files.write_json(out / "results.json", dict(result) | {"table": list(rows)})
    table = io.StringIO()
    writer = csv.DictWriter(table, list(rows[0]), lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(rows)
    files.write_text(out / "table.csv", table.getvalue())
    figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    draw(axes)
    with files.replace_whole(out / "plot.png") as temporary:
        figure.savefig(temporary, dpi=110)
    plt.close(figure)
    print(table.getvalue(), end="")
    if result.get("quick"):
        print("a quick run: it shows that the benchmark works, not how fast anything is")


def bars(rows: Sequence[Row], name: str, value: str, title: str) -> Callable[[Any], None]:
    """Horizontal bars, the first row on top; rows without a value are left out."""

    def draw(axes: Any) -> None:
        shown = [row for row in rows if isinstance(row.get(value), int | float)][::-1]
        drawn = axes.barh([str(row[name]) for row in shown], [row[value] for row in shown])
        axes.bar_label(drawn, fmt="%.3g", padding=3)
        axes.margins(x=0.15)
        axes.set_xlabel(value)
        axes.set_title(title)

    return draw


def _command(words: Sequence[str]) -> str:
    """As typed, without the places of this machine."""
    shown = ["OUT" if before in ("-o", "--out") else Path(word).name for before, word in pairwise(words)]
    return shlex.join(["python", f"benchmarks/{Path(words[0]).name}", *shown])


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    try:
        rows = (line.split(":", 1) for line in cpuinfo.read_text(encoding="utf-8").splitlines() if ":" in line)
        return next(value.strip() for name, value in rows if name.strip() == "model name")
    except (OSError, StopIteration):
        return platform.machine()
