"""The phantom's liver: parenchyma, gallbladder, portal and hepatic veins, lesions, a cyst."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hepar.datasets.phantom.anatomy import Shapes, Tissue
from hepar.datasets.phantom.canvas import Box, Canvas, Floats, Mask, Place, ellipsoid, reach, smooth_field, tube_level
from hepar.volume import LIVER, TUMOUR

Segment = tuple[NDArray[Any], NDArray[Any], float, float]


@dataclass(frozen=True)
class LesionPlan:
    """Diameters in mm, largest first, and how far below the liver they lie in HU (smallest, largest)."""

    diameters_mm: tuple[float, ...]
    contrast_hu: tuple[float, float]
    cysts: int


def paint_liver(
    canvas: Canvas, shapes: Shapes, tissue: Tissue, volume_ml: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Gallbladder, liver of `volume_ml` where there is room, and its veins. Returns labels 0 and 1."""
    p = canvas.around((-175, -115, -140), (150, 115, 120))
    gallbladder = ellipsoid(p, (-44, -46, -40), (15, 18, 28), 35)
    canvas.fill(p, gallbladder, np.where(gallbladder > -2, 55, 8), margin_mm=0.5)
    level = shapes.liver(p) + smooth_field(rng, (14, 16, 18), p.x.shape, 1.6)
    # The right kidney lies behind the liver, not in it: its bed reaches back to the wall.
    bed = ellipsoid(p, (-48, 92, -50), (42, 52, 68))
    room = canvas.free[p.box] & (bed > 0)
    # The level that encloses the wished volume: the liver fills the room under dome and ribs, as real ones do.
    wished = min(int(volume_ml / canvas.voxel_ml), int(np.count_nonzero(room)) - 1)
    cut = np.partition(level[room], wished)[wished]
    pieces, _ = ndimage.label(room & (level < cut))
    liver = pieces == np.argmax(np.bincount(pieces.ravel())[1:]) + 1
    texture = smooth_field(rng, (20, 40, 40), p.x.shape, 3.0)
    canvas.recolour(p, liver, tissue.liver + texture)
    canvas.free[p.box] &= ~ndimage.binary_dilation(liver)
    labels = np.zeros(canvas.hu.shape, dtype=np.uint8)
    labels[p.box][liver] = LIVER
    for segment in _veins(rng):
        _paint_vein(canvas, labels, segment, tissue.vessel)
    return labels


def _veins(rng: np.random.Generator) -> Iterator[Segment]:
    """Portal tree from the hilum, three hepatic veins from the vena cava."""
    hilum, cava = np.array([-36.0, -8.0, -2.0]), np.array([-26.0, -8.0, 66.0])
    yield np.array([-28.0, 0.0, -10.0]), hilum, 7.5, 7.0
    for toward, radius in (((-1, 0.45, 0.1), 6.0), ((-0.9, -0.55, 0.25), 5.0), ((0.75, -0.75, 0.5), 5.0)):
        yield from _branch(rng, hilum, np.array(toward), radius, 5)
    for toward, radius in (((-0.95, 0.3, -0.35), 6.0), ((-0.45, -0.8, -0.5), 5.5), ((0.75, -0.75, -0.2), 5.0)):
        yield from _branch(rng, cava, np.array(toward), radius, 5)


def _branch(
    rng: np.random.Generator, start: NDArray[Any], toward: NDArray[Any], radius: float, depth: int
) -> Iterator[Segment]:
    toward = toward / np.linalg.norm(toward)
    end = start + toward * radius * rng.uniform(4.2, 6.2)
    yield start, end, radius, radius * 0.84
    if depth == 0 or radius < 1.0:
        return
    for share in (0.8, 0.68):
        yield from _branch(rng, end, toward + rng.normal(0, 0.42, 3), radius * share, depth - 1)


