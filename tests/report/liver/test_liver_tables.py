"""JSON and CSV say what the page says, and no spreadsheet runs a file's name."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import numpy as np
import pytest

from hepar.geometry import Geometry
from hepar.report import lesion_csv, liver_report, report_json, report_page
from hepar.report.liver.tables import COLUMNS
from hepar.report.summary import ModelFacts, SummaryInput
from hepar.volume import LIVER, TUMOUR, LabelMap, Volume

GRID = Geometry.from_spacing((12, 40, 40), (5.0, 3.0, 3.0))


@pytest.fixture
def case() -> SummaryInput:
    labels = np.zeros(GRID.shape, np.uint8)
    labels[2:10, 8:34, 5:25] = LIVER
    labels[4:7, 12:18, 10:14] = TUMOUR
    labels[8, 28:30, 18:20] = TUMOUR
    values = np.choose(labels, (0, 110, 60)).astype(np.int16)
    return SummaryInput(Volume(values, GRID), LabelMap(labels, GRID), ModelFacts("m", "free", "x"), "a/b/scan.nii")


def rows(case: SummaryInput) -> list[dict[str, str]]:
    first, _, rest = lesion_csv(liver_report(case)).partition("\n")
    assert "Research use only, not a medical device." in first
    return list(csv.DictReader(io.StringIO(rest)))


def test_a_line_a_tumour_with_the_pages_numbers(case):
    large, small = rows(case)
    assert tuple(large) == COLUMNS
    assert (large["case"], large["number"], large["volume_ml"], large["mean_hu"]) == ("scan.nii", "1", "3.24", "60")
    assert float(small["volume_ml"]) == pytest.approx(0.18)
    assert large["touches_border"] == "no" and large["confidence"] == ""
    page = report_page(liver_report(case))
    assert f"<b>{float(large['longest_axial_diameter_mm']):.1f}</b>" in page


def test_json_and_csv_agree(case):
    facts = report_json(liver_report(case))
    for line, one in zip(rows(case), facts["tumours"], strict=True):
        assert float(line["volume_ml"]) == pytest.approx(one["volume_ml"], rel=1e-3)
        assert float(line["surface_mm"]) == pytest.approx(one["surface_mm"], rel=1e-3)
        assert line["where"] == one["where"]
    assert facts["quality"]["verdict"] in ("accept", "review", "reject")
    assert "Research use only" in facts["disclaimer"]


def test_without_tumours_the_table_has_its_heading_only(case):
    none = replace(case, labels=case.labels.with_labels(np.minimum(case.labels.labels, np.uint8(LIVER))))
    assert rows(none) == [] and lesion_csv(liver_report(none)).splitlines()[1] == ",".join(COLUMNS)


@pytest.mark.parametrize("name", ["=cmd()", "+1", "-1", "@x"])
def test_a_name_that_a_spreadsheet_would_run_is_made_plain(case, name):
    assert rows(replace(case, file_name=name))[0]["case"] == f"'{name}"


def test_why_tumours_were_not_assessed_stands_in_the_first_line(case):
    dark = replace(case, ct=case.ct.with_values(np.minimum(case.ct.values, 50)))
    assert "Tumour not assessed: native phase" in lesion_csv(liver_report(dark)).splitlines()[0]
