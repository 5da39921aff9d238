"""A small copy of scan and labels that a page can carry: grey pictures and label pictures, and how they lie.

The patient's body only, pixels of equal sides, up to 240 of them a side and 160
slices: grey values as JPEG, whose loss a preview bears, labels as PNG, which
loses nothing. A tumour of a slice that is left out is shown in its neighbour.
"""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hepar.report.contact_sheet import body_crops_mm
from hepar.report.measure import require_grid_of
from hepar.volume import LabelMap, Volume

SIDE, SLICES = 240, 160
# What bytes 0 and 255 mean in HU: 2 HU a step, finer than a preview's noise.
WINDOW_HU = (-210.0, 300.0)
QUALITY = 80
# Pictures of one atlas; together below the 16 million pixels that small devices can hold.
TILES = 64
COLUMNS = 8
# Labels are spread over the range of a byte, so that a rounding reader cannot confuse them.
LABEL_STEP = 100
# Half of what a page of 6 MB may weigh, so that pictures and tables find room.
MOST_BYTES = 4_000_000


@dataclass(frozen=True, eq=False)
class Preview:
    """`grey` and `labels` are uint8 (z, y, x) in the axial view; `spacing_mm` theirs, `factor` slices became one.

    `first` (y, x) is the scan's pixel at the preview's corner, `pixel` how many of the scan's make one (y, x).
    """

    grey: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    spacing_mm: tuple[float, float, float]
    factor: int
    first: tuple[int, int]
    pixel: tuple[float, float]
    slices: int

    def at(self, index: tuple[float, float, float]) -> tuple[int, int, int]:
        """The preview's voxel of an index (z, y, x) of the axial scan, kept inside."""
        z = int(index[0] // self.factor)
        y, x = ((index[a + 1] - self.first[a] + 0.5) / self.pixel[a] for a in (0, 1))
        inside = (min(max(int(v), 0), n - 1) for v, n in zip((z, y, x), self.grey.shape, strict=True))
        return next(inside), next(inside), next(inside)


def preview_of(ct: Volume, labels: LabelMap, side: int = SIDE, slices: int = SLICES) -> Preview:
    """Raises GeometryMismatch for labels of another grid."""
    require_grid_of(ct, labels)
    ct, labels = ct.axial(), labels.axial()
    z_mm, *plane_mm = ct.geometry.spacing_mm
    left, top, right, bottom = body_crops_mm(ct)[0]
    rows = slice(int(top / plane_mm[0]), min(math.ceil(bottom / plane_mm[0]), ct.values.shape[1]))
    columns = slice(int(left / plane_mm[1]), min(math.ceil(right / plane_mm[1]), ct.values.shape[2]))
    sizes = (rows.stop - rows.start, columns.stop - columns.start)
    mm = max(*plane_mm, *(n * s / side for n, s in zip(sizes, plane_mm, strict=True)))
    height, width = (max(1, round(n * s / mm)) for n, s in zip(sizes, plane_mm, strict=True))
    factor = math.ceil(len(ct.values) / slices)
    starts = range(0, len(ct.values), factor)
    grey = np.empty((len(starts), height, width), np.uint8)
    marks = np.empty_like(grey)
    for k, z in enumerate(starts):
        thick = ct.values[z : z + factor, rows, columns].mean(axis=0, dtype=np.float32)
        grey[k] = _shrunk(_bytes(thick), (height, width), Image.Resampling.BOX)
        most = labels.labels[z : z + factor, rows, columns].max(axis=0)
        marks[k] = _shrunk(most, (height, width), Image.Resampling.NEAREST)
    pixel = (sizes[0] / height, sizes[1] / width)
    spacing = (factor * z_mm, pixel[0] * plane_mm[0], pixel[1] * plane_mm[1])
    return Preview(grey, marks, spacing, factor, (rows.start, columns.start), pixel, len(ct.values))


def payload(preview: Preview, start: tuple[int, int, int], most_bytes: int = MOST_BYTES) -> dict[str, Any]:
    """Plain values for the page's viewer, which begins at the voxel `start`.

    Noise makes JPEG large; where it would weigh more than `most_bytes`, quality is taken off.
    """
    for quality in (QUALITY, 60, 40, 25, 10):
        grey = [_url(sheet, "JPEG", quality=quality) for sheet in _sheets(preview.grey)]
        if sum(map(len, grey)) <= most_bytes:
            break
    return {
        "size": list(preview.grey.shape[::-1]),
        "mm": list(preview.spacing_mm[::-1]),
        "hu": list(WINDOW_HU),
        "tile": list(_tile(preview.grey.shape)[::-1]),
        "columns": COLUMNS,
        "tiles": TILES,
        "labelStep": LABEL_STEP,
        "factor": preview.factor,
        "slices": preview.slices,
        "start": list(start[::-1]),
        "grey": grey,
        "labels": [_url(sheet, "PNG", optimize=True) for sheet in _sheets(preview.labels * np.uint8(LABEL_STEP))],
    }


def _bytes(hu: NDArray[np.float32]) -> NDArray[np.uint8]:
    low, high = WINDOW_HU
    return np.asarray(np.rint(np.clip((hu - low) / (high - low), 0, 1) * 255), dtype=np.uint8)


def _shrunk(picture: NDArray[np.uint8], size: tuple[int, int], how: Image.Resampling) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(picture).resize(size[::-1], how))


def _tile(shape: tuple[int, ...]) -> tuple[int, int]:
    """JPEG works on 8 x 8 pixels: tiles of whole blocks do not bleed into each other."""
    return 8 * math.ceil(shape[1] / 8), 8 * math.ceil(shape[2] / 8)


def _sheets(values: NDArray[np.uint8]) -> list[Image.Image]:
    """Slices side by side, row by row from the lowest, `TILES` a picture."""
    high, wide = _tile(values.shape)
    sheets = []
    for start in range(0, len(values), TILES):
        part = values[start : start + TILES]
        sheet = np.zeros((math.ceil(len(part) / COLUMNS) * high, COLUMNS * wide), np.uint8)
        for k, one in enumerate(part):
            y, x = k // COLUMNS * high, k % COLUMNS * wide
            # The last pixels go on into the block's rest: a black rim there would ring into the picture.
            sheet[y : y + high, x : x + wide] = np.pad(
                one, ((0, high - one.shape[0]), (0, wide - one.shape[1])), mode="edge"
            )
        sheets.append(Image.fromarray(sheet))
    return sheets


def _url(picture: Image.Image, kind: str, **options: Any) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
