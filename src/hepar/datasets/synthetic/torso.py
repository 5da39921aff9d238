"""Where the unlabelled parts of a trunk lie: skin, spine, cavity, diaphragm.

Everything is found from what is labelled (skin, bones, liver, sometimes
lungs) in cylinder coordinates around the trunk's axis; positions are the
phantom canvas's (x to the patient's left, y to posterior, z to superior, mm
from the middle of the grid).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hepar.datasets.phantom.canvas import Floats, Mask
from hepar.datasets.synthetic.organ_map import Organ, OrganMap
from hepar.geometry import Triple

ANGLES = 96
RAY_STEP_MM = 1.5
# Organs within the abdominal and thoracic wall.
INNER = (Organ.LUNG, Organ.STOMACH, Organ.PANCREAS, Organ.SPLEEN, Organ.KIDNEY, Organ.GALLBLADDER, Organ.LIVER)
# An experts' lung smaller than this is a sliver at the edge of the scan.
LEAST_LUNG_ML = 60.0


@dataclass(frozen=True, eq=False)
class Torso:
    """The frame of one trunk on the grid of its organ map.

    `depth_mm` is the distance to the skin inside the body (0 outside), in
    plane. `wall_mm` is the distance to the inner side of the wall, below 0 in
    the cavity. `angle` (y, x) is 0 in front, positive to the patient's left.
    `spine_x` and `spine_front` (z) place the vertebral bodies' front edge.
    `diaphragm` (y, x) is the height above which the thorax begins.
    """

    body: Mask
    depth_mm: Floats
    wall_mm: Floats
    angle: Floats
    spine_x: Floats
    spine_front: Floats
    diaphragm: Floats
    half_width: float
    half_depth: float
    axis: tuple[float, float]
    axes_mm: tuple[Floats, Floats, Floats]

    def above_diaphragm(self) -> Floats:
        """Height over the diaphragm in mm (z, y, x)."""
        return np.asarray(self.axes_mm[0][:, None, None] - self.diaphragm[None], dtype=np.float32)

    def beside_spine(self) -> tuple[Floats, Floats]:
        """(z, 1, x) distance to the left of the spine and (z, y, 1) distance behind the vertebral bodies' front."""
        _, y, x = self.axes_mm
        left = x[None, None, :] - self.spine_x[:, None, None]
        behind = y[None, :, None] - self.spine_front[:, None, None]
        return left.astype(np.float32), behind.astype(np.float32)


def torso_of(organs: OrganMap, rng: np.random.Generator) -> Torso:
    """The frame of a trunk; chance decides what the labels leave open (left diaphragm, depth of the recesses)."""
    labels, spacing = organs.labels, organs.geometry.spacing_mm
    axes = tuple(
        ((np.arange(n) - (n - 1) / 2) * s).astype(np.float32) for n, s in zip(labels.shape, spacing, strict=True)
    )
    body = body_of(labels)
    spine_x, spine_front = _spine(labels, body, axes, spacing)
    rows = np.flatnonzero(body.any(axis=(0, 2)))
    columns = np.flatnonzero(body.any(axis=(0, 1)))
    axis = (float(axes[1][rows].mean()), float(np.median(spine_x)))
    wall, angle = _wall(labels, body, axis, axes, spacing)
    half = float(np.ptp(axes[2][columns]) / 2), float(np.ptp(axes[1][rows]) / 2)
    sheet = _diaphragm(labels, axes, axis, half, rng)
    depth = np.stack([ndimage.distance_transform_edt(np.pad(s, 1))[1:-1, 1:-1] for s in body])
    return Torso(
        body,
        np.asarray(depth * spacing[1], dtype=np.float32),
        wall,
        angle,
        spine_x,
        spine_front,
        sheet,
        *half,
        axis=axis,
        axes_mm=axes,
    )


def body_of(labels: NDArray[np.uint8]) -> Mask:
    """All that is not air around, one piece a slice, without holes; frayed edges are smoothed."""
    body = np.zeros(labels.shape, bool)
    for z, part in enumerate(labels):
        mask = ndimage.binary_opening(np.pad(part > 0, 1), iterations=2)
        pieces, count = ndimage.label(mask)
        if count > 1:
            mask = pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:])
        body[z] = ndimage.binary_fill_holes(mask)[1:-1, 1:-1]
    # A soft threshold over 3 slices rounds the steps that thresholding the scan left.
    return np.asarray(ndimage.gaussian_filter(body.astype(np.float32), (0.7, 1.2, 1.2), truncate=2) > 0.5)


