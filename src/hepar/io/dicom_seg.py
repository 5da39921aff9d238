"""DICOM Segmentation objects (PS3.3 A.51, and label maps A.90), through highdicom.

A segmentation has frames only where something was drawn: its grid is that of
its own frames and may end before the scan does. What a segment shows is told
by its coded property type (PS3.3 C.8.20.2); codes are SNOMED CT.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from hepar.errors import BadInput, HeparError, MissingExtra
from hepar.geometry import Geometry
from hepar.io.dicom_series import quiet_pydicom
from hepar.io.stored import require_plausible_size
from hepar.volume import BACKGROUND, LIVER, TUMOUR, LabelMap

SEGMENTATION, LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"
LIVER_CODES = {"10200004"}
# Neoplasm, its primary and secondary kinds, mass, lesion, morphologically abnormal structure (CID 7159, 7151).
TUMOUR_CODES = {"108369006", "86049000", "14799000", "4147007", "52988006", "49755003"}
SNOMED = {"SCT", "SRT", "SNM3"}
# What SNOMED RT calls liver, neoplasm, mass and lesion; older writers still use it.
OLD_CODES = {"T-62000": "10200004", "M-80000": "108369006", "M-80001": "108369006", "M-03000": "4147007"}


@dataclass(frozen=True)
class Segment:
    """`structure` is the label that the segment's code stands for; None where only its name can tell."""

    number: int
    label: str
    structure: int | None


@dataclass(frozen=True, eq=False)
class Segmentation:
    """A segmentation whose header is read; `labels` decodes frames."""

    name: str
    segments: tuple[Segment, ...]
    data: Any

    def labels(self, targets: dict[int, int]) -> LabelMap:
        """Labels 0, 1, 2 on the segmentation's own frames; the higher wins where segments overlap.

        `targets`: label by segment number, other segments are background.
        Raises BadInput when the frames form no evenly spaced stack or cannot be decoded.
        """
        with quiet_pydicom(), _damage(self.name):
            geometry = self._geometry()
            out = np.zeros(geometry.shape, np.uint8)
            for number in (s.number for s in self.segments if targets.get(s.number)):
                mask = self.data.get_volume(segment_numbers=[number]).array[..., 0]
                np.maximum(out, np.uint8(targets[number]), out=out, where=mask > 0)
        return _upward(LabelMap(out, geometry))

    def _geometry(self) -> Geometry:
        found = self.data.get_volume_geometry()
        if found is None:
            raise BadInput(
                f"the frames of '{self.name}' form no evenly spaced stack of parallel slices; write the segmentation "
                "again on one CT series, or convert it to .nii.gz"
            )
        require_plausible_size(self.name, tuple(found.spatial_shape), 0, 0, compressed=True)
        return Geometry(tuple(found.spatial_shape), np.asarray(found.affine, dtype=np.float64))


def _upward(labels: LabelMap) -> LabelMap:
    """Slices along the frames' normal, as a CT series is read; highdicom stacks them against it."""
    affine = labels.geometry.affine
    if np.cross(affine[:3, 2], affine[:3, 1]) @ affine[:3, 0] > 0:
        return labels
    turned = affine.copy()
    turned[:3, 3] = labels.geometry.position_mm((labels.geometry.shape[0] - 1, 0, 0))
    turned[:3, 0] *= -1
    return LabelMap(np.ascontiguousarray(labels.labels[::-1]), Geometry(labels.geometry.shape, turned))


def is_segmentation(file: BinaryIO) -> bool:
    """True for a DICOM Segmentation; False for any other file, DICOM or not."""
    from pydicom import dcmread

    if file.read(132)[128:] != b"DICM":
        return False
    file.seek(0)
    with quiet_pydicom():
        try:
            header = dcmread(file, stop_before_pixels=True, specific_tags=["SOPClassUID"])
            return str(header.get("SOPClassUID")) in (SEGMENTATION, LABEL_MAP)
        except Exception:  # pydicom promises no types for damaged files
            return False


def open_segmentation(file: BinaryIO, name: str) -> Segmentation:
    """The segments of a DICOM SEG of type BINARY or LABELMAP; `name` is the file's, for messages.

    Raises BadInput for anything else, MissingExtra without highdicom.
    """
    try:
        from highdicom.seg import Segmentation as Read
    except ImportError as error:
        raise MissingExtra("reading DICOM SEG needs highdicom; install it with `pip install hepar[dicom]`") from error
    from pydicom import dcmread

    with quiet_pydicom(), _damage(name):
        data = dcmread(file)
        if str(data.get("SOPClassUID")) not in (SEGMENTATION, LABEL_MAP):
            raise BadInput(f"'{name}' is DICOM but no segmentation; expected a DICOM SEG, .nii.gz or the like")
        kind = str(data.get("SegmentationType"))
        if kind not in ("BINARY", "LABELMAP"):
            raise BadInput(
                f"'{name}' is a segmentation of type {kind}; expected BINARY or LABELMAP. Threshold it first"
            )
        read = Read.from_dataset(data, copy=False)
        segments = tuple(_segment(item) for item in read.SegmentSequence)
        # A label map may describe its background as segment 0.
        return Segmentation(name, tuple(s for s in segments if s.number > 0), read)


@contextmanager
def _damage(name: str) -> Iterator[None]:
    """Libraries' own texts may show a patient's values, so only the kind of error is told."""
    try:
        yield
    except (HeparError, MemoryError):
        raise
    except Exception as error:  # neither pydicom nor highdicom promises types for odd files
        raise BadInput(
            f"'{name}' cannot be read as DICOM SEG ({type(error).__name__}): damaged, or its frames lie in no even "
            "stack. Export it again, or convert it to .nii.gz"
        ) from None


def _segment(item: Any) -> Segment:
    return Segment(int(item.SegmentNumber), str(item.get("SegmentLabel") or ""), _structure(item))


def _structure(item: Any) -> int | None:
    said = _code(item, "SegmentedPropertyTypeCodeSequence")
    if said in LIVER_CODES:
        return LIVER
    if said not in TUMOUR_CODES:
        return None
    regions = {_code(item, name) for name in ("AnatomicRegionSequence", "PrimaryAnatomicStructureSequence")} - {""}
    # A tumour of the kidney is none of the liver.
    return TUMOUR if not regions or regions & LIVER_CODES else BACKGROUND


def _code(item: Any, sequence: str) -> str:
    """The SNOMED CT code of a coded attribute, empty without one."""
    codes = item.get(sequence)
    if not codes or str(codes[0].get("CodingSchemeDesignator")) not in SNOMED:
        return ""
    value = str(codes[0].get("CodeValue") or "")
    return OLD_CODES.get(value, value)
