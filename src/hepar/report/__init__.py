"""CT, labels and scores -> pictures, tables and one HTML page."""

from __future__ import annotations

from hepar.report.contact_sheet import contact_sheet, key_slices
from hepar.report.measure import TumourRow, Volumes, measurements_of, tumour_table, volumes
from hepar.report.pictures import Display, Slice, overlay_picture
from hepar.report.preprocessing_figure import ZoomBox, preprocessing_figure
from hepar.report.summary import ModelFacts, SummaryInput, summary_json, summary_page, write_summary

__all__ = [
    "Display",
    "ModelFacts",
    "Slice",
    "SummaryInput",
    "TumourRow",
    "Volumes",
    "ZoomBox",
    "contact_sheet",
    "key_slices",
    "measurements_of",
    "overlay_picture",
    "preprocessing_figure",
    "summary_json",
    "summary_page",
    "tumour_table",
    "volumes",
    "write_summary",
]
