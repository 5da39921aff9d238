"""DICOM RT Structure Sets of a result (PS3.3 A.19), and their own check.

The liver with its tumours is one region of interest, each lesion another. In
each slice a region's pieces are closed planar contours; holes are joined to
their outline (`rtstruct_contours`). Lesions are given no planning type such as
GTV: nobody planned a treatment. The set is unapproved.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepar.errors import BadInput, OutputError
from hepar.files import replace_whole
from hepar.io.exports import codes
from hepar.io.exports.instance import IMPLICIT_LITTLE, coded, instance_of, reference_to, save
from hepar.io.exports.marked import RESEARCH, Maker, Marked
from hepar.io.exports.rtstruct_contours import Points, filled, outlines
from hepar.io.exports.seg import Part, parts_of
from hepar.io.exports.source import Source
from hepar.io.series.header import quiet_pydicom

RT_STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"
STUDY_CLASS = "1.2.840.10008.3.1.2.3.1"
SERIES_NUMBER = 9103
LEAST_DICE = 0.99
GREEN, RED = (80, 200, 90), (230, 60, 50)
# Further from every slice's plane than this, a contour belongs to none.
IN_PLANE_MM = 0.05
Masks = dict[int, NDArray[np.bool_]]


def write_rtstruct(marked: Marked, source: Source, maker: Maker, path: Path) -> Any:
    """Write `path` once its contours, filled again on the slices, have a Dice of .99 or more with each structure.

    Numbers of regions are those of the segments of `write_seg`. Raises BadInput
    where nothing is marked or the slices are others, OutputError when what was
    read back differs.
    """
    if marked.numbers.shape != source.shape:
        raise BadInput(f"found marks on {marked.numbers.shape} voxels; expected the slices' {source.shape}")
    if not marked.liver.any():
        raise BadInput("neither liver nor tumour was found, so there are no contours to write")
    parts = parts_of(marked)
    masks = {part.segment: marked.liver if part.is_liver else marked.numbers == part.number for part in parts}
    with quiet_pydicom():
        made = _structure_set(parts, masks, marked, source, maker)
        with replace_whole(path) as temporary:
            # Long contours exceed the 64 kB that a text has in explicit syntaxes.
            save(made, temporary, IMPLICIT_LITTLE)
            require_alike(regions_of(temporary, source), masks, path.name)
    return made


def _structure_set(parts: Sequence[Part], masks: Masks, marked: Marked, source: Source, maker: Maker) -> Any:
    made = instance_of(source, maker, "contours")
    made.SOPClassUID, made.Modality, made.SeriesNumber = RT_STRUCTURE_SET, "RTSTRUCT", SERIES_NUMBER
    made.OperatorsName = ""
    made.StructureSetLabel, made.StructureSetName = "LIVER_TUMOUR", "hepar liver and tumours"
    made.StructureSetDescription = " ".join(word for word in (f"{RESEARCH}.", marked.remark) if word)[:1024]
    made.StructureSetDate, made.StructureSetTime = made.ContentDate, made.ContentTime
    # The content's date is no attribute of a structure set, which has its own.
    del made.ContentDate, made.ContentTime
    drawn = np.flatnonzero(marked.liver.any(axis=(1, 2)))
    made.ReferencedFrameOfReferenceSequence = [_frame([source.headers[k] for k in drawn])]
    made.StructureSetROISequence = [_region(part, marked, source, maker) for part in parts]
    made.ROIContourSequence = [_contours(part, masks[part.segment], source) for part in parts]
    made.RTROIObservationsSequence = [_observation(part) for part in parts]
    made.ApprovalStatus = "UNAPPROVED"
    return made


def _frame(headers: Sequence[Any]) -> Any:
    from pydicom.dataset import Dataset

    series, study, frame = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID = headers[0].SeriesInstanceUID
    series.ContourImageSequence = [reference_to(one) for one in headers]
    study.ReferencedSOPClassUID, study.ReferencedSOPInstanceUID = STUDY_CLASS, headers[0].StudyInstanceUID
    study.RTReferencedSeriesSequence = [series]
    frame.FrameOfReferenceUID = headers[0].FrameOfReferenceUID
    frame.RTReferencedStudySequence = [study]
    return frame


def _region(part: Part, marked: Marked, source: Source, maker: Maker) -> Any:
    from pydicom.dataset import Dataset

    item = Dataset()
    item.ROINumber, item.ROIName = part.segment, part.name
    item.ReferencedFrameOfReferenceUID = source.headers[0].FrameOfReferenceUID
    words = ("Liver with its tumours." if part.is_liver else "", f"{RESEARCH}.", marked.remark)
    item.ROIDescription = " ".join(word for word in words if word)[:1024]
    item.ROIGenerationAlgorithm = "AUTOMATIC"
    item.ROIGenerationDescription = f"hepar {maker.version}, {maker.model}"[:64]
    return item


def _contours(part: Part, mask: NDArray[np.bool_], source: Source) -> Any:
    from pydicom.dataset import Dataset

    region = Dataset()
    items: list[Any] = []
    region.ReferencedROINumber = part.segment
    region.ROIDisplayColor = list(GREEN if part.is_liver else RED)
    for k in np.flatnonzero(mask.any(axis=(1, 2))):
        header = source.headers[k]
        for points in outlines(mask[k]):
            item = Dataset()
            item.ContourNumber = len(items) + 1
            item.ContourImageSequence = [reference_to(header)]
            item.ContourGeometricType, item.NumberOfContourPoints = "CLOSED_PLANAR", len(points)
            # A micrometre; a decimal string has room for 16 characters.
            item.ContourData = [f"{value:.3f}" for value in _places_mm(points, header).ravel()]
            items.append(item)
    region.ContourSequence = items
    return region


def _observation(part: Part) -> Any:
    from pydicom.dataset import Dataset

    item = Dataset()
    item.ObservationNumber = item.ReferencedROINumber = part.segment
    item.RTROIIdentificationCodeSequence = [coded(codes.LIVER if part.is_liver else codes.NEOPLASM)]
    item.RTROIInterpretedType = "ORGAN" if part.is_liver else ""
    item.ROIInterpreter = ""
    return item


def _plane(header: Any) -> tuple[Points, Points]:
    """A slice's first pixel, and as columns the steps of a row, of a column and the unit normal, in LPS mm."""
    row, column = np.array([float(v) for v in header.ImageOrientationPatient]).reshape(2, 3)
    down, across = (float(v) for v in header.PixelSpacing)
    steps = np.column_stack([column * down, row * across, np.cross(row, column)])
    return np.array([float(v) for v in header.ImagePositionPatient]), steps


