"""The stages of preprocessing side by side, each with a red box and its enlargement (the paper's Fig. 2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from hepar.errors import BadInput
from hepar.report.pictures import drawable, font

Stage = tuple[str, NDArray[Any]]
BOX_COLOUR = (255, 30, 30)
_GAP, _CAPTION = 14, 30


@dataclass(frozen=True)
class ZoomBox:
    """The square to enlarge, in pixels of the slice: upper left corner and side."""

    row: int
    column: int
    side: int


def preprocessing_figure(
    stages: Sequence[Stage],
    pixel_mm: tuple[float, float] = (1.0, 1.0),
    box: ZoomBox | None = None,
    panel_px: int = 460,
) -> Image.Image:
    """One panel per stage and below it the content of the box, enlarged without smoothing.

    `stages`: (caption, picture) with pictures (row, column) of one shape in
    display orientation, values 0 to 255. `pixel_mm` is (row, column) spacing.
    Without `box`, `default_box` of the first stage. Raises BadInput when
    stages are missing, differ in shape, or the box leaves the picture.
    """
    greys = _checked(stages)
    zoom = box or default_box(greys[0])
    _require_inside(zoom, greys[0].shape)
    panels = [
        _panel(grey, caption, (zoom, pixel_mm), panel_px) for grey, (caption, _) in zip(greys, stages, strict=True)
    ]
    width = sum(p.width for p in panels) + _GAP * (len(panels) + 1)
    figure = Image.new("RGB", (width, panels[0].height + 2 * _GAP), (255, 255, 255))
    x = _GAP
    for panel in panels:
        figure.paste(panel, (x, _GAP))
        x += panel.width + _GAP
    return figure


def default_box(grey: NDArray[Any]) -> ZoomBox:
    """A square of 1/5 of the body's width where the liver usually lies: left of the picture's centre.

    Of some squares there, the one with the strongest edges, so that the
    enlargement shows what the filters do to them.
    """
    picture = np.asarray(grey, dtype=np.float32)
    rows, columns = _extent(picture.mean(axis=1)), _extent(picture.mean(axis=0))
    height, width = rows[1] - rows[0], columns[1] - columns[0]
    side = max(min(width // 5, height // 2, *picture.shape), 2)
    edges = np.hypot(*np.gradient(picture)) if min(picture.shape) > 1 else picture
    best = ZoomBox(0, 0, side)
    strongest = -1.0
    for down in (0.32, 0.4, 0.48):
        for across in (0.13, 0.17, 0.21):
            row = min(max(rows[0] + int(down * height) - side // 2, 0), picture.shape[0] - side)
            column = min(max(columns[0] + int(across * width), 0), picture.shape[1] - side)
            strength = float(edges[row : row + side, column : column + side].mean())
            if strength > strongest:
                best, strongest = ZoomBox(row, column, side), strength
    return best


def _checked(stages: Sequence[Stage]) -> list[NDArray[np.uint8]]:
    if not stages:
        raise BadInput("found no stages to draw; give at least the original slice")
    shapes = {np.shape(picture) for _, picture in stages}
    if len(shapes) != 1 or len(next(iter(shapes))) != 2:
        raise BadInput(f"stages have shapes {sorted(shapes)}; every stage needs the same (row, column) shape")
    return [np.clip(np.rint(np.nan_to_num(picture)), 0, 255).astype(np.uint8) for _, picture in stages]


def _require_inside(box: ZoomBox, shape: tuple[int, ...]) -> None:
    fits = box.row >= 0 and box.column >= 0 and box.row + box.side <= shape[0] and box.column + box.side <= shape[1]
    if not fits or box.side < 2:
        raise BadInput(f"found {box} on a slice of {shape} pixels; the box must be 2 pixels or more and lie inside")


def _extent(profile: NDArray[np.floating[Any]]) -> tuple[int, int]:
    """First and last place (exclusive) brighter than a tenth of the brightest."""
    found = np.flatnonzero(profile > 0.1 * float(profile.max(initial=0)))
    return (int(found[0]), int(found[-1]) + 1) if len(found) else (0, len(profile))


def _panel(
    grey: NDArray[np.uint8], caption: str, box: tuple[ZoomBox, tuple[float, float]], panel_px: int
) -> Image.Image:
    zoom, (row_mm, column_mm) = box
    scale = panel_px / (grey.shape[1] * column_mm)
    height = max(round(grey.shape[0] * row_mm * scale), 1)
    whole = Image.fromarray(grey).resize((panel_px, height), Image.Resampling.BICUBIC).convert("RGB")
    left, top = zoom.column * column_mm * scale, zoom.row * row_mm * scale
    right, bottom = left + zoom.side * column_mm * scale, top + zoom.side * row_mm * scale
    ImageDraw.Draw(whole).rectangle((left, top, right, bottom), outline=BOX_COLOUR, width=2)
    cut = grey[zoom.row : zoom.row + zoom.side, zoom.column : zoom.column + zoom.side]
    # The box covers `side` pixels each way; where pixels are not square the enlargement is not either.
    inset_height = max(round(panel_px * row_mm / column_mm), 1)
    # Nearest neighbour: the enlargement must show pixels as they are, not a second smoothing.
    inset = Image.fromarray(cut).resize((panel_px, inset_height), Image.Resampling.NEAREST).convert("RGB")
    ImageDraw.Draw(inset).rectangle((0, 0, panel_px - 1, inset_height - 1), outline=BOX_COLOUR, width=3)
    panel = Image.new("RGB", (panel_px, _CAPTION + height + _GAP + inset_height), (255, 255, 255))
    ImageDraw.Draw(panel).text(
        (panel_px / 2, _CAPTION / 2), drawable(caption), fill=(20, 20, 20), font=font(17), anchor="mm"
    )
    panel.paste(whole, (0, _CAPTION))
    panel.paste(inset, (0, _CAPTION + height + _GAP))
    return panel
