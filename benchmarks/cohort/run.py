"""131 synthetic LiTS-sized cases through `hepar evaluate`: interrupted, resumed, one of them corrupt.

    python benchmarks/cohort/run.py -o studies/benchmarks/cohort

Makes label maps of LiTS's sizes (512 x 512, 42 to 1026 slices, drawn by seed)
from ellipsoids, damages one prediction, starts the command, interrupts it with
Ctrl-C after a while, starts it again, and writes what was seen to
`results.json`. Synthetic labels: their scores say nothing about any method.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import hepar
from hepar.geometry import Geometry
from hepar.io import write
from hepar.volume import LabelMap

CASES, SEED, CORRUPT = 131, 2018, 77


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--cases", type=int, default=CASES)
    parser.add_argument("--interrupt-after", type=float, default=60.0, help="Seconds of the first run.")
    order = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        slices = make_cohort(folder, order.cases)
        found = watched(folder, order.interrupt_after)
    result = {
        "what": "synthetic label maps of LiTS's sizes, hepar evaluate with all three protocols",
        "command": f"python benchmarks/cohort/run.py -o OUT --cases {order.cases} "
        f"--interrupt-after {order.interrupt_after:g}",
        "cases": order.cases,
        "seed": SEED,
        "slices": int(sum(slices)),
        "largest_case_slices": int(max(slices)),
        **found,
        "hepar": hepar.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "processors": os.cpu_count(),
    }
    order.out.mkdir(parents=True, exist_ok=True)
    (order.out / "results.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


def make_cohort(folder: Path, cases: int) -> list[int]:
    """Truth and predictions; returns the slices of each case."""
    rng = np.random.default_rng(SEED)
    # LiTS: 42 to 1026 slices, half of the scans below 450 or so.
    slices = np.clip(rng.lognormal(5.95, 0.65, cases), 42, 1026).astype(int)
    slices[0] = 1026
    for number, count in enumerate(slices.tolist()):
        spacing = (float(np.clip(450 / count, 0.7, 5.0)), 0.75, 0.75)
        grid = Geometry.from_spacing((count, 512, 512), spacing)
        truth, found = _labels(grid, rng)
        write(LabelMap(truth, grid), folder / "truth" / f"segmentation-{number}.nii.gz")
        write(LabelMap(found, grid), folder / "found" / f"segmentation-{number}.nii.gz")
        print(f"\rmade {number + 1} of {cases}", end="", file=sys.stderr)
    if cases > CORRUPT:
        damaged = folder / "found" / f"segmentation-{CORRUPT}.nii.gz"
        damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size // 2])
    return slices.tolist()


def _labels(grid: Geometry, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A liver of about 1.5 L and up to eight tumours, and a shifted, resized prediction that misses some."""
    truth, found = np.zeros(grid.shape, np.uint8), np.zeros(grid.shape, np.uint8)
    size = np.array(grid.shape) * grid.spacing_mm
    centre = size * (0.5, 0.45, 0.35) + rng.normal(0, 5, 3)
    radii = np.minimum([70, 65, 80] * rng.uniform(0.85, 1.15, 3), size * 0.33)
    _paint(truth, grid, centre, radii, 1)
    _paint(found, grid, centre + rng.normal(0, 2, 3), radii * rng.uniform(0.96, 1.04, 3), 1)
    for _ in range(int(rng.integers(0, 9))):
        at = centre + rng.uniform(-0.5, 0.5, 3) * radii
        own = rng.lognormal(2.2, 0.6) * rng.uniform(0.8, 1.2, 3)
        _paint(truth, grid, at, own, 2)
        if rng.random() < 0.7:
            _paint(found, grid, at + rng.normal(0, 2, 3), own * rng.uniform(0.8, 1.2, 3), 2)
    return truth, found


def _paint(labels: np.ndarray, grid: Geometry, centre: np.ndarray, radii: np.ndarray, label: int) -> None:
    spacing = np.array(grid.spacing_mm)
    low = np.maximum(((centre - radii) / spacing).astype(int), 0)
    high = np.minimum(((centre + radii) / spacing).astype(int) + 2, grid.shape)
    axes = [
        ((np.arange(a, b) * s - c) / r) ** 2 for a, b, s, c, r in zip(low, high, spacing, centre, radii, strict=True)
    ]
    inside = axes[0][:, None, None] + axes[1][None, :, None] + axes[2][None, None, :] <= 1
    labels[tuple(slice(a, b) for a, b in zip(low, high, strict=True))][inside] = label


def watched(folder: Path, seconds: float) -> dict[str, object]:
    command = [
        sys.executable, "-m", "hepar", "evaluate", "truth", "found", "-o", "scores",
    ]  # fmt: skip
    started = time.perf_counter()
    first = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    time.sleep(seconds)
    first.send_signal(signal.SIGINT)
    said = first.communicate(timeout=120)[1]
    stopped = time.perf_counter() - started
    kept = {path: path.stat().st_mtime_ns for path in (folder / "scores").rglob("cases/**/*.json")}
    started = time.perf_counter()
    second = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    resumed = time.perf_counter() - started
    rows = json.loads((folder / "scores" / "scores.json").read_text(encoding="utf-8"))["cases"]
    failed = [row for row in rows if row["error"]]
    return {
        "first_run_s": round(stopped, 1),
        "first_exit_code": first.returncode,
        "first_said": said.strip().splitlines()[-1:],
        "kept_after_interrupt": len(kept),
        "second_run_s": round(resumed, 1),
        "second_exit_code": second.returncode,
        "kept_cases_scored_again": sum(path.stat().st_mtime_ns != at for path, at in kept.items()),
        "scored": len(rows) - len(failed),
        "failed": [{"case": row["case"], "error": row["error"]} for row in failed],
        "seconds_per_case_median": float(np.median([row["facts"]["seconds"] for row in rows if not row["error"]])),
        "seconds_reading_median": float(
            np.median([row["facts"]["seconds_reading"] for row in rows if not row["error"]])
        ),
    }


if __name__ == "__main__":
    main()
