"""Which cases a folder holds, for a doctor: the incomplete ones and what is known of their values too.

A folder that is no data set itself but holds some is a collection: its
subjects are named FOLDER/CASE.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from hepar import datasets
from hepar.cases import Case
from hepar.datasets import lits512, slices256
from hepar.datasets.layout import Entry, lits_patient, pair, stem, volumes
from hepar.datasets.slice_folder import GreyScale, cases_of_rows, read_manifest
from hepar.datasets.volume_pairs import PATIENT_OF
from hepar.errors import BadInput
from hepar.io.stored import Stored

UNSCALED = "slices without a grey scale"


@dataclass(frozen=True)
class Subject:
    """One case to examine. `layout` names the kind of its data set.

    Of slice folders: `slices` is True (gaps between slices, so no volumes or
    components), `window_hu` the range that grey values cover, None where
    nobody says, and `size_known` False where the pixel size is a guess.
    `folder` is that of the data set within a collection.
    """

    entry: Entry
    layout: str
    slices: bool = False
    window_hu: tuple[float, float] | None = None
    size_known: bool = True
    folder: str = ""

    @property
    def id(self) -> str:
        return self.entry.id

    @property
    def patient(self) -> str:
        return self.entry.patient


def subjects(root: Path) -> tuple[str, list[Subject], list[str]]:
    """The layout's name, its cases, and folders of a collection that are no data set.

    Raises BadInput when there is no data set at `root` nor in its folders.
    """
    if not root.is_dir():
        raise BadInput(f"'{root.name}' is not a folder; give the folder of a data set")
    layout = layout_of(root)
    if layout:
        return layout, _subjects_of(root, layout), []
    found: list[Subject] = []
    unknown = []
    for folder in sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")):
        layout = layout_of(folder)
        if layout is None:
            unknown.append(folder.name)
            continue
        mine = _subjects_of(folder, layout)
        found += [replace(one, entry=_in_collection(one.entry, folder.name), folder=folder.name) for one in mine]
    if not found:
        raise BadInput(
            f"'{root.name}' is no data set hepar knows, nor are its folders; it knows {', '.join(layout_names())}"
        )
    return "collection", found, unknown


def _in_collection(entry: Entry, folder: str) -> Entry:
    # Cases of slices have their folder's name in front already.
    return entry if entry.id.startswith(f"{folder}-") else replace(entry, id=f"{folder}/{entry.id}")


def layout_names() -> list[str]:
    """Names of the data sets that can be recognised."""
    return [name for name, _ in _layouts()]


def layout_of(root: Path) -> str | None:
    """The name of the data set that recognises `root`, if any."""
    for name, module in _layouts():
        if module.recognises(root):
            return name
    unscaled = (root / "manifest.csv").is_file() and (root / "images").is_dir() and (root / "labels").is_dir()
    if unscaled:
        return UNSCALED
    # `volume_pairs` wants a whole pair; a folder of lone images or labels is one to examine all the same.
    return "volume_pairs" if volumes([root], r".+_(ct|label)") else None


def _layouts() -> Iterator[tuple[str, Any]]:
    for name in datasets.names():
        module = import_module(f"hepar.datasets.{name}")
        if hasattr(module, "recognises"):
            yield name, module


def _subjects_of(root: Path, layout: str) -> list[Subject]:
    if layout == "volume_pairs":
        return [Subject(entry, layout) for entry in _named_pairs(root)]
    if layout == UNSCALED:
        return [
            _slices(case, layout, None, size_known=False)
            for case in cases_of_rows(read_manifest(root), GreyScale(0, 255), {}, root.name)
        ]
    module = import_module(f"hepar.datasets.{layout}")
    if hasattr(module, "entries"):
        return [Subject(entry, layout) for entry in module.entries(root)]
    window, guessed = _scale(root, layout)
    return [_slices(case, layout, window, size_known=not guessed(case.patient)) for case in module.cases(root)]


def _named_pairs(root: Path) -> list[Entry]:
    """NAME_ct with NAME_label, either of which may be missing."""
    images = {stem(path).removesuffix("_ct"): path for path in volumes([root], r".+_ct")}
    labels = {stem(path).removesuffix("_label"): path for path in volumes([root], r".+_label")}
    names = sorted({*images, *labels})
    return [pair(name, PATIENT_OF.get(name, name), images.get(name), labels.get(name)) for name in names]


def _slices(case: Case, layout: str, window_hu: tuple[float, float] | None, *, size_known: bool) -> Subject:
    here = Path(case.id)
    entry = Entry(case.id, case.patient, here, here, partial(_image, case), partial(_label, case), labels=case.labels)
    return Subject(entry, layout, True, window_hu, size_known)


def _image(case: Case) -> Stored:
    ct = case.ct
    return Stored(ct.values, ct.geometry, notes=ct.notes)


def _label(case: Case) -> Stored:
    truth = case.truth
    return Stored(truth.labels, truth.geometry)


def _scale(root: Path, layout: str) -> tuple[tuple[float, float], Callable[[str], bool]]:
    """What grey values cover in HU, and for which patients the pixel size is a guess."""
    if layout == "lits512":
        return lits512.WINDOW_HU, _patients_of_unit_spacing(root).__contains__
    if layout == "slices256":
        return (slices256.GREY.low_hu, slices256.GREY.high_hu), lambda _: True
    facts = json.loads((root / "slices.json").read_text(encoding="utf-8"))
    return (float(facts["low_hu"]), float(facts["high_hu"])), lambda _: False


def _patients_of_unit_spacing(root: Path) -> set[str]:
    """Patients whose line in scans.csv says 1 x 1 x 1 mm: what an identity affine leaves behind."""
    with (root / "scans.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {row["patient"] for row in rows if all(float(row[f"{axis}_mm"]) == 1 for axis in "xyz")}


def canonical(name: str) -> str:
    """A patient's one name, however a list of patients or cases calls it."""
    stripped = name.removesuffix("_0000")
    if known := re.fullmatch(r"(?:volume|segmentation|liver|lits)[-_]?(\d+)", stripped, re.IGNORECASE):
        return lits_patient(int(known[1]))
    if known := re.fullmatch(r"(?:3D-?)?ircadb?(?:-?0?1\.)?[-_]?(\d+)", stripped, re.IGNORECASE):
        return PATIENT_OF.get(f"ircad{int(known[1]):02d}", name)
    return name
