"""Run fuzz targets for some minutes each, and say what was found: `python fuzz/run.py nifti --minutes 30`."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "src")]

import seeds  # noqa: E402

SECONDS, MEGABYTES, LONGEST = 10, 1024, 20_000
SEEDS = {
    "nifti": lambda: seeds.nifti(".nii"),
    "nifti_gz": lambda: seeds.nifti(".nii.gz"),
    "metaimage": lambda: seeds.itk(".mha"),
    "metaimage_header": lambda: [seeds.itk(".mha")[0][:400]],
    "nrrd": lambda: seeds.itk(".nrrd"),
    "dicom": lambda: seeds.dicom()[:1],
    "dicom_zip": seeds.dicom_zip,
    "folds": seeds.folds,
    "model": seeds.model,
    "node_settings": seeds.node_settings,
}


def fuzz(name: str, minutes: float, work: Path) -> dict[str, Any]:
    """One target; goes on from the corpus that an earlier run left in `work`."""
    corpus, crashes = work / name / "corpus", work / name / "crashes"
    for folder in (corpus, crashes):
        folder.mkdir(parents=True, exist_ok=True)
    for k, data in enumerate(SEEDS[name]()):
        (corpus / f"seed{k}").write_bytes(data)
    options = [f"-max_total_time={round(60 * minutes)}", f"-timeout={SECONDS}", f"-rss_limit_mb={MEGABYTES}"]
    options += [f"-max_len={LONGEST}", f"-artifact_prefix={crashes}/", "-print_final_stats=1"]
    started = time.monotonic()
    command = [sys.executable, str(HERE / "target.py"), name, str(corpus), *options]
    ended = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    runs = re.findall(r"stat::number_of_executed_units:\s+(\d+)", ended.stderr)
    found = sorted(path.name for path in crashes.iterdir())
    error = "" if ended.returncode == 0 else ended.stderr[-3000:]
    return {
        "target": name,
        "minutes": round((time.monotonic() - started) / 60, 1),
        "inputs": int(runs[-1]) if runs else None,
        "crashes": found,
        "error": error,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=[*SEEDS, "all"])
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--work", type=Path, default=Path("fuzz-work"))
    parser.add_argument("-o", "--out", type=Path)
    order = parser.parse_args()
    rows = []
    for name in SEEDS if order.target == "all" else [order.target]:
        row = fuzz(name, order.minutes, order.work)
        rows.append(row)
        state = "clean" if not row["error"] else f"{len(row['crashes'])} kept"
        print(f"{name:18} {row['minutes']:5.1f} min  {row['inputs'] or 0:>9} inputs  {state}", flush=True)
        if row["error"]:
            print(row["error"])
        if order.out:
            facts = {"seconds_limit": SECONDS, "memory_limit_mb": MEGABYTES, "python": sys.version.split()[0]}
            order.out.write_text(json.dumps({**facts, "targets": rows}, indent=1) + "\n", encoding="utf-8")
    sys.exit(any(row["error"] for row in rows))


if __name__ == "__main__":
    main()
