"""The same slices for every method: a row a method, a column a slice, truth and result outlined, Dice below each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw
from PIL.Image import Image

from hepar.errors import BadInput
from hepar.metrics.crop import Box, box_of, cropped, shared_box
from hepar.report.gallery import LEGEND, outlined
from hepar.report.pictures import Display, Slice, drawable, font, overlay_picture
from hepar.volume import LabelMap, Volume

MARGIN_MM = 30.0
LOOK = Display(window_hu=(-40.0, 160.0), size_px=(236, 196))
INK, PAPER, FRAME, PALE = (28, 39, 51), (255, 255, 255), (20, 22, 26), (228, 232, 236)
_GAP, _LINE, _LABEL_PX = 6, 17, 168


@dataclass(frozen=True, eq=False)
class Column:
    """One slice of a case: `ct` and `truth` in the axial view, `index` in it, and what stands above."""

    ct: Volume
    truth: LabelMap
    index: int
    title: str


@dataclass(frozen=True, eq=False)
class MethodRow:
    """A method's labels for each column, on the axial grid; None with a `word` where there are none."""

    title: str
    note: str
    found: tuple[LabelMap | None, ...]
    liver_only: bool = False
    word: str = "labels are not here"


def picture_matrix(
    columns: Sequence[Column], rows: Sequence[MethodRow], words: tuple[str, ...], look: Display = LOOK
) -> Image:
    """The matrix with the bare slices on top and the legend below; `words` are the lines of its heading.

    Raises BadInput without a column or row.
    """
    if not columns or not rows:
        raise BadInput(f"found {len(columns)} slices and {len(rows)} methods to show; expected one of each or more")
    boxes = [_box(column) for column in columns]
    lines = [_line("slices", "without outlines", [_bare(c, b, look) for c, b in zip(columns, boxes, strict=True)])]
    for row in rows:
        tiles = [_tile(row, *one, look) for one in zip(columns, boxes, row.found, strict=True)]
        lines.append(_line(row.title, row.note, tiles))
    width = lines[0].width
    paper = ImageDraw.Draw(lines[0])
    words = tuple(line for text in words for line in _wrapped(text, paper, width - 12, 14))
    sheet = Pillow.new(
        "RGB", (width, sum(line.height + _GAP for line in lines) + (2 + len(words)) * _LINE + _GAP), PAPER
    )
    draw = ImageDraw.Draw(sheet)
    for number, text in enumerate(words):
        draw.text((6, 5 + number * _LINE), drawable(text), fill=INK, font=font(12 if number else 14))
    y = len(words) * _LINE + _GAP
    for line in lines:
        sheet.paste(line, (0, y))
        y += line.height + _GAP
    _legend(draw, y)
    return sheet


def slice_dice(truth: NDArray[np.bool_], found: NDArray[np.bool_]) -> float | None:
    """Dice of two masks; None where both are empty."""
    both = int(truth.sum()) + int(found.sum())
    return 2 * int((truth & found).sum()) / both if both else None


def _box(column: Column) -> Box:
    """The liver's box in the slice with a margin, or the whole slice; the same for all methods."""
    whole = tuple(slice(0, n) for n in column.truth.labels.shape)
    labelled = box_of(column.truth.labels, column.truth.labels)
    parts = [whole[0]]
    for axis in (1, 2):
        part, margin = labelled[axis], round(MARGIN_MM / column.truth.geometry.spacing_mm[axis])
        parts.append(whole[axis] if part.stop == part.start else slice(part.start - margin, part.stop + margin))
    return shared_box((whole[0], whole[1], whole[2]), (parts[0], parts[1], parts[2]))


def _cut(column: Column, box: Box) -> tuple[Volume, LabelMap]:
    truth = cropped(column.truth, box)
    return replace(column.ct, values=np.ascontiguousarray(column.ct.values[box]), geometry=truth.geometry), truth


def _bare(column: Column, box: Box, look: Display) -> Image:
    ct, _ = _cut(column, box)
    return _framed(overlay_picture(ct, None, Slice("axial", column.index), look), column.title, look)


def _tile(row: MethodRow, column: Column, box: Box, found: LabelMap | None, look: Display) -> Image:
    if found is None:
        empty = Pillow.new("RGB", look.size_px, PALE)
        word = drawable(row.word)
        ImageDraw.Draw(empty).text(
            (look.size_px[0] / 2, look.size_px[1] / 2), word, fill=INK, font=font(12), anchor="mm"
        )
        return _framed(empty, "", look)
    ct, truth = _cut(column, box)
    picture = outlined(ct, truth, cropped(found, box), Slice("axial", column.index), look)
    return _framed(picture, _told(column.truth, found, column.index, row.liver_only), look)


def _told(truth: LabelMap, found: LabelMap, index: int, liver_only: bool) -> str:
    """ "liver 0.93, tumour 0.41": Dice in this slice."""
    seen, marked = truth.labels[index], found.labels[index]
    values = {"liver": slice_dice(seen >= 1, marked >= 1), "tumour": slice_dice(seen == 2, marked == 2)}
    texts = {name: "-" if value is None else f"{value:.2f}" for name, value in values.items()}
    if liver_only:
        texts["tumour"] = "n/a"
    return f"liver {texts['liver']}, tumour {texts['tumour']}"


def _framed(picture: Image, below: str, look: Display) -> Image:
    tile = Pillow.new("RGB", (look.size_px[0], look.size_px[1] + _LINE), FRAME)
    tile.paste(picture, ((look.size_px[0] - picture.width) // 2, (look.size_px[1] - picture.height) // 2))
    draw = ImageDraw.Draw(tile)
    draw.rectangle((0, look.size_px[1], tile.width, tile.height), fill=PAPER)
    draw.text((tile.width / 2, look.size_px[1] + _LINE / 2), drawable(below), fill=INK, font=font(12), anchor="mm")
    return tile


def _line(title: str, note: str, tiles: Sequence[Image]) -> Image:
    width = _LABEL_PX + sum(tile.width + _GAP for tile in tiles)
    line = Pillow.new("RGB", (width, tiles[0].height), PAPER)
    draw = ImageDraw.Draw(line)
    draw.text((6, 8), drawable(title), fill=INK, font=font(14))
    for number, words in enumerate(_wrapped(note, draw)):
        draw.text((6, 30 + number * 15), drawable(words), fill=(81, 96, 111), font=font(11))
    x = _LABEL_PX
    for tile in tiles:
        line.paste(tile, (x, 0))
        x += tile.width + _GAP
    return line


def _wrapped(text: str, draw: ImageDraw.ImageDraw, width: int = _LABEL_PX - 14, size: int = 11) -> list[str]:
    """The text in lines that fit, beside the tiles if nothing else is said; a word that is too long stays whole."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and draw.textlength(drawable(longer), font=font(size)) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _legend(draw: ImageDraw.ImageDraw, y: int) -> None:
    x = 6.0
    for text, colour in LEGEND:
        draw.rectangle((x, y + 6, x + 22, y + 6 + (5 if "reference" in text else 3)), fill=colour)
        draw.text((x + 28, y + 9), text, fill=INK, font=font(12), anchor="lm")
        x += 50 + draw.textlength(text, font=font(12))
    draw.text(
        (6, y + 9 + _LINE), "Dice below each picture is of that slice alone.", fill=INK, font=font(12), anchor="lm"
    )
