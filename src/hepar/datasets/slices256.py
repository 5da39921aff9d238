"""LiTS / MSD Task03 slices of 256x256 windowed to 0..255 HU, many of them with union labels.

Recognised by the column `label_status` and image names that end in `_zNNN.png`.
Their pixel size is not recorded: 1.56 mm is twice the median of LiTS.
"""

from __future__ import annotations

import csv
from pathlib import Path

from hepar.cases import Case
from hepar.datasets.slice_folder import GreyScale, cases_of_rows, read_manifest

GREY = GreyScale(low_hu=0.0, high_hu=255.0, pixel_mm=1.56, slice_mm=2.0)


def recognises(root: Path) -> bool:
    manifest = root / "manifest.csv"
    if not manifest.is_file():
        return False
    with manifest.open(newline="", encoding="utf-8") as file:
        first = next(csv.DictReader(file), {})
    return "label_status" in first and first["file"].startswith("idx")


def cases(root: Path) -> list[Case]:
    """A case per patient and label status."""
    return cases_of_rows(read_manifest(root), GREY, {}, "slices256")
