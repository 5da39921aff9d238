"""SLIVER07 training set: liver-orig001.mhd with liver-seg001.mhd (https://sliver07.grand-challenge.org).

Its segmentations are of the liver with everything in it, so labels are `liver_union`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hepar.cases import Case
from hepar.datasets.layout import Entry, any_is_liver, cases_of, number_of, pair, volumes

IMAGE, LABEL = r"liver-orig\d+", r"liver-seg\d+"


def recognises(root: Path) -> bool:
    return bool(volumes(_folders(root), IMAGE))


def cases(root: Path) -> list[Case]:
    """A case per scan with a segmentation; union labels."""
    return cases_of(entries(root))


def entries(root: Path) -> list[Entry]:
    images = {number_of(path): path for path in volumes(_folders(root), IMAGE)}
    labels = {number_of(path): path for path in volumes(_folders(root), LABEL)}
    names = {number: f"sliver{number:03d}" for number in sorted({*images, *labels})}
    return [
        replace(pair(name, name, images.get(n), labels.get(n), any_is_liver), labels="liver_union")
        for n, name in names.items()
    ]


def _folders(root: Path) -> list[Path]:
    return [root, *sorted(path for path in root.iterdir() if path.is_dir())]
