"""Small bodies with a liver on the patient's right and dark, grainy lesions in it: quick to grow, cut and learn."""

from __future__ import annotations

import numpy as np

from hepar.cases import Case
from hepar.geometry import Geometry
from hepar.volume import LabelMap, Volume

GRID = Geometry.from_spacing((4, 64, 64), (5, 4, 4))


def liver_scan(seed: int, lesion_hu: float = 60.0, grain_hu: float = 5.0) -> tuple[Volume, LabelMap]:
    """Soft tissue of 50 HU in air, a liver of 110 HU, in it a lesion of `lesion_hu` with noise of `grain_hu`."""
    rng = np.random.default_rng(seed)
    z, y, x = np.mgrid[: GRID.shape[0], : GRID.shape[1], : GRID.shape[2]]
    body = ((y - 32) / 26) ** 2 + ((x - 32) / 30) ** 2 < 1
    liver = ((y - 30) / 15) ** 2 + ((x - 19) / 13) ** 2 < 1
    at_y, at_x = rng.integers(27, 34), rng.integers(16, 23)
    lesion = (y - at_y) ** 2 + (x - at_x) ** 2 + 4 * (z - 1.5) ** 2 < 36
    labels = (liver.astype(np.uint8) + (liver & lesion)).astype(np.uint8)
    hu = np.where(body, 50, -1000) + np.where(liver & body, 60, 0)
    values = np.where(labels == 2, lesion_hu, hu) + rng.normal(0, np.where(labels == 2, grain_hu, 5))
    return Volume(values.astype(np.int16), GRID), LabelMap(labels, GRID)


def liver_case(name: str, seed: int, lesion_hu: float = 60.0, grain_hu: float = 5.0, **more: object) -> Case:
    ct, truth = liver_scan(seed, lesion_hu, grain_hu)
    return Case(name, name, lambda: ct, lambda: truth, evidence="phantom", **more)  # type: ignore[arg-type]
