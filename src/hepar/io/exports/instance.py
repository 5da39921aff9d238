"""What every DICOM object made by hand shares: patient, study, equipment and its own identifiers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hepar.io.exports.marked import RESEARCH, Maker
from hepar.io.exports.source import DATES, OPTIONAL, TEXTS, Source

IMPLICIT_LITTLE, EXPLICIT_LITTLE = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"


def instance_of(source: Source, maker: Maker, kind: str, number: int = 1) -> Any:
    """A data set in the source's study with the identifiers of object `number` of a `kind` (`rtstruct`, `capture`)."""
    from pydicom.dataset import Dataset

    first, out = source.headers[0], Dataset()
    out.SpecificCharacterSet = "ISO_IR 192"
    for tag in (*TEXTS, *DATES, "PatientSex", "StudyInstanceUID", "FrameOfReferenceUID"):
        if tag in first or tag not in OPTIONAL:
            setattr(out, tag, first.get(tag, ""))
    out.SeriesInstanceUID = maker.uid(f"{kind} series", source.series_uid)
    out.SOPInstanceUID = maker.uid(f"{kind} {number}", source.series_uid)
    out.InstanceNumber = number
    out.Manufacturer, out.ManufacturerModelName = "hepar", maker.model[:64]
    out.SoftwareVersions, out.DeviceSerialNumber = maker.version, maker.weights_sha256[:16]
    out.SeriesDescription = f"hepar {kind}. {RESEARCH}"[:64]
    day, clock = maker.made.strftime("%Y%m%d"), maker.made.strftime("%H%M%S")
    out.InstanceCreationDate = out.SeriesDate = out.ContentDate = day
    out.InstanceCreationTime = out.SeriesTime = out.ContentTime = clock
    return out


def coded(code: tuple[str, str, str]) -> Any:
    """The item of a code sequence."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code
    return item


def reference_to(header: Any) -> Any:
    """A slice by its class and identifier."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
    return item


def save(made: Any, path: Path, syntax: str) -> None:
    """With the file's own header; `made` names its class."""
    from pydicom import dcmwrite
    from pydicom.dataset import FileMetaDataset

    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = syntax
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    dcmwrite(path, made, enforce_file_format=True)
