"""Solid organs and great vessels under the diaphragm: as drawn, and made where the map lacks them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage

from hepar.datasets.phantom.canvas import Floats, Mask, Point, ellipsoid
from hepar.datasets.synthetic.organ_map import Organ
from hepar.datasets.synthetic.scene import Scene

# Less than this of an organ in the map means that it was not drawn.
LEAST_ML = {Organ.ARTERY: 15.0, Organ.KIDNEY: 60.0, Organ.SPLEEN: 30.0, Organ.PANCREAS: 15.0, Organ.GALLBLADDER: 3.0}
CORTEX_MM = 6.5


def paint_drawn_organs(scene: Scene) -> None:
    """Everything but liver, lung, bone and stomach, which need more than a density."""
    tissue = scene.tissue
    plain: dict[Organ, ArrayLike] = {
        Organ.PANCREAS: tissue.pancreas + 12 * scene.grain(4.5),
        Organ.ADRENAL: tissue.adrenal,
        Organ.ARTERY: tissue.artery,
        Organ.CAVA: _mixed_cava(scene),
        Organ.GALLBLADDER: tissue.bile,
        Organ.PORTAL: tissue.portal,
    }
    for organ, hu in plain.items():
        scene.paint(scene.of(organ), hu)
    _paint_kidney(scene, scene.of(Organ.KIDNEY))
    _paint_spleen(scene, scene.of(Organ.SPLEEN))


def paint_missing_organs(scene: Scene) -> None:
    """Kidneys, spleen, gallbladder and pancreas, where the map has none."""
    if scene.lacks(Organ.KIDNEY, LEAST_ML[Organ.KIDNEY]):
        _make_kidneys(scene)
    if scene.lacks(Organ.SPLEEN, LEAST_ML[Organ.SPLEEN]):
        _make_spleen(scene)
    if scene.lacks(Organ.GALLBLADDER, LEAST_ML[Organ.GALLBLADDER]) and scene.rng.random() < 0.7:
        _make_gallbladder(scene)
    if scene.lacks(Organ.PANCREAS, LEAST_ML[Organ.PANCREAS]):
        _make_pancreas(scene)


def liver_height(scene: Scene, share: float) -> float:
    """Height in mm of a share of the liver's extent, 0 at its lower tip."""
    levels = np.flatnonzero((scene.labels == Organ.LIVER).any(axis=(1, 2)))
    z = scene.torso.axes_mm[0]
    return float(z[levels[0]] + share * (z[levels[-1]] - z[levels[0]]))


def _mixed_cava(scene: Scene) -> Floats:
    """Blood from the legs comes later than the kidneys': the cava fills from the renal veins upwards."""
    legs = scene.tissue.cava - (28 if scene.phase in ("arterial", "portal") else 0)
    z = scene.torso.axes_mm[0]
    mixed = np.interp(z, (liver_height(scene, 0.15), liver_height(scene, 0.55)), (legs, scene.tissue.cava))
    return np.asarray(mixed[:, None, None] + 5 * scene.grain(12), dtype=np.float32)


def paint_great_vessels(scene: Scene) -> None:
    """Aorta and cava where the map lacks them, and what runs along the spine beside them; paint before the lungs."""
    z = scene.torso.axes_mm[0]
    heights = np.linspace(float(z[0]) - 10, float(z[-1]) + 10, 9)
    middle = [(*scene.spine_at(h), float(h)) for h in heights]
    if scene.lacks(Organ.ARTERY, LEAST_ML[Organ.ARTERY]):
        radius = float(scene.rng.uniform(8.5, 12.5))
        lean = np.interp(heights, (liver_height(scene, 0.5), liver_height(scene, 1.3)), (5, 14))
        path = [(x + d, y - radius - 2, h) for (x, y, h), d in zip(middle, lean, strict=True)]
        scene.canvas.tube(path, [radius] * len(path), scene.tissue.artery, margin_mm=1.5)
    _lead_cava_on(scene, middle)
    _paint_along_spine(scene, middle)


