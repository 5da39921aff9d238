"""Densities of the tumours and cysts that the experts drew; their shapes stay as drawn.

Looks follow what radiology textbooks describe: metastases darker than the
liver in the portal phase, often darker still inside, at times with a brighter
rim; hepatocellular carcinoma bright in the arterial and dark in the late
phase; cysts of water density with a sharp edge. In 3D-IRCADb 1 the tumours
have 71 HU in a liver of 115 HU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hepar.datasets.phantom.canvas import Floats
from hepar.datasets.synthetic.fields import grain
from hepar.datasets.synthetic.organ_map import Organ
from hepar.datasets.synthetic.scene import Scene

Kind = Literal["metastasis", "necrotic", "rim", "arterial"]
KINDS: tuple[Kind, ...] = ("metastasis", "necrotic", "rim", "arterial")
KIND_SHARES = (0.45, 0.25, 0.18, 0.12)
# How much of the portal phase's contrast other phases show.
CONTRAST = {"native": 0.45, "arterial": 0.7, "portal": 1.0, "late": 0.75}


@dataclass(frozen=True)
class Look:
    """One lesion: HU over the liver at its edge and (more) in its core, rim over the edge, unevenness."""

    edge: float
    core: float
    rim: float
    rough: float


def paint_lesions(scene: Scene, hu: Floats, labels: NDArray[np.uint8]) -> None:
    """Paint tumours and cysts into a box (z, y, x) of HU in place. A patient's tumours look alike."""
    rng, spacing = scene.rng, scene.canvas.spacing_mm
    kind: Kind = KINDS[int(rng.choice(len(KINDS), p=KIND_SHARES))]
    shared = _look(kind, scene, rng)
    pieces, _ = ndimage.label(labels == Organ.TUMOUR, np.ones((3, 3, 3)))
    for number, box in enumerate(ndimage.find_objects(pieces), start=1):
        wide = tuple(slice(max(0, s.start - 2), s.stop + 2) for s in box)
        mask = pieces[wide] == number
        depth = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
        inner = np.clip((depth - 3) / max(0.6 * float(depth.max()) - 3, 3), 0, 1)
        rim = np.clip(1 - np.abs(depth - 1.6) / 1.8, 0, 1)
        texture = grain(rng, mask.shape, spacing, 5.0) + 0.7 * grain(rng, mask.shape, spacing, 11.0)
        fade = rng.uniform(0.75, 1.2)
        inside = fade * (shared.edge + shared.core * inner) + shared.rim * rim + shared.rough * texture
        # Infiltrating edges are blurred over some millimetres, pushing ones are sharp.
        soft = np.clip(depth / max(float(rng.uniform(0.5, 3.0)), 0.5), 0.35, 1)
        target = np.maximum(scene.tissue.liver + inside, 2)
        hu[wide][mask] += ((target - hu[wide]) * soft)[mask]
    cyst = labels == Organ.CYST
    hu[cyst] = scene.tissue.cyst


def _look(kind: Kind, scene: Scene, rng: np.random.Generator) -> Look:
    strength = CONTRAST[scene.phase]
    rough = float(rng.uniform(3, 10))
    if kind == "arterial":
        edge = rng.uniform(15, 55) if scene.phase == "arterial" else -strength * rng.uniform(12, 38)
        return Look(float(edge), -float(rng.uniform(0, 15)), float(rng.uniform(0, 12)), rough)
    edge = -strength * float(rng.uniform(15, 50))
    core = {"metastasis": rng.uniform(-10, 0), "necrotic": rng.uniform(-40, -15), "rim": rng.uniform(-20, -5)}[kind]
    rim = float(rng.uniform(15, 40)) * strength if kind == "rim" else 0.0
    return Look(edge, float(core), rim, rough)
