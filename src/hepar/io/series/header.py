"""One DICOM header: a slice, a file without a place, or something that is no CT slice.

Nothing of a patient is kept but where slices lie: no names, no ids, and of
descriptions only words of a fixed list.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from hepar.io.series.slices import Lost, Passed, Slice, Tags
from hepar.io.series.words import words_in

T = TypeVar("T")
# Files without the "DICM" mark begin with group 0002 or 0008, little endian.
BARE_STARTS = (b"\x02\x00", b"\x08\x00")
PLACE = (
    "Modality", "ImageType", "SeriesInstanceUID", "SeriesNumber", "Rows", "Columns", "PixelSpacing",
    "ImagePositionPatient", "ImageOrientationPatient", "RescaleSlope", "RescaleIntercept", "SliceThickness",
)  # fmt: skip
DESCRIPTIONS = ("SeriesDescription", "ProtocolName", "ImageComments", "BodyPartExamined")
BESIDE = (
    "StudyInstanceUID", "FrameOfReferenceUID", "SOPInstanceUID", "SOPClassUID", "InstanceNumber", "AcquisitionNumber",
    "TemporalPositionIdentifier", "AcquisitionDateTime", "AcquisitionTime", "ContrastBolusStartTime", "KVP",
    "ConvolutionKernel", "RescaleType", "GantryDetectorTilt", "SpacingBetweenSlices", "ImagesInAcquisition",
    "ContrastBolusAgent", "PatientPosition", "NumberOfFrames",
)  # fmt: skip
WANTED = [*PLACE, *DESCRIPTIONS, *BESIDE]
# PS3.4 B.5; a single-frame CT is 1.2.840.10008.5.1.4.1.1.2.
STORAGE, CT_CLASS = "1.2.840.10008.5.1.4.1.1.", "1.2.840.10008.5.1.4.1.1.2"
# Secondary captures may hold CT slices; a de-identified Modality does not say.
MAYBE_CT = (CT_CLASS, "1.2.840.10008.5.1.4.1.1.7")
SHOWN_MODALITIES = {"MR", "PT", "NM", "US", "CR", "DX", "XA", "MG", "OT", "SC", "PX"}
NO_IMAGES = {"SR", "SEG", "PR", "KO", "DOC", "RTSTRUCT", "RTPLAN", "RTDOSE", "REG", "RWV", "FID", "AU", "PLAN"}


def entry(file: BinaryIO, where: Path | str, parts: tuple[str, ...]) -> Slice | Lost | Passed:
    """What an opened file is; `where` is how its series opens it again, `parts` its folders."""
    from pydicom import dcmread

    start = file.read(132)
    marked = start[128:] == b"DICM"
    if not marked and start[:2] not in BARE_STARTS:
        return Passed("no DICOM")
    file.seek(0)
    with quiet_pydicom():
        try:
            header = dcmread(file, stop_before_pixels=True, force=True, specific_tags=WANTED)
        except Exception:  # pydicom promises no types for what only looks like DICOM
            return Lost(parts) if marked else Passed("no DICOM")
        try:
            return _other_kind(header) or _slice(header, where, parts)
        except Exception:  # nor for damaged values
            return Lost(parts, _text(header, "SeriesInstanceUID")) if _is_image(header) else Passed("other DICOM")


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """pydicom remarks on every odd value of a real file, and shows it; what matters is checked here.

    It warns and logs. The level silences loggers that are still to be made
    below "pydicom" as well, `disabled` those that have a level of their own.
    """
    top = logging.getLogger("pydicom")
    known = [logging.getLogger(name) for name in list(logging.root.manager.loggerDict) if name.startswith("pydicom.")]
    before = [(one, one.disabled) for one in (top, *known)]
    level = top.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        top.setLevel(logging.CRITICAL + 1)
        for one, _ in before:
            one.disabled = True
        try:
            yield
        finally:
            top.setLevel(level)
            for one, disabled in before:
                one.disabled = disabled


def _other_kind(header: Any) -> Passed | None:
    """What the file is where it is no single CT slice. Values are shown only if they are of known lists."""
    modality = str(header.get("Modality") or "")
    if modality not in ("CT", ""):
        if modality in NO_IMAGES:
            return Passed("reports and objects beside images")
        return Passed(f"{modality} images" if modality in SHOWN_MODALITIES else "images of other modalities")
    if "LOCALIZER" in (header.get("ImageType") or ()):
        return Passed("localizers")
    if (_optional(header, "NumberOfFrames", int) or 1) > 1:
        return Passed("multi-frame CT (not read yet; export single-frame CT)")
    sop_class = _text(header, "SOPClassUID")
    if not modality and sop_class.startswith(STORAGE) and not sop_class.startswith(MAYBE_CT):
        return Passed("images of other modalities")
    return None


def _slice(header: Any, file: Path | str, parts: tuple[str, ...]) -> Slice:
    """Raises whatever it may where the header does not say where the slice lies."""
    rows, columns = int(header.Rows), int(header.Columns)
    if min(rows, columns) < 1:
        raise ValueError("no pixels")
    return Slice(
        file=file,
        folder=parts,
        uid=str(header.get("SeriesInstanceUID") or ""),
        number=None if header.get("SeriesNumber") is None else int(header.SeriesNumber),
        rows=rows,
        columns=columns,
        pixel_spacing_mm=_numbers(header.PixelSpacing, 2),
        position_mm=_numbers(header.ImagePositionPatient, 3),
        orientation=_numbers(header.ImageOrientationPatient, 6),
        slope=_number(header.get("RescaleSlope"), 1.0),
        intercept=_number(header.get("RescaleIntercept"), 0.0),
        thickness_mm=_number(header.get("SliceThickness"), 0.0),
        tags=_tags(header),
    )


def _tags(header: Any) -> Tags:
    """Never raises: a damaged value that only helps counts as missing."""
    meta = getattr(header, "file_meta", {})
    return Tags(
        study=_text(header, "StudyInstanceUID"),
        frame=_text(header, "FrameOfReferenceUID"),
        instance_uid=_text(header, "SOPInstanceUID"),
        sop_class=_text(header, "SOPClassUID"),
        syntax=_text(meta, "TransferSyntaxUID"),
        modality=_text(header, "Modality"),
        image_type=_optional(header, "ImageType", lambda v: tuple(str(part) for part in v)) or (),
        instance=_optional(header, "InstanceNumber", int),
        acquisition=_optional(header, "AcquisitionNumber", int),
        temporal=_optional(header, "TemporalPositionIdentifier", int),
        moment_s=_optional(header, "AcquisitionDateTime", lambda v: seconds(str(v)[8:]))
        or _optional(header, "AcquisitionTime", lambda v: seconds(str(v))),
        bolus_s=_optional(header, "ContrastBolusStartTime", lambda v: seconds(str(v))),
        kvp=_optional(header, "KVP", _finite),
        kernel=_optional(header, "ConvolutionKernel", lambda v: v if isinstance(v, str) else str(v[0])) or "",
        rescaled=_optional(header, "RescaleSlope", _finite) is not None
        and _optional(header, "RescaleIntercept", _finite) is not None,
        rescale_type=_text(header, "RescaleType"),
        tilt_degrees=_optional(header, "GantryDetectorTilt", _finite),
        spacing_between_mm=_optional(header, "SpacingBetweenSlices", _finite),
        images=_optional(header, "ImagesInAcquisition", int),
        contrast_agent=_optional(header, "ContrastBolusAgent", lambda v: _says_contrast(str(v))),
        patient_position=_text(header, "PatientPosition"),
        words=words_in(" ".join(_text(header, tag) for tag in DESCRIPTIONS)),
    )


def seconds(time: str) -> float:
    """Seconds since midnight of a DICOM time HHMMSS.FFFFFF, of which the end may lack. Raises ValueError."""
    digits = time.strip().split("+")[0].split("-")[0].replace(":", "")
    if len(digits) < 2:
        raise ValueError("no time")
    return int(digits[:2]) * 3600 + int(digits[2:4] or 0) * 60 + float(digits[4:] or 0)


def _says_contrast(agent: str) -> bool:
    return agent.strip().lower() not in ("none", "no", "no contrast", "not applied", "0", "false")


def _optional(header: Any, tag: str, convert: Callable[[Any], T]) -> T | None:
    try:
        value = header.get(tag)
        return None if value is None or value == "" else convert(value)
    except Exception:  # pydicom promises no types for damaged values
        return None


def _is_image(header: Any) -> bool:
    # A cut header may end before Rows; a DICOMDIR or report has neither.
    return "Rows" in header or _text(header, "Modality") == "CT"


def _text(header: Any, tag: str) -> str:
    return _optional(header, tag, str) or ""


def _numbers(value: Any, count: int) -> NDArray[np.float64]:
    numbers = np.array([float(v) for v in value])
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise ValueError("not the numbers of a position")
    return numbers


def _number(value: Any, otherwise: float) -> float:
    return otherwise if value in (None, "") else _finite(value)


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("not a finite number")
    return number