def _lead_cava_on(scene: Scene, middle: Sequence[Point]) -> None:
    """A map's cava that begins at the liver runs on downwards from where it ends."""
    z = scene.torso.axes_mm[0]
    drawn = (scene.labels == Organ.CAVA).any(axis=(1, 2))
    lowest = float(z[np.argmax(drawn)]) if drawn.any() else liver_height(scene, 0.9)
    if lowest - z[0] < 12:
        return
    path = [(x - 17, y - 9, h) for x, y, h in middle if h < lowest - 20]
    if drawn.any():
        path.append((*_centre_at(scene, scene.labels == Organ.CAVA, lowest), lowest + 2))
    if len(path) > 1:
        scene.canvas.tube(path, [10.0] * len(path), scene.tissue.cava - 12, margin_mm=1.0)


def _paint_along_spine(scene: Scene, middle: Sequence[Point]) -> None:
    """Crura, psoas and oesophagus."""
    muscle, tube = scene.tissue.muscle, scene.canvas.tube
    low, high, top = (liver_height(scene, share) for share in (0.3, 0.4, 0.8))
    gullet = [(x + 7, y - 31, h) for x, y, h in middle if h > top]
    if len(gullet) > 1:
        tube(gullet, [1.6] * len(gullet), -700)
        tube(gullet, [7.0] * len(gullet), scene.tissue.gut_wall - 15, margin_mm=1)
    for side in (-1, 1):
        crus = [(x + side * 14, y - 4, h) for x, y, h in middle if low < h < top + 20]
        psoas = [(x + side * 31, y + 16, h) for x, y, h in middle if h < high]
        for path, radii in ((crus, [4.0] * len(crus)), (psoas, np.linspace(21, 6, len(psoas)).tolist())):
            if len(path) > 1:
                tube(path, radii, muscle)


def _centre_at(scene: Scene, mask: Mask, height: float) -> tuple[float, float]:
    level = int(np.argmin(np.abs(scene.torso.axes_mm[0] - height)))
    ys, xs = np.nonzero(mask[level])
    return float(scene.torso.axes_mm[2][xs].mean()), float(scene.torso.axes_mm[1][ys].mean())


def _make_kidneys(scene: Scene) -> None:
    rng = scene.rng
    size = rng.uniform(0.9, 1.12)
    for side in (-1, 1):
        z = liver_height(scene, float(rng.uniform(0.08, 0.25))) + (14 if side > 0 else 0)
        x, y = scene.spine_at(z)
        centre = (x + side * (58 + rng.uniform(-4, 5)), y + rng.uniform(6, 16), z)
        radii = (27 * size, 24 * size, 53 * size)
        place = scene.canvas.around(np.subtract(centre, radii), np.add(centre, radii))
        kidney = ellipsoid(place, centre, radii, tilt_deg=side * 25)
        hilum = (centre[0] - side * 20, centre[1] - 9, z)
        kidney = np.maximum(kidney, -ellipsoid(place, hilum, (17, 11, 26), tilt_deg=side * 25))
        taken = scene.canvas.fill(place, kidney, 0, margin_mm=3)
        mask = np.zeros(scene.labels.shape, bool)
        mask[place.box] = taken
        _paint_kidney(scene, mask)


def _paint_kidney(scene: Scene, kidney: Mask) -> None:
    """Cortex outside, medulla in pyramids within (alike from the portal phase on), sinus in the middle."""
    if not kidney.any():
        return
    box = tuple(slice(max(0, int(v.min()) - 1), int(v.max()) + 2) for v in np.nonzero(kidney))
    depth = ndimage.distance_transform_edt(kidney[box], sampling=scene.canvas.spacing_mm)
    inward = np.clip((depth - CORTEX_MM * (0.8 + 0.25 * scene.grain(9)[box])) / 3, 0, 1)
    columns = np.clip(0.75 + 0.5 * scene.grain(11)[box], 0, 1)
    hu = scene.tissue.cortex + (scene.tissue.medulla - scene.tissue.cortex) * inward * columns
    # Calyces and fat of the sinus, which the experts drew as kidney.
    sinus = np.clip((depth - 9) / 4, 0, 1) * np.clip(1.3 * (scene.grain(8)[box] - 0.5), 0, 1)
    whole = np.zeros(kidney.shape, np.float32)
    whole[box] = hu + (-10 - hu) * sinus
    scene.paint(kidney, whole)


