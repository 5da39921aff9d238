"""CT, labels and scores -> pictures, tables and one HTML page."""

from __future__ import annotations

from hepar.report.contact_sheet import contact_sheet, key_slices
from hepar.report.liver.assessment import LiverReport, liver_report
from hepar.report.liver.page import report_page, write_page
from hepar.report.liver.tables import lesion_csv, report_json
from hepar.report.measure import TumourRow, Volumes, measurements_of, tumour_table, volumes
from hepar.report.pictures import Display, Slice, overlay_picture
from hepar.report.preprocessing_figure import ZoomBox, preprocessing_figure
from hepar.report.summary import ModelFacts, SummaryInput, summary_json

__all__ = [
    "Display",
    "LiverReport",
    "ModelFacts",
    "Slice",
    "SummaryInput",
    "TumourRow",
    "Volumes",
    "ZoomBox",
    "contact_sheet",
    "key_slices",
    "lesion_csv",
    "liver_report",
    "measurements_of",
    "overlay_picture",
    "preprocessing_figure",
    "report_json",
    "report_page",
    "summary_json",
    "tumour_table",
    "volumes",
    "write_page",
]
