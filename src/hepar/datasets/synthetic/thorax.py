"""Above the diaphragm: lungs with their vessels, heart, what lies between."""

from __future__ import annotations

import numpy as np

from hepar.datasets.phantom.canvas import Floats, Mask, ellipsoid
from hepar.datasets.synthetic.fields import threads
from hepar.datasets.synthetic.organ_map import Organ
from hepar.datasets.synthetic.scene import Scene
from hepar.datasets.synthetic.torso import LEAST_LUNG_ML

DIAPHRAGM_MM = 3.0


def paint_thorax(scene: Scene) -> None:
    """Lungs and heart; afterwards only what lies under the diaphragm is free."""
    above = scene.torso.above_diaphragm()
    thorax = scene.canvas.free & (above > 0)
    sheet = scene.canvas.free & (above <= 0) & (above > -DIAPHRAGM_MM)
    scene.paint(sheet, scene.tissue.muscle - 8)
    heart = _heart_level(scene)
    if scene.lacks(Organ.LUNG, LEAST_LUNG_ML):
        lung = thorax & ~_mediastinum(scene) & (heart > 5)
    else:
        lung = scene.of(Organ.LUNG)
    _paint_lung(scene, lung)
    _paint_heart(scene, heart, thorax & ~lung)
    scene.canvas.free &= above < -DIAPHRAGM_MM


def _mediastinum(scene: Scene) -> Mask:
    """The space round oesophagus and aorta, and a thin partition up to the breast bone."""
    left, behind = scene.torso.beside_spine()
    back = (np.abs(left - 4) < 26 - 0.18 * np.abs(behind + 12)) & (behind > -34)
    partition = np.abs(left - 6) < 9
    return np.asarray(back | partition)


def _heart_level(scene: Scene) -> Floats:
    torso, rng = scene.torso, scene.rng
    x, y = torso.axis[1] + 0.2 * torso.half_width, torso.axis[0] - 0.38 * torso.half_depth
    column = int(np.argmin(np.abs(torso.axes_mm[1] - y))), int(np.argmin(np.abs(torso.axes_mm[2] - x)))
    size = rng.uniform(0.88, 1.12)
    z = float(torso.diaphragm[column]) + 36 * size
    place = scene.canvas.around((x - 75, y - 75, z - 65), (x + 75, y + 75, z + 65))
    level = np.full(scene.labels.shape, 99, np.float32)
    tilt = float(rng.uniform(15, 35))
    level[place.box] = ellipsoid(place, (x, y, z), (58 * size, 44 * size, 48 * size), tilt_deg=tilt)
    return level


def _paint_heart(scene: Scene, level: Floats, where: Mask) -> None:
    """Muscle with two chambers in it and a margin of fat."""
    muscle = where & (level < 0)
    scene.canvas.hu[muscle] = scene.tissue.myocardium
    chambers = muscle & (level < -9) & (np.abs(scene.grain(70)) > 0.18)
    # Right and left heart fill alike after the first pass of the bolus.
    scene.canvas.hu[chambers] = 0.5 * (scene.tissue.artery + scene.tissue.cava)
    scene.canvas.free &= ~muscle


def _paint_lung(scene: Scene, lung: Mask) -> None:
    """Air with a little tissue, denser towards the back (the patient lies on it), and branching vessels."""
    if not lung.any():
        return
    y = scene.torso.axes_mm[1][None, :, None]
    hu = scene.tissue.lung + 0.35 * (y - scene.torso.axis[0]) + 14 * scene.grain(12) + 10 * scene.grain(4)
    box = tuple(slice(int(v.min()), int(v.max()) + 1) for v in np.nonzero(lung))
    shape, spacing = hu[box].shape, scene.canvas.spacing_mm
    for apart, radius in ((36.0, 2.6), (15.0, 1.1)):
        near = threads(scene.rng, shape, spacing, apart)
        width = radius * (0.7 + 0.5 * np.abs(scene.grain(50)[box]))
        blood = 0.85 * scene.tissue.cava
        hu[box] = np.where(near < width, np.float32(blood), hu[box])
    scene.paint(lung, hu)
