"""Volume -> Volume: what happens to a scan's numbers before a network sees them."""

from __future__ import annotations

from hepar.preprocess.intensity import (
    PAPER,
    WITHOUT,
    EqualizeHistogram,
    MedianInPlane,
    Step,
    Window,
    steps_from_json,
    steps_to_json,
)
from hepar.preprocess.spatial import InPlaneGrid, InPlanePlan

__all__ = [
    "PAPER",
    "WITHOUT",
    "EqualizeHistogram",
    "InPlaneGrid",
    "InPlanePlan",
    "MedianInPlane",
    "Step",
    "Window",
    "steps_from_json",
    "steps_to_json",
]
