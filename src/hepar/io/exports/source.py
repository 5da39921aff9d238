"""The slices that a result belongs to: what of their headers an export repeats.

An export stands in the patient's own study and frame of reference, so here,
and only here, the patient's name and identifiers are read; they go into DICOM
files and nowhere else. De-identified files often lack identifiers that the
standard requires. These are made from the pixels and places of the slices, so
that two exports of one series agree, and a note says so.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from hepar.errors import BadInput
from hepar.io.exports.uids import uid_from
from hepar.io.series.header import quiet_pydicom
from hepar.io.series.slices import Series, Slice

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
# Required by the standard, if need be empty (type 2), and optional ones that a study's objects should share.
TEXTS = (
    "PatientID", "PatientName", "AccessionNumber", "StudyID", "ReferringPhysicianName",
    "StudyDescription", "PositionReferenceIndicator",
)  # fmt: skip
OPTIONAL = ("StudyDescription",)
DATES = {"PatientBirthDate": "DA", "StudyDate": "DA", "StudyTime": "TM"}
SEXES = ("M", "F", "O")


@dataclass(frozen=True, eq=False)
class Source:
    """The slices of one series in the order of an export's arrays: a header each, without pixels.

    `notes` name what the files lack and what stands in for it; nothing of the patient.
    """

    headers: tuple[Any, ...]
    notes: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows and columns."""
        return len(self.headers), int(self.headers[0].Rows), int(self.headers[0].Columns)

    @property
    def series_uid(self) -> str:
        return str(self.headers[0].SeriesInstanceUID)

    def places_mm(self) -> NDArray[np.float64]:
        """LPS of the middle of each slice's first pixel, (n, 3)."""
        return np.array([[float(v) for v in one.ImagePositionPatient] for one in self.headers])

    def slice_at(self, place_mm: NDArray[np.float64], tolerance_mm: float = 0.01) -> int | None:
        """Which slice begins at an LPS place; None where none does."""
        away = np.linalg.norm(self.places_mm() - place_mm, axis=1)
        nearest = int(away.argmin())
        return nearest if away[nearest] <= tolerance_mm else None


def source_of(series: Series, slices: tuple[Slice, ...]) -> Source:
    """Headers of `slices`, which are of `series`, in their order. Raises BadInput for files that cannot be read."""
    with series.opener() as opened, quiet_pydicom():
        read = [_read(one, opened) for one in slices]
    headers = [header for header, _ in read]
    notes = _give_uids(headers, [digest for _, digest in read])
    return Source(tuple(headers), notes)


def _read(one: Slice, opened: Any) -> tuple[Any, str]:
    try:
        with opened(one) as file:
            return _header(one, file)
    except Exception as error:  # pydicom promises no types for damaged files; their texts may show values
        raise BadInput(
            f"a slice could be read but not exported ({type(error).__name__} in its header); export the series again"
        ) from None


def _header(one: Slice, file: BinaryIO) -> tuple[Any, str]:
    from pydicom import dcmread
    from pydicom.dataset import Dataset

    found = dcmread(file, force=True)
    out = Dataset()
    # Texts were decoded by the file's own character set; ours is one for all.
    out.SpecificCharacterSet = "ISO_IR 192"
    for tag in TEXTS:
        if tag in found or tag not in OPTIONAL:
            setattr(out, tag, str(found.get(tag) or ""))
    for tag, kind in DATES.items():
        setattr(out, tag, _date(found.get(tag), kind))
    sex = str(found.get("PatientSex") or "")
    out.PatientSex = sex if sex in SEXES else ""
    for tag in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID", "SOPClassUID"):
        setattr(out, tag, str(found.get(tag) or ""))
    out.Modality, out.InstanceNumber = "CT", one.tags.instance
    out.Rows, out.Columns = one.rows, one.columns
    out.PixelSpacing, out.SliceThickness = found.PixelSpacing, one.thickness_mm or None
    out.ImagePositionPatient, out.ImageOrientationPatient = found.ImagePositionPatient, found.ImageOrientationPatient
    return out, _digest(one, found)


def _date(value: Any, kind: str) -> str:
    """A date or time as the standard writes it; empty for anything else, such as `1970-01-00` of an odd archive."""
    from pydicom.valuerep import DA, TM

    try:
        return str(value) if value and (DA if kind == "DA" else TM)(str(value)) else ""
    except ValueError:
        return ""


def _digest(one: Slice, found: Any) -> str:
    hashed = hashlib.sha256(bytes(found.get("PixelData") or b""))
    hashed.update(np.round(one.position_mm, 3).tobytes())
    return hashed.hexdigest()


def _give_uids(headers: list[Any], digests: list[str]) -> tuple[str, ...]:
    """Fill what identifiers are empty, from what is there or else from the slices' content; returns notes."""
    whole = hashlib.sha256("".join(digests).encode()).hexdigest()
    lacking = []
    for tag, kind, base in (
        ("StudyInstanceUID", "study", headers[0].SeriesInstanceUID or whole),
        ("SeriesInstanceUID", "series", whole),
        ("FrameOfReferenceUID", "frame", headers[0].SeriesInstanceUID or whole),
    ):
        if not all(getattr(one, tag) for one in headers):
            lacking.append(tag)
            # One series has one of each; a value that only some slices have is kept for all.
            made = next((str(getattr(one, tag)) for one in headers if getattr(one, tag)), uid_from(kind, str(base)))
            for one in headers:
                setattr(one, tag, made)
    if not all(one.SOPInstanceUID for one in headers) or len({one.SOPInstanceUID for one in headers}) < len(headers):
        lacking.append("SOPInstanceUID")
        for one, digest in zip(headers, digests, strict=True):
            one.SOPInstanceUID = uid_from("slice", whole, digest)
    notes = []
    if lacking:
        notes.append(
            f"the files lack {', '.join(lacking)}: made from their content, the same each time. A viewer will not "
            "find these slices by them"
        )
    return tuple(notes) + _give_class(headers)


def _give_class(headers: list[Any]) -> tuple[str, ...]:
    empty = [one for one in headers if not one.SOPClassUID]
    for one in empty:
        one.SOPClassUID = CT_IMAGE
    return (f"SOPClassUID is empty in {len(empty)} slices: referred to as CT Image Storage",) if empty else ()
