"""What one segmented scan leaves on the disk beside its label map: page, tables, and for DICOM a SEG and an SR."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

import hepar
from hepar.errors import MissingExtra
from hepar.files import replace_whole, write_json, write_text
from hepar.inference import Finding, Model
from hepar.io import DicomScan
from hepar.io.exports.marked import BACKGROUND, FIRST_LESION, LIVER, NOT_ASSESSED, Maker, Marked
from hepar.io.exports.sr import Findings, Measured
from hepar.io.series.phase import PhaseGuess, guess_phase
from hepar.io.series.reading import SeriesReading
from hepar.report.liver.assessment import Lesion, LiverReport
from hepar.report.liver.page import write_page
from hepar.report.liver.tables import lesion_csv, report_json
from hepar.report.measure import tumours_of
from hepar.volume import LabelMap

SegKind = Literal["binary", "labelmap", "fractional", "none"]
# A segment each for so many tumours; the rest share one, which bounds memory and what a reader has to look at.
MOST_SEGMENTS = 20
FURTHER = "Further tumours"
SEG, SR, PROBABILITY = "_seg.dcm", "_sr.dcm", "_probability_seg.dcm"


@dataclass(frozen=True, eq=False)
class Origin:
    """The DICOM series that a case was read from, and its way back to the slices."""

    scan: DicomScan
    reading: SeriesReading

    @property
    def phase(self) -> PhaseGuess:
        return guess_phase(self.scan.series)


@dataclass(frozen=True)
class DicomOrder:
    """Where a case's DICOM results go, of which kind, and who makes them."""

    out: Path
    case: str
    kind: SegKind
    maker: Maker

    def path(self, ending: str) -> Path:
        return self.out / f"{self.case}{ending}"


def maker_of(model: Model, made: datetime) -> Maker:
    return Maker(hepar.__version__, model.id, model.sha256, made)


def write_pages(report: LiverReport, folder: Path, name: str, facts: dict[str, Any] | None = None) -> None:
    """Picture, page and table of one case, and last its JSON with `facts`, which marks it as finished."""
    with replace_whole(folder / f"{name}.png") as temporary:
        report.shown.picture.save(temporary, format="PNG")
    write_page(report, folder / f"{name}.html")
    write_text(folder / f"{name}.csv", lesion_csv(report))
    write_json(folder / f"{name}.json", report_json(report) | (facts or {}))


def write_dicom(report: LiverReport, found: Finding, origin: Origin, order: DicomOrder) -> tuple[str, ...]:
    """SEG and SR of one case; returns notes, among them why there is none.

    "fractional" adds the tumour probability as a third file. Files of an older
    run are taken away first: they must not stay beside newer labels. Raises
    OutputError when a file does not come back as it was written.
    """
    from hepar.io.exports.seg import write_probability, write_seg
    from hepar.io.exports.source import source_of
    from hepar.io.exports.sr import write_sr

    for ending in (SEG, SR, PROBABILITY):
        order.path(ending).unlink(missing_ok=True)
    if order.kind == "none":
        return ()
    marked = marked_on_slices(report, origin.reading)
    if not marked.liver.any():
        return ("no DICOM SEG and SR: neither liver nor tumour was found",)
    source = source_of(origin.scan.series.series, origin.reading.slices)
    try:
        seg = write_seg(
            marked, source, order.maker, order.path(SEG), "LABELMAP" if order.kind == "labelmap" else "BINARY"
        )
    except MissingExtra as error:
        return (f"no DICOM SEG and SR: {error}",)
    write_sr(findings_of(report), seg, source, order.maker, order.path(SR))
    # Where tumours are not assessed, their probability would say otherwise.
    if order.kind == "fractional" and report.quality.tumour_assessed:
        probability = origin.reading.way.back(found.tumour_probability)
        if probability.any():
            write_probability(probability, source, order.maker, order.path(PROBABILITY))
    return source.notes


def marked_on_slices(report: LiverReport, reading: SeriesReading) -> Marked:
    """Liver and numbered tumours, as the report shows them, on the slices of the files."""
    on_volume = structure_numbers(report.shown.labels)
    names = [one.name for one in report.lesions[:MOST_SEGMENTS]]
    if len(report.lesions) > MOST_SEGMENTS:
        names.append(FURTHER)
    return Marked(reading.way.back(on_volume), tuple(names), remark_of(report))


def structure_numbers(labels: LabelMap) -> NDArray[np.uint8]:
    """0, 1 for liver, 2 for the report's first tumour and so on, on the labels' grid."""
    axial = labels.axial()
    lesions = tumours_of(axial).numbered(MOST_SEGMENTS)
    marks = np.where(lesions > 0, lesions + np.uint8(FIRST_LESION - 1), np.uint8(LIVER))
    marks = np.where(axial.liver, marks, np.uint8(BACKGROUND)).astype(np.uint8)
    return np.ascontiguousarray(labels.geometry.axial().undo(marks))


def remark_of(report: LiverReport) -> str:
    """What a segmentation says of itself beside research use."""
    if not report.quality.tumour_assessed:
        return f"{NOT_ASSESSED}: {report.quality.why_not_assessed}."
    return "" if report.lesions else "No tumour was found, which does not mean that there is none."


def findings_of(report: LiverReport) -> Findings:
    """The report's numbers for SR, tumours named as their segments are."""
    lesions = [_measured(one) for one in report.lesions[:MOST_SEGMENTS]]
    rest = report.lesions[MOST_SEGMENTS:]
    if rest:
        lesions.append(Measured(FURTHER, sum(one.row.volume_ml for one in rest)))
    quality = report.quality
    remarks = [report.headline, f"Quality gates: {quality.verdict}.", *(f"{reason}." for reason in quality.reasons)]
    if report.interval:
        remarks.append(f"Interval of the tumour burden: {report.interval}.")
    liver = Measured("Liver", report.volumes.liver_ml)
    return Findings(liver, tuple(lesions), quality.tumour_assessed, tuple(remarks))


def _measured(one: Lesion) -> Measured:
    row = one.row
    return Measured(
        one.name, row.volume_ml, row.longest_axial_diameter_mm, row.perpendicular_axial_diameter_mm, row.mean_hu
    )
