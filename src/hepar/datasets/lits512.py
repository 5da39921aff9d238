"""LiTS slices at full resolution, windowed to -40..160 HU: a manifest with `scans.csv` beside it.

Every second slice of a scan, so the slice spacing is twice the scan's.
"""

from __future__ import annotations

import csv
from pathlib import Path

from hepar.cases import Case
from hepar.datasets.slice_folder import GreyScale, cases_of_rows, read_manifest

WINDOW_HU = (-40.0, 160.0)
# The header of this scan says 1 mm on every axis; 0.75 mm is the median of its fellows.
UNKNOWN_SPACING = {"lits047"}


def recognises(root: Path) -> bool:
    return (root / "scans.csv").is_file() and (root / "manifest.csv").is_file()


def cases(root: Path) -> list[Case]:
    """One case a scan."""
    spacing = {}
    with (root / "scans.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["patient"] not in UNKNOWN_SPACING:
                spacing[row["patient"]] = (2 * float(row["z_mm"]), float(row["x_mm"]))
    return cases_of_rows(read_manifest(root, ".webp"), GreyScale(*WINDOW_HU), spacing, "lits512")
