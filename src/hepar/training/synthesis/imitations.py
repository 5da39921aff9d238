"""What looks like a lesion and is none: painted into the image, never into the labels."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hepar.training.synthesis.canvas import Canvas
from hepar.training.synthesis.lesions import Lesion, paint
from hepar.training.synthesis.liver import centre
from hepar.training.synthesis.sections import Box, any_turn, cut, smooth_noise
from hepar.training.synthesis.settings import HU_PER_GREY, WINDOW_FLOOR_HU, LesionSynthesis
from hepar.training.synthesis.shapes import ShapeLibrary
from hepar.volume import BACKGROUND, LIVER

Array = NDArray[np.float32]
Imitation = Callable[[Canvas, ShapeLibrary, np.random.Generator], None]
_FAT_GREY = (-30 - WINDOW_FLOOR_HU) / HU_PER_GREY
# Focal fat fades over this many millimetres rather than end.
_FADING_MM = (5.0, 14.0)
_TISSUE_GREY = 30.0


def cyst(canvas: Canvas, shapes: ShapeLibrary, rng: np.random.Generator) -> None:
    """Water, sharply bordered and without texture. Real references call it liver: see `studies/lesion_realism`."""
    radius = 0.5 * math.exp(rng.uniform(math.log(4), math.log(35)))
    at = centre(canvas.liver, canvas.labels, radius / canvas.grid.pixel_mm, False, rng)
    if at is None:
        return
    water = (rng.uniform(-3, 20) - WINDOW_FLOOR_HU) / HU_PER_GREY - canvas.liver.grey
    # The first quarter of the invented shapes are plain ellipsoids; cysts are round.
    field = shapes.fields[4 * int(rng.integers(max(1, len(shapes) // 4)))]
    z = radius * rng.uniform(-0.8, 0.8)
    lesion = Lesion(*at, z, radius, field, any_turn(rng), "cystic", water, rng.uniform(1.2, 2.5))
    paint(canvas, lesion, LesionSynthesis(vessels_kept=0), rng)


def vessel(canvas: Canvas, shapes: ShapeLibrary, rng: np.random.Generator) -> None:
    """A bent tube, brighter than the liver or, as without contrast medium, darker; it goes on in all slices."""
    del shapes
    at = centre(canvas.liver, canvas.labels, 3.0 / canvas.grid.pixel_mm, False, rng)
    if at is None:
        return
    width = math.exp(rng.uniform(math.log(2.5), math.log(9)))
    half = rng.uniform(0.3, 4) * width
    hu = rng.uniform(12, 45) if rng.random() < 0.7 else -rng.uniform(8, 25)
    box = canvas.grid.box(*at, half + 2 * width + 4)
    along, across = _along(canvas, at, box, rng)
    # A bow of at most a third of the length; the neighbouring slices cut the tube a little further on.
    across = across + rng.uniform(-0.3, 0.3) * (along**2 / half - half / 3) + _lean(canvas, rng)
    distance = np.hypot(across, np.maximum(np.abs(along) - half, 0))
    _add(canvas, box, _soft(0.5 * width - distance, rng.uniform(1.2, 3)), hu / HU_PER_GREY)


def fissure(canvas: Canvas, shapes: ShapeLibrary, rng: np.random.Generator) -> None:
    """A thin line of fat from the liver's border inwards, as a ligament or a fissure shows."""
    del shapes
    rim = _border(canvas, rng)
    if rim is None:
        return
    at, inward = rim
    half, width = rng.uniform(6, 24), rng.uniform(0.8, 3.5)
    start = (at[0] + inward[0] * half / canvas.grid.pixel_mm, at[1] + inward[1] * half / canvas.grid.pixel_mm)
    box = canvas.grid.box(*start, half + 6)
    angle = math.atan2(inward[1], inward[0]) + rng.normal(0, 0.3)
    along, across = _along(canvas, start, box, rng, angle)
    across = across + rng.uniform(-0.25, 0.25) * (along**2 / half - half / 3) + _lean(canvas, rng) * 0.4
    # It thins out inwards.
    taper = np.clip((half - along) / (2 * half), 0, 1)
    alpha = _soft(0.5 * width * taper - np.abs(across), 1.5) * (along < half)
    _add(canvas, box, alpha, _FAT_GREY - canvas.liver.grey)


