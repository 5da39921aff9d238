"""The liver report for programs: JSON with everything, CSV with a line a tumour."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import asdict
from typing import Any

import hepar
from hepar.report.liver.assessment import LiverReport
from hepar.report.liver.places import LOBE_RULE, SURFACE_RULE
from hepar.report.summary import name_only, summary_json

COLUMNS = (
    "case", "number", "volume_ml", "longest_axial_diameter_mm", "perpendicular_axial_diameter_mm", "mean_hu", "where",
    "surface_mm", "touches_border", "confidence", "diameter_slice", "x_mm", "y_mm", "z_mm",
)  # fmt: skip


def report_json(report: LiverReport) -> dict[str, Any]:
    """Plain values for `hepar.files.write_json`; numbers that were not assessed are NaN, tumours then none."""
    base = summary_json(report.shown)
    tumours = [
        {**asdict(one.row), "where": one.where, "lobe": one.place.lobe, "surface_mm": one.place.surface_mm,
         "touches_border": one.place.touches_border}
        for one in report.lesions
    ]  # fmt: skip
    quality, interval = report.quality, report.interval
    return {
        **base,
        "headline": report.headline,
        "volumes": {**asdict(report.volumes), "healthy_ml": report.volumes.healthy_ml},
        "burden_interval_percent": asdict(interval) if interval else None,
        "notes": [*report.case.ct.notes, *report.notes],
        "tumours_assessed": quality.tumour_assessed,
        "liver_cut_at": list(quality.cut_at),
        "tumours": tumours,
        "rules": {**base["rules"], "surface_mm": SURFACE_RULE, "lobe": LOBE_RULE},
        "quality": {
            "verdict": quality.verdict,
            "phase": {"phase": quality.phase.phase, "why": quality.phase.why},
            "gates": [asdict(gate) for gate in quality.gates],
        },
    }


def lesion_csv(report: LiverReport) -> str:
    """One line a tumour under a heading; a first line says what the file is, which spreadsheets show as a row.

    Numbers have a point; undefined ones are empty. A name that a spreadsheet
    would take for a formula begins with an apostrophe.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    assessed = "" if report.quality.tumour_assessed else f" Tumour not assessed: {report.quality.why_not_assessed}."
    writer.writerow([f"# hepar {hepar.__version__}. {hepar.DISCLAIMER}{assessed}"])
    writer.writerow(COLUMNS)
    for one in report.lesions:
        facts = {**asdict(one.row), **asdict(one.place), "where": one.where, "case": _text(report.case.file_name)}
        facts |= dict(zip(("x_mm", "y_mm", "z_mm"), one.row.position_mm, strict=True))
        writer.writerow([_cell(facts[name]) for name in COLUMNS])
    return stream.getvalue()


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _text(name: str) -> str:
    name = name_only(name)
    return f"'{name}" if name[:1] in "=+-@" else name
