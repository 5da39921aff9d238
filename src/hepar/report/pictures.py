"""CT and labels -> pictures as a radiologist reads them.

Axial: patient right on the left, anterior up. Coronal: patient right on the
left, superior up. Sagittal: anterior on the left, superior up. Scans of any
axis order are turned first (`Volume.axial`); pixels are as wide as high in mm.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from hepar.errors import BadInput
from hepar.report.measure import require_grid_of
from hepar.volume import LIVER, TUMOUR, LabelMap, Volume

Plane = Literal["axial", "coronal", "sagittal"]
Colour = tuple[int, int, int]
LIVER_COLOUR: Colour = (60, 220, 110)
TUMOUR_COLOUR: Colour = (255, 70, 60)

# Array axis that a slice is taken from, and the letters at left, right, top and bottom.
_AXIS = {"axial": 0, "coronal": 1, "sagittal": 2}
_LETTERS = {"axial": ("R", "L", "A", "P"), "coronal": ("R", "L", "S", "I"), "sagittal": ("A", "P", "S", "I")}
# Contours are drawn this much finer and then reduced, so they come out smooth and thin.
_FINE = 2


@dataclass(frozen=True)
class Display:
    """How a picture looks. `window_hu` is black and white; the picture fits into `size_px` (width, height)."""

    window_hu: tuple[float, float] = (-160.0, 240.0)
    size_px: tuple[int, int] = (640, 520)
    fill: float = 0.1
    line_px: float = 1.5

    def __post_init__(self) -> None:
        if self.window_hu[1] <= self.window_hu[0] or min(self.size_px) < 32:
            raise BadInput(
                f"found window {self.window_hu} HU and picture size {self.size_px}; "
                "give a window from low to high and at least 32 pixels"
            )


@dataclass(frozen=True)
class Slice:
    """Which slice: `index` counts from the feet, the front or the patient's right; `crop_mm` trims the axial view.

    `crop_mm` is (left, top, right, bottom) in mm from the uncropped picture's upper left corner.
    """

    plane: Plane
    index: int
    crop_mm: tuple[float, float, float, float] | None = None


def overlay_picture(
    ct: Volume, labels: LabelMap | None, where: Slice, display: Display | None = None, caption: str = ""
) -> Image.Image:
    """One slice with the liver's contour in green (tumours included) and the tumours' in red.

    Without labels the bare slice. Raises BadInput for a slice outside the
    scan, GeometryMismatch when labels lie on another grid.
    """
    look = display or Display()
    if labels is not None:
        require_grid_of(ct, labels)
    ct = ct.axial()
    grey, mm = _flat(ct.values, ct, where)
    low, high = look.window_hu
    shown = np.clip((grey.astype(np.float32) - low) * (255 / (high - low)), 0, 255).astype(np.uint8)
    scale = min(look.size_px[0] / (shown.shape[1] * mm[1]), look.size_px[1] / (shown.shape[0] * mm[0]))
    size = (max(round(shown.shape[1] * mm[1] * scale), 1), max(round(shown.shape[0] * mm[0] * scale), 1))
    picture = Image.fromarray(shown).resize(size, Image.Resampling.BICUBIC).convert("RGB")
    if labels is not None:
        flat, _ = _flat(labels.axial().labels, ct, where)
        for mask, colour in ((flat >= LIVER, LIVER_COLOUR), (flat == TUMOUR, TUMOUR_COLOUR)):
            picture = _tinted(picture, mask, colour, look)
    _annotate(picture, where, scale, _place_text(ct, where))
    return _with_caption(picture, caption)


def _flat(values: NDArray[Any], ct: Volume, where: Slice) -> tuple[NDArray[Any], tuple[float, float]]:
    """The slice in display orientation, cropped, and its pixel height and width in mm."""
    axis = _AXIS[where.plane]
    if not 0 <= where.index < values.shape[axis]:
        raise BadInput(
            f"{where.plane} slice {where.index} of a scan with {values.shape[axis]}; use 0 to {values.shape[axis] - 1}"
        )
    flat = np.take(values, where.index, axis=axis)
    spacing = [s for a, s in enumerate(ct.geometry.spacing_mm) if a != axis]
    if where.plane != "axial":
        flat = flat[::-1]  # superior up
    if where.crop_mm is not None:
        left, top, right, bottom = where.crop_mm
        rows = slice(max(int(top / spacing[0]), 0), max(int(np.ceil(bottom / spacing[0])), 1))
        columns = slice(max(int(left / spacing[1]), 0), max(int(np.ceil(right / spacing[1])), 1))
        flat = flat[rows, columns]
    return flat, (spacing[0], spacing[1])


def _tinted(picture: Image.Image, mask: NDArray[np.bool_], colour: Colour, look: Display) -> Image.Image:
    """A translucent fill and a thin contour, computed on the finished picture's grid so that it stays crisp."""
    if not mask.any():
        return picture
    fine = (picture.width * _FINE, picture.height * _FINE)
    # Padding keeps a mask that touches the border closed there.
    soft = Image.fromarray(mask.astype(np.uint8) * 255).resize(fine, Image.Resampling.BILINEAR)
    inside = np.asarray(soft) >= 128
    thick = max(round(look.line_px * _FINE), 1)
    contour = inside & ~ndimage.binary_erosion(inside, ndimage.generate_binary_structure(2, 1), thick)
    alpha = np.where(contour, 255, np.where(inside, round(255 * look.fill), 0)).astype(np.uint8)
    cover = Image.fromarray(alpha).resize(picture.size, Image.Resampling.BOX)
    return Image.composite(Image.new("RGB", picture.size, colour), picture, cover)


