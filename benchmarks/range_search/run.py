"""Does the range that the first pass leaves to the second lose any liver? Every scan with a reference is asked.

    python benchmarks/range_search/run.py DATA... -o studies/range_search

DATA is a data set as any other of hepar's. The shipped model saw some of these patients in training: what is asked
here is whether its search is wide enough, not how well it segments.
"""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path
from typing import Any

import numpy as np

import hepar
from hepar.cases import Case
from hepar.datasets import open_cases
from hepar.inference import EngineOptions, load_segmenter
from hepar.inference.two_pass import LEFT_TIP_MM, SEARCH_MM, TwoPassSegmenter


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("-o", "--out", type=Path, required=True)
    order = parser.parse_args()
    segmenter = load_segmenter(options=EngineOptions(precision="fp32"))
    assert isinstance(segmenter, TwoPassSegmenter)
    rows = []
    for case in (case for folder in order.data for case in open_cases(folder)):
        rows.append(asked(segmenter, case))
        print(rows[-1], flush=True)
    result = {
        "what": "true liver outside the box that the shipped model's first pass leaves to its second",
        "command": f"python benchmarks/range_search/run.py {' '.join(f.name for f in order.data)} -o OUT",
        "model": segmenter.name,
        "search_mm": SEARCH_MM,
        "margin_mm": segmenter.margin_mm,
        "more_to_the_left_mm": LEFT_TIP_MM,
        "scans": len(rows),
        "liver_voxels": sum(row["liver_voxels"] for row in rows),
        "outside": sum(row["outside"] for row in rows),
        "median_share_of_scan": round(float(np.median([row["share_of_scan"] for row in rows])), 3),
        "hepar": hepar.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "cases": rows,
    }
    order.out.mkdir(parents=True, exist_ok=True)
    (order.out / "results.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"{result['outside']} of {result['liver_voxels']} true liver voxels outside, {result['scans']} scans")


def asked(segmenter: TwoPassSegmenter, case: Case) -> dict[str, Any]:
    """Liver voxels inside and outside the box, the box's share of the scan, and the least gap to a side of the box."""
    axial, liver = case.ct.axial(), case.truth.axial().liver
    box = segmenter.searched(axial)
    row: dict[str, Any] = {"case": case.id, "liver_voxels": int(liver.sum())}
    if box is None:
        return row | {"outside": row["liver_voxels"], "share_of_scan": 0.0, "least_gap_mm": None}
    gaps = []
    for axis, (side, mm) in enumerate(zip(box, axial.geometry.spacing_mm, strict=True)):
        at = np.flatnonzero(liver.any(axis=tuple(other for other in range(3) if other != axis)))
        # Where the box ends with the scan there is nothing to lose.
        gaps += [(at[0] - side.start) * mm] if side.start > 0 and at.size else []
        gaps += [(side.stop - 1 - at[-1]) * mm] if side.stop < liver.shape[axis] and at.size else []
    return row | {
        "outside": row["liver_voxels"] - int(liver[box].sum()),
        "share_of_scan": round(float(np.prod([side.stop - side.start for side in box])) / liver.size, 3),
        "least_gap_mm": round(float(min(gaps)), 1) if gaps else None,
    }


if __name__ == "__main__":
    main()