def focal_fat(canvas: Canvas, shapes: ShapeLibrary, rng: np.random.Generator) -> None:
    """A slightly darker patch at the liver's border that fades out, with the vessels running through unchanged."""
    rim = _border(canvas, rng)
    if rim is None:
        return
    (y, x), inward = rim
    radius, fading = rng.uniform(4, 13), rng.uniform(*_FADING_MM) * 0.6
    inwards = rng.uniform(0.1, 0.8) * radius / canvas.grid.pixel_mm
    at = (y + inward[0] * inwards, x + inward[1] * inwards)
    box = canvas.grid.box(*at, 2 * radius + fading)
    depth = _shape_depth(canvas, at, box, radius, shapes, rng)
    hu = -rng.uniform(10, 34) if rng.random() < 0.8 else rng.uniform(8, 20)
    _add(canvas, box, _soft(depth, fading), hu / HU_PER_GREY)


def streak(canvas: Canvas, shapes: ShapeLibrary, rng: np.random.Generator) -> None:
    """Dark and bright bands right through the image, each slice with its own strength."""
    del shapes
    at = centre(canvas.liver, canvas.labels, 1.0, True, rng)
    if at is None:
        return
    box = (slice(0, canvas.grid.shape[0]), slice(0, canvas.grid.shape[1]))
    down, right = canvas.grid.around(*at, box)
    angle = rng.uniform(0, math.pi)
    across = (down * math.cos(angle) + right * math.sin(angle)).astype(np.float32)
    width = rng.uniform(2, 9)
    band = np.exp(-((across / width) ** 2)) * np.cos(across * rng.uniform(0.5, 2.5) / width)
    strength = rng.normal(0, rng.uniform(5, 18) / HU_PER_GREY, len(canvas.images))
    # Only tissue: air and the window's lower end have nothing to lose.
    patch = canvas.patch(box)
    canvas.put(box, patch + strength[:, None, None].astype(np.float32) * band * (patch > 5))


def dome(canvas: Canvas, shapes: ShapeLibrary, rng: np.random.Generator) -> None:
    """A stretch of the liver's border fades out, as where a slice cuts the dome at a grazing angle."""
    from scipy import ndimage

    rim = _border(canvas, rng)
    if rim is None:
        return
    at, _ = rim
    radius, fading = rng.uniform(18, 40), rng.uniform(1.5, 6)
    box = canvas.grid.box(*at, 1.6 * radius)
    # Not a ball but a band along the border: a ball would be a tumour in all but name.
    inwards = ndimage.distance_transform_edt(np.pad(canvas.labels[box], 1, mode="edge"))[1:-1, 1:-1]
    band = np.exp(-inwards * canvas.grid.pixel_mm / fading)
    stretch = _soft(_shape_depth(canvas, at, box, radius, shapes, rng), 0.8 * radius)
    # Lung above, half the time: darker towards the head.
    steep = 0.06 if rng.random() < 0.5 else 0.0
    lost = rng.uniform(0.3, 0.8) * np.clip(1 + steep * np.asarray(canvas.grid.heights_mm), 0.2, 1.5)
    alpha = np.minimum(0.9, stretch * band * lost[:, None, None]).astype(np.float32)
    _add(canvas, box, alpha, _FAT_GREY - canvas.liver.grey)


