"""What a report is made of: one case's scan, labels, model and provenance, and its numbers as plain values.

Nothing here shows more of the input than its file's name, never its folder.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import hepar
from hepar.io.series.phase import PhaseGuess
from hepar.report.contact_sheet import contact_sheet
from hepar.report.measure import (
    TumourRow,
    measurements_of,
    tumour_table,
    volumes,
)
from hepar.report.segments import SegmentReport, segments_json
from hepar.volume import LabelMap, Volume

EVIDENCE = {
    "real": "Real CT of one patient. One case shows how the software works; it measures no accuracy.",
    "unknown": "As given: where this scan comes from was not checked. One case measures no accuracy.",
    "phantom": "Phantom: made by the software itself. It shows that the path works and is no clinical evidence.",
    "synthetic": "Synthetic: lesions or images were generated. No clinical evidence.",
}
_SCORE_NAMES = {
    "dice": "Dice",
    "assd_mm": "ASSD (mm)",
    "hausdorff95_mm": "HD95 (mm)",
    "truth_ml": "reference (mL)",
    "found_ml": "found (mL)",
}
_STRUCTURES = {
    "liver": "liver, tumours included",
    "liver_exclusive": "liver without tumours",
    "tumour": "tumour",
}

Scores = Mapping[str, Mapping[str, float | None]]


@dataclass(frozen=True)
class ModelFacts:
    """What made the labels: name, licence of the weights, one line on the training data, and the rest of its card."""

    name: str
    licence: str
    trained_on: str
    description: str = ""
    limits: str = ""
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class SummaryInput:
    """All that the page shows.

    `scores`: structure to metric to value (None or NaN: not defined), shown
    with `empty_rule` beside it. `settings` and `seconds` (stage to time) are
    shown as given. `file_name` is cut down to its last part.
    `tumour_probability` (255ths, on the labels' grid) gives each tumour its confidence,
    `segments` its Couinaud segments. `phase` is what the DICOM header says of contrast, None without a header.
    """

    ct: Volume
    labels: LabelMap
    model: ModelFacts
    file_name: str
    evidence: Literal["unknown", "real", "phantom", "synthetic"] = "unknown"
    truth: LabelMap | None = None
    scores: Scores | None = None
    empty_rule: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    tumour_probability: NDArray[np.uint8] | None = None
    segments: SegmentReport | None = None
    phase: PhaseGuess | None = None

    @cached_property
    def picture(self) -> Image.Image:
        """The contact sheet, drawn once for the page and the picture file."""
        return contact_sheet(self.ct, self.labels, self.truth)

    @cached_property
    def tumours(self) -> list[TumourRow]:
        return tumour_table(self.ct, self.labels, probability=self.tumour_probability)


def summary_json(case: SummaryInput) -> dict[str, Any]:
    """The page's numbers, with every tumour, as plain values for `hepar.files.write_json`."""
    return {
        "hepar": hepar.__version__,
        "disclaimer": hepar.DISCLAIMER,
        "file": name_only(case.file_name),
        "evidence": case.evidence,
        "model": {"name": case.model.name, "licence": case.model.licence, "trained_on": case.model.trained_on},
        **measurements_of(volumes(case.labels), case.tumours),
        **({"couinaud": segments_json(case.segments)} if case.segments else {}),
        "scores": {name: dict(row) for name, row in (case.scores or {}).items()},
        "empty_rule": case.empty_rule,
        "settings": dict(case.settings),
        "seconds": dict(case.seconds),
    }


def score_table(scores: Scores) -> tuple[list[str], list[tuple[str, list[float | None]]]]:
    """Column titles, and per structure its values in that order."""
    metrics = [m for m in _SCORE_NAMES if any(m in row for row in scores.values())]
    rows = [(_STRUCTURES.get(name, name), [row.get(m) for m in metrics]) for name, row in scores.items()]
    return [_SCORE_NAMES[m] for m in metrics], rows


def number(value: float | None, digits: int = 1) -> str:
    if value is None or math.isnan(value):
        return "not defined"
    return f"{value:.{digits}f}".replace("-", "\u2212")


def name_only(name: str) -> str:
    """The last part of a path written for any system."""
    return name.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
