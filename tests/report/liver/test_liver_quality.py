"""Gates say what was measured and why it matters; tumours in the wrong phase are not assessed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hepar.geometry import Geometry
from hepar.io.series.phase import PhaseGuess
from hepar.report import liver_report, report_json, report_page
from hepar.report.liver.quality import Quality, liver_noise_hu
from hepar.report.summary import ModelFacts, SummaryInput
from hepar.volume import LIVER, TUMOUR, LabelMap, Volume

MODEL = ModelFacts("m@1", "free", "phantoms")


def scan(
    shape=(24, 80, 80), mm=(5.0, 3.0, 3.0), hu: float = 110, noise: float = 10, box=((4, 20), (20, 56), (12, 46))
) -> SummaryInput:
    """A body of 50 HU in air with a box of liver on the patient's right, and in it a tumour."""
    grid = Geometry.from_spacing(shape, mm)
    labels = np.zeros(shape, np.uint8)
    z, y, x = (slice(*pair) for pair in box)
    labels[z, y, x] = LIVER
    middle = [(a + b) // 2 for a, b in box]
    labels[tuple(slice(m - 2, m + 2) for m in middle)] = TUMOUR
    body = np.full(shape, -1000.0)
    body[:, 8:72, 6:74] = 50
    values = np.where(labels == LIVER, hu, np.where(labels == TUMOUR, hu - 50, body))
    values += np.random.default_rng(0).normal(0, noise, shape)
    return SummaryInput(Volume(values.astype(np.int16), grid), LabelMap(labels, grid), MODEL, "ct.nii", "phantom")


def quality(case: SummaryInput) -> Quality:
    return liver_report(case).quality


def verdicts(case: SummaryInput) -> dict[str, str]:
    return {gate.name: gate.verdict for gate in quality(case).gates}


def test_a_usual_portal_venous_scan_passes_every_gate():
    found = quality(scan())
    assert found.verdict == "accept" and found.reasons == () and found.cut_at == () and found.tumour_assessed
    assert found.phase.phase == "portal venous"
    assert len(found.gates) == 8 and all(gate.reason for gate in found.gates)


def test_in_an_unenhanced_scan_tumours_are_not_assessed_anywhere():
    report = liver_report(scan(hu=55))
    assert not report.quality.tumour_assessed and report.quality.verdict == "reject"
    assert "native phase (the liver has 54 HU" in report.quality.why_not_assessed
    assert report.headline.endswith("Tumour not assessed.") and report.lesions == ()
    assert not report.shown.labels.tumour.any()
    # The liver keeps its volume: what was marked as tumour is part of it.
    assert report.volumes.liver_ml == liver_report(scan()).volumes.liver_ml
    facts = report_json(report)
    assert facts["tumours_assessed"] is False and facts["tumours"] == [] and np.isnan(facts["volumes"]["tumour_ml"])
    page = report_page(report)
    assert "Tumour not assessed" in page and "Separate tumours" not in page and "Red: tumour" not in page


@pytest.mark.parametrize(
    ("said", "phase", "verdict", "assessed"),
    [
        ("arterial", "arterial", "reject", False),
        ("delayed", "delayed", "reject", False),
        ("portal venous", "portal venous", "accept", True),
        # What a header leaves open, the liver's brightness tells.
        ("unknown", "portal venous", "accept", True),
        ("contrast", "portal venous", "accept", True),
    ],
)
def test_the_headers_phase_goes_before_the_livers_brightness(said, phase, verdict, assessed):
    case = replace(scan(), phase=PhaseGuess(said, "its description says so"))
    assert quality(case).phase.phase == phase
    assert verdicts(case)["Contrast phase"] == verdict and quality(case).tumour_assessed == assessed


def test_a_dark_liver_in_a_portal_venous_series_is_to_be_looked_at():
    case = replace(scan(hu=45), phase=PhaseGuess("portal venous", "its description says so"))
    assert verdicts(case)["Contrast phase"] == "review" and quality(case).tumour_assessed
    assert any("fatty liver" in reason for reason in quality(case).reasons)


@pytest.mark.parametrize(("noise", "verdict"), [(10, "accept"), (45, "review"), (110, "reject")])
def test_noise_is_measured_in_the_liver(noise, verdict):
    case = scan(noise=noise)
    assert verdicts(case)["Noise"] == verdict
    assert liver_noise_hu(case.ct, case.labels) == pytest.approx(noise, rel=0.15)


@pytest.mark.parametrize(
    ("box", "side"),
    [
        (((0, 16), (20, 56), (12, 46)), "lower"),
        (((8, 24), (20, 56), (12, 46)), "upper"),
        (((4, 20), (0, 40), (12, 46)), "front"),
        (((4, 20), (40, 80), (12, 46)), "back"),
        (((4, 20), (20, 56), (0, 40)), "right"),
        (((4, 20), (20, 56), (40, 80)), "left"),
    ],
)
def test_a_liver_that_the_scan_cuts_off_is_flagged_with_the_side(box, side):
    case = scan(box=box)
    assert quality(case).cut_at == (side,) and verdicts(case)["Coverage"] == "review"
    report = liver_report(case)
    assert "cut off by the scan" in report.headline and report_json(report)["liver_cut_at"] == [side]
    assert f"cut off by the scan ({side})" in report_page(report)


def test_sides_are_the_patients_in_a_flipped_and_swapped_grid():
    case = scan(box=((4, 20), (20, 56), (0, 40)))
    swapped = np.ascontiguousarray(case.labels.labels.transpose(2, 0, 1)[:, ::-1])
    affine = case.ct.geometry.affine @ np.array(
        [[0, -1, 0, case.ct.geometry.shape[0] - 1], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1]], dtype=float
    )
    grid = Geometry(swapped.shape, affine)
    values = np.ascontiguousarray(case.ct.values.transpose(2, 0, 1)[:, ::-1])
    turned = replace(case, ct=Volume(values, grid), labels=LabelMap(swapped, grid))
    assert quality(turned).cut_at == quality(case).cut_at == ("right",)
    assert [one.where for one in liver_report(turned).lesions] == [one.where for one in liver_report(case).lesions]


