"""The liver report as one HTML file that needs no network: key slices, table, gates, and a viewer of three planes.

The page's only script is named by its hash in the page's own policy, so
nothing else can run, whatever a file name or note holds.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from PIL import Image

import hepar
from hepar.files import write_text
from hepar.io.exports.marked import NOT_ASSESSED
from hepar.metrics.couinaud import LESION_RULE
from hepar.report.liver.assessment import LiverReport
from hepar.report.liver.burden import KEY
from hepar.report.liver.calipers import LEGEND, caliper_pictures
from hepar.report.liver.places import LOBE_RULE, SURFACE_RULE
from hepar.report.liver.preview import Preview, payload, preview_of
from hepar.report.measure import COMPONENT_RULE, CONFIDENCE_RULE, DIAMETER_RULE, volumes
from hepar.report.summary import EVIDENCE, name_only, number, score_table

MOST_LESIONS = 20


def report_page(report: LiverReport, viewer: bool = True) -> str:
    """The page as HTML, without the viewer some hundred kB."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("hepar.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["number"] = number
    environment.filters["png"] = _png
    script, style = _template("liver_viewer.js"), _template("liver.css")
    preview = preview_of(report.shown.ct, report.shown.labels) if viewer else None
    facts = {
        **_case_facts(report),
        **_lesion_facts(report, preview),
        # Base64 and numbers only: nothing in it can end the element.
        "preview": Markup(json.dumps(_payload(report, preview))) if preview else "",
        "preview_mm": " x ".join(f"{mm:.1f}" for mm in reversed(preview.spacing_mm)) if preview else "",
        "script": Markup(script),
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
        "style": Markup(style),
    }
    return environment.get_template("liver.html.j2").render(**facts)


def write_page(report: LiverReport, path: Path, viewer: bool = True) -> None:
    """Write the page whole or not at all. Raises OutputError when it cannot be written."""
    write_text(path, report_page(report, viewer))


def _case_facts(report: LiverReport) -> dict[str, Any]:
    case = report.shown
    columns, rows = score_table(case.scores or {})
    return {
        "disclaimer": hepar.DISCLAIMER,
        "version": hepar.__version__,
        "file_name": name_only(case.file_name),
        "evidence": case.evidence,
        "evidence_text": EVIDENCE[case.evidence],
        "headline": report.headline,
        "quality": report.quality,
        "volumes": report.volumes,
        "interval": report.interval,
        "not_assessed": NOT_ASSESSED,
        "picture": case.picture,
        "has_truth": case.truth is not None,
        "reference": None if case.truth is None else volumes(case.truth),
        "segments": case.segments,
        "score_columns": columns,
        "score_rows": rows,
        "empty_rule": case.empty_rule,
        "model": case.model,
        "card_figures": list(_plain(case.model.figures)),
        "grid": str(case.ct.geometry),
        "notes": (*case.ct.notes, *report.notes),
        "settings": case.settings,
        "seconds": case.seconds,
    }


def _lesion_facts(report: LiverReport, preview: Preview | None) -> dict[str, Any]:
    has_confidence = report.shown.tumour_probability is not None
    rules = [COMPONENT_RULE, DIAMETER_RULE, SURFACE_RULE, LESION_RULE if report.shown.segments else LOBE_RULE]
    shown = report.lesions[:MOST_LESIONS]
    return {
        "lesions": shown,
        "lesion_count": len(report.lesions),
        "voxels": {one.row.number: _voxel(report, preview, one.row.number) for one in shown} if preview else {},
        "calipers": caliper_pictures(report.shown.ct, report.shown.labels) if report.lesions else [],
        "caliper_legend": LEGEND,
        "slice_total": report.shown.ct.axial().geometry.shape[0],
        "has_confidence": has_confidence,
        "rules": (*rules, CONFIDENCE_RULE) if has_confidence else tuple(rules),
    }


def _payload(report: LiverReport, preview: Preview) -> dict[str, Any]:
    if report.lesions:
        x, y, z = _voxel(report, preview, report.lesions[0].row.number)
        return payload(preview, (z, y, x))
    marked = preview.labels > 0
    if marked.any():
        z = int(marked.sum(axis=(1, 2)).argmax())
        y, x = (round(float(places.mean())) for places in marked[z].nonzero())
        return payload(preview, (z, y, x))
    z, y, x = (n // 2 for n in preview.grey.shape)
    return payload(preview, (z, y, x))


def _voxel(report: LiverReport, preview: Preview, number: int) -> tuple[int, int, int]:
    """Where the viewer shows a tumour, as (x, y, z) of the preview: its centre, in the slice of its diameters."""
    row = report.lesions[number - 1].row
    _, y, x = report.shown.ct.axial().geometry.index_of(row.position_mm)
    z, y, x = preview.at((row.diameter_slice - 1, float(y), float(x)))
    return int(x), int(y), int(z)


def _plain(figures: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    """A card's figures as lines of a table, inner names after outer ones."""
    lines: list[tuple[str, str]] = []
    for name, value in figures.items():
        if isinstance(value, Mapping) and name != KEY:
            lines += _plain(value, f"{before}{name}: ")
        elif name != KEY:
            lines.append((f"{before}{name}", str(value)))
    return lines


def _template(name: str) -> str:
    return (resources.files("hepar.report") / "templates" / name).read_text(encoding="utf-8")


def _png(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
