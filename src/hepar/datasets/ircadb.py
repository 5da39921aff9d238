"""3D-IRCADb-01 as its archives unpack: 3Dircadb1.N with PATIENT_DICOM and MASKS_DICOM, folders or .zip.

A mask of MASKS_DICOM has one DICOM file a slice, named as the slice of
PATIENT_DICOM that it covers, with 255 inside. Liver is the folder `liver`;
tumours are `livertumor`, `livertumors`, `livertumor01` and their like. Cysts
(`livercyst`, `liverkyst`, `liverkyste`) and tumours elsewhere (`tumor`,
`leftsurretumor`) are not liver tumours. Patient p is LiTS volume p + 27.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from hepar.cases import Case
from hepar.datasets.layout import Entry, by_numbers, cases_of, ircad_patient, number_of
from hepar.errors import BadInput
from hepar.io.stored import ZIP_ERRORS, Stored
from hepar.volume import LIVER, TUMOUR

if TYPE_CHECKING:
    from hepar.io.dicom_series import Series

FOLDER = r"3D-?ircadb-?0?1\.\d+"
LIVER_NAME, TUMOUR_NAME = r"liver|foie", r"liver[ _-]?tumou?rs?[ _-]?\d*"
# A mask of 2048 x 2048 bytes is 4 MB; more in a .zip is not a mask.
MOST_MASK_BYTES = 64 << 20


def recognises(root: Path) -> bool:
    return any(_part(folder, "PATIENT_DICOM") for folder in _folders(root))


def cases(root: Path) -> list[Case]:
    """A case per patient with scan and masks."""
    return cases_of(entries(root))


def entries(root: Path) -> list[Entry]:
    found = []
    for folder in _folders(root):
        scan, masks, number = _part(folder, "PATIENT_DICOM"), _part(folder, "MASKS_DICOM"), number_of(folder)
        read_label = partial(_read_masks, scan, masks)
        found.append(
            Entry(f"ircad{number:02d}", ircad_patient(number), scan, masks, partial(_read_scan, scan), read_label)
        )
    return found


def _folders(root: Path) -> list[Path]:
    places = [root, *sorted(root.glob("*")), *sorted(root.glob("*/*"))]
    found = [path for path in places if path.is_dir() and re.fullmatch(FOLDER, path.name, re.IGNORECASE)]
    # Unpacking into a folder of its own name nests two of them; the outer one holds no scan.
    return sorted((path for path in found if _part(path, "PATIENT_DICOM")), key=lambda path: by_numbers(path.name))


def _part(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / name, folder / f"{name}.zip") if path.exists()), None)


def _read_scan(scan: Path | None) -> Stored:
    from hepar.io.dicom import read_stored

    return read_stored(_only_series(scan))


def _only_series(path: Path | None) -> Series:
    """The one CT series of a folder or .zip. Raises BadInput for none or several."""
    from hepar.io.dicom_series import find_series

    series = find_series(path) if path else []
    if len(series) != 1:
        name = path.name if path else "the scan"
        raise BadInput(f"{name} holds {len(series)} CT series; expected one. Unpack the patient's archive again")
    return series[0]


def _read_masks(scan: Path | None, masks: Path | None) -> Stored:
    """Liver 1 and its tumours 2 on the scan's grid."""
    from hepar.io.dicom import arrange

    ordered, grid = arrange(_only_series(scan))
    places = {PurePosixPath(str(one.file)).name: z for z, one in enumerate(ordered)}
    labels = np.zeros(grid.shape, np.uint8)
    livers = 0
    for organ, name, mask in _masks(masks):
        if name not in places or mask.shape != grid.shape[1:]:
            raise BadInput(
                f"mask {organ}/{name} has {mask.shape[0]} x {mask.shape[1]} pixels and covers "
                f"{'no slice' if name not in places else 'a slice'} of PATIENT_DICOM of {grid.shape[1]} x "
                f"{grid.shape[2]}; unpack the patient's archive again"
            )
        is_tumour = bool(re.fullmatch(TUMOUR_NAME, organ, re.IGNORECASE))
        livers += not is_tumour
        # Tumours are drawn inside `liver` as well: the larger label stays, in whichever order they come.
        part = labels[places[name]]
        np.maximum(part, np.where(mask > 0, TUMOUR if is_tumour else LIVER, 0).astype(np.uint8), out=part)
    if not livers:
        raise BadInput("MASKS_DICOM has no folder 'liver'; unpack the patient's archive again")
    return Stored(labels, grid)


def _masks(masks: Path | None) -> Iterator[tuple[str, str, NDArray[Any]]]:
    """(organ, name of the slice, pixels) of liver and liver tumours."""
    if masks is None:
        raise BadInput("there is no MASKS_DICOM; complete the data set")
    if masks.is_dir():
        for path in sorted(masks.rglob("*")):
            if path.is_file() and _wanted(path.parent.name) and not path.name.startswith("."):
                with path.open("rb") as file:
                    yield path.parent.name, path.name, _pixels(file, path.name)
        return
    try:
        with zipfile.ZipFile(masks) as archive:
            for member in archive.infolist():
                place = PurePosixPath(member.filename)
                if (
                    not member.filename
                    or member.is_dir()
                    or not _wanted(place.parent.name)
                    or member.file_size > MOST_MASK_BYTES
                ):
                    continue
                with archive.open(member) as packed:
                    yield place.parent.name, place.name, _pixels(packed, place.name)  # type: ignore[arg-type]
    except (*ZIP_ERRORS, OSError) as error:
        raise BadInput(f"'{masks.name}' is no .zip that can be read ({type(error).__name__}); copy it again") from error


def _wanted(organ: str) -> bool:
    return bool(re.fullmatch(f"{LIVER_NAME}|{TUMOUR_NAME}", organ, re.IGNORECASE))


def _pixels(file: BinaryIO, name: str) -> NDArray[Any]:
    from pydicom import dcmread

    from hepar.io.dicom_series import quiet_pydicom

    with quiet_pydicom():
        try:
            return np.asarray(dcmread(file, force=True).pixel_array)
        except Exception as error:  # pydicom promises no types for damaged files
            raise BadInput(f"mask file '{name}' is damaged ({type(error).__name__}); copy it again") from error
