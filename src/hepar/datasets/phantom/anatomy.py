"""The phantom's trunk: wall, bones, lungs, heart, great vessels and the organs around the liver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from hepar.datasets.phantom.canvas import Canvas, Floats, Mask, Place, ellipsoid, smooth_field, tube_level

# Where the back (angle pi/2) stands among the 721 angles of the outline.
BACK = 540
RIB_PITCH_MM, VERTEBRA_PITCH_MM = 31.0, 33.0
FAT_HU, MUSCLE_HU, LUNG_HU, SKIN_HU = -100.0, 58.0, -840.0, 20.0
SPINE_Y_MM = 50.0


class Shapes(Protocol):
    """What a shape family decides: the outline of the cavity and the levels of the soft organs."""

    def cavity_mm(self, angle: Floats) -> Floats: ...
    def liver(self, p: Place) -> Floats: ...
    def spleen(self, p: Place) -> Floats: ...
    def kidney(self, p: Place, side: int) -> Floats: ...
    def stomach(self, p: Place) -> Floats: ...


@dataclass(frozen=True)
class Tissue:
    """HU of the enhancing organs, and the body's fat layer in mm."""

    liver: float
    vessel: float
    spleen: float
    cortex: float
    medulla: float
    fat_mm: float


def paint_trunk(canvas: Canvas, shapes: Shapes, tissue: Tissue, rng: np.random.Generator) -> Mask:
    """Skin, fat, muscle wall, ribs and table; frees the cavity. Returns what lies below the diaphragm."""
    p = canvas.whole()
    angle = np.arctan2(p.y, p.x)
    # The outline depends on the angle alone: 720 values serve all voxels.
    fine = np.linspace(-np.pi, np.pi, 721, dtype=np.float32)
    index = np.rint((angle + np.pi) * (720 / (2 * np.pi))).astype(np.int16)
    narrowing = 1 - 0.0009 * np.abs(p.z - 10)
    depth: Floats = np.asarray(shapes.cavity_mm(fine)[index] * narrowing - np.hypot(p.x, p.y), dtype=np.float32)
    wall_mm = (11 + 4 * np.cos(fine) ** 2)[index]
    flank = 0.8 + 0.4 * np.cos(fine) ** 4 + 0.35 * np.clip(-np.sin(fine), 0, 1)
    skin = wall_mm + (tissue.fat_mm * flank)[index]
    hu = canvas.hu
    hu[depth > -skin - 2.5] = SKIN_HU
    hu[depth > -skin] = FAT_HU - 5
    hu[depth > -wall_mm] = MUSCLE_HU
    # Fat planes between the muscle layers.
    hu[(np.abs(depth + wall_mm * 0.45) < 0.9) & (p.z < 30)] = -30
    hu[depth > -1.5] = FAT_HU
    canvas.free[depth > 0] = True
    _paint_ribs(canvas, p, depth, angle, smooth_field(rng, (3, 4, 4), hu.shape, 2.0))
    _paint_table(canvas, float(shapes.cavity_mm(fine)[BACK]) + 13 + 0.8 * tissue.fat_mm)
    return np.asarray(p.z < _diaphragm_mm(p))


def _diaphragm_mm(p: Place) -> Floats:
    """Height of the two domes and the central tendon over each (x, y)."""
    height = np.full(p.x.shape, -200, dtype=np.float32)
    for cx, cy, rx, ry, top in ((-64, -4, 78, 92, 92), (66, 0, 78, 90, 80), (4, -26, 74, 72, 72)):
        away = np.sqrt(((p.x - cx) / rx) ** 2 + ((p.y - cy) / ry) ** 2)
        height = np.maximum(height, top - 95 * away**2.6)
    return np.asarray(height, dtype=np.float32)


