"""One case's measurements with what limits them: what the page, the tables and DICOM exports show alike."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from hepar.io.exports.marked import NOT_ASSESSED
from hepar.report.liver.burden import BurdenInterval, burden_interval
from hepar.report.liver.places import Place, places_of
from hepar.report.liver.quality import Quality, quality_of
from hepar.report.measure import TumourRow, Volumes, volumes
from hepar.report.summary import SummaryInput
from hepar.volume import LIVER


@dataclass(frozen=True)
class Lesion:
    """One line of the report's table. `where` names Couinaud segments, or the lobe where these are not known."""

    row: TumourRow
    place: Place
    where: str

    @property
    def name(self) -> str:
        return f"Tumour {self.row.number}"


@dataclass(frozen=True, eq=False)
class LiverReport:
    """A case and what is said of it. Where tumours are not assessed it shows none: `shown.labels` hold the liver only.

    `case` is what came in, `volumes` are NaN in tumour and burden where these were not assessed.
    """

    case: SummaryInput
    shown: SummaryInput
    quality: Quality
    volumes: Volumes
    interval: BurdenInterval | None
    lesions: tuple[Lesion, ...]
    notes: tuple[str, ...] = ()

    @cached_property
    def headline(self) -> str:
        """The result in one line."""
        if not self.volumes.liver_ml:
            return "No liver was found."
        liver = f"Liver {self.volumes.liver_ml:.0f} mL{', cut off by the scan' if self.quality.cut_at else ''}."
        if not self.quality.tumour_assessed:
            return f"{liver} {NOT_ASSESSED}."
        if not self.lesions:
            return f"{liver} No tumour was found, which does not mean that there is none."
        count = "1 tumour" if len(self.lesions) == 1 else f"{len(self.lesions)} tumours"
        return (
            f"{liver} {count}, {self.volumes.tumour_ml:.1f} mL, {self.volumes.burden_percent:.1f} % of the liver; "
            f"the largest {self.lesions[0].row.longest_axial_diameter_mm:.0f} mm."
        )


def liver_report(case: SummaryInput) -> LiverReport:
    """Measure and judge. Raises GeometryMismatch when the labels do not lie on the scan's grid."""
    measured = volumes(case.labels)
    quality = quality_of(case.ct, case.labels, measured, len(case.tumours), case.phase)
    if quality.tumour_assessed:
        interval = burden_interval(measured.burden_percent, case.model.figures)
        return LiverReport(case, case, quality, measured, interval, _lesions(case))
    liver = case.labels.with_labels(np.minimum(case.labels.labels, np.uint8(LIVER)))
    segments = replace(case.segments, lesions=()) if case.segments else None
    shown = replace(case, labels=liver, tumour_probability=None, segments=segments)
    unknown = float("nan")
    return LiverReport(case, shown, quality, Volumes(measured.liver_ml, unknown, unknown), None, ())


def _lesions(case: SummaryInput) -> tuple[Lesion, ...]:
    segments = case.segments.lesion_names() if case.segments else {}
    lobes = {"right": "right lobe", "left": "left lobe", "both": "both lobes"}
    return tuple(
        Lesion(row, place, segments.get(row.number) or lobes[place.lobe])
        for row, place in zip(case.tumours, places_of(case.labels), strict=True)
    )
