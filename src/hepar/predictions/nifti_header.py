"""What a NIfTI header says beside the grid: its own spacing, and names of labels.

TotalSegmentator writes its class names as a header extension (code 0) in
Connectome Workbench's XML: CaretExtension / VolumeInformation / LabelTable /
`<Label Key="5">liver</Label>` (its nifti_ext_header.py). The code is not
relied on, the XML is.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from dataclasses import dataclass
from typing import BinaryIO, cast

import numpy as np

from hepar.errors import BadInput
from hepar.geometry import Triple
from hepar.predictions.entries import Entry
from hepar.predictions.names import LabelNames

# 117 classes of TotalSegmentator take 13 kB.
MOST_EXTENSION = 1 << 20


@dataclass(frozen=True)
class NiftiHeader:
    """Spacing (z, y, x) in mm as pixdim states it, which may differ from the affine's; names of labels, if any."""

    spacing_mm: Triple
    names: LabelNames | None


def nifti_header(entry: Entry) -> NiftiHeader:
    """Raises BadInput when the header cannot be read."""
    with entry.opened() as file:
        compressed = file.read(2) == b"\x1f\x8b"
    with entry.opened() as file:
        try:
            if not compressed:
                return _read(file, entry.name)
            with gzip.open(file) as unpacked:
                return _read(cast(BinaryIO, unpacked), entry.name)
        except (EOFError, zlib.error, gzip.BadGzipFile, struct.error, ValueError) as error:
            raise BadInput(f"'{entry.name}' is truncated or damaged; copy or download it again") from error


def _read(file: BinaryIO, name: str) -> NiftiHeader:
    import nibabel

    block, kind = file.read(348), nibabel.Nifti1Header
    if block[4:8] in (b"n+2\0", b"ni2\0"):
        block, kind = block + file.read(540 - 348), nibabel.Nifti2Header
    if len(block) < kind.template_dtype.itemsize:
        raise BadInput(f"'{name}' has {len(block)} bytes, too few for a NIfTI header; copy or download it again")
    header = kind(block, check=False)
    z, y, x = (abs(float(s)) for s in header["pixdim"][3:0:-1])
    offset = float(header["vox_offset"])
    room = int(offset) - len(block) if math.isfinite(offset) else 0
    return NiftiHeader((z, y, x), _names(file, header.endianness, min(room, MOST_EXTENSION)))


def _names(file: BinaryIO, endianness: str, room: int) -> LabelNames | None:
    """From the first extension that is a table of labels; `room` bytes lie between the header and the voxels."""
    if room < 20 or file.read(4)[:1] in (b"", b"\0"):
        return None
    left = room - 4
    while left >= 16:
        size, _code = struct.unpack(f"{endianness}ii", file.read(8))
        if not 16 <= size <= left:
            return None
        if names := names_in_xml(file.read(size - 8)):
            return names
        left -= size
    return None


def names_in_xml(content: bytes) -> LabelNames | None:
    """The labels of a CaretExtension; None for anything else, and for XML that defines entities."""
    from xml.etree import ElementTree as Xml

    text = content.strip(b"\0 \r\n\t")
    if not text.startswith(b"<") or b"<!DOCTYPE" in text or b"<!ENTITY" in text or b"LabelTable" not in text:
        return None
    try:
        labels = Xml.fromstring(text).iter("Label")
        pairs = tuple((int(label.attrib["Key"]), (label.text or "").strip()) for label in labels)
    except (Xml.ParseError, LookupError, ValueError):
        return None
    kept = tuple((key, name) for key, name in pairs if name and 0 <= key <= np.iinfo(np.uint16).max)
    return LabelNames(kept) if kept else None