def outside_mass(canvas: Canvas, shapes: ShapeLibrary, rng: np.random.Generator) -> None:
    """Soft tissue as dark as a tumour that touches the liver from outside: stomach, bowel, kidney or a true mass."""
    radius = 0.5 * math.exp(rng.uniform(math.log(12), math.log(70)))
    at = _outside(canvas, radius, rng)
    if at is None:
        return
    box = canvas.grid.box(*at, 2 * radius)
    depth = _shape_depth(canvas, at, box, radius, shapes, rng)
    grey = canvas.liver.grey - rng.uniform(8, 60) / HU_PER_GREY
    texture = smooth_noise(canvas.grid, box, 0.4 * radius, rng) * rng.uniform(1, 8)
    _beside_liver(canvas, box, _soft(depth, rng.uniform(1.5, 4)), grey + texture, rng, displaces=False)


def giant_mass(canvas: Canvas, shapes: ShapeLibrary, rng: np.random.Generator) -> None:
    """A cyst or tumour of 6 to 14 cm of another organ that presses on the liver: walls, septa, water to soft tissue."""
    radius = 0.5 * math.exp(rng.uniform(math.log(60), math.log(140)))
    at = _medial(canvas, radius, rng)
    if at is None:
        return
    box = canvas.grid.box(*at, 1.5 * radius)
    depth = _shape_depth(canvas, at, box, radius, shapes, rng)
    tissue = canvas.images[(canvas.middle, *box)][depth[canvas.middle] > 0] > _TISSUE_GREY
    # Where most is fat or air it could reach through the skin.
    if tissue.size == 0 or tissue.mean() < 0.25:
        return
    liver_hu = canvas.liver.grey * HU_PER_GREY + WINDOW_FLOOR_HU
    hu = rng.uniform(0, 60) if rng.random() < 0.6 else liver_hu - rng.uniform(8, 60)
    inside = np.full(depth.shape, (hu - WINDOW_FLOOR_HU) / HU_PER_GREY, np.float32)
    inside += smooth_noise(canvas.grid, box, rng.uniform(0.1, 0.5) * radius, rng) * rng.uniform(0, 8)
    wall = rng.uniform(5, 45) / HU_PER_GREY
    if rng.random() < 0.8:
        inside += wall * np.exp(-((depth / rng.uniform(1.5, 4)) ** 2))
    for _ in range(int(rng.integers(0, 4))):
        # A septum is where a smooth field passes through zero.
        field = smooth_noise(canvas.grid, box, 0.6 * radius, rng)
        inside += wall * np.exp(-((field / rng.uniform(0.03, 0.1)) ** 2))
    displaces = rng.random() < 0.5
    _beside_liver(canvas, box, _soft(depth, rng.uniform(1.5, 4)), inside, rng, displaces)


def _beside_liver(
    canvas: Canvas, box: Box, alpha: Array, grey: Array, rng: np.random.Generator, displaces: bool
) -> None:
    """Blend `grey` in outside the liver; bones and filled vessels stay (a mass lies between them) unless displaced."""
    from scipy import ndimage

    patch = canvas.patch(box)
    outside = ndimage.uniform_filter((canvas.labels[box] == BACKGROUND).astype(np.float32), 3, mode="nearest")
    alpha = alpha * np.clip(2 * outside - 0.7, 0, 1)
    if not displaces:
        alpha = alpha * np.clip((240 - ndimage.uniform_filter(patch, (1, 3, 3), mode="nearest")) / 30, 0, 1)
    grain = smooth_noise(canvas.grid, box, 0.0, rng) * canvas.liver.noise
    canvas.put(box, (patch + alpha * (grey + grain - patch)).astype(np.float32))


def _outside(canvas: Canvas, radius: float, rng: np.random.Generator) -> tuple[float, float] | None:
    """A centre beside the liver where the patient goes on, neither air nor the skin's other side."""
    for _ in range(4):
        rim = _border(canvas, rng)
        if rim is None:
            return None
        (y, x), inward = rim
        away = rng.uniform(0.4, 0.9) * radius / canvas.grid.pixel_mm
        at = (y - inward[0] * away, x - inward[1] * away)
        far = canvas.grid.box(y - 2 * inward[0] * away, x - 2 * inward[1] * away, 4.0)
        here = canvas.images[(canvas.middle, *far)]
        if here.size and here.mean() > _TISSUE_GREY:
            return at
    return None