def _paint_vein(canvas: Canvas, labels: NDArray[np.uint8], segment: Segment, hu: float) -> None:
    start, end, first, last = segment
    place = canvas.around(*reach((start, end), first))
    level = tube_level(place, (start, end), (first, last))
    canvas.recolour(place, (level < 0) & (labels[place.box] == LIVER), hu)


def paint_lesions(
    canvas: Canvas, labels: NDArray[np.uint8], tissue: Tissue, plan: LesionPlan, rng: np.random.Generator
) -> None:
    """Lesions (label 2) and cysts (water, stay label 1) at chance places inside the liver; edits `labels`."""
    box, centres = _candidates(labels, rng)
    taken: list[tuple[NDArray[Any], float]] = []
    sizes = [(d / 2, False) for d in plan.diameters_mm]
    sizes += [(rng.uniform(4, 14), True) for _ in range(plan.cysts)]
    whole = canvas.place(box)
    for radius, is_cyst in sizes:
        centre = _pick(whole, centres, taken, radius)
        if centre is None:
            continue
        taken.append((centre, radius))
        if is_cyst:
            _paint_cyst(canvas, labels, centre, radius)
        else:
            _paint_lesion(canvas, labels, (centre, radius), tissue.liver - rng.uniform(*plan.contrast_hu), rng)


def _candidates(labels: NDArray[np.uint8], rng: np.random.Generator) -> tuple[Box, NDArray[np.intp]]:
    """Liver voxels a little away from the surface, in chance order, as indices into the liver's box."""
    box = ndimage.find_objects(labels)[LIVER - 1]
    inner = ndimage.binary_erosion(labels[box] == LIVER, np.ones((1, 3, 3)), iterations=3)
    places = np.argwhere(inner)
    return box, places[rng.permutation(len(places))[:400]]


def _pick(
    whole: Place, centres: NDArray[np.intp], taken: Sequence[tuple[NDArray[Any], float]], radius: float
) -> NDArray[Any] | None:
    """The first candidate whose lesion, irregular as it is, touches no earlier one; None when the liver is full."""
    for index in centres:
        at = tuple(index)
        centre = np.array([whole.x[at], whole.y[at], whole.z[at]])
        if all(np.linalg.norm(centre - other) > 1.3 * (radius + r) + 4 for other, r in taken):
            return centre
    return None


def _paint_cyst(canvas: Canvas, labels: NDArray[np.uint8], centre: NDArray[Any], radius: float) -> None:
    place = canvas.around(*reach((centre,), radius))
    level = ellipsoid(place, tuple(centre.tolist()), (radius, radius, radius))
    canvas.recolour(place, (level < 0) & (labels[place.box] == LIVER), 6.0)


def _paint_lesion(
    canvas: Canvas,
    labels: NDArray[np.uint8],
    ball: tuple[NDArray[Any], float],
    hu: float,
    rng: np.random.Generator,
) -> None:
    """An irregular ellipsoid; some with an enhancing rim, some with a necrotic core."""
    centre, radius = ball
    squash = rng.uniform(0.82, 1.2, 3)
    radii = tuple((radius * squash / np.prod(squash) ** (1 / 3)).tolist())
    place = canvas.around(*reach((centre,), radius * 1.5))
    level = ellipsoid(place, tuple(centre.tolist()), radii, float(rng.uniform(0, 180)))
    level = level + smooth_field(rng, (5, 6, 6), level.shape, 0.12 * radius)
    mine: Mask = (level < 0) & (labels[place.box] == LIVER)
    shade: Floats = np.full(level.shape, hu, dtype=np.float32)
    if radius > 7 and rng.random() < 0.3:
        shade[level > -2.2] = hu + 55
    if radius > 10 and rng.random() < 0.35:
        shade[level < -0.45 * radius] = hu - 22
    shade += smooth_field(rng, (5, 7, 7), level.shape, 4.0)
    canvas.recolour(place, mine, shade)
    labels[place.box][mine] = TUMOUR