def _paint_ribs(canvas: Canvas, p: Place, depth: Floats, angle: Floats, wander: Floats) -> None:
    """Ribs slope down from the spine to the front and end in cartilage; below, only the back has them."""
    shell = (depth < 2) & (depth > -9)
    x, _, z = p.within(shell)
    from_back = np.abs(angle[shell] - np.pi / 2)
    from_back = np.where(from_back > np.pi, 2 * np.pi - from_back, from_back)
    phase = (z + 118 * from_back / np.pi + wander[shell] + (x > 0) * 2) / RIB_PITCH_MM
    across = np.abs(phase - np.rint(phase)) * RIB_PITCH_MM
    inward = np.abs(depth[shell] + 3.8)
    rim = np.hypot(across / 6.5, inward / 4.4)
    reach = np.clip(0.55 + (z + 75) / 140, 0.0, 0.93) * np.pi
    bone, cartilage = from_back < reach * 0.8, from_back < reach
    rib = (rim < 1) & (from_back > 0.2) & cartilage
    hu = np.where(bone, np.where(rim > 0.62, 620, 190), 115)
    values = canvas.hu[shell]
    values[rib] = hu[rib]
    canvas.hu[shell] = values


def _paint_table(canvas: Canvas, back_mm: float) -> None:
    """A curved carbon shell with a foam core under the back, on straight coordinates."""
    n_y, n_x = canvas.hu.shape[1:]
    s_y, s_x = canvas.spacing_mm[1:]
    x = (np.arange(n_x) - (n_x - 1) / 2) * s_x
    y = ((np.arange(n_y) - (n_y - 1) / 2) * s_y)[:, None]
    top = back_mm + 4 - 0.00075 * x**2
    inside = (y > top) & (y < top + 26 - 0.0005 * x**2) & (np.abs(x) < 190)
    shell = inside & ((y < top + 3) | (y > top + 23 - 0.0005 * x**2))
    air = canvas.hu < -900
    canvas.hu[air & inside] = -930
    canvas.hu[air & shell] = 40


def paint_spine(canvas: Canvas, rng: np.random.Generator) -> None:
    """Vertebrae with cortical rim, discs, canal, processes, and the muscles beside them; takes their place."""
    p = canvas.around((-75, 15, -400), (75, 135, 400))
    for side in (-1, 1):
        canvas.free[p.box] &= ellipsoid(p, (side * 34, SPINE_Y_MM + 40, 0), (36, 19, 500), side * 12) > 2
    under_skin = (canvas.hu[p.box] > -900) & (canvas.hu[p.box] != SKIN_HU)
    for side in (-1, 1):
        erector = ellipsoid(p, (side * 34, SPINE_Y_MM + 42, 0), (34, 17, 900), side * 12)
        canvas.recolour(p, (erector < 0) & under_skin, MUSCLE_HU + 2)
        psoas = ellipsoid(p, (side * 38, SPINE_Y_MM + 6, -110), (17, 19, 75))
        canvas.fill(p, psoas, MUSCLE_HU + 4, margin_mm=2)
    trabeculae = smooth_field(rng, (24, 30, 30), p.x.shape, 22)
    phase = p.z / VERTEBRA_PITCH_MM
    from_disc = (0.5 - np.abs(phase - np.rint(phase))) * VERTEBRA_PITCH_MM  # 0 in the middle of a disc
    waist = 1.5 * np.cos(2 * np.pi * phase)
    body = np.maximum(
        np.hypot(p.x / 1.28, p.y - SPINE_Y_MM) - 17 + waist,
        -np.hypot(p.x * 0.8, p.y - SPINE_Y_MM - 24) + 10,
    )
    _paint_processes(canvas, p, phase)
    bone = np.where((body > -1.8) | (from_disc < 5.8), 480, 185 + trabeculae)
    canvas.recolour(p, body < 0, np.where(from_disc < 4.2, 85, bone))
    canal = np.hypot(p.x / 1.15, p.y - SPINE_Y_MM - 24.5) - 8.5
    canvas.recolour(p, canal < 0, np.where(canal < -3.8, 42, 8))
    canvas.free[p.box] &= (body > 1) & (canal > 3)


