"""LabelMap, LabelMap -> numbers: overlap, surface distance and volume, per case and per cohort."""

from __future__ import annotations

from hepar.metrics.cohort import CaseScores, SummaryRow, evaluate_folder, summary_rows, write_csv, write_json
from hepar.metrics.evaluation import evaluate
from hepar.metrics.overlap import dice
from hepar.metrics.scores import EMPTY_RULE, Scores, StructureScores
from hepar.metrics.surface import SurfaceDistances, assd_mm, hausdorff95_mm, surface_distances

__all__ = [
    "EMPTY_RULE",
    "CaseScores",
    "Scores",
    "StructureScores",
    "SummaryRow",
    "SurfaceDistances",
    "assd_mm",
    "dice",
    "evaluate",
    "evaluate_folder",
    "hausdorff95_mm",
    "summary_rows",
    "surface_distances",
    "write_csv",
    "write_json",
]
