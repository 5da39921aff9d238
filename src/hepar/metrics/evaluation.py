"""Truth and prediction of one case to its scores."""

from __future__ import annotations

import numpy as np

from hepar.errors import BadInput
from hepar.metrics.overlap import dice
from hepar.metrics.scores import Scores, StructureScores
from hepar.metrics.structures import LabelStatus, Structure, mask_of, scored_structures
from hepar.metrics.surface import assd_mm, hausdorff95_mm, surface_distances
from hepar.volume import LabelMap, require_same_grid


def evaluate(truth: LabelMap, found: LabelMap, labels: LabelStatus = "full") -> Scores:
    """Score one prediction in 3D, on the scan's own voxels.

    `labels` says what the truth's label 1 means: with "liver_union" it may
    hide tumour, so only the liver with its tumours is scored. Empty masks
    follow `EMPTY_RULE`.

    Raises GeometryMismatch when the maps lie on different grids, BadInput on
    another value of `labels`.
    """
    if labels not in ("full", "liver_union"):
        raise BadInput(f"labels is {labels!r}; expected 'full' or 'liver_union'")
    require_same_grid(truth, found)
    return Scores(labels, {name: _structure(truth, found, name) for name in scored_structures(labels)})


def _structure(truth: LabelMap, found: LabelMap, name: Structure) -> StructureScores:
    here, there = mask_of(truth, name), mask_of(found, name)
    distances = surface_distances(truth, found, name)
    voxel_ml = truth.geometry.voxel_volume_mm3 / 1000
    return StructureScores(
        dice=dice(here, there),
        assd_mm=assd_mm(distances),
        hausdorff95_mm=hausdorff95_mm(distances),
        truth_ml=int(np.count_nonzero(here)) * voxel_ml,
        found_ml=int(np.count_nonzero(there)) * voxel_ml,
    )
