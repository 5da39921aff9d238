"""A small trunk as organ numbers: what the expert maps show, in a few thousand voxels."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from hepar.datasets.synthetic.organ_map import Organ, OrganMap
from hepar.geometry import Geometry

SPACING_MM = (5.0, 4.0, 4.0)
SHAPE = (30, 80, 96)


def label_trunk(kidneys: bool = True) -> OrganMap:
    """Body, ribs, spine, liver with portal vein, cava, tumour and cyst, and (if wanted) kidneys; lungs stay undrawn."""
    grid = Geometry.from_spacing(SHAPE, SPACING_MM, (-70.0, -150.0, -180.0))
    z, y, x = (
        (np.arange(n) - (n - 1) / 2).reshape([-1 if a == axis else 1 for a in range(3)]) * s
        for axis, (n, s) in enumerate(zip(SHAPE, SPACING_MM, strict=True))
    )
    labels = np.zeros(SHAPE, np.uint8)

    def put(organ: Organ, centre: tuple[float, float, float], radii: tuple[float, float, float]) -> None:
        (cx, cy, cz), (rx, ry, rz) = centre, radii
        labels[((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 + ((z - cz) / rz) ** 2 < 1] = organ

    ring = np.hypot(x / 160, y / 115) + 0 * z
    labels[ring < 1] = Organ.BODY
    sides = (np.abs(np.hypot(x / 128, y / 86) - 1) < 0.04) & (np.abs(z % 30 - 15) < 6) & (y > -60)
    labels[np.broadcast_to(sides, SHAPE)] = Organ.BONE
    spine = (np.hypot(x / 22, (y - 56) / 17) < 1) & (np.abs(z % 35 - 17) < 13)
    labels[np.broadcast_to(spine, SHAPE)] = Organ.BONE
    put(Organ.LIVER, (-48, -8, 0), (66, 58, 42))
    put(Organ.CAVA, (-16, 30, 20), (9, 9, 40))
    put(Organ.PORTAL, (-40, 0, 0), (16, 7, 7))
    put(Organ.CYST, (-70, 10, 12), (9, 9, 9))
    put(Organ.TUMOUR, (-72, -20, -8), (16, 16, 14))
    if kidneys:
        put(Organ.KIDNEY, (62, 48, -35), (24, 20, 24))
    return OrganMap(labels, grid)


def save_organs(folder: Path, numbers: tuple[int, ...] = (1, 7)) -> Path:
    """A folder with the same trunk under the names of these 3D-IRCADb patients."""
    folder.mkdir(parents=True, exist_ok=True)
    organs = label_trunk()
    for number in numbers:
        image = nib.Nifti1Image(organs.labels.transpose(2, 1, 0), organs.geometry.to_nifti())
        nib.save(image, folder / f"ircad{number:02d}_organs.nii.gz")
    return folder
