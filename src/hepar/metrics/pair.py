"""Truth and prediction of one case, cut to what is labelled: what all protocols score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hepar.geometry import Geometry, Triple
from hepar.metrics.crop import box_of, cropped
from hepar.metrics.structures import LabelStatus, Mask, Structure, mask_of
from hepar.volume import LabelMap, require_same_grid


@dataclass(frozen=True, eq=False)
class LabelPair:
    """Two maps on one grid, cropped to the box of everything labelled in either.

    Cropping moves no surface: beyond a map's border is background. `scan` is
    the uncropped grid. `header_spacing_mm` (z, y, x) is what the truth's file
    header states, which the official LiTS scorer uses; it can differ from the
    affine's (LiTS 28 to 47). With `labels` "liver_union" the truth's label 1 may
    hide tumour, so only the liver with its tumours can be judged.
    """

    truth: LabelMap
    found: LabelMap
    scan: Geometry
    header_spacing_mm: Triple
    labels: LabelStatus = "full"

    def masks(self, structure: Structure) -> tuple[Mask, Mask]:
        return mask_of(self.truth, structure), mask_of(self.found, structure)

    @property
    def diagonal_mm(self) -> float:
        """Length of the scan's field of view from corner to corner: no surface distance in it is longer."""
        corners = self.scan.affine[:3, :3] * np.asarray(self.scan.shape)
        signs = np.array([(1, y, x) for y in (-1, 1) for x in (-1, 1)])
        return float(np.linalg.norm(signs @ corners.T, axis=1).max())


def pair_of(
    truth: LabelMap, found: LabelMap, header_spacing_mm: Triple | None = None, labels: LabelStatus = "full"
) -> LabelPair:
    """Raises GeometryMismatch when the maps lie on different grids."""
    require_same_grid(truth, found)
    box = box_of(truth.labels, found.labels)
    spacing = header_spacing_mm or truth.geometry.spacing_mm
    return LabelPair(cropped(truth, box), cropped(found, box), truth.geometry, spacing, labels)
