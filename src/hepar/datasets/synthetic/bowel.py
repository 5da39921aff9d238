"""Stomach, colon, small bowel, and the mesentery's vessels in what fat is left."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hepar.datasets.phantom.canvas import Floats, Mask, Place, Point, reach, tube_level
from hepar.datasets.synthetic.abdomen import liver_height
from hepar.datasets.synthetic.fields import threads
from hepar.datasets.synthetic.organ_map import Organ
from hepar.datasets.synthetic.scene import Scene

GAS_HU = -960.0


def paint_bowel(scene: Scene) -> None:
    """From the stomach downwards; what stays free is fat with vessels in it."""
    _paint_stomach(scene)
    _paint_colon(scene)
    _paint_small_bowel(scene)
    _paint_mesentery(scene)


def _paint_stomach(scene: Scene) -> None:
    drawn = scene.of(Organ.STOMACH)
    if drawn.any():
        depth = ndimage.distance_transform_edt(drawn, sampling=scene.canvas.spacing_mm)
        _fill_gut(scene, scene.canvas.whole(), np.where(drawn, -depth, 1).astype(np.float32), drawn, wall_mm=3.5)
        return
    torso, rng = scene.torso, scene.rng
    top, low = liver_height(scene, 0.86), liver_height(scene, float(rng.uniform(0.2, 0.35)))
    front = torso.axis[0] - 0.5 * torso.half_depth
    left = torso.axis[1] + 0.42 * torso.half_width
    path = [
        (left + 8, torso.axis[0] + 5, top),
        (left + 12, front + 0.55 * torso.half_depth, 0.6 * top + 0.4 * low),
        (left - 4, front + 22, 0.35 * top + 0.65 * low),
        (torso.axis[1] + 12, front + 12, low),
        (torso.axis[1] - 26, front + 24, low + 14),
    ]
    full = float(rng.uniform(0.65, 1.15))
    radii = [30 * full, 33 * full, 27 * full, 18 * full, 11]
    place = scene.canvas.around(*reach(path, max(radii)))
    level = tube_level(place, path, radii) + (2.5 * scene.grain(22))[place.box]
    taken = scene.canvas.fill(place, level, scene.tissue.gut_wall, margin_mm=1.5)
    _fill_gut(scene, place, level, taken, wall_mm=float(rng.uniform(3, 5)))


def _fill_gut(scene: Scene, place: Place, level: Floats, taken: Mask, wall_mm: float) -> None:
    """Wall and folds, then fluid or food below and gas above, as the patient lies on the back."""
    rng = scene.rng
    whole = np.zeros(scene.labels.shape, bool)
    whole[place.box] = taken
    scene.paint(whole, scene.tissue.gut_wall)
    inner = taken & (level + 1.2 * scene.grain(8)[place.box] < -wall_mm)
    if not inner.any():
        return
    kind = rng.random()
    # Water, food, or oral contrast medium.
    base = rng.uniform(0, 22) if kind < 0.45 else rng.uniform(25, 70) if kind < 0.85 else rng.uniform(120, 320)
    lumps = (4.0 if kind < 0.45 else 22.0) * scene.grain(7)[place.box]
    scene.canvas.recolour(place, inner, base + lumps)
    y = scene.torso.axes_mm[1][None, place.box[1], None]
    surface = float(np.quantile(np.broadcast_to(y, inner.shape)[inner], rng.uniform(0.05, 0.4)))
    scene.canvas.recolour(place, inner & (y < surface), GAS_HU)


def _paint_colon(scene: Scene) -> None:
    """Up the right flank, across in front, down the left flank; pouches of gas and stool."""
    torso, rng = scene.torso, scene.rng
    bottom = float(torso.axes_mm[0][0]) - 20
    right, left = torso.axis[1] - 0.62 * torso.half_width, torso.axis[1] + 0.66 * torso.half_width
    back, front = torso.axis[0] + 0.12 * torso.half_depth, torso.axis[0] - 0.5 * torso.half_depth
    hepatic, splenic = liver_height(scene, 0.03), liver_height(scene, float(rng.uniform(0.45, 0.7)))
    across = min(hepatic, liver_height(scene, float(rng.uniform(0.0, 0.25)))) - 8
    corners = [
        (right, back, bottom),
        (right + 4, back - 8, hepatic - 12),
        (right + 0.25 * torso.half_width, front + 14, across),
        (torso.axis[1], front + 4, across - float(rng.uniform(0, 30))),
        (left - 0.22 * torso.half_width, front + 12, 0.5 * (across + splenic)),
        (left - 4, back - 14, splenic),
        (left, back + 6, 0.5 * (splenic + bottom)),
        (left - 6, back, bottom),
    ]
    _gut_tube(scene, _rounded(corners, 46), rng.uniform(15, 23), haustra=0.3, stool=True)


def _paint_small_bowel(scene: Scene) -> None:
    """Loops that wander through the free part of the belly, each filled in its own way."""
    rng, torso = scene.rng, scene.torso
    z, _, x = torso.axes_mm
    # Under the liver everywhere, beside it on the left up to the diaphragm.
    top = np.where(x > torso.axis[1] + 15, liver_height(scene, 0.85), liver_height(scene, 0.35))
    low = scene.canvas.free & (z[:, None] < top[None])[:, None, :] & (torso.wall_mm < -8)
    places = np.argwhere(low[::2, ::4, ::4]) * (2, 4, 4)
    if not len(places):
        return
    litres = low.sum() * scene.canvas.voxel_ml / 1000
    # Whoever has little fat under the skin has little between the loops.
    lean = np.interp(float(np.median(torso.depth_mm[np.abs(torso.wall_mm) < 2])), (20, 50), (30, 15))
    for _ in range(round(litres * float(lean * rng.uniform(0.7, 1.3)))):
        iz, iy, ix = places[rng.integers(len(places))]
        point = np.array([torso.axes_mm[2][ix], torso.axes_mm[1][iy], z[iz]])
        heading, path = _unit(rng.normal(0, 1, 3)), [point]
        for _ in range(int(rng.integers(5, 12))):
            heading = _unit(heading + 0.8 * rng.normal(0, 1, 3) * (1, 0.8, 0.6))
            path.append(path[-1] + 11 * heading)
        _gut_tube(scene, [tuple(p) for p in path], rng.uniform(7.5, 12.5), haustra=0.12, stool=False)


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-6))


def _rounded(corners: Sequence[Point], count: int) -> list[Point]:
    """`count` points along a smooth curve near the corners."""
    given = np.linspace(0, 1, len(corners))
    fine = np.linspace(0, 1, count)
    curve = np.stack([np.interp(fine, given, np.array(corners)[:, a]) for a in range(3)], axis=1)
    smooth = ndimage.gaussian_filter1d(curve, count / len(corners) / 2.5, axis=0, mode="nearest")
    return [(float(a), float(b), float(c)) for a, b, c in smooth]


def _gut_tube(scene: Scene, path: Sequence[Point], radius: float, haustra: float, stool: bool) -> None:
    """One piece of bowel: pouched wall around gas, fluid or stool. Pieces are short, so boxes stay small."""
    rng = scene.rng
    for start in range(0, len(path) - 1, 5):
        part = path[start : start + 6]
        phase = rng.uniform(0, 6)
        radii = [radius * (1 + haustra * np.sin(1.9 * (start + i) + phase)) for i in range(len(part))]
        place = scene.canvas.around(*reach(part, max(radii)))
        if 0 in place.x.shape:
            continue
        level = tube_level(place, part, radii)
        taken = scene.canvas.fill(place, level, scene.tissue.gut_wall + rng.normal(-8, 9), margin_mm=0.8)
        if taken.any():
            _fill_loop(scene, place, taken & (level < -float(rng.uniform(1.4, 2.6))), stool)


def _fill_loop(scene: Scene, place: Place, inner: Mask, stool: bool) -> None:
    rng = scene.rng
    y = np.broadcast_to(scene.torso.axes_mm[1][None, place.box[1], None], inner.shape)
    if not inner.any():
        return
    noise = ndimage.gaussian_filter(rng.standard_normal(inner.shape, dtype=np.float32), (0.7, 1.1, 1.1))
    noise /= max(float(noise.std()), 1e-6)
    if stool and rng.random() < 0.65:
        # Stool is tissue and bubbles.
        content = np.where(noise > rng.uniform(0.3, 1.4), rng.uniform(-800, -300), 35 + 28 * noise)
    else:
        content = rng.uniform(5, 45) + 4 * noise
    scene.canvas.recolour(place, inner, content)
    share = rng.random()
    gas = (
        (0.0 if share < 0.72 else rng.uniform(0.1, 0.5)) if not stool else (0.0 if share < 0.3 else rng.uniform(0.2, 1))
    )
    if gas:
        scene.canvas.recolour(place, inner & (y < np.quantile(y[inner], gas)), GAS_HU)


def _paint_mesentery(scene: Scene) -> None:
    """Vessels of 1 to 3 mm in the fat that is left, and strands between them."""
    free = scene.canvas.free
    if not free.any():
        return
    near = threads(scene.rng, free.shape, scene.canvas.spacing_mm, 26.0)
    fine = threads(scene.rng, free.shape, scene.canvas.spacing_mm, 13.0)
    inner = free & (scene.torso.wall_mm < -4)
    vessels = inner & ((near < 2.0) | (fine < 0.8))
    scene.canvas.hu[vessels] = 0.5 * (scene.tissue.artery + scene.tissue.portal) * 0.85
    hazy = inner & ~vessels
    scene.canvas.hu[hazy] += np.float32(18) * np.clip(scene.grain(14)[hazy] + 0.5 * scene.grain(4.5)[hazy] + 0.2, 0, 4)
