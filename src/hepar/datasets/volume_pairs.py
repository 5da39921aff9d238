"""A folder of whole volumes in pairs: NAME_ct.nii.gz with NAME_label.nii.gz (any format hepar reads).

Cases without a label file are left out. The patient is NAME.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from hepar.cases import Case
from hepar.io import read, read_labels


def recognises(root: Path) -> bool:
    return bool(_pairs(root))


def cases(root: Path) -> list[Case]:
    """One case a pair."""
    return [
        Case(
            id=name,
            patient=PATIENT_OF.get(name, name),
            read_ct=partial(read, ct),
            read_truth=partial(read_labels, label),
        )
        for name, ct, label in _pairs(root)
    ]


# 3D-IRCADb-01 patient p is LiTS volume p + 27: one patient under two names.
PATIENT_OF = {f"ircad{p:02d}": f"lits{p + 27:03d}" for p in range(1, 21)}


def _pairs(root: Path) -> list[tuple[str, Path, Path]]:
    found = []
    for ct in sorted(root.glob("*_ct.*")):
        name = ct.name.split("_ct.")[0]
        label = root / ct.name.replace("_ct.", "_label.", 1)
        if label.is_file():
            found.append((name, ct, label))
    return found
