"""A folder of axial slices as pictures: manifest.csv, images/ and labels/.

`manifest.csv` has a row a slice: `file`, `patient`, and if known `slice` (its
index in the scan, growing toward the head), `label_status` (full or
liver_union). `slices.json` says what a grey value means:
{"name": ..., "low_hu": of grey 0, "high_hu": of grey 255, "pixel_mm": ...,
"slice_mm": ...}. Pictures stand as a radiologist sees them: patient right on
image left, spine below. Label pictures hold 0 background, 1 liver, 2 tumour.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast, get_args

import numpy as np
from numpy.typing import NDArray

from hepar.cases import Case, LabelStatus
from hepar.errors import BadInput
from hepar.geometry import Geometry
from hepar.volume import TUMOUR, LabelMap, Volume


@dataclass(frozen=True)
class SliceRow:
    """One slice: names of its pictures, whose it is, where in the scan (None: unknown)."""

    image: Path
    label: Path
    patient: str
    index: int | None
    status: LabelStatus


@dataclass(frozen=True)
class GreyScale:
    """What 8-bit grey means in HU, and the size of a pixel where the set does not say."""

    low_hu: float
    high_hu: float
    pixel_mm: float = 0.75
    slice_mm: float = 2.0


def recognises(root: Path) -> bool:
    return (root / "slices.json").is_file() and (root / "manifest.csv").is_file()


def cases(root: Path) -> list[Case]:
    """A case per patient and label status, from `slices.json` and `manifest.csv`."""
    try:
        facts = json.loads((root / "slices.json").read_text(encoding="utf-8"))
        scale = GreyScale(facts["low_hu"], facts["high_hu"], facts["pixel_mm"], facts["slice_mm"])
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"slices.json of {root.name} lacks or garbles {error}; see the format in the docs") from error
    return cases_of_rows(read_manifest(root), scale, {}, root.name)


def read_manifest(root: Path, suffix: str = "") -> list[SliceRow]:
    """Rows of `manifest.csv`; `suffix` completes image names that lack one."""
    rows = []
    with (root / "manifest.csv").open(newline="", encoding="utf-8") as file:
        for number, row in enumerate(csv.DictReader(file)):
            try:
                rows.append(_row(root, row, suffix))
            except (KeyError, ValueError) as error:
                raise BadInput(
                    f"line {number + 2} of manifest.csv of {root.name} lacks or garbles {error}; expected file, "
                    "patient, and if known slice (a number) and label_status (full or liver_union)"
                ) from error
    if not rows:
        raise BadInput(f"manifest.csv of {root.name} lists no slice")
    return rows


def _row(root: Path, row: dict[str, str], suffix: str) -> SliceRow:
    name = row["file"] + suffix
    status = row.get("label_status") or "full"
    # Anything unknown must not pass for full: union labels would then teach tumour as liver.
    if status not in get_args(LabelStatus):
        raise ValueError(f"label_status {status!r}")
    index = int(row["slice"]) if row.get("slice") else None
    label = root / "labels" / (Path(name).stem + ".png")
    return SliceRow(root / "images" / name, label, row["patient"], index, cast(LabelStatus, status))


def cases_of_rows(
    rows: Sequence[SliceRow], scale: GreyScale, spacing_mm: dict[str, tuple[float, float]], name: str
) -> list[Case]:
    """Group rows into cases; `spacing_mm` gives (slice, pixel) spacing of patients where it is known.

    Case ids begin with `name`: a patient may appear in several data sets.
    """
    groups: dict[tuple[str, LabelStatus], list[SliceRow]] = {}
    # Stable: slices whose place is unknown keep the manifest's order.
    for row in sorted(rows, key=lambda r: (r.patient, r.index or 0)):
        groups.setdefault((row.patient, row.status), []).append(row)
    found = []
    for (patient, status), mine in groups.items():
        spacing = spacing_mm.get(patient, (scale.slice_mm, scale.pixel_mm))
        found.append(
            Case(
                id=f"{name}-{patient}" if status == "full" else f"{name}-{patient}-{status}",
                patient=patient,
                read_ct=partial(_stack_ct, mine, scale, spacing),
                read_truth=partial(_stack_truth, mine, spacing),
                labels=status,
                heights_mm=_heights([row.index for row in mine], spacing[0]),
            )
        )
    return found


def _heights(places: list[int | None], stack_mm: float) -> tuple[float, ...]:
    """Where slices lie, the usual gap between their indices being the stack's spacing; NaN where any is unknown."""
    known = np.array([math.nan if place is None else place for place in places])
    if len(known) < 2 or np.isnan(known).any():
        return (math.nan,) * len(places)
    usual = float(np.median(np.diff(known))) or 1.0
    return tuple(((known - known[0]) * (stack_mm / usual)).tolist())


def _stack_ct(rows: Sequence[SliceRow], scale: GreyScale, spacing: tuple[float, float]) -> Volume:
    grey = _pictures([row.image for row in rows]).astype(np.float32)
    hu = scale.low_hu + grey * np.float32((scale.high_hu - scale.low_hu) / 255)
    note = "8-bit slices: values outside their window are lost, and gaps between slices are not shown"
    return Volume(np.rint(hu).astype(np.int16), _grid(grey.shape, spacing), notes=(note,))


def _stack_truth(rows: Sequence[SliceRow], spacing: tuple[float, float]) -> LabelMap:
    labels = _pictures([row.label for row in rows])
    if labels.max() > TUMOUR:
        raise BadInput(f"labels of patient slices hold {labels.max()}; expected 0, 1 and 2")
    return LabelMap(labels, _grid(labels.shape, spacing))


def _grid(shape: tuple[int, ...], spacing: tuple[float, float]) -> Geometry:
    return Geometry.from_spacing(shape, (spacing[0], spacing[1], spacing[1]))  # type: ignore[arg-type]


def _pictures(paths: Sequence[Path]) -> NDArray[np.uint8]:
    """One scan's pictures as (z, y, x)."""
    pictures = [_picture(path) for path in paths]
    for path, picture in zip(paths, pictures, strict=True):
        if picture.shape != pictures[0].shape:
            raise BadInput(
                f"{path.name} has {picture.shape[0]} x {picture.shape[1]} pixels, other slices of its patient "
                f"{pictures[0].shape[0]} x {pictures[0].shape[1]}; bring them to one size"
            )
    return np.stack(pictures)


def _picture(path: Path) -> NDArray[np.uint8]:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("L"))
    except (OSError, UnidentifiedImageError) as error:
        raise BadInput(
            f"{path.name} is not a readable picture ({type(error).__name__}); remove it or its row"
        ) from error
