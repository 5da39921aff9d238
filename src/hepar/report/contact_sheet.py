"""The slices that matter, chosen and laid out on one sheet."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from hepar.report.pictures import LIVER_COLOUR, TUMOUR_COLOUR, Display, Slice, font, overlay_picture
from hepar.volume import LabelMap, Volume

# Slices closer than this look alike.
_APART_MM = 15.0
_MARGIN_MM = 12.0
_BODY_HU = -300.0


def contact_sheet(
    ct: Volume, labels: LabelMap, truth: LabelMap | None = None, display: Display | None = None
) -> Image.Image:
    """Five axial slices and a coronal one in a grid of 3 x 2; with `truth`, pairs in a grid of 2 x 3.

    The slices: largest tumour and liver area, tumours not on these, quartiles of the
    liver's extent; quartiles of the scan when no liver is marked.
    """
    look = display or Display(size_px=(470, 390) if truth is None else (400, 330))
    chosen = key_slices(ct, labels, truth)
    rows = []
    for where, title in chosen:
        if truth is None:
            rows.append(_fit(overlay_picture(ct, labels, where, look, title), look))
        else:
            pair = (
                overlay_picture(ct, labels, where, look, f"found: {title}"),
                overlay_picture(ct, truth, where, look, "reference labels"),
            )
            rows.append(_beside([_fit(p, look) for p in pair], gap=2))
    columns = 3 if truth is None else 2
    lines = [_beside(rows[i : i + columns], gap=8) for i in range(0, len(rows), columns)]
    sheet = _stacked(lines, gap=8)
    return _with_legend(sheet, look)


def key_slices(ct: Volume, labels: LabelMap, truth: LabelMap | None = None) -> list[tuple[Slice, str]]:
    """Five axial slices, from head to feet, and a coronal one, each with the reason why it was chosen."""
    seen = labels.axial()
    reference = seen if truth is None or seen.liver.any() else truth.axial()
    crop, coronal_crop = body_crops_mm(ct.axial())
    chosen = _axial_choice(reference)
    axial = [(Slice("axial", z, crop), why) for z, why in sorted(chosen.items(), reverse=True)]
    y, why = _coronal_choice(reference)
    return [*axial, (Slice("coronal", y, coronal_crop), why)]


def _axial_choice(labels: LabelMap) -> dict[int, str]:
    """Slice index to reason, five of them where the scan has as many."""
    tumour = labels.tumour.sum(axis=(1, 2))
    liver = labels.liver.sum(axis=(1, 2))
    apart = max(round(_APART_MM / labels.geometry.spacing_mm[0]), 1)
    chosen: dict[int, str] = {}
    if tumour.any():
        chosen[int(tumour.argmax())] = "largest tumour area"
    if liver.any():
        chosen.setdefault(int(liver.argmax()), "largest liver area")
    for z in _unseen_tumours(labels, list(chosen)):
        chosen[z] = "another tumour"
    extent = np.flatnonzero(liver) if liver.any() else np.arange(len(liver))
    what = "liver" if liver.any() else "scan"
    # Quartiles count from the lowest slice upwards; the second round accepts neighbours of chosen slices.
    for least in (apart, 1):
        for share in (0.5, 0.75, 0.25, 0.9, 0.1):
            z = int(extent[int(share * (len(extent) - 1))])
            if len(chosen) < 5 and all(abs(z - other) >= least for other in chosen):
                chosen[z] = f"{share:.0%} of the {what}'s height"
    return chosen


def _unseen_tumours(labels: LabelMap, chosen: list[int]) -> list[int]:
    """Up to two slices with the largest area of tumours that no chosen slice shows."""
    pieces, _ = ndimage.label(labels.tumour)
    found: list[int] = []
    for _ in range(2):
        seen = np.unique(pieces[chosen + found])
        area = ((pieces > 0) & ~np.isin(pieces, seen[seen > 0])).sum(axis=(1, 2))
        if area.any():
            found.append(int(area.argmax()))
    return found


def _coronal_choice(labels: LabelMap) -> tuple[int, str]:
    for mask, name in ((labels.tumour, "tumour"), (labels.liver, "liver")):
        if mask.any():
            return int(mask.sum(axis=(0, 2)).argmax()), f"coronal, largest {name} area"
    return labels.labels.shape[1] // 2, "coronal, middle of the scan"


def body_crops_mm(
    ct: Volume,
) -> tuple[tuple[float, float, float, float], tuple[float, float, float, float]]:
    """(left, top, right, bottom) around the patient, for axial and for coronal pictures."""
    z_mm, y_mm, x_mm = ct.geometry.spacing_mm
    # Every fourth voxel is enough to find a body; a table is thin and rarely above -300 HU.
    body = ct.values[::2, ::4, ::4] > _BODY_HU
    top, bottom = _extent_mm(body.mean(axis=(0, 2)), y_mm * 4)
    left, right = _extent_mm(body.mean(axis=(0, 1)), x_mm * 4)
    return (left, top, right, bottom), (left, 0.0, right, ct.values.shape[0] * z_mm)


def _extent_mm(profile: NDArray[np.floating], step_mm: float) -> tuple[float, float]:
    full = len(profile) * step_mm
    found = np.flatnonzero(profile > 0.02)
    if not len(found):
        return 0.0, full
    return max(found[0] * step_mm - _MARGIN_MM, 0.0), min((found[-1] + 1) * step_mm + _MARGIN_MM, full)


def _fit(picture: Image.Image, look: Display) -> Image.Image:
    """Centred on a black tile with room for the caption, so that a grid lines up."""
    tile = Image.new("RGB", (look.size_px[0], look.size_px[1] + 24), (0, 0, 0))
    tile.paste(picture, ((tile.width - picture.width) // 2, (tile.height - picture.height) // 2))
    return tile


def _beside(pictures: list[Image.Image], gap: int) -> Image.Image:
    width = sum(p.width for p in pictures) + gap * (len(pictures) - 1)
    line = Image.new("RGB", (width, max(p.height for p in pictures)), (255, 255, 255))
    x = 0
    for picture in pictures:
        line.paste(picture, (x, 0))
        x += picture.width + gap
    return line


def _stacked(pictures: list[Image.Image], gap: int) -> Image.Image:
    height = sum(p.height for p in pictures) + gap * (len(pictures) - 1)
    sheet = Image.new("RGB", (max(p.width for p in pictures), height), (255, 255, 255))
    y = 0
    for picture in pictures:
        sheet.paste(picture, (0, y))
        y += picture.height + gap
    return sheet


def _with_legend(sheet: Image.Image, look: Display) -> Image.Image:
    framed = Image.new("RGB", (sheet.width, sheet.height + 30), (255, 255, 255))
    framed.paste(sheet, (0, 0))
    draw = ImageDraw.Draw(framed)
    x, y = 4.0, sheet.height + 15
    for colour, text in ((LIVER_COLOUR, "liver, tumours included"), (TUMOUR_COLOUR, "tumour")):
        draw.rectangle((x, y - 6, x + 18, y + 6), fill=colour)
        draw.text((x + 24, y), text, fill=(40, 40, 40), font=font(14), anchor="lm")
        x += 44 + draw.textlength(text, font=font(14))
    low, high = look.window_hu
    draw.text((sheet.width - 4, y), f"window {low:g} to {high:g} HU", fill=(40, 40, 40), font=font(14), anchor="rm")
    return framed
