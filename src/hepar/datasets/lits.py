"""LiTS as its archives unpack: volume-N.nii with segmentation-N.nii, at the root or in `Training Batch 1/2`.

Volume N is patient `litsNNN`. Known defects of the release are the doctor's
business (`hepar.doctor`); cases are handed over as they are. A folder that
`hepar synthesise` wrote holds synthetic cases, whose ids say so.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from hepar.cases import Case
from hepar.datasets.layout import Entry, cases_of, lits_patient, number_of, pair, stem, volumes, with_unique_ids
from hepar.datasets.synthetic.written import MARK

# How the challenge's archives and their copies name folders; others may be data sets of their own.
FOLDER = r"(train|batch|vol|seg|imag|label|mask|ct).*"
ARCHIVE = "media/nas/01_Datasets/CT/LITS"
IMAGE, LABEL = r"volume-\d+", r"segmentation-\d+"


def recognises(root: Path) -> bool:
    return bool(volumes(_folders(root), IMAGE))


def cases(root: Path) -> list[Case]:
    """A case per volume that has a segmentation."""
    found = cases_of(entries(root))
    if not (root / MARK).is_file():
        return found
    return [replace(case, id=f"{case.patient}_synthetic_{root.name}", evidence="synthetic") for case in found]


def entries(root: Path) -> list[Entry]:
    """A volume and its segmentation, wherever both lie; one in the same folder comes first."""
    images, labels = volumes(_folders(root), IMAGE), volumes(_folders(root), LABEL)
    found = []
    for image in images:
        mine = [label for label in labels if number_of(label) == number_of(image)]
        label = min(mine, key=lambda one: one.parent != image.parent, default=None)
        if label:
            labels.remove(label)
        found.append(pair(stem(image), lits_patient(number_of(image)), image, label))
    found += [pair(f"volume-{number_of(one)}", lits_patient(number_of(one)), None, one) for one in labels]
    return with_unique_ids(sorted(found, key=lambda entry: entry.patient))


def _folders(root: Path) -> list[Path]:
    """The root, and folders in it and in the archives' own tree that are called as parts of LiTS are."""
    homes = [home for home in (root, root / ARCHIVE, *sorted(root.glob(f"*/{ARCHIVE}"))) if home.is_dir()]
    inner = [
        path for home in homes for path in sorted(home.iterdir()) if re.fullmatch(FOLDER, path.name, re.IGNORECASE)
    ]
    return [*homes, *(path for path in inner if path.is_dir())]
