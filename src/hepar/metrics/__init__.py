"""LabelMap, LabelMap -> numbers: overlap, surfaces, lesions, burden, calibration; three protocols."""

from __future__ import annotations

from hepar.metrics.evaluation import evaluate
from hepar.metrics.overlap import dice
from hepar.metrics.scores import EMPTY_RULE, Scores, StructureScores
from hepar.metrics.surface import SurfaceDistances, assd_mm, hausdorff95_mm, surface_distances

__all__ = [
    "EMPTY_RULE",
    "Scores",
    "StructureScores",
    "SurfaceDistances",
    "assd_mm",
    "dice",
    "evaluate",
    "hausdorff95_mm",
    "surface_distances",
]
