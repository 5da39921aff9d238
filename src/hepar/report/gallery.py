"""Contact sheets of left-out patients: the bare slice, and beside it the outlines of truth and result.

Pictures of real CT are for the reader's own eyes: they go where the reader
says, and never into a repository.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

import hepar
from hepar.errors import BadInput
from hepar.files import replace_whole, require_writable, write_text
from hepar.metrics.crop import Box, box_of, cropped, shared_box
from hepar.report.pictures import Colour, Display, Plane, Slice, drawable, font, overlay_picture
from hepar.volume import LIVER, TUMOUR, LabelMap, Volume, require_same_grid

# Truth in cool colours and broad, result in warm ones and thin: where they agree, both are seen.
TRUTH_LIVER: Colour = (60, 200, 120)
TRUTH_TUMOUR: Colour = (90, 190, 255)
FOUND_LIVER: Colour = (255, 205, 40)
FOUND_TUMOUR: Colour = (255, 70, 60)
LEGEND = (
    ("liver, reference", TRUTH_LIVER),
    ("liver, result", FOUND_LIVER),
    ("tumour, reference", TRUTH_TUMOUR),
    ("tumour, result", FOUND_TUMOUR),
)
# A liver window: centre 60, width 200 HU, which is all that windowed slices hold.
LOOK = Display(window_hu=(-40.0, 160.0), size_px=(460, 370))
MARGIN_MM = 30.0
_TRUTH_PX, _FOUND_PX = 2.5, 1.0
# Outlines are found on a finer grid, so that they come out smooth.
_FINE = 4
_COLUMNS, _ROWS, _GAP, _LINE = 2, 4, 8, 18
_INK, _PAPER = (235, 235, 235), (0, 0, 0)
NOTE = (
    "Patient right is on image left. In stacks of single slices, numbers and positions count the slices that were "
    "kept. Pictures of patients: do not publish, do not commit."
)


@dataclass(frozen=True, eq=False)
class Shown:
    """One case on a sheet: `title` and `facts` are its caption, `views` say which slices and why.

    All three lie on one grid; views count in the axial view.
    """

    ct: Volume
    truth: LabelMap
    found: LabelMap
    title: str
    facts: tuple[str, ...]
    views: tuple[tuple[Slice, str], ...]


def worst_view(truth: LabelMap, found: LabelMap, label: int, plane: Plane = "axial") -> Slice | None:
    """The slice with most voxels where only one of the two has at least `label`; None where they agree."""
    axis = {"axial": 0, "coronal": 1, "sagittal": 2}[plane]
    wrong = (truth.axial().labels >= label) != (found.axial().labels >= label)
    return _most(wrong, axis, plane)


def largest_view(labels: LabelMap, label: int, plane: Plane = "axial") -> Slice | None:
    """The slice with most voxels of at least `label`; None where there is none."""
    axis = {"axial": 0, "coronal": 1, "sagittal": 2}[plane]
    return _most(labels.axial().labels >= label, axis, plane)


def _most(mask: NDArray[np.bool_], axis: int, plane: Plane) -> Slice | None:
    areas = mask.sum(axis=tuple(other for other in range(3) if other != axis))
    return Slice(plane, int(areas.argmax())) if areas.any() else None


def outlined(ct: Volume, truth: LabelMap, found: LabelMap, where: Slice, look: Display = LOOK) -> Image.Image:
    """One slice with four outlines and no fill: what lies under them stays visible.

    Raises GeometryMismatch when the three do not lie on one grid, BadInput for a slice outside the scan.
    """
    require_same_grid(truth, found)
    picture = overlay_picture(ct, None, where, look)
    flat = [_flat(labels.axial().labels, where) for labels in (truth, found)]
    for label, colours in ((LIVER, (TRUTH_LIVER, FOUND_LIVER)), (TUMOUR, (TRUTH_TUMOUR, FOUND_TUMOUR))):
        for values, colour, line in zip(flat, colours, (_TRUTH_PX, _FOUND_PX), strict=True):
            picture = _drawn(picture, values >= label, colour, line)
    return picture


def pair(item: Shown, where: Slice, look: Display = LOOK) -> Image.Image:
    """The bare slice and the outlined one beside each other, cut to the liver and its surroundings."""
    ct, truth, found = _around(item, where)
    left, right = overlay_picture(ct, None, where, look), outlined(ct, truth, found, where, look)
    tile = Image.new("RGB", (2 * look.size_px[0] + 2, look.size_px[1]), _PAPER)
    for place, picture in enumerate((left, right)):
        x = place * (look.size_px[0] + 2) + (look.size_px[0] - picture.width) // 2
        tile.paste(picture, (x, (look.size_px[1] - picture.height) // 2))
    return tile


def captioned(item: Shown, number: int, look: Display = LOOK) -> Image.Image:
    """One view of a case with its caption above."""
    where, why = item.views[number]
    picture = pair(item, where, look)
    lines = [f"{item.title}: {why}", *item.facts]
    tile = Image.new("RGB", (picture.width, picture.height + _LINE * len(lines) + 6), (38, 44, 52))
    tile.paste(picture, (0, tile.height - picture.height))
    draw = ImageDraw.Draw(tile)
    for row, text in enumerate(lines):
        size = 14 if row == 0 else 12
        draw.text(
            (6, 3 + row * _LINE), drawable(_fitting(text, draw, size, tile.width - 12)), fill=_INK, font=font(size)
        )
    return tile


def sheet_of(tiles: Sequence[Image.Image], look: Display = LOOK) -> Image.Image:
    """Captioned pairs in two columns, with the legend below. Raises BadInput without a tile."""
    if not tiles:
        raise BadInput("no case to show; give at least one")
    columns = min(_COLUMNS, len(tiles))
    lines = [tiles[i : i + columns] for i in range(0, len(tiles), columns)]
    width = columns * tiles[0].width + (columns - 1) * _GAP
    heights = [max(tile.height for tile in line) for line in lines]
    sheet = Image.new("RGB", (width, sum(heights) + _GAP * len(lines) + 2 * _LINE), (255, 255, 255))
    y = 0
    for line, height in zip(lines, heights, strict=True):
        for column, tile in enumerate(line):
            sheet.paste(tile, (column * (tile.width + _GAP), y))
        y += height + _GAP
    _legend(sheet, y, look)
    return sheet


def write_gallery(items: Iterable[Shown], out: Path, heading: str, look: Display = LOOK) -> list[Path]:
    """`sheet1.png`, ... and `gallery.html`, which shows them offline; items are read one after the other.

    Raises BadInput for a folder within a repository and without an item, OutputError where nothing can be written.
    """
    require_outside_repository(out)
    require_writable(out)
    tiles: list[Image.Image] = []
    told: list[tuple[str, tuple[str, ...], list[str]]] = []
    paths: list[Path] = []
    for item in items:
        told.append((item.title, item.facts, [why for _, why in item.views]))
        for number in range(len(item.views)):
            tiles.append(captioned(item, number, look))
            if len(tiles) == _COLUMNS * _ROWS:
                paths.append(_written(tiles, out, len(paths) + 1, look))
                tiles = []
    if tiles or not paths:
        paths.append(_written(tiles, out, len(paths) + 1, look))
    write_text(out / "gallery.html", _page(heading, [path.name for path in paths], told))
    return [*paths, out / "gallery.html"]


def require_outside_repository(out: Path) -> None:
    """Pictures of patients that lie in a repository are committed sooner or later. Raises BadInput."""
    place = out.resolve()
    if any((folder / ".git").exists() for folder in (place, *place.parents)):
        raise BadInput(
            f"'{out.name}' lies in a git repository; pictures of real CT stay out of it, choose another folder"
        )


def _written(tiles: Sequence[Image.Image], out: Path, number: int, look: Display) -> Path:
    path = out / f"sheet{number}.png"
    with replace_whole(path) as temporary:
        sheet_of(tiles, look).save(temporary, format="PNG")
    return path


def _page(heading: str, sheets: Sequence[str], told: Sequence[tuple[str, tuple[str, ...], list[str]]]) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(title)}</td><td>{html.escape('; '.join(views))}</td>"
        f"<td>{html.escape('; '.join(facts))}</td></tr>\n"
        for title, facts, views in told
    )
    pictures = "".join(f'<p><img src="{name}" alt="contact sheet {i + 1}"></p>\n' for i, name in enumerate(sheets))
    policy = "default-src 'none'; img-src 'self' file: data:; style-src 'unsafe-inline'"
    style = (
        "body{font:15px/1.4 system-ui,sans-serif;margin:20px;color:#1c2733}img{max-width:100%}"
        "td{padding:3px 12px 3px 0;vertical-align:top;border-bottom:1px solid #e3e8ed}"
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(heading)}</title>\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n<style>{style}</style></head>\n'
        f"<body><h1>{html.escape(heading)}</h1>\n<p>{html.escape(hepar.DISCLAIMER)}</p>\n<p>{html.escape(NOTE)}</p>\n"
        f"{pictures}<table>\n{rows}</table></body></html>\n"
    )


def _around(item: Shown, where: Slice) -> tuple[Volume, LabelMap, LabelMap]:
    """The axial view, cut across the slice to all labels and a margin; along it nothing, so that numbers stay."""
    ct, truth, found = item.ct.axial(), item.truth.axial(), item.found.axial()
    labelled = box_of(truth.labels, found.labels)
    along = {"axial": 0, "coronal": 1, "sagittal": 2}[where.plane]
    whole = tuple(slice(0, n) for n in ct.values.shape)
    parts = []
    for axis, (part, step) in enumerate(zip(labelled, ct.geometry.spacing_mm, strict=True)):
        margin = round(MARGIN_MM / step)
        empty = axis == along or part.stop == part.start
        parts.append(whole[axis] if empty else slice(part.start - margin, part.stop + margin))
    box: Box = shared_box((whole[0], whole[1], whole[2]), (parts[0], parts[1], parts[2]))
    here, there = cropped(truth, box), cropped(found, box)
    return replace(ct, values=np.ascontiguousarray(ct.values[box]), geometry=here.geometry), here, there


def _flat(labels: NDArray[np.uint8], where: Slice) -> NDArray[np.uint8]:
    """The slice as `overlay_picture` shows it: superior up where it is not axial."""
    axis = {"axial": 0, "coronal": 1, "sagittal": 2}[where.plane]
    flat: NDArray[np.uint8] = np.take(labels, where.index, axis=axis)
    return flat if where.plane == "axial" else flat[::-1]


def _drawn(picture: Image.Image, mask: NDArray[np.bool_], colour: Colour, line_px: float) -> Image.Image:
    """The mask's outline, centred on its edge so that a small lesion is not hidden by it."""
    from scipy import ndimage

    if not mask.any():
        return picture
    fine = (picture.width * _FINE, picture.height * _FINE)
    soft = Image.fromarray(mask.astype(np.uint8) * 255).resize(fine, Image.Resampling.BILINEAR)
    inside = np.asarray(soft) >= 128
    half = max(round(line_px * _FINE / 2), 1)
    ring = ndimage.binary_dilation(inside, iterations=half) & ~ndimage.binary_erosion(inside, iterations=half)
    cover = Image.fromarray(np.where(ring, 255, 0).astype(np.uint8)).resize(picture.size, Image.Resampling.BOX)
    return Image.composite(Image.new("RGB", picture.size, colour), picture, cover)


def _legend(sheet: Image.Image, y: int, look: Display) -> None:
    draw = ImageDraw.Draw(sheet)
    x = 6.0
    for text, colour in LEGEND:
        draw.rectangle((x, y + 2, x + 22, y + 2 + (5 if "reference" in text else 3)), fill=colour)
        draw.text((x + 28, y + 5), text, fill=(40, 40, 40), font=font(13), anchor="lm")
        x += 50 + draw.textlength(text, font=font(13))
    low, high = look.window_hu
    window = f"window {low:g} to {high:g} HU; left: bare slice, right: outlines"
    draw.text((6, y + 5 + _LINE), window, fill=(40, 40, 40), font=font(13), anchor="lm")


def _fitting(text: str, draw: ImageDraw.ImageDraw, size: int, width: float) -> str:
    """The text, cut with dots where it is too long for the tile."""
    if draw.textlength(text, font=font(size)) <= width:
        return text
    while text and draw.textlength(f"{text}...", font=font(size)) > width:
        text = text[:-1]
    return f"{text}..."