def _paint_processes(canvas: Canvas, p: Place, phase: Floats) -> None:
    """Arch, spinous, transverse processes and rib heads: periodic along z."""
    beside = np.abs(p.x)
    offset = (phase - np.rint(phase)) * VERTEBRA_PITCH_MM
    arch = np.abs(np.hypot(p.x / 1.15, p.y - SPINE_Y_MM - 24.5) - 12) - 3.2
    arch = np.where(np.abs(offset + 2) < 11, arch, 9)
    spinous = np.maximum(np.abs(p.x) - 3.6 + 0.02 * (p.y - SPINE_Y_MM), np.abs(p.y - SPINE_Y_MM - 45) - 11)
    spinous = np.where(np.abs(offset + 6) < 9, spinous, 9)
    along = np.abs(p.y - SPINE_Y_MM - 26 - 0.35 * (beside - 14))
    transverse = np.where((beside > 12) & (beside < 36) & (np.abs(offset - 3) < 6), along - 4.5, 9)
    level = np.minimum(np.minimum(arch, spinous), transverse)
    canvas.recolour(p, level < 0, np.where(level > -1.8, 520, 230))
    canvas.free[p.box] &= level > 1


def paint_thorax(canvas: Canvas, below: Mask, tissue: Tissue) -> None:
    """Lungs with vessels, heart base and mediastinal fat above the diaphragm; only the abdomen stays free."""
    p = canvas.whole()
    chest = canvas.free & ~below
    x, y, z = p.within(chest)
    mediastinum = (np.abs(x - 4) < 24) & (y > -60)
    hu = np.where(mediastinum, FAT_HU, LUNG_HU + 0.35 * y)
    # Vessels of the lung bases: thin bright curves where two slow waves cross zero together.
    waves = np.abs(np.sin(x / 7.3 + 1.7 * np.sin(y / 19))) + np.abs(np.sin(y / 8.1 + 1.9 * np.sin(z / 23)))
    hu[(waves < 0.2) & ~mediastinum] = 20
    canvas.hu[chest] = hu
    canvas.free[~below] = False
    heart = canvas.around((-45, -85, 60), (95, 40, 250))
    sac = ellipsoid(heart, (24, -34, 112), (62, 44, 50), 28)
    chamber = np.minimum(
        ellipsoid(heart, (44, -26, 116), (30, 18, 36), 32), ellipsoid(heart, (8, -48, 112), (30, 17, 38), 24)
    )
    above = ~below[heart.box] & (canvas.hu[heart.box] < -50)
    canvas.recolour(heart, (sac < 4) & above, FAT_HU + 10)
    canvas.recolour(heart, (sac < 0) & above, tissue.vessel * 0.75)
    canvas.recolour(heart, (chamber < 0) & above, tissue.vessel)
    # The muscle of the diaphragm itself, seen as a thin line where fat lies below it.
    edge = _diaphragm_mm(p)
    line = canvas.free & (p.z > edge - 3.2)
    canvas.hu[line] = MUSCLE_HU
    canvas.free[line] = False


def paint_great_vessels(canvas: Canvas, tissue: Tissue) -> None:
    """Aorta (left, in front of the spine), vena cava (right) and oesophagus, through the whole length."""
    front = SPINE_Y_MM - 30
    aorta = [(22, front + 16, 200), (16, front + 8, 80), (9, front + 2, 0), (7, front + 2, -200)]
    cava = [(-26, front - 26, 140), (-26, front - 20, 82), (-27, front - 4, 20), (-24, front + 4, -60), (-21, 24, -200)]
    gullet = [(10, front + 2, 200), (16, front - 8, 100), (26, front - 20, 66), (40, front - 20, 52)]
    # The cava lies in a groove of the liver without fat between them.
    for points, radii, hu, margin_mm in (
        (aorta, (11, 11, 10, 8.5), tissue.vessel + 8, 1.5),
        (cava, (12, 12, 11.5, 10.5, 10), tissue.vessel - 6, 0.0),
        (gullet, (8, 8, 8, 9), 45.0, 1.5),
    ):
        place = canvas.around((-60, -60, -400), (60, 60, 400))
        level = tube_level(place, points, radii)
        # In the chest they run through fat, in the abdomen through free space.
        where = (level < 0) & (canvas.free[place.box] | (np.abs(canvas.hu[place.box] - FAT_HU) < 25))
        canvas.recolour(place, where, hu)
        canvas.free[place.box] &= level > margin_mm


