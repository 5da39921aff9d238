"""Real multi-organ label maps (3D-IRCADb): reading, cropping to the liver, thinning, halving, bending.

    organs = read_organs(path).near_liver(100, 60).thinned(2).halved()
    truth = organs.truth()

Every organ is drawn in some of the patients only; what is missing is "body".
Bone is a threshold of the scan: cortex and dense parts, hollow inside.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hepar.datasets.layout import SUFFIXES, ircad_patient, stem, stored_at
from hepar.datasets.phantom.canvas import smooth_field
from hepar.errors import BadInput
from hepar.geometry import Geometry
from hepar.volume import LIVER, TUMOUR, LabelMap

NAME = r"ircad(\d+)_organs"
# Vessels leave the liver at the hilum: what a closing of this reach takes in lies within (of ircad01's portal
# vein it takes 27 135 of 103 533 voxels; the experts' liver holds 22 424 of it).
HILUM_MM = 4.0


class Organ(IntEnum):
    """The numbers in the files."""

    OUTSIDE = 0
    BODY = 1
    BONE = 2
    LUNG = 3
    STOMACH = 4
    PANCREAS = 5
    SPLEEN = 6
    KIDNEY = 7
    ADRENAL = 8
    ARTERY = 9
    CAVA = 10
    GALLBLADDER = 11
    LIVER = 12
    PORTAL = 13
    CYST = 14
    TUMOUR = 15


@dataclass(frozen=True, eq=False)
class OrganMap:
    """Organ numbers uint8 (z, y, x) in the axial view on their place in the patient."""

    labels: NDArray[np.uint8]
    geometry: Geometry

    def near_liver(self, below_mm: float, above_mm: float) -> OrganMap:
        """The slices from `below_mm` under the liver to `above_mm` over it.

        Raises BadInput when there is no liver.
        """
        levels = np.flatnonzero((self.labels == Organ.LIVER).any(axis=(1, 2)))
        if not levels.size:
            raise BadInput("the organ map shows no liver (label 12); a CT for liver training cannot be made from it")
        z_mm = self.geometry.spacing_mm[0]
        first = max(0, int(levels[0] - below_mm // z_mm))
        last = min(len(self.labels), int(levels[-1] + above_mm // z_mm + 1))
        return self._of(slice(first, last), slice(None))

    def thinned(self, step: int) -> OrganMap:
        """Every `step`-th slice."""
        return self._of(slice(None, None, step), slice(None))

    def halved(self) -> OrganMap:
        """Every second pixel in plane."""
        return self._of(slice(None), slice(None, None, 2))

    def bent(self, rng: np.random.Generator, warp_mm: float, stretch: float) -> OrganMap:
        """The same anatomy pushed about smoothly by about `warp_mm`, on pixels up to `stretch` larger or smaller."""
        shape, spacing = self.labels.shape, self.geometry.spacing_mm
        affine = self.geometry.affine.copy()
        affine[:3, 1:3] *= 1 + rng.uniform(-stretch, stretch)
        if warp_mm <= 0:
            return OrganMap(self.labels, Geometry(self.geometry.shape, affine))
        places = np.ogrid[tuple(slice(n) for n in shape)]
        moved = []
        for place, n, mm in zip(places, shape, spacing, strict=True):
            shift = smooth_field(rng, (3, 5, 5), self.geometry.shape, warp_mm / mm)
            moved.append(np.clip(np.rint(place + shift), 0, n - 1).astype(np.int32))
        return OrganMap(self.labels[tuple(moved)], Geometry(self.geometry.shape, affine))

    def liver(self) -> NDArray[np.bool_]:
        """Liver with tumours, cysts, and the vessels inside it; a vessel at the hilum is not liver."""
        sure = np.isin(self.labels, (Organ.LIVER, Organ.TUMOUR))
        guests = np.isin(self.labels, (Organ.PORTAL, Organ.CYST, Organ.CAVA))
        closed = np.zeros_like(sure)
        reach = max(1, round(HILUM_MM / self.geometry.spacing_mm[1]))
        for z in np.flatnonzero(sure.any(axis=(1, 2))):
            box = ndimage.find_objects(sure[z].astype(np.uint8))[0]
            full = ndimage.binary_closing(np.pad(sure[z][box], reach), iterations=reach)
            closed[z][box] = ndimage.binary_fill_holes(full)[reach:-reach, reach:-reach]
        inside = sure | (closed & guests)
        # The cava runs through a groove at the liver's back: only its narrow branches lie within.
        trunk = (self.labels == Organ.CAVA) & ndimage.binary_opening(
            self.labels == Organ.CAVA, np.ones((1, *[max(2, round(9 / s)) for s in self.geometry.spacing_mm[1:]]))
        )
        return np.asarray(inside & ~trunk)

    def truth(self) -> LabelMap:
        """0, 1 and 2 on the same grid; a tumour is 2 wherever it was drawn."""
        labels = np.where(self.liver(), LIVER, 0).astype(np.uint8)
        labels[self.labels == Organ.TUMOUR] = TUMOUR
        return LabelMap(labels, self.geometry)

    def _of(self, levels: slice, pixels: slice) -> OrganMap:
        affine = self.geometry.affine.copy()
        affine[:3, 3] = self.geometry.position_mm((levels.start or 0, 0, 0))
        affine[:3, 0] *= levels.step or 1
        affine[:3, 1:3] *= pixels.step or 1
        labels = self.labels[levels, pixels, pixels]
        return replace(self, labels=labels, geometry=Geometry(labels.shape, affine))


def organ_files(folder: Path) -> dict[str, Path]:
    """LiTS patient -> file of its organ map, in the patients' order.

    Raises BadInput when the folder holds none.
    """
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    found = {}
    for path in files:
        match = re.fullmatch(NAME, stem(path)) if path.name.endswith(SUFFIXES) else None
        if match:
            found[ircad_patient(int(match[1]))] = path
    if not found:
        raise BadInput(f"{folder.name} holds no organ maps; expected files like ircad01_organs.nii.gz")
    return dict(sorted(found.items()))


def read_organs(path: Path) -> OrganMap:
    """The organ map of a file, turned to the axial view. Raises BadInput for numbers that name no organ."""
    stored = stored_at(path)
    if stored.values.min() < 0 or stored.values.max() > max(Organ):
        raise BadInput(f"'{path.name}' holds numbers outside 0 to {max(Organ):d}; expected a multi-organ label map")
    turn = stored.geometry.axial()
    return OrganMap(np.ascontiguousarray(turn.apply(stored.values)).astype(np.uint8), turn.geometry)
