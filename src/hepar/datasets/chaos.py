"""CHAOS, its CT part: CT/N/DICOM_anon with CT/N/Ground/liver_GT_NNN.png (https://chaos.grand-challenge.org).

Livers of healthy donors without tumours, whole: labels are `liver_union`. The
masks carry no place. They are numbered in the order of the DICOM files' names,
as the challenge's own evaluation pairs them, whichever way the slices run;
pairing by slice position would turn livers upside down in some patients. A
liver that does not lie on liver tissue shows up in the doctor's examination.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from hepar.cases import Case
from hepar.datasets.layout import Entry, by_numbers, cases_of
from hepar.errors import BadInput
from hepar.io.stored import Stored
from hepar.volume import LIVER

if TYPE_CHECKING:
    from hepar.io.dicom_series import Series


def recognises(root: Path) -> bool:
    return bool(_scans(root))


def cases(root: Path) -> list[Case]:
    """A case per CT with masks; union labels."""
    return cases_of(entries(root))


def entries(root: Path) -> list[Entry]:
    found = []
    for scan in _scans(root):
        name, ground = f"chaos{int(scan.parent.name):02d}", scan.parent / "Ground"
        masks = ground if any(ground.glob("*.png")) else None
        read_label = partial(_read_masks, scan, ground)
        found.append(Entry(name, name, scan, masks, partial(_read_scan, scan), read_label, labels="liver_union"))
    return found


def _scans(root: Path) -> list[Path]:
    """DICOM_anon folders of CT patients; those of MR lie one level deeper, below the sequence's name."""
    ways = ("*/DICOM_anon", "CT/*/DICOM_anon", "*/CT/*/DICOM_anon")
    found = [path for way in ways for path in root.glob(way) if path.is_dir() and path.parent.name.isdigit()]
    return sorted(set(found), key=lambda path: int(path.parent.name))


def _read_scan(scan: Path) -> Stored:
    from hepar.io.dicom import read_stored

    return read_stored(_series(scan))


def _series(scan: Path) -> Series:
    """The slices of the folder as one series, even where de-identification gave each file a series of its own."""
    from hepar.io.dicom_series import find_series

    found = find_series(scan)
    if not found:
        raise BadInput("DICOM_anon holds no CT slices; copy the set again")
    return replace(found[0], slices=tuple(one for series in found for one in series.slices))


def _read_masks(scan: Path, ground: Path) -> Stored:
    from PIL import Image, UnidentifiedImageError

    from hepar.io.dicom import arrange

    ordered, grid = arrange(_series(scan))
    names = [PurePosixPath(str(one.file)).name for one in ordered]
    pictures = sorted(ground.glob("*.png"), key=lambda path: by_numbers(path.name))
    if len(pictures) != len(names):
        raise BadInput(f"Ground has {len(pictures)} masks and DICOM_anon {len(names)} slices; expected a mask a slice")
    labels = np.zeros(grid.shape, np.uint8)
    for name, picture in zip(sorted(names, key=by_numbers), pictures, strict=True):
        try:
            with Image.open(picture) as image:
                mask = np.asarray(image.convert("L"))
        except (OSError, UnidentifiedImageError) as error:
            raise BadInput(f"{picture.name} is not a readable picture ({type(error).__name__}); copy it") from error
        if mask.shape != grid.shape[1:]:
            raise BadInput(f"{picture.name} has {mask.shape} pixels, its slice {grid.shape[1:]}; copy the set again")
        labels[names.index(name)][mask > 0] = LIVER
    return Stored(labels, grid)