def _places_mm(points: Points, header: Any) -> Points:
    """(row, column) of a slice to LPS mm, (k, 3)."""
    corner, steps = _plane(header)
    return np.asarray(corner + points @ steps[:, :2].T)


def regions_of(path: Path, source: Source) -> Masks:
    """Each region's contours filled on the slices of the source, (n, y, x), by its number.

    A slice is found by where the points lie and must be the one that is
    referred to. Raises OutputError for contours on no slice or on another.
    """
    from pydicom import dcmread

    with quiet_pydicom():
        data = dcmread(path)
    # Slices are parallel: one normal and the heights along it tell them apart.
    normal = _plane(source.headers[0])[1][:, 2]
    heights = source.places_mm() @ normal
    found: Masks = {}
    for region in data.ROIContourSequence:
        mask = np.zeros(source.shape, bool)
        on_slice: dict[int, list[Points]] = {}
        for item in region.ContourSequence:
            places = np.array([float(v) for v in item.ContourData]).reshape(-1, 3)
            away = np.abs((places @ normal)[:, None] - heights).max(axis=0)
            k = int(away.argmin())
            named = item.ContourImageSequence[0].ReferencedSOPInstanceUID
            if away[k] > IN_PLANE_MM or named != source.headers[k].SOPInstanceUID:
                raise OutputError(f"'{path.name}': a contour lies on no slice, or not on its own; please report this")
            corner, steps = _plane(source.headers[k])
            on_slice.setdefault(k, []).append(((places - corner) @ np.linalg.inv(steps).T)[:, :2])
        for k, polygons in on_slice.items():
            mask[k] = filled(polygons, source.shape[1:])
        found[int(region.ReferencedROINumber)] = mask
    return found


def require_alike(found: Masks, expected: Masks, name: str) -> None:
    """Raises OutputError unless both hold the same regions, each with a Dice of `LEAST_DICE` or more."""
    if sorted(found) != sorted(expected):
        raise OutputError(f"'{name}' came back with regions {sorted(found)}, written were {sorted(expected)}; not kept")
    for number, mask in expected.items():
        both = np.count_nonzero(found[number]) + np.count_nonzero(mask)
        dice = 2 * np.count_nonzero(found[number] & mask) / both
        if dice < LEAST_DICE:
            raise OutputError(
                f"'{name}': region {number}, filled again, has a Dice of {dice:.3f} with what was marked; "
                f"expected {LEAST_DICE} or more. Not kept, report this"
            )
