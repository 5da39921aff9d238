"""What lesion synthesis does to slices, side by side. Of real CT: for the reader's own eyes, never for a repository."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hepar.errors import BadInput
from hepar.report.pictures import LIVER_COLOUR, TUMOUR_COLOUR, font

Pixels = NDArray[Any]
Labels = NDArray[np.uint8]
# Images (channel, y, x), labels (y, x) and a generator to new images and labels.
Paint = Callable[[Pixels, Labels, np.random.Generator], tuple[Pixels, Labels]]
_MARGIN = 12
_GAP = 6


def lesion_gallery(
    slices: Sequence[tuple[Pixels, Labels]], paint: Paint, seed: int, columns: int = 2, size_px: int = 300
) -> Image.Image:
    """Per slice: before, after, and after with the outlines of liver and tumour; cut to the liver.

    `slices` hold grey 0..255 images (channel, y, x) and labels (y, x) of the
    middle channel. Slice i is painted with the generator of (seed, i), which its
    caption names, so that each picture can be made again alone. Raises BadInput without slices.
    """
    if not slices:
        raise BadInput("no slices to draw; give at least one")
    tiles = []
    for i, (images, labels) in enumerate(slices):
        after, marked = paint(images, labels, np.random.default_rng([seed, i]))
        box, middle = _around_liver(labels), len(images) // 2
        shown = [_grey(images[middle][box]), _grey(after[middle][box]), _outlined(after[middle][box], marked[box])]
        tiles.append(_row(shown, f"seed {seed}, {i}", size_px))
    wide, high = tiles[0].size
    rows = -(-len(tiles) // columns)
    sheet = Image.new("RGB", (columns * (wide + _GAP), rows * (high + _GAP)))
    for i, tile in enumerate(tiles):
        sheet.paste(tile, (i % columns * (wide + _GAP), i // columns * (high + _GAP)))
    return sheet


def _around_liver(labels: Labels) -> tuple[slice, slice]:
    """A square around all labels, the whole slice where there are none."""
    if not labels.any():
        return slice(0, labels.shape[0]), slice(0, labels.shape[1])
    ends = [np.flatnonzero(labels.any(axis=axis)) for axis in (1, 0)]
    side = max(int(end[-1] - end[0]) for end in ends) + 2 * _MARGIN
    starts = [max(0, int(end[0] + end[-1] - side) // 2) for end in ends]
    return slice(starts[0], starts[0] + side), slice(starts[1], starts[1] + side)


def _grey(pixels: Pixels) -> Labels:
    grey = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1)


def _outlined(pixels: Pixels, labels: Labels) -> Labels:
    from scipy import ndimage

    picture = _grey(pixels)
    for mask, colour in ((labels >= 1, LIVER_COLOUR), (labels == 2, TUMOUR_COLOUR)):
        picture[ndimage.binary_dilation(mask) & ~mask] = colour
    return picture


def _row(pictures: Sequence[Labels], caption: str, size_px: int) -> Image.Image:
    from PIL import ImageDraw

    tile = Image.new("RGB", (len(pictures) * (size_px + 2), size_px + 16))
    for k, picture in enumerate(pictures):
        scale = size_px / max(picture.shape[:2])
        size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
        tile.paste(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC), (k * (size_px + 2), 0))
    ImageDraw.Draw(tile).text((2, size_px + 1), caption, font=font(11), fill=(200, 200, 200))
    return tile
