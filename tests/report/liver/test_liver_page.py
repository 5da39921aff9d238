"""The report's page: self-contained, honest about its source, silent about where files lie."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import hepar
from hepar.errors import OutputError
from hepar.geometry import Geometry
from hepar.report import liver_report, report_json, report_page, write_page
from hepar.report.summary import ModelFacts, SummaryInput
from hepar.volume import LIVER, TUMOUR, LabelMap, Volume

GRID = Geometry.from_spacing((10, 40, 40), (5.0, 3.0, 3.0))
MODEL = ModelFacts("small_model@abc", "CC BY-NC 4.0", "26 scans & phantoms")


@pytest.fixture
def case() -> SummaryInput:
    labels = np.zeros(GRID.shape, np.uint8)
    labels[2:8, 8:30, 5:25] = LIVER
    labels[4:6, 12:16, 10:14] = TUMOUR
    values = np.where(labels == TUMOUR, 50, 100).astype(np.int16)
    return SummaryInput(
        Volume(values, GRID, ("read as is",)), LabelMap(labels, GRID), MODEL, "/data/Doe_Jane/scan.nii.gz", "phantom"
    )


def page_of(case: SummaryInput) -> str:
    return report_page(liver_report(case))


def json_of(case: SummaryInput) -> dict:
    return report_json(liver_report(case))


def with_labels(case: SummaryInput, labels: np.ndarray) -> SummaryInput:
    return replace(case, labels=case.labels.with_labels(labels))


def test_the_page_says_research_use_only_and_what_the_evidence_is(case):
    page = page_of(case)
    assert hepar.DISCLAIMER in page
    assert "Phantom: made by the software itself" in page
    assert "Phantom: made by the software itself" not in page_of(replace(case, evidence="real"))
    assert "where this scan comes from was not checked" in page_of(replace(case, evidence="unknown"))


def test_the_tumour_table_says_on_which_slice_to_look(case):
    # Slices 4 and 5 of the array: the fifth and sixth of ten.
    assert case.tumours[0].diameter_slice in (5, 6)
    assert f"<td>{case.tumours[0].diameter_slice} of 10</td>" in page_of(case)


@pytest.mark.parametrize("name", ["/data/Doe_Jane/scan.nii.gz", "C:\\data\\Doe_Jane\\scan.nii.gz"])
def test_the_page_and_the_json_show_the_file_name_and_no_folder(case, name):
    case = replace(case, file_name=name)
    for text in (page_of(case), str(json_of(case))):
        assert "scan.nii.gz" in text
        assert "Doe_Jane" not in text


def test_the_page_needs_nothing_from_outside(case):
    page = page_of(case)
    assert not re.search(r"https?://|<link|@import|url\(|fetch\(|XMLHttpRequest|WebSocket", page)
    assert {src[:22] for src in re.findall(r'src="([^"]*)"', page)} == {"data:image/png;base64,"}


def test_only_the_pages_own_script_may_run(case):
    page = page_of(case)
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page).group(1)
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy and policy.startswith("default-src 'none'")
    assert "script-src" not in report_page(liver_report(case), viewer=False)


def test_the_picture_is_a_png_with_colours(case):
    data = re.search(r'src="data:image/png;base64,([^"]+)"', page_of(case)).group(1)
    picture = Image.open(io.BytesIO(base64.b64decode(data)))
    assert picture.format == "PNG"
    assert np.ptp(np.asarray(picture.convert("RGB"), dtype=int), axis=2).max() > 100


def test_names_are_escaped(case):
    page = page_of(replace(case, file_name="<img onerror=x>.nii"))
    assert "<img onerror" not in page
    assert "&lt;img onerror" in page
    assert "26 scans &amp; phantoms" in page


def test_volumes_and_burden_are_printed(case):
    page = page_of(case)
    assert "119 mL" in page  # 6 x 22 x 20 voxels of 45 mm3
    assert "1.4 mL" in page  # 2 x 4 x 4 voxels
    assert "1.2 %" in page


def test_provenance_names_model_licence_training_settings_and_time(case):
    page = page_of(replace(case, settings={"device": "cpu"}, seconds={"segment": 12.34}))
    for fact in (
        f"hepar {hepar.__version__}",
        "small_model@abc",
        "CC BY-NC 4.0",
        "read as is",
        "cpu",
        "segment 12.3 s",
    ):
        assert fact in page
    assert str(GRID) in page


def test_scores_stand_beside_the_empty_rule(case):
    scores = {"liver": {"dice": 0.9512, "assd_mm": 1.234}, "tumour": {"dice": None, "assd_mm": float("nan")}}
    page = page_of(replace(case, truth=case.labels, scores=scores, empty_rule="both empty: excluded"))
    assert "0.951" in page
    assert "1.23" in page
    assert page.count("<td>not defined</td>") == 2
    assert "both empty: excluded" in page
    assert "reference 119 mL" in page


def test_without_truth_no_agreement_is_shown(case):
    assert "Agreement with the reference" not in page_of(case)


def test_no_tumour_is_said_in_words(case):
    page = page_of(with_labels(case, np.minimum(case.labels.labels, LIVER)))
    assert "No tumour was found" in page
    assert "No tumour was found" not in page_of(case)


def test_no_liver_is_said_in_words(case):
    page = page_of(with_labels(case, np.zeros_like(case.labels.labels)))
    assert "No liver was found." in page and "no tumour could be" in page
    assert "not defined" in page and "Quality gates: reject" in page


def test_at_most_twenty_tumours_are_listed_and_all_are_counted(case):
    many = np.minimum(case.labels.labels, LIVER)
    many[3, 9:29:4, 6:26:4] = TUMOUR
    page = page_of(with_labels(case, many))
    assert "The 20 largest of 25" in page
    assert len(json_of(with_labels(case, many))["tumours"]) == 25


def test_the_same_case_gives_the_same_page(case):
    assert page_of(case) == page_of(case)


def test_a_page_that_cannot_be_written_leaves_nothing(case, tmp_path):
    blocker = tmp_path / "folder"
    blocker.write_text("a file, not a folder")
    with pytest.raises(OutputError, match=r"report\.html"):
        write_page(liver_report(case), blocker / "report.html")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_the_page_is_written_whole(case, tmp_path):
    write_page(liver_report(case), tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == page_of(case)
    assert len(list(tmp_path.iterdir())) == 1


def preview_of_page(page: str) -> dict:
    return json.loads(re.search(r'id="preview">(.*?)</script>', page, re.DOTALL).group(1))


def test_the_viewer_begins_at_the_largest_tumour(case):
    facts = preview_of_page(page_of(case))
    x, y, z = facts["start"]
    nx, ny, nz = facts["size"]
    # The tumour's middle as a share of the body that is shown: x 11.5 and y 13.5 of 40, slices 4 and 5 of 10.
    assert (nx, ny, nz) == (40, 40, 10) and x in (11, 12) and y in (13, 14) and z in (4, 5)


def test_a_page_of_300_slices_stays_below_6_mb():
    grid = Geometry.from_spacing((300, 512, 512), (1.5, 0.8, 0.8))
    rng = np.random.default_rng(0)
    values = rng.integers(0, 130, grid.shape, dtype=np.int16)
    labels = np.zeros(grid.shape, np.uint8)
    labels[60:200, 100:300, 80:300] = LIVER
    labels[100:110, 150:170, 100:120] = TUMOUR
    noisy = SummaryInput(Volume(values, grid), LabelMap(labels, grid), MODEL, "noise.nii.gz", "phantom")
    assert len(page_of(noisy)) < 6_000_000
