"""One case of 512 x 512 x 300 voxels through hepar's measures, medpy's and MONAI's, in the same run.

    python benchmarks/metrics/run.py -o studies/benchmarks/metrics

Synthetic labels (`synthetic_case.py`), read from two .nii.gz. Programs take
turns in one process, on as many threads as each takes by itself; memory is
that of hepar's part in a process of its own. Numbers that should agree are
compared, and the run fails where they do not. Writes results.json and
results.csv. Stop other work first: `load` in the results tells what was running.
"""

from __future__ import annotations

import argparse
import csv
import importlib.metadata
import io
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from programs import PROGRAMS, Watch, hepar_evaluation
from synthetic_case import SEED, SHAPE, SPACING_MM, TUMOURS, synthetic_case

from hepar import files
from hepar.io import write
from hepar.metrics.lesions import find_lesions

TARGETS = {"medpy": 100, "monai": 10, "memory_mb": 1000}
VERSIONS = ("hepar", "numpy", "scipy", "isal", "nibabel", "medpy", "monai", "torch")
# float32 in MONAI.
AGREEMENT = 1e-5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--out", type=Path)
    parser.add_argument("--runs", type=int, default=7, help="Runs of hepar; the median counts.")
    parser.add_argument("--peer-runs", type=int, default=2, help="Runs of medpy and MONAI, which are slow.")
    parser.add_argument("--alone", type=Path, help=argparse.SUPPRESS)
    order = parser.parse_args()
    if order.alone:
        print(json.dumps({"memory_mb": alone(order.alone)}))
        return
    if order.out is None:
        parser.error("say where results go: -o DIR")
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        case = make_case(folder)
        memory = json.loads(
            subprocess.run(
                [sys.executable, __file__, "--alone", scratch], capture_output=True, check=True, text=True
            ).stdout
        )
        runs = {name: measured(name, folder, order.runs if name == "hepar" else order.peer_runs) for name in PROGRAMS}
    after = os.getloadavg()[0]
    result = {
        "what": "Dice, ASSD and HD95 of liver and tumour, and lesions, of one synthetic case",
        "command": f"python benchmarks/metrics/run.py -o OUT --runs {order.runs} --peer-runs {order.peer_runs}",
        "case": case,
        "runs": {name: len(watches) for name, watches in runs.items()},
        "seconds": {name: medians(watches) for name, watches in runs.items()},
        **judged(runs, memory["memory_mb"]),
        "numbers": {name: watches[0].numbers for name, watches in runs.items()},
        "load": {"before": round(load, 2), "after_own_included": round(after, 2), "processors": os.cpu_count()},
        "python": platform.python_version(),
        "machine": platform.machine(),
        "versions": {name: importlib.metadata.version(name) for name in VERSIONS},
    }
    files.write_json(order.out / "results.json", result)
    files.write_text(order.out / "results.csv", table(result))
    print(
        json.dumps(
            {name: result[name] for name in ("seconds", "faster", "memory_mb", "limit", "targets_met")}, indent=1
        )
    )
    disagreements = differing(result["numbers"])
    if disagreements:
        sys.exit("numbers differ: " + "; ".join(disagreements))


def make_case(folder: Path) -> dict[str, Any]:
    truth, found = synthetic_case()
    write(truth, folder / "truth.nii.gz")
    write(found, folder / "found.nii.gz")
    return {
        "shape_zyx": SHAPE,
        "spacing_mm_zyx": SPACING_MM,
        "seed": SEED,
        "liver_ml": round(truth.volume_ml(1) + truth.volume_ml(2), 1),
        "found_liver_ml": round(found.volume_ml(1) + found.volume_ml(2), 1),
        "tumours": len(TUMOURS),
        "tumour_diameters_mm": [round(lesion.diameter_mm, 1) for lesion in find_lesions(truth)],
        "files_mb": round(sum(f.stat().st_size for f in folder.iterdir()) / 1e6, 2),
    }


def alone(folder: Path) -> float:
    """Peak memory in MB of this process after hepar's part, Python and libraries included."""
    import resource

    hepar_evaluation(folder)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measured(name: str, folder: Path, runs: int) -> list[Watch]:
    """`runs` runs, after one that only warms up; medpy, minutes a run, gains nothing from that."""
    if name != "medpy":
        PROGRAMS[name](folder)
    return [PROGRAMS[name](folder) for _ in range(runs)]


def medians(watches: list[Watch]) -> dict[str, float]:
    steps = {step: statistics.median(w.seconds[step] for w in watches) for step in watches[0].seconds}
    computing = [sum(s for step, s in w.seconds.items() if step != "read") for w in watches]
    whole = [sum(w.seconds.values()) for w in watches]
    return {**steps, "computing": statistics.median(computing), "whole": statistics.median(whole)}


def judged(runs: dict[str, list[Watch]], memory_mb: float) -> dict[str, Any]:
    seconds = {name: medians(watches) for name, watches in runs.items()}
    ours = seconds["hepar"]
    faster = {
        name: {part: round(seconds[name][part] / ours[part], 1) for part in ("computing", "whole")}
        for name in seconds
        if name != "hepar"
    }
    return {
        "faster": faster,
        "memory_mb": round(memory_mb, 1),
        "limit": f"reading the two files takes {ours['read'] / ours['whole']:.0%} of hepar's whole time",
        "targets": TARGETS,
        "targets_met": {name: faster[name]["computing"] >= TARGETS[name] for name in faster}
        | {"memory_mb": memory_mb < TARGETS["memory_mb"]},
    }


def differing(numbers: dict[str, dict[str, float]]) -> list[str]:
    """Numbers of a peer that are not hepar's. medpy pools both directions for HD95, MONAI takes the worse one."""
    ours = numbers["hepar"]
    return [
        f"{peer} {name} {value} against {ours[name]}"
        for peer in numbers
        for name, value in numbers[peer].items()
        if abs(value - ours[name]) > AGREEMENT * max(1.0, abs(ours[name]))
    ]


def table(result: dict[str, Any]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["program", "step", "median_seconds", "runs"])
    for name, steps in result["seconds"].items():
        writer.writerows([name, step, f"{seconds:.4f}", result["runs"][name]] for step, seconds in steps.items())
    return text.getvalue()


if __name__ == "__main__":
    main()
