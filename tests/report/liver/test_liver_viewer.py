"""The report's viewer in a real browser, without a network: sides, labels, lesions, other windows."""

from __future__ import annotations

import base64
import io
import shutil
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from hepar.geometry import Geometry
from hepar.report import liver_report, write_page
from hepar.report.summary import ModelFacts, SummaryInput
from hepar.volume import LIVER, TUMOUR, LabelMap, Volume

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = next((found for name in ("chromium", "chromium-browser") if (found := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Iterator[object]:
    """A page of a flipped grid: its first axis runs to the feet, its last to the patient's right."""
    grid = Geometry((24, 60, 80), np.array([[0, 0, -3, 0], [0, 3, 0, 0], [-5, 0, 0, 0], [0, 0, 0, 1]], float))
    labels = np.zeros(grid.shape, np.uint8)
    labels[4:20, 15:45, 42:72] = LIVER  # the array's end: the patient's right
    labels[6:9, 36:42, 54:60] = TUMOUR
    values = np.full(grid.shape, -1000, np.int16)
    values[:, 5:55, 5:75] = 40
    values[labels == LIVER], values[labels == TUMOUR] = 110, 60
    case = SummaryInput(Volume(values, grid), LabelMap(labels, grid), ModelFacts("m", "free", "x"), "<b>ct.nii")
    path = tmp_path_factory.mktemp("viewer") / "report.html"
    write_page(liver_report(case), path)
    with sync_api.sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = browser.new_context(offline=True)
        shown = context.new_page()
        shown.errors = []
        shown.on("pageerror", lambda error: shown.errors.append(str(error)))
        shown.on("console", lambda said: shown.errors.append(said.text) if said.type == "error" else None)
        shown.goto(path.as_uri())
        # Asking for an element: the page's policy forbids to evaluate text again and again.
        shown.wait_for_selector("#viewer[data-ready=yes]")
        yield shown
        browser.close()


def pixels(page, view: str) -> np.ndarray:
    url = page.evaluate(f"document.getElementById('view-{view}').toDataURL()")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB")).astype(int)


def green(picture: np.ndarray) -> np.ndarray:
    return (picture[..., 1] > picture[..., 0] + 40) & (picture[..., 1] > picture[..., 2] + 40)


def red(picture: np.ndarray) -> np.ndarray:
    return (picture[..., 0] > picture[..., 1] + 60) & (picture[..., 0] > picture[..., 2] + 60)


@pytest.mark.parametrize("view", ["axial", "coronal"])
def test_the_patients_right_is_on_the_left(page, view):
    picture = pixels(page, view)
    columns = np.flatnonzero(green(picture).any(axis=0))
    assert len(columns) and columns.max() < picture.shape[1] / 2
    assert red(picture).any()


def test_the_head_is_up_and_the_front_is_up(page):
    """The tumour lies in the upper half of the liver, and near its back."""

    def heights(view: str) -> tuple[float, float]:
        picture = pixels(page, view)
        return tuple(float(np.flatnonzero(of(picture).any(axis=1)).mean()) for of in (red, green))

    tumour, liver = heights("coronal")
    assert tumour < liver - 10
    tumour, liver = heights("axial")
    assert tumour > liver + 10


def test_labels_can_be_hidden_and_shown(page):
    page.uncheck("#view-shown")
    assert not green(pixels(page, "axial")).any()
    page.check("#view-shown")
    assert green(pixels(page, "axial")).any()


def test_another_window_changes_the_greys(page):
    before = pixels(page, "axial")
    page.select_option("#view-window", index=1)
    assert np.abs(pixels(page, "axial") - before).max() > 20
    page.select_option("#view-window", index=0)
    assert np.array_equal(pixels(page, "axial"), before)


def test_a_lesions_number_leads_to_it(page):
    page.focus("#view-axial")
    for _ in range(8):
        page.keyboard.press("ArrowUp")
    assert not red(pixels(page, "axial")).any()
    page.click("button[data-voxel]")
    assert red(pixels(page, "axial")).any()


def test_nothing_complains_and_no_name_becomes_markup(page):
    assert page.errors == []
    assert page.locator("main b", has_text="ct.nii").count() == 0
    assert page.locator(".file").inner_text() == "<b>ct.nii"
