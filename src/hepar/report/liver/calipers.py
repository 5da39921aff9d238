"""A picture of each large tumour in the slice of its longest diameter, with both diameters drawn as calipers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from hepar.metrics.diameter import AxialAxes, axial_axes
from hepar.report.measure import tumours_of
from hepar.report.pictures import Colour, Display, Slice, overlay_picture
from hepar.volume import BACKGROUND, LabelMap, Volume

MOST = 6
LOOK = Display(size_px=(330, 300), fill=0.0, line_px=1.0)
LEAST_SIDE_MM, AROUND_MM = 90.0, 30.0
LEGEND = "Yellow: longest axial diameter. Blue: perpendicular to it, same slice."
LONG_COLOUR: Colour = (255, 225, 70)
SHORT_COLOUR: Colour = (90, 215, 255)


@dataclass(frozen=True, eq=False)
class CaliperPicture:
    """Of the tumour with this number in the table."""

    number: int
    picture: Image.Image


def caliper_pictures(ct: Volume, labels: LabelMap, most: int = MOST) -> list[CaliperPicture]:
    """Of the largest tumours, largest first. Raises GeometryMismatch for labels of another grid."""
    ct, labels = ct.axial(), labels.axial()
    # The liver's contour would run along the edge of a picture that shows a part of it.
    bare = labels.with_labels(np.where(labels.tumour, labels.labels, np.uint8(BACKGROUND)))
    found = []
    for number, (box, mask) in enumerate(tumours_of(labels).masks(most), start=1):
        axes = axial_axes(mask, ct.geometry)
        start = np.array([box[1].start, box[2].start], float)
        found.append(CaliperPicture(number, _picture(ct, bare, axes, start, box[0].start + axes.slice, number)))
    return found


def _picture(
    ct: Volume, labels: LabelMap, axes: AxialAxes, start: NDArray[np.float64], z: int, number: int
) -> Image.Image:
    spacing = np.array(ct.geometry.spacing_mm[1:])
    long_mm = (np.array(axes.long_ends) + start) * spacing
    middle, side = long_mm.mean(axis=0), max(axes.long_mm + 2 * AROUND_MM, LEAST_SIDE_MM)
    top, left = middle - side / 2
    crop = (float(left), float(top), float(left + side), float(top + side))
    caption = f"{number}: {axes.long_mm:.1f} x {axes.short_mm:.1f} mm"
    picture = overlay_picture(ct, labels, Slice("axial", z, crop), LOOK, caption)
    # As `overlay_picture` cuts: whole pixels, and none outside of the scan; its caption is a bar on top.
    first = np.maximum((np.array([top, left]) / spacing).astype(int), 0)
    last = np.minimum(np.ceil((np.array([top, left]) + side) / spacing).astype(int), ct.values.shape[1:])
    bar = 24
    scale = np.array([picture.height - bar, picture.width]) / (last - first)
    draw = ImageDraw.Draw(picture)
    for ends, colour in ((axes.long_ends, LONG_COLOUR), (axes.short_ends, SHORT_COLOUR)):
        places = (np.array(ends) + start - first + 0.5) * scale
        _line(draw, [(float(x), float(y) + bar) for y, x in places], colour)
    return picture


def _line(draw: ImageDraw.ImageDraw, ends: list[tuple[float, float]], colour: Colour) -> None:
    """Thin, with short ticks at both ends that leave the lesion's edge visible."""
    (x0, y0), (x1, y1) = ends
    draw.line((x0, y0, x1, y1), fill=colour, width=1)
    length = max(float(np.hypot(x1 - x0, y1 - y0)), 1e-6)
    tick = 4 * np.array([-(y1 - y0), x1 - x0]) / length
    for x, y in ends:
        draw.line((x - tick[0], y - tick[1], x + tick[0], y + tick[1]), fill=colour, width=1)