def test_a_liver_that_tapers_out_in_the_last_slice_is_not_cut_off():
    case = scan(box=((4, 23), (20, 56), (12, 46)))
    labels = case.labels.labels.copy()
    labels[23, 30:33, 20:23] = LIVER
    assert quality(replace(case, labels=case.labels.with_labels(labels))).cut_at == ()


@pytest.mark.parametrize(("z_mm", "verdict"), [(5.0, "accept"), (8.0, "review"), (15.0, "reject")])
def test_thick_slices_are_said(z_mm, verdict):
    assert verdicts(scan(mm=(z_mm, 3.0, 3.0)))["Slice distance"] == verdict


def test_an_implausible_liver_is_said():
    assert verdicts(scan(mm=(5.0, 1.0, 1.0)))["Liver volume"] == "reject"
    assert verdicts(scan(mm=(5.0, 1.6, 1.6)))["Liver volume"] == "review"
    assert verdicts(scan(box=((4, 20), (20, 56), (40, 72))))["Side"] == "review"
    bright = scan(hu=260)
    assert verdicts(bright)["Liver density"] == "review"


def test_no_liver_is_rejected_and_asks_nothing_further():
    case = scan()
    empty = replace(case, labels=case.labels.with_labels(np.zeros_like(case.labels.labels)))
    found = verdicts(empty)
    assert found["Liver volume"] == "reject" and "Side" not in found
    assert liver_report(empty).headline == "No liver was found."


def test_much_or_many_tumours_are_to_be_looked_at():
    case = scan()
    much = np.where(case.labels.liver, np.uint8(TUMOUR), np.uint8(0))
    much[4:8][much[4:8] > 0] = LIVER
    assert verdicts(replace(case, labels=case.labels.with_labels(much)))["Tumour load"] == "review"
    many = np.minimum(case.labels.labels, np.uint8(LIVER))
    many[10, 22:54:4, 14:44:6] = TUMOUR
    assert verdicts(replace(case, labels=case.labels.with_labels(many)))["Tumour load"] == "review"
