"""Medical Segmentation Decathlon Task03: imagesTr/liver_N.nii.gz with labelsTr/liver_N.nii.gz.

The same 131 scans as LiTS under the same numbers: liver_N is patient `litsNNN`.
"""

from __future__ import annotations

from pathlib import Path

from hepar.cases import Case
from hepar.datasets.layout import Entry, cases_of, lits_patient, number_of, pair, stem, volumes

# nnU-Net's copies have a channel behind the number (liver_0_0000) and do not match.
NAME = r"liver_\d+"


def recognises(root: Path) -> bool:
    return bool(volumes([root / "imagesTr"], NAME))


def cases(root: Path) -> list[Case]:
    """A case per labelled training image."""
    return cases_of(entries(root))


def entries(root: Path) -> list[Entry]:
    images = {number_of(path): path for path in volumes([root / "imagesTr"], NAME)}
    labels = {number_of(path): path for path in volumes([root / "labelsTr"], NAME)}
    return [
        pair(stem(images.get(n) or labels[n]), lits_patient(n), images.get(n), labels.get(n))
        for n in sorted({*images, *labels})
    ]
