"""DICOM Segmentation objects of a result (PS3.3 A.51, label maps A.90), and their own check.

BINARY holds the liver with its tumours, and each lesion as a segment of its
own that overlaps it. LABELMAP cannot overlap: there the liver is what no lesion
covers, and its description says so. FRACTIONAL holds the tumour's probability.
Only slices where something is marked have frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hepar.errors import BadInput, OutputError
from hepar.files import replace_whole
from hepar.io.exports import codes
from hepar.io.exports.marked import BACKGROUND, FIRST_LESION, LIVER, RESEARCH, Maker, Marked
from hepar.io.exports.source import Source
from hepar.io.series.header import quiet_pydicom

Kind = Literal["BINARY", "LABELMAP"]
SERIES_NUMBER = 9101
EXPLICIT_LITTLE, RLE = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.5"
# CIELab of the colours that the report's pictures have: green for liver, reds for lesions.
GREEN, RED = (78.0, -60.0, 40.0), (60.0, 68.0, 46.0)


@dataclass(frozen=True)
class Part:
    """One segment: its number in the file, its number in `Marked.numbers`, and its name in a report."""

    segment: int
    number: int
    name: str

    @property
    def is_liver(self) -> bool:
        return self.number == LIVER


def write_seg(marked: Marked, source: Source, maker: Maker, path: Path, kind: Kind = "BINARY") -> Any:
    """Write `path` once it was read back voxel for voxel; returns the data set, of which a report refers to segments.

    Raises BadInput where nothing is marked or the slices are others, OutputError
    when what was read back differs, MissingExtra without highdicom.
    """
    codes.require_highdicom()
    if marked.numbers.shape != source.shape:
        raise BadInput(f"found marks on {marked.numbers.shape} voxels; expected the slices' {source.shape}")
    if not marked.liver.any():
        raise BadInput("neither liver nor tumour was found, so there is no segmentation to write")
    parts = parts_of(marked)
    drawn = np.flatnonzero(marked.liver.any(axis=(1, 2)))
    pixels = _pixels(marked.numbers[drawn], parts, kind)
    said = [_description(part, marked, source, maker, kind) for part in parts]
    made = _segmentation([source.headers[k] for k in drawn], pixels, said, maker, kind)
    with replace_whole(path) as temporary:
        made.save_as(temporary)
        expected = {part.segment: _mask(marked.numbers, part, kind).astype(np.uint8) for part in parts}
        require_same(frames_of(temporary, source), expected, path.name)
    return made


def write_probability(tumour: NDArray[np.uint8], source: Source, maker: Maker, path: Path) -> Any:
    """Tumour probability in 255ths, (n, y, x) on the slices, as a FRACTIONAL segmentation. Raises as `write_seg`."""
    codes.require_highdicom()
    if tumour.shape != source.shape or tumour.dtype != np.uint8:
        raise BadInput(f"found probabilities {tumour.dtype} {tumour.shape}; expected uint8 {source.shape}")
    drawn = np.flatnonzero(tumour.any(axis=(1, 2)))
    if not len(drawn):
        raise BadInput("the tumour probability is 0 everywhere, so there is no segmentation to write")
    part = Part(1, FIRST_LESION, "Tumour probability")
    said = _description(part, Marked(np.zeros(source.shape, np.uint8)), source, maker, "BINARY")
    # highdicom takes fractions; 255ths come back exactly, which the check below proves.
    pixels = (tumour[drawn] / np.float32(255))[..., None]
    made = _segmentation([source.headers[k] for k in drawn], pixels, [said], maker, "FRACTIONAL")
    with replace_whole(path) as temporary:
        made.save_as(temporary)
        require_same(frames_of(temporary, source), {1: tumour}, path.name)
    return made


def parts_of(marked: Marked) -> list[Part]:
    """The liver, then every lesion with voxels; segments are numbered from 1 without gaps (PS3.3 C.8.20.2)."""
    found = [Part(1, LIVER, "Liver")]
    for place in marked.present():
        found.append(Part(len(found) + 1, FIRST_LESION + place, marked.lesions[place]))
    return found


def _mask(numbers: NDArray[np.uint8], part: Part, kind: str) -> NDArray[np.bool_]:
    whole = part.is_liver and kind != "LABELMAP"
    return np.asarray(numbers >= LIVER if whole else numbers == part.number)


def _pixels(numbers: NDArray[np.uint8], parts: Sequence[Part], kind: str) -> NDArray[Any]:
    if kind == "LABELMAP":
        lookup = np.full(256, BACKGROUND, np.uint8)
        lookup[[part.number for part in parts]] = [part.segment for part in parts]
        return lookup[numbers]
    return np.stack([_mask(numbers, part, kind) for part in parts], axis=-1)


def _description(part: Part, marked: Marked, source: Source, maker: Maker, kind: str) -> Any:
    from highdicom.color import CIELabColor
    from highdicom.seg import SegmentDescription

    said = SegmentDescription(
        segment_number=part.segment,
        segment_label=part.name,
        segmented_property_category=codes.concept(codes.ANATOMY if part.is_liver else codes.ABNORMAL),
        segmented_property_type=codes.concept(codes.LIVER if part.is_liver else codes.NEOPLASM),
        algorithm_type="AUTOMATIC",
        algorithm_identification=codes.algorithm(maker),
        tracking_uid=maker.tracking_uid(source.series_uid, part.name),
        tracking_id=part.name,
        # A tumour of the liver, not of its neighbours.
        anatomic_regions=None if part.is_liver else [codes.concept(codes.LIVER)],
        display_color=CIELabColor(*(GREEN if part.is_liver else RED)),
    )
    covers = "without" if kind == "LABELMAP" else "with"
    words = [f"Liver {covers} its tumours." if part.is_liver else "", f"{RESEARCH}.", marked.remark]
    said.SegmentDescription = " ".join(word for word in words if word)[:1024]
    return said


def _segmentation(headers: Sequence[Any], pixels: NDArray[Any], said: Sequence[Any], maker: Maker, kind: str) -> Any:
    from highdicom.seg import Segmentation

    series = str(headers[0].SeriesInstanceUID)
    with quiet_pydicom():
        return Segmentation(
            source_images=list(headers),
            pixel_array=pixels,
            segmentation_type=kind,
            segment_descriptions=list(said),
            series_instance_uid=maker.uid(f"seg series {kind}", series),
            series_number=SERIES_NUMBER,
            sop_instance_uid=maker.uid(f"seg {kind}", series),
            instance_number=1,
            manufacturer="hepar",
            manufacturer_model_name=maker.model[:64],
            software_versions=maker.version,
            device_serial_number=maker.weights_sha256[:16],
            content_label="LIVER_TUMOUR",
            content_description=RESEARCH,
            content_creator_name="hepar^software",
            # One bit a voxel is small as it is; bytes are mostly runs.
            transfer_syntax_uid=EXPLICIT_LITTLE if kind == "BINARY" else RLE,
            series_description=f"hepar liver and tumours. {RESEARCH}"[:64],
            content_date=maker.made.date(),
            content_time=maker.made.time(),
        )


def frames_of(path: Path, source: Source) -> dict[int, NDArray[np.uint8]]:
    """Each segment of a segmentation on the slices of the source, (n, y, x), by its number.

    Reads with pydicom alone and places frames by ImagePositionPatient, so it
    shares neither code nor references with the writing. Raises OutputError for
    a frame that lies on no slice.
    """
    from pydicom import dcmread

    with quiet_pydicom():
        data = dcmread(path)
        pixels = np.asarray(data.pixel_array)
    frames = pixels if pixels.ndim == 3 else pixels[None]
    labelled = str(data.SegmentationType) == "LABELMAP"
    numbers = [int(item.SegmentNumber) for item in data.SegmentSequence if int(item.SegmentNumber) > 0]
    found: dict[int, NDArray[np.uint8]] = {number: np.zeros(source.shape, np.uint8) for number in numbers}
    shared = data.SharedFunctionalGroupsSequence[0]
    for frame, item in zip(frames, data.PerFrameFunctionalGroupsSequence, strict=True):
        where = _group("PlanePositionSequence", item, shared).ImagePositionPatient
        place = source.slice_at(np.array([float(v) for v in where]))
        if place is None:
            raise OutputError(f"'{path.name}': a frame lies on no slice of the scan; please report this")
        if labelled:
            for number in numbers:
                found[number][place] = frame == number
        else:
            number = int(_group("SegmentIdentificationSequence", item, shared).ReferencedSegmentNumber)
            found[number][place] = frame
    return found


def _group(name: str, frame: Any, shared: Any) -> Any:
    """What is equal for all frames stands in the shared group only."""
    return (frame.get(name) or shared[name].value)[0]


def require_same(found: dict[int, NDArray[np.uint8]], expected: dict[int, NDArray[np.uint8]], name: str) -> None:
    """Raises OutputError unless both hold the same segments with the same voxels."""
    if sorted(found) != sorted(expected):
        raise OutputError(
            f"'{name}' came back with segments {sorted(found)}, written were {sorted(expected)}; not kept"
        )
    wrong = {number: int(np.count_nonzero(found[number] != expected[number])) for number in expected}
    if any(wrong.values()):
        told = ", ".join(f"segment {number}: {count}" for number, count in wrong.items() if count)
        raise OutputError(f"'{name}' came back with other voxels than written ({told} differ); not kept, report this")