def _medial(canvas: Canvas, radius: float, rng: np.random.Generator) -> tuple[float, float] | None:
    """A centre beside the liver on the way to where most other tissue is: elsewhere a large ball leaves the body."""
    other = (canvas.images[canvas.middle] > _TISSUE_GREY) & (canvas.labels == BACKGROUND)
    tissue = np.argwhere(other[::4, ::4])
    if len(tissue) == 0:
        return None
    middle = 4 * tissue.mean(axis=0)
    for _ in range(12):
        rim = _border(canvas, rng)
        if rim is None:
            continue
        (y, x), inward = rim
        way = middle - (y, x)
        if -way @ np.asarray(inward) > 0.3 * float(np.hypot(*way)):
            away = rng.uniform(0.6, 0.95) * radius / canvas.grid.pixel_mm
            return y - inward[0] * away, x - inward[1] * away
    return None


IMITATIONS: tuple[Imitation, ...] = (cyst, vessel, fissure, focal_fat, streak, dome, outside_mass, giant_mass)


def _soft(depth: NDArray[np.floating], edge_mm: float) -> Array:
    """0 to 1 over `edge_mm` (10 to 90 %) around depth 0."""
    from scipy.special import ndtr

    return np.asarray(ndtr(depth * np.float32(2.563 / edge_mm)), np.float32)


def _add(canvas: Canvas, box: Box, alpha: Array, change: float) -> None:
    """Inside tumour-free liver only."""
    patch = canvas.patch(box)
    inside = canvas.same_tissue(patch, canvas.labels[box] == LIVER, canvas.liver_grey(box))
    canvas.put(box, patch + alpha * inside * np.float32(change))


def _border(canvas: Canvas, rng: np.random.Generator) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """A random pixel of the liver's outline and the unit direction (y, x) inwards; None where none is clear."""
    from scipy import ndimage

    mask = canvas.liver.mask
    rim = np.flatnonzero(mask & ~ndimage.binary_erosion(mask))
    for _ in range(4):
        y, x = (int(c) for c in np.unravel_index(int(rng.choice(rim)), mask.shape))
        window = mask[max(0, y - 5) : y + 6, max(0, x - 5) : x + 6]
        points = np.argwhere(window).mean(axis=0) - (min(y, 5), min(x, 5))
        length = float(np.hypot(*points))
        if length > 0.8:
            at = (float(y + canvas.liver.box[0].start), float(x + canvas.liver.box[1].start))
            return at, (float(points[0]) / length, float(points[1]) / length)
    return None


def _along(
    canvas: Canvas, at: tuple[float, float], box: Box, rng: np.random.Generator, angle: float | None = None
) -> tuple[Array, Array]:
    """Millimetres along and across a direction (from the y axis to the x axis), (1, y, x)."""
    turn = rng.uniform(0, 2 * math.pi) if angle is None else angle
    down, right = canvas.grid.around(*at, box)
    along = down * math.cos(turn) + right * math.sin(turn)
    across = right * math.cos(turn) - down * math.sin(turn)
    return along[None].astype(np.float32), across[None].astype(np.float32)


def _lean(canvas: Canvas, rng: np.random.Generator) -> Array:
    """Shift of each channel in mm, (channel, 1, 1): tubes and sheets rarely stand upright."""
    return (np.asarray(canvas.grid.heights_mm) * rng.uniform(-0.9, 0.9))[:, None, None].astype(np.float32)


def _shape_depth(
    canvas: Canvas, at: tuple[float, float], box: Box, radius: float, shapes: ShapeLibrary, rng: np.random.Generator
) -> Array:
    field = shapes.fields[int(rng.integers(len(shapes)))]
    down, right = canvas.grid.around(*at, box)
    up = np.asarray(canvas.grid.heights_mm, np.float32) - np.float32(rng.uniform(-0.5, 0.5) * radius)
    return cut(field, radius, any_turn(rng), (up, down, right))
