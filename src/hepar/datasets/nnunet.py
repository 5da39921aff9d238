"""A raw data set of nnU-Net: imagesTr/ID_0000.nii.gz with labelsTr/ID.nii.gz and the labels' names in dataset.json.

Names are taken to 0, 1, 2: what is called liver, what is called tumour, lesion
or cancer; other structures are background. Both forms of dataset.json are
read: {"1": "liver"} (version 1) and {"liver": 1} or {"liver": [1, 2]}
(version 2, regions). A set without a tumour label has union labels.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepar.cases import Case
from hepar.datasets.layout import UNKNOWN, Entry, cases_of, lits_patient, pair, stem, volumes
from hepar.datasets.volume_pairs import PATIENT_OF
from hepar.errors import BadInput
from hepar.volume import LIVER, TUMOUR

CHANNEL = "_0000"
TUMOUR_WORDS = r"tumou?r|lesion|cancer|metasta|hcc"


@dataclass(frozen=True)
class ByNumber:
    """Stored label numbers to 0, 1, 2; numbers that dataset.json does not name become UNKNOWN."""

    classes: tuple[tuple[int, int], ...]

    def __call__(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        found = np.full(values.shape, UNKNOWN, np.uint8)
        for number, meaning in self.classes:
            found[values == number] = meaning
        return found


def recognises(root: Path) -> bool:
    return (root / "dataset.json").is_file() and bool(volumes([root / "imagesTr"], rf".+{CHANNEL}"))


def cases(root: Path) -> list[Case]:
    """A case per labelled image, of its first channel. Raises BadInput when dataset.json names no liver."""
    return cases_of(entries(root))


def entries(root: Path) -> list[Entry]:
    meaning = _meaning(root)
    images = {stem(path)[: -len(CHANNEL)]: path for path in volumes([root / "imagesTr"], rf".+{CHANNEL}")}
    labels = {stem(path): path for path in volumes([root / "labelsTr"], r"[^.].*")}
    full = any(found == TUMOUR for _, found in meaning.classes)
    return [
        replace(
            pair(id, _patient(id), images.get(id), labels.get(id), meaning), labels="full" if full else "liver_union"
        )
        for id in sorted({*images, *labels})
    ]


def _patient(id: str) -> str:
    """The id; liver_N is how conversions of MSD Task03, which is LiTS, are called, and ircadNN those of 3D-IRCADb."""
    if known := re.fullmatch(r"liver_(\d+)", id):
        return lits_patient(int(known[1]))
    return PATIENT_OF.get(id, id)


def _meaning(root: Path) -> ByNumber:
    try:
        named = _named(json.loads((root / "dataset.json").read_text(encoding="utf-8"))["labels"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput("dataset.json lacks or garbles 'labels'; expected names and numbers as nnU-Net does") from error
    classes = dict.fromkeys((number for numbers in named.values() for number in numbers), 0)
    for number in (n for name, numbers in named.items() if "liver" in name for n in numbers):
        classes[number] = LIVER
    for number in (n for name, numbers in named.items() if re.search(TUMOUR_WORDS, name) for n in numbers):
        classes[number] = TUMOUR
    # A region "liver: [1, 2]" holds the tumour's number as well; the tumour wins.
    if LIVER not in classes.values():
        raise BadInput(f"dataset.json names {', '.join(named)}; expected a label called liver. Name it so")
    return ByNumber(tuple(classes.items()))


def _named(labels: Mapping[str, Any]) -> dict[str, list[int]]:
    """Lower-case name to its numbers."""
    if all(key.isdigit() for key in labels):
        return {str(name).lower(): [int(number)] for number, name in labels.items()}
    return {
        name.lower(): [int(n) for n in numbers] if isinstance(numbers, list) else [int(numbers)]
        for name, numbers in labels.items()
        if name.lower() != "ignore"
    }
