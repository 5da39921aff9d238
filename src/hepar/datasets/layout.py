"""What every data set of whole volumes says of its cases: where the files lie and how to read them.

    for entry in lits.entries(root):
        entry.image, entry.label        # either may be missing
        entry.read_image()              # Stored, unchecked
    cases = cases_of(lits.entries(root))    # complete ones only

A reader needs cases; a doctor also needs what is missing, and the numbers
before they are checked. Patients have one name in all data sets: LiTS volume N
is `litsNNN`, MSD's liver_N is the same scan, and 3D-IRCADb-01 patient p is
LiTS volume p + 27.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepar.cases import Case, LabelStatus
from hepar.errors import BadInput
from hepar.io import FORMATS
from hepar.io.stored import Stored
from hepar.volume import LIVER, LabelMap, Volume

Meaning = Callable[[NDArray[Any]], NDArray[Any]]
SUFFIXES = tuple(suffix for suffixes in FORMATS.values() for suffix in suffixes)
# A value that the data set does not name: refused by LabelMap, shown by the doctor.
UNKNOWN = 255


@dataclass(frozen=True)
class Entry:
    """The files of one case as they lie in a data set.

    `image` and `label` are a file or a folder, None where the set lacks it.
    `read_image` and `read_label` give the numbers as stored, unchecked;
    `meaning` takes stored label numbers to 0, 1 and 2.
    """

    id: str
    patient: str
    image: Path | None
    label: Path | None
    read_image: Callable[[], Stored]
    read_label: Callable[[], Stored]
    meaning: Meaning | None = None
    labels: LabelStatus = "full"

    def read_classes(self) -> Stored:
        """The label map with 0, 1 and 2; numbers that mean nothing stay above 2."""
        stored = self.read_label()
        if self.meaning is None:
            return stored
        return Stored(self.meaning(meant(stored)), stored.geometry, notes=stored.notes)

    def case(self) -> Case:
        return Case(self.id, self.patient, partial(_ct, self), partial(_truth, self), self.labels)


def cases_of(entries: Iterable[Entry]) -> list[Case]:
    """The cases that have both image and label."""
    return [entry.case() for entry in entries if entry.image and entry.label]


def pair(id: str, patient: str, image: Path | None, label: Path | None, meaning: Meaning | None = None) -> Entry:
    """An entry of two volume files, either of which may be missing."""
    return Entry(id, patient, image, label, partial(stored_at, image), partial(stored_at, label), meaning)


def stored_at(path: Path | None) -> Stored:
    """The numbers in a volume file, unchecked. Raises BadInput where there is none or it is damaged."""
    if path is None or not path.is_file():
        raise BadInput(f"there is no file {path.name if path else 'for it'}; complete the data set")
    for name, suffixes in FORMATS.items():
        if path.name.lower().endswith(suffixes):
            found: Stored = import_module(f"hepar.io.{name}").read_stored(path)
            return found
    raise BadInput(f"'{path.name}' is of a kind that hepar does not read; expected {', '.join(SUFFIXES)}")


def meant(stored: Stored) -> NDArray[Any]:
    """Stored numbers with the header's scale applied; the array itself where there is none."""
    if stored.unscaled:
        return stored.values
    out = np.empty(stored.values.shape, np.float32)
    for z, part in enumerate(stored.values):
        out[z] = part.astype(np.float64) * stored.slope + stored.inter
    return out


def any_is_liver(values: NDArray[Any]) -> NDArray[np.uint8]:
    """For masks of one structure (0 and 1, or 0 and 255): whatever is not 0 is liver."""
    return np.where(values != 0, LIVER, 0).astype(np.uint8)


def volumes(folders: Sequence[Path], pattern: str) -> list[Path]:
    """Volume files of these folders whose name without suffix matches `pattern` wholly, by folder and name.

    `._NAME` files, which macOS puts into archives, are not volumes.
    """
    found = []
    for folder in folders:
        files = sorted(folder.iterdir()) if folder.is_dir() else []
        found += [path for path in files if path.name.lower().endswith(SUFFIXES) and re.fullmatch(pattern, stem(path))]
    return found


def stem(path: Path) -> str:
    """The name without its volume suffix: `volume-1` of volume-1.nii.gz."""
    suffix = max((s for s in SUFFIXES if path.name.lower().endswith(s)), key=len, default="")
    return path.name[: len(path.name) - len(suffix)]


def number_of(path: Path) -> int:
    """The last number in a file's or folder's name."""
    return int(re.findall(r"\d+", stem(path))[-1])


def by_numbers(name: str) -> list[int | str]:
    """A key that sorts `image_2` before `image_10`."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def lits_patient(number: int) -> str:
    """The patient of LiTS volume or MSD liver `number`."""
    return f"lits{number:03d}"


def ircad_patient(number: int) -> str:
    """3D-IRCADb-01 patient 1 to 20, under the name that LiTS gives the scan (28 to 47)."""
    return lits_patient(number + 27)


def _ct(entry: Entry) -> Volume:
    return entry.read_image().as_volume(entry.image.name if entry.image else entry.id)


def _truth(entry: Entry) -> LabelMap:
    return entry.read_classes().as_labels(entry.label.name if entry.label else entry.id)


def with_unique_ids(entries: Sequence[Entry]) -> list[Entry]:
    """The same entries; one whose id was taken gets `_2`, `_3` behind it."""
    taken: set[str] = set()
    unique = []
    for entry in entries:
        id, again = entry.id, 2
        while id in taken:
            id, again = f"{entry.id}_{again}", again + 1
        taken.add(id)
        unique.append(replace(entry, id=id))
    return unique