def _spine(labels: NDArray[np.uint8], body: Mask, axes: tuple[Floats, ...], spacing: Triple) -> tuple[Floats, Floats]:
    """x of the spine and y of its front in every slice; slices without a vertebra take them from their neighbours."""
    across, front = np.full(len(labels), np.nan), np.full(len(labels), np.nan)
    for z, part in enumerate(labels):
        ys, xs = np.nonzero(body[z])
        if not ys.size:
            continue
        low, high = np.percentile(ys, (1, 99))
        middle = (np.percentile(xs, 1) + np.percentile(xs, 99)) / 2
        by, bx = np.nonzero(part == Organ.BONE)
        near = (np.abs(bx - middle) * spacing[2] < 45) & (by > low + 0.42 * (high - low))
        if near.sum() * spacing[1] * spacing[2] < 80:
            continue
        across[z] = axes[2][0] + np.median(bx[near]) * spacing[2]
        front[z] = axes[1][0] + np.percentile(by[near], 2) * spacing[1]
    width = 25 / spacing[0]
    # Between discs and where only the arch was drawn, the front seen lies too far behind.
    front = _least_of_neighbours(front, int(2 * width) + 1)
    return _smoothed(across, width), _smoothed(front, width)


def _least_of_neighbours(values: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    filled = np.where(np.isnan(values), np.inf, values)
    least = ndimage.percentile_filter(filled, 25, size=size, mode="nearest")
    return np.where(np.isinf(least), np.nan, least)


def _smoothed(values: NDArray[np.float64], sigma: float) -> Floats:
    known = ~np.isnan(values)
    if not known.any():
        return np.zeros(len(values), np.float32)
    weight = ndimage.gaussian_filter1d(known.astype(float), sigma, mode="nearest") + 1e-9
    total = ndimage.gaussian_filter1d(np.where(known, values, 0), sigma, mode="nearest")
    nearest = np.interp(np.arange(len(values)), np.flatnonzero(known), values[known])
    return np.where(weight > 1e-3, total / weight, nearest).astype(np.float32)


def _wall(
    labels: NDArray[np.uint8], body: Mask, axis: tuple[float, float], axes: tuple[Floats, ...], spacing: Triple
) -> tuple[Floats, Floats]:
    """The distance to the wall's inner side and the angle of every pixel."""
    dy, dx = axes[1][:, None] - axis[0], axes[2][None, :] - axis[1]
    angle, radius = np.arctan2(dx, -dy), np.hypot(dx, dy)
    skin, organ, rib = _rays(labels, body, axis, axes, spacing)
    known = np.where(rib > 0, skin - rib, np.nan)
    # The cavity holds every organ that was drawn in it; 4 mm is the thinnest wall between them.
    most = np.where(organ > 0, skin - organ - 3, np.inf)
    thickness = np.clip(np.minimum(_spread(known, spacing[0], skin), most), 6, None)
    # Not smoothing after the limit would leave organs' corners in the wall's inner side.
    thickness = np.minimum(ndimage.gaussian_filter(thickness, (10 / spacing[0], 1.5), mode=("nearest", "wrap")), most)
    inner = np.maximum(skin - np.maximum(thickness, 6), 0)
    place = (angle / (2 * np.pi) + 0.5) * ANGLES
    first = np.floor(place).astype(int) % ANGLES
    part = (place - np.floor(place)).astype(np.float32)
    edge = inner.astype(np.float32)
    at_pixel = edge[:, first] * (1 - part) + edge[:, (first + 1) % ANGLES] * part
    return np.asarray(radius[None] - at_pixel, dtype=np.float32), angle.astype(np.float32)


def _rays(
    labels: NDArray[np.uint8], body: Mask, axis: tuple[float, float], axes: tuple[Floats, ...], spacing: Triple
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Radii (z, angle) of the skin, the outermost inner organ and the innermost rib; 0 where there is none."""
    turn = (np.arange(ANGLES) / ANGLES - 0.5) * 2 * np.pi
    reach = np.arange(0, np.hypot(np.ptp(axes[1]), np.ptp(axes[2])), RAY_STEP_MM)
    ys = np.rint((axis[0] - np.cos(turn)[:, None] * reach - axes[1][0]) / spacing[1]).astype(int)
    xs = np.rint((axis[1] + np.sin(turn)[:, None] * reach - axes[2][0]) / spacing[2]).astype(int)
    seen = (ys >= 0) & (ys < len(axes[1])) & (xs >= 0) & (xs < len(axes[2]))
    ys, xs = np.clip(ys, 0, len(axes[1]) - 1), np.clip(xs, 0, len(axes[2]) - 1)
    table = np.isin(np.arange(max(Organ) + 1), INNER)
    # Vertebrae lie behind, in the middle; what is bone elsewhere and far out is a rib (or the pelvis).
    spine = (np.abs(turn) > 2.5)[:, None] | (reach < 55)[None]
    skin, organ, rib = (np.zeros((len(labels), ANGLES)) for _ in range(3))
    for z, part in enumerate(labels):
        on_ray = part[ys, xs]
        skin[z] = np.where(body[z][ys, xs] & seen, reach, 0).max(axis=1)
        organ[z] = np.where(table[on_ray] & seen, reach, 0).max(axis=1)
        ribs = np.where((on_ray == Organ.BONE) & seen & ~spine, reach, np.inf).min(axis=1)
        rib[z] = np.where(np.isfinite(ribs), ribs - 3, 0)
    return skin, organ, rib


def _spread(known: NDArray[np.float64], z_mm: float, skin: NDArray[np.float64]) -> NDArray[np.float64]:
    """Wall thickness everywhere from where it is known, the other side of the body, and a thin wall in front."""
    mirrored = known[:, (-np.arange(ANGLES)) % ANGLES]
    turn = np.abs((np.arange(ANGLES) / ANGLES - 0.5) * 2 * np.pi)
    middle = np.nanmedian(known) if np.isfinite(known).any() else 0.16 * float(np.median(skin))
    prior = middle * np.interp(turn, (0, 0.6, 1.6, 2.4, np.pi), (0.8, 0.9, 1.0, 1.25, 1.5))
    total, weight = 0.02 * np.broadcast_to(prior, known.shape), np.full(known.shape, 0.02)
    for values, trust, sigma in (
        (known, 1.0, (9 / z_mm, 2.0)),
        (known, 0.2, (30 / z_mm, 4.0)),
        (mirrored, 0.1, (25 / z_mm, 4.0)),
    ):
        there = np.isfinite(values)
        filled = np.where(there, values, 0)
        total = total + trust * ndimage.gaussian_filter(filled, sigma, mode=("nearest", "wrap"))
        weight = weight + trust * ndimage.gaussian_filter(there.astype(float), sigma, mode=("nearest", "wrap"))
    return np.asarray(total / weight)


def _diaphragm(
    labels: NDArray[np.uint8],
    axes: tuple[Floats, ...],
    axis: tuple[float, float],
    half: tuple[float, float],
    rng: np.random.Generator,
) -> Floats:
    """Height of the diaphragm over every pixel: two domes, never below the liver, lungs' bases where drawn."""
    z = axes[0]
    liver = labels == Organ.LIVER
    top = np.where(liver.any(axis=0), z[len(z) - 1 - np.argmax(liver[::-1], axis=0)], -np.inf)
    right_apex = float(np.percentile(top[np.isfinite(top)], 97)) + 5
    left_apex = right_apex - float(rng.uniform(4, 24))
    dy, dx = axes[1][:, None] - axis[0], axes[2][None, :] - axis[1]
    drop_back, drop_front = rng.uniform(75, 110), rng.uniform(35, 55)
    domes = []
    for side, apex in ((-1, right_apex), (1, left_apex)):
        across = (dx - side * 0.42 * half[0]) / (0.55 * half[0])
        along = (dy + 0.06 * half[1]) / (0.8 * half[1])
        drop = np.where(along > 0, drop_back, drop_front)
        domes.append(apex - 35 * across**2 - drop * along**2)
    sheet = np.maximum(np.maximum(domes[0], domes[1]), right_apex - 48 - 40 * (dy / half[1]) ** 2)
    # Lungs reach deep behind, less at the sides, hardly at all in front.
    back = np.interp(np.arctan2(np.abs(dx), -dy), (0, 1.2, 2.2, np.pi), (28, 55, 85, 100))
    # The liver hangs on the diaphragm: over it and close beside it the sheet is the liver's own surface.
    away, nearest = ndimage.distance_transform_edt(~np.isfinite(top), return_indices=True)
    near = np.exp(-((away * (axes[2][1] - axes[2][0]) / 22) ** 2))
    sheet = near * (top[tuple(nearest)] + 3) + (1 - near) * sheet
    waves = ndimage.gaussian_filter(rng.standard_normal(sheet.shape), 14 / (axes[2][1] - axes[2][0]), mode="nearest")
    sheet = np.maximum(sheet, right_apex - back) + 5 * waves / waves.std()
    sheet = np.where(np.isfinite(top), np.maximum(sheet, top + 3), sheet)
    lung = labels == Organ.LUNG
    if lung.sum() * np.prod([a[1] - a[0] for a in axes]) / 1000 > LEAST_LUNG_ML:
        base = np.where(lung.any(axis=0), z[np.argmax(lung, axis=0)], np.inf)
        sheet = np.where(np.isfinite(base), base, np.maximum(sheet, right_apex - 25))
    return np.asarray(ndimage.gaussian_filter(sheet, 1.5), dtype=np.float32)
