"""Key slices as DICOM Secondary Capture (PS3.3 A.8.1), for viewers that show neither SEG nor contours.

Single colour images in one series: the slice where each lesion is largest, or
where the liver is if there is none. Outlines are drawn, and "research use only"
stands in the pixels. No text of the file's header is drawn, so no name is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from hepar.errors import BadInput, OutputError
from hepar.files import replace_whole
from hepar.io.exports.instance import EXPLICIT_LITTLE, instance_of, reference_to, save
from hepar.io.exports.marked import RESEARCH, Maker, Marked
from hepar.io.exports.rtstruct_contours import outlines
from hepar.io.exports.source import Source
from hepar.io.series.header import quiet_pydicom

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
SERIES_NUMBER = 9104
# Level and width of the usual abdominal window.
LEVEL_HU, WIDTH_HU = 40, 400
LEAST_SIDE_PX = 512
TEXT_PX, BAR_PX = 13, 22
WHITE, GREEN, RED = (255, 255, 255), (80, 230, 100), (255, 80, 70)
MOST = 20


@dataclass(frozen=True)
class KeySlice:
    """A slice by its place in the series, and what it was chosen for."""

    place: int
    shows: tuple[str, ...]


def key_slices(marked: Marked) -> list[KeySlice]:
    """Where each lesion has its largest area, in the order of the series, at most `MOST`; else where the liver has."""
    best: dict[int, list[str]] = {}
    for lesion in marked.present()[:MOST]:
        best.setdefault(int(marked.lesion(lesion).sum(axis=(1, 2)).argmax()), []).append(marked.lesions[lesion])
    if not best and marked.liver.any():
        best[int(marked.liver.sum(axis=(1, 2)).argmax())] = ["Liver"]
    return [KeySlice(place, tuple(best[place])) for place in sorted(best)]


def write_captures(
    hu: NDArray[Any], marked: Marked, source: Source, maker: Maker, folder: Path, name: str = "capture"
) -> list[Path]:
    """Files `NAME_1.dcm` and so on for each of `key_slices`, each kept once its pixels were read back as drawn.

    `hu` (n, y, x) are the Hounsfield units of the slices. Raises BadInput where
    nothing is marked or arrays are of other slices, OutputError when what was
    read back differs.
    """
    if marked.numbers.shape != source.shape or hu.shape != source.shape:
        raise BadInput(
            f"found marks on {marked.numbers.shape} and values on {hu.shape} voxels; "
            f"expected the slices' {source.shape}"
        )
    chosen = key_slices(marked)
    if not chosen:
        raise BadInput("neither liver nor tumour was found, so there is no key slice to show")
    paths = []
    for number, key in enumerate(chosen, start=1):
        picture = np.asarray(drawn(hu[key.place], marked, key, source.shape[0]))
        path = folder / f"{name}_{number}.dcm"
        with quiet_pydicom(), replace_whole(path) as temporary:
            save(_capture(picture, key, number, source, maker), temporary, EXPLICIT_LITTLE)
            if not np.array_equal(pixels_of(temporary), picture):
                raise OutputError(f"'{path.name}' came back with other pixels than drawn; not kept, report this")
        paths.append(path)
    return paths


def pixels_of(path: Path) -> NDArray[np.uint8]:
    """(y, x, 3)."""
    from pydicom import dcmread

    return np.asarray(dcmread(path).pixel_array)


def drawn(hu: NDArray[Any], marked: Marked, key: KeySlice, total: int) -> Image.Image:
    """A slice (y, x) in the abdominal window with outlines, between a bar of warning and one that says what it shows.

    Small slices are enlarged by a whole number, so that texts fit.
    """
    enlarged = max(1, -(-LEAST_SIDE_PX // hu.shape[1]))
    grey = np.clip((hu.astype(np.float32) - (LEVEL_HU - WIDTH_HU / 2)) / WIDTH_HU, 0, 1)
    pixels = np.rint(grey * 255).astype(np.uint8).repeat(enlarged, axis=0).repeat(enlarged, axis=1)
    below = [f"{', '.join(key.shows)}: slice {key.place + 1} of {total}", *([marked.remark] if marked.remark else [])]
    below = [line for text in below for line in _lines(text, pixels.shape[1])]
    picture = Image.new("RGB", (pixels.shape[1], pixels.shape[0] + BAR_PX * (1 + len(below))))
    picture.paste(Image.fromarray(pixels), (0, BAR_PX))
    draw = ImageDraw.Draw(picture)
    numbers = marked.numbers[key.place]
    for mask, colour in ((numbers >= 1, GREEN), *((numbers == n, RED) for n in np.unique(numbers[numbers > 1]))):
        for points in outlines(mask):
            # Places are those of pixels' middles.
            corners = (points + 0.5) * enlarged
            ring = [(float(x), float(y) + BAR_PX) for y, x in (*corners, corners[0])]
            draw.line(ring, fill=colour, width=1)
    draw.text((6, 3), f"{RESEARCH}. hepar", fill=WHITE, font=_font())
    for k, line in enumerate(below):
        draw.text((6, BAR_PX + pixels.shape[0] + k * BAR_PX + 3), line, fill=WHITE, font=_font())
    return picture


def _lines(text: str, width_px: int) -> list[str]:
    """Words in lines that fit between the margins."""
    lines: list[str] = []
    for word in text.split():
        if lines and _font().getlength(f"{lines[-1]} {word}") <= width_px - 12:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(TEXT_PX)


def _capture(picture: NDArray[np.uint8], key: KeySlice, number: int, source: Source, maker: Maker) -> Any:
    header = source.headers[key.place]
    made = instance_of(source, maker, "capture", number)
    # A picture has no place in the patient that a viewer could compute with.
    del made.FrameOfReferenceUID, made.PositionReferenceIndicator
    made.SOPClassUID, made.Modality, made.SeriesNumber = SECONDARY_CAPTURE, "OT", SERIES_NUMBER
    made.ConversionType, made.ImageType = "WSD", ["DERIVED", "SECONDARY"]
    # Texts in the pixels name no patient; a liver has no side, which spares Laterality.
    made.BurnedInAnnotation, made.BodyPartExamined = "NO", "LIVER"
    made.PatientOrientation = _toward(header)
    made.ImageComments = f"{RESEARCH}. {', '.join(key.shows)}"[:10240]
    made.DerivationDescription = "Outlines of liver and lesions drawn on a slice"
    made.SourceImageSequence = [reference_to(header)]
    made.Rows, made.Columns = picture.shape[:2]
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PlanarConfiguration = 3, "RGB", 0
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 8, 8, 7, 0
    made.LossyImageCompression = "00"
    down, across = (round(float(v), 6) for v in header.PixelSpacing)
    if abs(down - across) > 1e-3 * across:
        made.PixelAspectRatio = [round(1000 * down), round(1000 * across)]
    content = picture.tobytes()
    made.PixelData = content + b"\0" * (len(content) % 2)
    made["PixelData"].VR = "OW"
    return made


def _toward(header: Any) -> list[str]:
    """Where rows and columns lead, in letters of the patient, the strongest first (PS3.3 C.7.6.1.1.1)."""
    found = []
    for way in np.array([float(v) for v in header.ImageOrientationPatient]).reshape(2, 3).tolist():
        letters = [(abs(v), pair[int(v < 0)]) for v, pair in zip(way, ("LR", "PA", "HF"), strict=True) if abs(v) > 0.1]
        found.append("".join(letter for _, letter in sorted(letters, reverse=True)))
    return found