def _make_spleen(scene: Scene) -> None:
    """A crescent along the wall at the back of the left side."""
    rng, torso = scene.rng, scene.torso
    z = liver_height(scene, float(rng.uniform(0.62, 0.8)))
    x, y = torso.axis[1] + 0.72 * torso.half_width, torso.axis[0] + 0.38 * torso.half_depth
    radii = (float(rng.uniform(40, 52)), float(rng.uniform(44, 60)), float(rng.uniform(44, 60)))
    place = scene.canvas.around(np.subtract((x, y, z), radii), np.add((x, y, z), radii))
    wall = torso.wall_mm[place.box]
    thick = float(rng.uniform(30, 44))
    shell = np.maximum(wall + 2, -(wall + thick))
    spleen = np.maximum(ellipsoid(place, (x, y, z), radii, tilt_deg=20), shell)
    mask = np.zeros(scene.labels.shape, bool)
    mask[place.box] = scene.canvas.fill(place, spleen, 0, margin_mm=2)
    _paint_spleen(scene, mask)


def _paint_spleen(scene: Scene, spleen: Mask) -> None:
    """Even but in the arterial phase, when red and white pulp fill at different speeds and it is striped."""
    stripes = 38.0 if scene.phase == "arterial" else 0.0
    scene.paint(spleen, scene.tissue.spleen + stripes * np.tanh(1.5 * scene.grain(11)) + 2 * scene.grain(5))


def _make_gallbladder(scene: Scene) -> None:
    """A pear under the liver's right lobe in front, where there is room."""
    liver = scene.of(Organ.LIVER)
    lower = np.argmax(liver, axis=0)
    z, y, x = scene.torso.axes_mm
    spine = float(np.median(scene.torso.spine_x))
    right = (x > spine - 80) & (x < spine - 30)
    front = y < scene.torso.axis[0] - 5
    rows, columns = np.nonzero(liver.any(axis=0) & front[:, None] & right[None, :])
    if not rows.size:
        return
    pick = int(scene.rng.integers(rows.size))
    centre: Point = (float(x[columns[pick]]), float(y[rows[pick]]), float(z[lower[rows[pick], columns[pick]]]) - 9)
    radii = (float(scene.rng.uniform(11, 17)), float(scene.rng.uniform(18, 28)), float(scene.rng.uniform(11, 17)))
    place = scene.canvas.around(np.subtract(centre, 30), np.add(centre, 30))
    level = ellipsoid(place, centre, radii, tilt_deg=20)
    wall = scene.canvas.fill(place, level, scene.tissue.gut_wall, margin_mm=1)
    scene.canvas.recolour(place, wall & (level < -1.8), scene.tissue.bile)


def _make_pancreas(scene: Scene) -> None:
    """Head beside the spine, tail towards the spleen, with its vein behind it."""
    z = liver_height(scene, float(scene.rng.uniform(0.32, 0.45)))
    x, y = scene.spine_at(z)
    path = [(x - 34, y - 28, z - 22), (x - 22, y - 38, z - 8), (x + 4, y - 46, z), (x + 42, y - 36, z + 10)]
    path.append((x + 78, y - 12, z + 26))
    vein = [(px, py + 13, pz) for px, py, pz in path[2:]]
    scene.canvas.tube(vein, [4.5, 4.0, 3.5], scene.tissue.portal, margin_mm=0.8)
    box = scene.canvas.whole()
    before = scene.canvas.free.copy()
    scene.canvas.tube(path, [14, 12, 9, 10, 8], scene.tissue.pancreas, margin_mm=1.5)
    taken = before & ~scene.canvas.free & (scene.canvas.hu == np.float32(scene.tissue.pancreas))
    # Lobules with fat between them.
    lobules = scene.tissue.pancreas - 70 * np.clip(scene.grain(5) - 0.9, 0, 1) + 6 * scene.grain(4)
    scene.canvas.recolour(box, taken, lobules)
