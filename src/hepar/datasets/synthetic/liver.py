"""The liver: parenchyma with its texture, and vessels of all sizes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hepar.datasets.phantom.canvas import Box, Floats, Mask, reach, tube_level
from hepar.datasets.synthetic.fields import threads
from hepar.datasets.synthetic.lesions import paint_lesions
from hepar.datasets.synthetic.organ_map import Organ
from hepar.datasets.synthetic.scene import Scene

# Less of the cava within the liver means that its branches, the hepatic veins, were not drawn.
LEAST_VEIN_ML = 8.0
VEIN_MM, LEAST_BRANCH_MM = (3.4, 5.0), 1.2
# Right, middle and left hepatic vein: directions from where they meet.
VEINS = ((-0.75, 0.45, -0.6), (-0.6, -0.7, -0.6), (0.45, -0.85, -0.35))


def paint_liver(scene: Scene, liver: Mask) -> None:
    """All that lies within `liver` (z, y, x): the truth's liver with its tumours."""
    tissue = scene.tissue
    # Perfusion and fat differ smoothly over a liver by a few HU; lobules give fine grain.
    hu = tissue.liver + 3.0 * scene.grain(55) + 2.5 * scene.grain(16) + 3.0 * scene.grain(4.5)
    box: Box = tuple(slice(int(v.min()), int(v.max()) + 1) for v in np.nonzero(liver))  # type: ignore[assignment]
    part, labels = hu[box], scene.labels[box]
    depth = ndimage.distance_transform_edt(liver[box], sampling=scene.canvas.spacing_mm)
    _paint_fine_vessels(scene, part, depth)
    if np.count_nonzero((labels == Organ.CAVA) & liver[box]) * scene.canvas.voxel_ml < LEAST_VEIN_ML:
        veins = _hepatic_veins(scene, liver)
        hu += (tissue.hepatic_vein - hu) * veins * (np.clip(scene.torso.depth_mm, 0, 1))
    part[labels == Organ.PORTAL] = tissue.portal
    part[labels == Organ.CAVA] = tissue.hepatic_vein
    paint_lesions(scene, part, labels)
    scene.paint(liver, hu)


def _paint_fine_vessels(scene: Scene, hu: Floats, depth: Floats) -> None:
    """Branches too thin to be drawn, of both trees, fading under the capsule."""
    tissue, spacing = scene.tissue, scene.canvas.spacing_mm
    for apart, radius, density in (
        (32.0, 1.3, tissue.portal),
        (36.0, 1.4, tissue.hepatic_vein),
        (16.0, 0.55, 0.5 * (tissue.portal + tissue.hepatic_vein)),
    ):
        near = threads(scene.rng, hu.shape, spacing, apart)
        # Partial volume across a thin vessel, rather than a staircase of voxels.
        share = np.clip((radius - near) / 1.2 + 0.5, 0, 1) * np.clip((depth - 3) / 12, 0, 1)
        hu += ((density - hu) * share).astype(np.float32)


def _hepatic_veins(scene: Scene, liver: Mask) -> Floats:
    """How much of each voxel (z, y, x) is hepatic vein: three trees from under the diaphragm at the cava."""
    share = np.zeros(liver.shape, np.float32)
    z, y, x = scene.torso.axes_mm
    zs, ys, xs = np.nonzero(liver[::2, ::4, ::4])
    points = np.stack([x[::4][xs], y[::4][ys], z[::2][zs]], axis=1)
    if len(points) < 50:
        return share
    top = float(points[:, 2].max()) - 20
    spine_x, front = scene.spine_at(top)
    # On the liver's own side of the cava: the nearest of its voxels.
    goal = np.array([spine_x - 20, front - 24, top])
    meet = points[np.argmin(np.linalg.norm(points - goal, axis=1))]
    for towards in VEINS:
        direction = np.array(towards) / np.linalg.norm(towards)
        offset = points - meet
        far = np.linalg.norm(offset, axis=1) + 1e-6
        ahead = points[(offset @ direction > 0.85 * far) & (far > 35) & (far < 110)]
        if len(ahead):
            end = ahead[scene.rng.integers(len(ahead))]
            _grow(scene, share, (meet, end), float(scene.rng.uniform(*VEIN_MM)), splits=3)
    share[~liver] = 0
    return share


def _grow(scene: Scene, share: Floats, ends: Sequence[NDArray[np.float64]], radius: float, splits: int) -> None:
    """A bent tapering vessel between two points, and thinner ones that leave it."""
    rng = scene.rng
    start, end = (np.asarray(p, dtype=float) for p in ends)
    length = float(np.linalg.norm(end - start))
    steps = np.linspace(0, 1, 6)[:, None]
    bend = rng.normal(0, 0.09 * length, 3) * (1, 1, 0.7)
    path = start + (end - start) * steps + bend * np.sin(np.pi * steps)
    radii = np.linspace(radius, max(LEAST_BRANCH_MM, 0.45 * radius), len(path)).tolist()
    place = scene.canvas.around(*reach(list(path), radius + 1))
    if 0 in place.x.shape:
        return
    level = tube_level(place, list(path), radii)
    np.maximum(share[place.box], np.clip(0.5 - level / 1.2, 0, 1), out=share[place.box])
    if splits == 0 or radius < 1.6:
        return
    for at in (2, 3, 4):
        along = (end - start) / max(length, 1e-6)
        aside = rng.normal(0, 1, 3)
        aside -= along * float(aside @ along)
        leave = along + rng.uniform(0.6, 1.1) * aside / max(float(np.linalg.norm(aside)), 1e-6)
        tip = path[at] + leave / np.linalg.norm(leave) * length * rng.uniform(0.35, 0.55)
        _grow(scene, share, (path[at], tip), 0.62 * radii[at], splits - 1)