def _annotate(picture: Image.Image, where: Slice, scale: float, text: str) -> None:
    draw = ImageDraw.Draw(picture)
    width, height = picture.size
    left, right, top, bottom = _LETTERS[where.plane]
    spots = (
        (left, (6, height / 2), "lm"),
        (right, (width - 6, height / 2), "rm"),
        (top, (width / 2, 4), "ma"),
        (bottom, (width / 2, height - 4), "md"),
    )
    for letter, position, anchor in spots:
        _write(draw, position, letter, anchor, 15)
    _write(draw, (6, 4), text, "la", 12)
    length = 50 * scale
    y = height - 10
    if length < width / 2:
        draw.rectangle((7, y - 1, 9 + length, y + 3), fill=(0, 0, 0))
        draw.rectangle((8, y, 8 + length, y + 2), fill=(255, 255, 255))
        _write(draw, (8, y - 4), "5 cm", "ld", 12)


def _place_text(ct: Volume, where: Slice) -> str:
    axis = _AXIS[where.plane]
    middle = [(n - 1) / 2 for n in ct.values.shape]
    middle[axis] = where.index
    at = ct.geometry.position_mm((middle[0], middle[1], middle[2]))[2 - axis]
    return f"{where.plane} {where.index + 1}/{ct.values.shape[axis]}  {'zyx'[axis]} {at:+.0f} mm"


def _with_caption(picture: Image.Image, caption: str) -> Image.Image:
    if not caption:
        return picture
    framed = Image.new("RGB", (picture.width, picture.height + 24), (0, 0, 0))
    framed.paste(picture, (0, 24))
    _write(ImageDraw.Draw(framed), (6, 12), caption, "lm", 14)
    return framed


def _write(draw: ImageDraw.ImageDraw, position: tuple[float, float], text: str, anchor: str, size: int) -> None:
    draw.text(
        position,
        drawable(text),
        fill=(240, 240, 240),
        font=font(size),
        anchor=anchor,
        stroke_width=1,
        stroke_fill=(0, 0, 0),
    )


def drawable(text: str) -> str:
    """The text with the typographic minus and multiplication signs replaced, which Pillow's own font lacks."""
    return text.replace("\u2212", "-").replace("\u00d7", "x")


@lru_cache(maxsize=16)
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font, so pictures look the same on every machine."""
    return ImageFont.load_default(size)
