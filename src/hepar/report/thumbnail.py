"""Truth and prediction of a case -> a small picture of where they differ most, for a list of cases.

Label maps alone, no CT: seven flat colours and a palette make about 2 kB a
case, so a page can hold hundreds.
"""

from __future__ import annotations

import io
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from hepar.errors import BadInput
from hepar.report.pictures import Colour, drawable, font
from hepar.volume import LIVER, TUMOUR, LabelMap, require_same_grid

# Missed is warm and false is cool, tumour bright and liver dark. tests/report/test_thumbnail.py keeps all pairs apart
# for red-, green- and blue-blind readers. Later colours win where several pixels fall on one.
LEGEND: tuple[tuple[str, Colour], ...] = (
    ("liver in neither", (20, 22, 26)),
    ("liver, agreed", (120, 120, 120)),
    ("tumour, agreed", (240, 240, 240)),
    ("false liver", (30, 80, 190)),
    ("missed liver", (165, 75, 0)),
    ("false tumour", (90, 190, 255)),
    ("missed tumour", (255, 176, 0)),
)
BACKGROUND_CLASS, AGREED_LIVER, AGREED_TUMOUR, FALSE_LIVER, MISSED_LIVER, FALSE_TUMOUR, MISSED_TUMOUR = range(7)
_TEXT = len(LEGEND)
_TEXT_COLOUR: Colour = (225, 225, 225)
# Row: truth, column: found. A tumour voxel that was called liver is a missed tumour, not a missed liver.
_CLASS = np.array(
    [
        [BACKGROUND_CLASS, FALSE_LIVER, FALSE_TUMOUR],
        [MISSED_LIVER, AGREED_LIVER, FALSE_TUMOUR],
        [MISSED_TUMOUR, MISSED_TUMOUR, AGREED_TUMOUR],
    ],
    dtype=np.uint8,
)
_MARGIN_MM = 10.0
_STRIP_PX = 16
_BAR_MM = 20.0
_LEAST_PX = 64
NOTHING = "nothing labelled\nin either map"


def error_thumbnail(truth: LabelMap, found: LabelMap, side: int = 192) -> bytes:
    """A PNG of `side` x `side` pixels: the axial slice with the most wrongly labelled voxels, cut to what is labelled.

    Patient right is on the left, pixels are as wide as high in mm, colours are
    those of `LEGEND`; below stand the slice's position along z in mm and a bar of
    2 cm. Where no voxel is wrong, the slice with the most tumour, or else the most
    liver. Two empty maps give a tile that says so.

    Raises GeometryMismatch when the maps lie on different grids, BadInput for a
    side below 64 pixels.
    """
    require_same_grid(truth, found)
    if side < _LEAST_PX:
        raise BadInput(f"found a side of {side} pixels; a thumbnail needs {_LEAST_PX} or more")
    turn = truth.geometry.axial()
    # Views: a scan of 1000 slices is looked at one slice after the other, never copied.
    here, there = turn.apply(truth.labels), turn.apply(found.labels)
    tile = Image.new("P", (side, side), BACKGROUND_CLASS)
    tile.putpalette(list(chain.from_iterable([*(colour for _, colour in LEGEND), _TEXT_COLOUR])))
    draw = ImageDraw.Draw(tile)
    z = _worst_slice(here, there)
    if z is None:
        draw.multiline_text((side / 2, side / 2), NOTHING, fill=_TEXT, font=font(13), anchor="mm", align="center")
        return _png(tile)
    spacing = turn.geometry.spacing_mm[1:]
    classes = _cropped(_CLASS[here[z], there[z]], spacing)
    picture, scale = _drawn(classes, spacing, (side - _STRIP_PX, side))
    top, left = (side - _STRIP_PX - picture.shape[0]) // 2, (side - picture.shape[1]) // 2
    tile.paste(Image.fromarray(picture), (left, top))
    position = float(turn.geometry.position_mm((z, 0, 0))[2])
    _annotate(draw, side, f"z {position:+.0f} mm", _BAR_MM * scale)
    return _png(tile)


def _worst_slice(truth: NDArray[np.uint8], found: NDArray[np.uint8]) -> int | None:
    """Index of the slice to show; None when nothing is labelled. The lowest of equals."""
    wrong, tumour, liver = (np.zeros(len(truth), np.int64) for _ in range(3))
    for z, (here, there) in enumerate(zip(truth, found, strict=True)):
        wrong[z] = np.count_nonzero(here != there)
        tumour[z] = np.count_nonzero(here == TUMOUR)
        liver[z] = np.count_nonzero(here >= LIVER)
    return next((int(size.argmax()) for size in (wrong, tumour, liver) if size.any()), None)


def _cropped(classes: NDArray[np.uint8], spacing_mm: tuple[float, ...]) -> NDArray[np.uint8]:
    """The part (y, x) around everything labelled, with a margin of 1 cm, also where the map ends before."""
    box, margins = [], []
    for axis, step in enumerate(spacing_mm):
        occupied = np.flatnonzero(classes.any(axis=1 - axis))
        box.append(slice(int(occupied[0]), int(occupied[-1]) + 1))
        margins.append(int(np.ceil(_MARGIN_MM / step)))
    return np.pad(classes[tuple(box)], [(m, m) for m in margins])


def _drawn(
    classes: NDArray[np.uint8], spacing_mm: tuple[float, ...], room_px: tuple[int, int]
) -> tuple[NDArray[np.uint8], float]:
    """The classes fitted into `room_px` (height, width), square in mm, and the pixels per mm."""
    size_mm = [n * step for n, step in zip(classes.shape, spacing_mm, strict=True)]
    scale = min(room / size for room, size in zip(room_px, size_mm, strict=True))
    for axis, size in enumerate(size_mm):
        wanted = max(round(size * scale), 1)
        starts = np.arange(wanted) * classes.shape[axis] // wanted
        # Enlarging repeats a pixel; reducing takes the highest class, so that no thin error vanishes.
        classes = np.maximum.reduceat(classes, starts, axis=axis)
    return np.ascontiguousarray(classes), scale


def _annotate(draw: ImageDraw.ImageDraw, side: int, text: str, bar_px: float) -> None:
    look: dict[str, Any] = {"fill": _TEXT, "font": font(11)}
    middle = side - _STRIP_PX / 2
    draw.text((4, middle), drawable(text), anchor="lm", **look)
    draw.text((3, (side - _STRIP_PX) / 2), "R", anchor="lm", **look)
    if bar_px < side / 3:
        right = side - 5
        draw.rectangle((right - bar_px, middle - 1, right, middle + 1), fill=_TEXT)
        draw.text((right - bar_px - 4, middle), "2 cm", anchor="rm", **look)


def _png(tile: Image.Image) -> bytes:
    buffer = io.BytesIO()
    tile.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