def paint_kidneys(canvas: Canvas, shapes: Shapes, tissue: Tissue) -> None:
    """Cortex, medullary pyramids, sinus fat; perirenal fat keeps the neighbours away."""
    for side in (-1, 1):
        p = canvas.around((side * 64 - 50, -5, -130), (side * 64 + 50, 110, 40))
        level = shapes.kidney(p, side)
        around = np.arctan2(p.z + 44, p.x - side * 64)
        pyramids = (level < -7 + 2 * np.cos(7 * around)) & (level > -19)
        kidney = canvas.fill(p, level, np.where(pyramids, tissue.medulla, tissue.cortex), margin_mm=5)
        sinus = kidney & (ellipsoid(p, (side * 53, 42, -44), (11, 8, 26), side * 30) < 0)
        canvas.recolour(p, sinus, FAT_HU + 25)
        renal = [(side * 10 - 6, 24, -30), (side * 28, 30, -38), (side * 46, 40, -42)]
        canvas.tube(renal, (4.5, 4.5, 4), tissue.vessel)


def paint_upper_left(canvas: Canvas, shapes: Shapes, tissue: Tissue, rng: np.random.Generator) -> None:
    """Spleen, stomach (wall, fed contents, an air bubble in front), pancreas and splenic vein."""
    p = canvas.around((15, -60, -80), (160, 120, 110))
    canvas.fill(p, shapes.spleen(p), tissue.spleen, margin_mm=2)
    p = canvas.around((-40, -100, -80), (140, 70, 110))
    level = shapes.stomach(p)
    food = smooth_field(rng, (14, 24, 24), p.x.shape, 14) + 22
    air_above = rng.uniform(-42, -22)
    contents = np.where(p.y < air_above, -980, food)
    canvas.fill(p, level, np.where(level > -3.2, 72, contents), margin_mm=2)
    vein = [(-28, 0, -8), (0, -6, -6), (40, 10, 6), (84, 32, 18)]
    canvas.tube(vein, (7, 6, 5, 4), tissue.vessel)
    gland = [(-36, -8, -36), (-18, -14, -22), (12, -16, -10), (44, 2, 2), (76, 24, 14)]
    canvas.tube(gland, (13, 12, 9, 10, 8), tissue.liver * 0.75 + 15, margin_mm=1)


def paint_bowel(canvas: Canvas, rng: np.random.Generator) -> None:
    """Colon as a frame with gas and stool, small bowel coils, mesenteric vessels in fat."""
    colon = [(-100, 22, -150), (-98, 10, -72), (-62, -52, -62), (0, -68, -74), (66, -56, -50), (106, 16, -20)]
    for p, q in zip(colon, [*colon[1:], (108, 30, -160)], strict=True):
        _gut(canvas, rng, [p, q], 18.0)
    for _ in range(46):
        start = np.array([rng.uniform(-75, 75), rng.uniform(-66, 22), rng.uniform(-150, -34)])
        bend = start + rng.uniform(-28, 28, 3)
        _gut(canvas, rng, [start, bend, bend + rng.uniform(-28, 28, 3)], rng.uniform(10, 15))
    for _ in range(40):
        start = np.array([rng.uniform(-80, 80), rng.uniform(-70, 40), rng.uniform(-150, 40)])
        canvas.tube([start, start + rng.uniform(-25, 25, 3)], (1.8, 1.2), 120)


def _gut(canvas: Canvas, rng: np.random.Generator, points: list[object], radius: float) -> None:
    corners = np.asarray([np.asarray(q, dtype=float) for q in points])
    place = canvas.around(corners.min(axis=0) - radius, corners.max(axis=0) + radius)
    if not place.x.size:
        return
    haustra = np.float32(1.6) * np.sin(place.z / 5 + place.x / 6)
    level = tube_level(place, corners.tolist(), [radius] * len(corners)) + haustra
    contents = np.float32(rng.choice((15.0, 25.0, 40.0, 180.0), p=(0.35, 0.35, 0.2, 0.1)))
    surface = corners[:, 1].mean() + radius * rng.choice((-2.0, -0.5, -0.2), p=(0.5, 0.3, 0.2))
    inner = np.where(place.y < surface, -950, contents + 12 * np.sin(place.x / 2.5) * np.sin(place.y / 3))
    canvas.fill(place, level, np.where(level > -2.6, 75, inner), margin_mm=2)
