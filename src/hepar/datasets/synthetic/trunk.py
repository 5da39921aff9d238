"""What surrounds the cavity: skin, fat under it, muscles, spine, ribs."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from hepar.datasets.phantom.canvas import Floats, Mask
from hepar.datasets.synthetic.organ_map import Organ
from hepar.datasets.synthetic.scene import Scene

SKIN_MM, LEAST_FAT_MM = 2.2, 3.5
# Thickness of the wall's muscles from the front (0) to the back (pi).
MUSCLE_ANGLES = (0.0, 0.05, 0.12, 0.5, 0.8, 1.6, 2.3, np.pi)
MUSCLE_MM = (2.0, 3.0, 9.0, 9.0, 8.0, 13.0, 17.0, 24.0)
# A vertebra of L1: body about 44 x 33 mm, canal 22 x 16 mm behind it.
BODY_CENTRE_MM, BODY_RADII_MM = 16.0, (21.5, 16.5)
CANAL_CENTRE_MM, CANAL_RADII_MM = 42.0, (10.5, 8.0)


def paint_trunk(scene: Scene) -> None:
    """Fat fills the body; wall, spine and bones lie over it. The cavity stays free."""
    torso, hu = scene.torso, scene.canvas.hu
    fat = scene.tissue.fat + 5 * scene.grain(9)
    hu[torso.body] = fat[torso.body]
    _paint_muscles(scene)
    skin = torso.body & (torso.depth_mm < SKIN_MM)
    hu[skin] = scene.rng.uniform(-5, 30)
    _paint_spine(scene)
    _paint_bones(scene)


def _paint_muscles(scene: Scene) -> None:
    """The ring of wall muscles with fat between its layers, and the long muscles of the back."""
    torso, rng = scene.torso, scene.rng
    streaks = scene.grain(5) + 0.6 * scene.grain(14)
    # Fat grows into muscle with age: between none and a quarter of it.
    threshold = rng.uniform(1.0, 2.3)
    muscle = (scene.tissue.muscle + 3 * streaks).astype(np.float32)
    muscle -= np.float32(95) * np.clip((streaks - np.float32(threshold)) * 1.4, 0, 1)
    thick = np.interp(np.abs(torso.angle), MUSCLE_ANGLES, MUSCLE_MM).astype(np.float32)
    thick = thick[None] * np.float32(rng.uniform(0.75, 1.2)) * (1 + 0.12 * scene.grain(60))
    wall = torso.wall_mm
    covered = torso.body & (torso.depth_mm > SKIN_MM + LEAST_FAT_MM)
    ring = covered & (wall >= 0) & (wall < thick)
    # Layers at the flanks, parted by fat that comes and goes.
    flank = (np.abs(torso.angle) > 0.7) & (np.abs(torso.angle) < 2.2)
    part = wall / np.maximum(thick, 1)
    gaps = np.clip(1 - np.abs(part - 0.4) / 0.07, 0, 1) + np.clip(1 - np.abs(part - 0.72) / 0.06, 0, 1)
    gaps *= flank[None] * np.clip(0.25 + 0.7 * scene.grain(38), 0, 1)
    hu = scene.canvas.hu
    hu[ring] = muscle[ring]
    hu[ring] -= 75 * gaps[ring]
    back = covered & (_back_muscles(scene) < 0) & (wall > -6)
    hu[back] = muscle[back]
    scene.canvas.free &= ~back


def _back_muscles(scene: Scene) -> Floats:
    """Level of the erectors of the spine, about mm; psoas joins them lower down."""
    left, behind = scene.torso.beside_spine()
    beside, size = np.abs(left), scene.rng.uniform(0.85, 1.15)
    erector = np.hypot((beside - 29) / (27 * size), (behind - 60) / (23 * size)) - 1
    return np.asarray(erector * 24, dtype=np.float32)


def _paint_spine(scene: Scene) -> None:
    """Vertebral bodies with discs, canal; drawn bone lies over them later."""
    left, behind = scene.torso.beside_spine()
    tissue, hu = scene.tissue, scene.canvas.hu
    ring = np.hypot(left / BODY_RADII_MM[0], (behind - BODY_CENTRE_MM) / BODY_RADII_MM[1])
    body = (ring < 1) & scene.torso.body
    bone = (scene.labels == Organ.BONE) & body
    share = bone.sum(axis=(1, 2)) / np.maximum(body.sum(axis=(1, 2)), 1)
    disc = share < 0.35 * np.median(share)
    marrow = tissue.marrow + 28 * scene.grain(3.5) + 18 * scene.grain(14)
    marrow[disc] = 85 + 6 * scene.grain(6)[disc]
    rim = (ring > 0.93) & ~disc[:, None, None]
    marrow[np.broadcast_to(rim, marrow.shape)] += 170
    hu[body] = marrow[body]
    canal = np.hypot(left / CANAL_RADII_MM[0], (behind - CANAL_CENTRE_MM) / CANAL_RADII_MM[1])
    hu[(canal < 1) & scene.torso.body] = -20
    hu[(canal < 0.8) & scene.torso.body] = 32


def _paint_bones(scene: Scene) -> None:
    """Bone as drawn, dense; what it encloses is marrow."""
    bone = (scene.labels == Organ.BONE) & scene.torso.body
    inside = _enclosed(bone, round(3.0 / scene.canvas.spacing_mm[1]))
    fine, coarse = scene.grain(2.5), scene.grain(8)
    hu = scene.canvas.hu
    spongy = inside & ~bone & (hu < scene.tissue.marrow - 40)
    hu[spongy] = scene.tissue.marrow + 35 * fine[spongy]
    dense = np.clip(scene.tissue.cortical_bone * 0.78 + 210 * fine[bone] + 90 * coarse[bone], 200, 1400)
    # What lies within thick bone is less dense than its surface.
    core = ndimage.binary_erosion(bone, np.ones((1, 3, 3)))[bone]
    hu[bone] = np.where(core, np.maximum(dense - 110, 170), dense)
    scene.canvas.free &= ~(inside | bone)


def _enclosed(bone: Mask, reach: int) -> Mask:
    """Bone with its hollows, slice by slice; the spinal canal stays open."""
    full = np.zeros_like(bone)
    for z in np.flatnonzero(bone.any(axis=(1, 2))):
        padded = np.pad(bone[z], reach + 1)
        closed = ndimage.binary_fill_holes(ndimage.binary_closing(padded, iterations=max(1, reach)))
        full[z] = closed[reach + 1 : -reach - 1, reach + 1 : -reach - 1]
    return full
