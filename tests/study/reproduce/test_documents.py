"""From finished cells to tables, claims and the discrepancy sheet: on a made-up study whose figures are known."""

from __future__ import annotations

import csv
import io
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hepar.cases import Case
from hepar.errors import BadInput
from hepar.geometry import Geometry
from hepar.study.reproduce.aggregation import kind_of
from hepar.study.reproduce.arm_results import MEASURES, arm_results
from hepar.study.reproduce.discrepancies import (
    GROUPED,
    TORCHVISION,
    UNGROUPED,
    alexnet_parameters,
    fold_sizes,
    grey_levels,
    updates_of,
)
from hepar.study.reproduce.documents import paper_documents
from hepar.study.reproduce.published import TABLE1, TABLE2
from hepar.study.reproduce.results import read_study
from hepar.study.reproduce.scoring import score_case
from hepar.study.reproduce.writing import write_tables
from hepar.volume import LabelMap, Volume

GRID = Geometry.from_spacing((6, 12, 12), (5.0, 1.0, 1.0))
PATIENTS = 12
EMPTY = np.zeros(GRID.shape, np.int16)


def truth_of(patient: int) -> LabelMap:
    labels = np.zeros(GRID.shape, np.uint8)
    labels[1:5, 1:11, 1:11] = 1
    labels[2:4, 3:7, 3:7] = 2 if patient else 1
    return LabelMap(labels, GRID)


def found_with(truth: LabelMap, lost: int) -> LabelMap:
    """The truth without `lost` columns of liver; its tumour loses one of its rows for each two of them."""
    labels = truth.labels.copy()
    labels[:, 1 : 1 + lost // 2][labels[:, 1 : 1 + lost // 2] == 1] = 0
    labels[:, :, 11 - lost : 11][labels[:, :, 11 - lost : 11] == 1] = 0
    labels[2, 3 : 3 + lost // 2, 3:7] = 1
    return LabelMap(labels, GRID)


def add_cell(study: Path, arm: str, preprocessing: str, fold: int, lost: int, **facts: Any) -> None:
    """A finished cell whose predictions lack `lost` columns of liver, one more in every second patient."""
    folder = study / "cells" / arm / preprocessing / f"fold{fold}"
    folder.mkdir(parents=True)
    rows = []
    for patient in range(fold, PATIENTS, 4):
        truth = truth_of(patient)
        case = Case(f"p{patient}", f"p{patient}", partial(Volume, EMPTY, GRID), partial(truth_of, patient))
        rows.append(score_case(case, truth, found_with(truth, lost + patient % 2)) | {"seconds": 1.0})
    told = {
        "schema": 1, "id": f"{arm}/{preprocessing}/fold{fold}", "arm": arm, "preprocessing": preprocessing,
        "fold": fold, "title": arm, "state": "finished", "error": None, "recipe": "practical", "epochs_used": 9,
        "epochs_asked": 40, "updates": 90, "batch": 8, "minutes": 1.0, "learning_rate": 1e-3, "converged": True,
        "encoder": {"source": "none", "fresh": [], "note": ""}, "window_hu": {"used": [-100, 400]},
    }  # fmt: skip
    (folder / "scores.json").write_text(json.dumps(rows))
    (folder / "cell.json").write_text(json.dumps(told | facts))


@pytest.fixture
def study(tmp_path) -> Path:
    """With preprocessing fewer columns are lost; ResNet18 loses none but has not converged; one cell failed."""
    (tmp_path / "study.json").write_text(
        json.dumps({
            "schema": 1, "order": {}, "label": "made-up", "evidence": ["phantom"], "patients": PATIENTS,
            "slices": 72, "labelled_slices": 48, "fold_sizes": [[9, 3]] * 4,
        })
    )  # fmt: skip
    for fold in range(4):
        add_cell(tmp_path, "cdnn_alex", "without", fold, lost=4)
        add_cell(tmp_path, "cdnn_alex", "with", fold, lost=2)
        add_cell(tmp_path, "cdnn_resnet18", "with", fold, lost=0, converged=False)
    add_cell(tmp_path, "cdnn_alex-cascade", "with", 0, lost=0)
    failed = tmp_path / "cells" / "cdnn_squeeze" / "with" / "fold0"
    failed.mkdir(parents=True)
    facts = {"schema": 1, "id": "cdnn_squeeze/with/fold0", "arm": "cdnn_squeeze", "preprocessing": "with", "fold": 0}
    (failed / "cell.json").write_text(json.dumps(facts | {"state": "failed", "error": "no memory"}))
    return tmp_path


def claim(documents, text: str):
    return next(c for c in documents.claims if c.question.text == text)


def test_ours_is_the_mean_over_cases_and_stands_beside_the_published_figure(study):
    documents = paper_documents(study)
    row = documents.table1.rows[3]
    arm = documents.arms["cdnn_alex", "with"]
    own = [
        scores.value(MEASURES[0].spec) for cell in arm.cells for scores in cell.scores("all_slices", "paper").values()
    ]
    assert len(own) == PATIENTS
    assert row.ours["liver_dice"].value == pytest.approx(np.mean(own))
    assert row.ours["liver_dice"].interval.low < row.ours["liver_dice"].value < row.ours["liver_dice"].interval.high
    assert row.published["liver_dice"] == 0.904
    assert row.difference("liver_dice") == pytest.approx(np.mean(own) - 0.904)
    # The patient without tumour has no tumour figure.
    assert row.ours["tumour_dice"].count == PATIENTS - 1


def test_what_was_not_run_failed_or_did_not_converge_says_so(study):
    arms = arm_results(read_study(study))
    assert arms["cdnn_alex", "with"].state == "finished"
    assert arms["cdnn_resnet18", "with"].state == "finished, not converged"
    assert arms["cdnn_resnet18", "without"].state == "not run"
    assert arms["cdnn_squeeze", "with"].state == "failed: no memory"
    assert arms["cdnn_alex-cascade", "with"].state == "1 of 4 folds"
    assert paper_documents(study).table1.rows[0].ours == {}


def test_preprocessing_is_tested_over_patients_and_corrected(study):
    tests = paper_documents(study).table1.tests
    assert [test.measure for test in tests] == [measure.name for measure in MEASURES]
    liver = tests[0]
    assert (liver.test.patients, liver.test.mean_difference > 0) == (PATIENTS, True)
    assert liver.p >= liver.test.wilcoxon_p


def test_a_claim_follows_its_interval_in_either_direction(study):
    documents = paper_documents(study)
    helps = claim(documents, "Preprocessing improves CDNN-Alex")
    assert [answer.verdict for answer in helps.answers] == ["supported"] * 4
    # Better means smaller for distances.
    assert helps.answers[1].test.mean_difference < 0 < helps.answers[0].test.mean_difference
    for fold in range(1, 4):
        add_cell(study, "cdnn_alex-cascade", "with", fold, lost=0)
    assert claim(paper_documents(study), "Joint segmentation is better than two stages").verdict == "contradicted"


def test_an_arm_that_has_not_converged_supports_no_claim_and_its_difference_is_shown(study):
    own = claim(paper_documents(study), "CDNN-Alex is better than CDNN-ResNet18, with preprocessing")
    assert own.verdict == "no claim: not converged"
    assert own.answers[0].test.mean_difference < 0
    assert claim(paper_documents(study), "Preprocessing improves CDNN-ResNet18").verdict == "not run"


def test_few_patients_decide_nothing(study):
    assert claim(paper_documents(study), "Joint segmentation is better than two stages").answers[0].test.patients == 3


def test_every_reading_of_one_set_of_predictions_lies_in_its_spread(study):
    found = paper_documents(study).aggregation
    for spread in found.spreads:
        mine = [r.value for r in found.readings if (r.kind, r.arm) == (spread.kind, spread.arm)]
        assert (spread.lowest.value, spread.highest.value) == (min(mine), max(mine))
    dice = next(s for s in found.spreads if (s.kind, s.arm) == ("tumour DSC", "CDNN-Alex (with)"))
    # Half of the slices with tumour lost some of it: per slice that weighs more than per case.
    assert dice.width > 0.004
    assert {r.protocol for r in found.readings} == {"lits-codalab", "lits", "paper"}


def test_figures_of_other_kinds_are_no_reading():
    from hepar.metrics.protocols import PROTOCOLS

    taken = {spec.name for protocol in PROTOCOLS.values() for spec in protocol.figures if kind_of(spec)}
    assert {"liver_dice", "lesion_dice_global", "liver_union_assd_case_px", "tumour_assd_mm"} <= taken
    assert not {name for name in taken if any(word in name for word in ("surface", "hd95", "voe", "recall", "rvd"))}


def test_arithmetic_of_the_sheet_is_that_of_the_dossier():
    assert (fold_sizes(130), fold_sizes(131)) == ([33, 33, 32, 32], [33, 33, 33, 32])
    assert updates_of(12_623, 1000, 40) == 480
    counts = [alexnet_parameters(layers) for layers in (GROUPED, UNGROUPED, TORCHVISION)]
    assert counts == [60_965_224, 62_378_344, 61_100_840]
    assert grey_levels(-100, 400) == 3


def test_counted_parameters_are_those_of_the_networks():
    from hepar.nets.alexnet import AlexEncoder
    from hepar.nets.resnet18 import Resnet18Encoder
    from hepar.study.reproduce.discrepancies import RESNET18

    fc8 = 4096 * 1000 + 1000
    encoder = AlexEncoder("bvlc")
    assert sum(p.numel() for p in encoder.parameters()) == alexnet_parameters(GROUPED) - fc8
    assert sum(p.numel() for p in Resnet18Encoder().parameters()) == RESNET18


def test_the_sheet_measures_what_arms_tested_and_says_what_it_cannot(study):
    sheet = {one.paper: one for one in paper_documents(study).discrepancies}
    assert sheet["the decoder upsamples 8 times"].how == "not measurable here"
    areas = sheet["DSC on areas, in pixels"]
    assert (areas.how, "liver DSC of CDNN-Alex (with) lies between" in areas.consequence) == ("measured", True)
    add_cell(study, "cdnn_alex-fcn32s", "with", 0, lost=4)
    measured = {one.paper: one for one in paper_documents(study).discrepancies}["the decoder upsamples 8 times"]
    assert measured.how == "measured"
    assert "one 32x −" in measured.consequence.replace("-", "−")
    assert "66.7%" in sheet["a total of 16,917 images"].consequence


def test_published_figures_are_the_papers():
    assert [tuple(row.values.values()) for row in TABLE1] == [
        (0.823, 4.21, 0.577, 5.76), (0.842, 3.65, 0.614, 4.77), (0.885, 3.87, 0.597, 5.32), (0.904, 2.65, 0.624, 4.98),
    ]  # fmt: skip
    assert [(row.liver_dice, row.tumour_dice) for row in TABLE2] == [
        (0.95, 0.52), (0.96, 0.43), (None, 0.58), (0.887, 0.599), (0.904, 0.624),
    ]  # fmt: skip


def test_files_hold_full_precision_rules_and_labels(study, tmp_path):
    written = write_tables(paper_documents(study), tmp_path / "out")
    assert all(path.is_file() for path in written)
    text = (tmp_path / "out" / "tables.md").read_text()
    assert "made-up (phantom; 12 patients)" in text
    assert "Empty rule: Slices and cases whose truth lacks" in text
    assert "missed" in text
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out" / "table1.csv").read_text())))
    stored = json.loads((tmp_path / "out" / "paper.json").read_text())["table1"]["rows"]
    assert float(rows[3]["ours.liver_dice.value"]) == stored[3]["ours"]["liver_dice"]["value"]
    assert rows[0]["ours.liver_dice.value"] == ""
    latex = (tmp_path / "out" / "table1.tex").read_text()
    assert latex.count(r"\\") == len(rows) + 1
    assert "_" not in latex.replace(r"\_", "")


def test_a_folder_that_is_no_study_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r"holds no study\.json"):
        paper_documents(tmp_path)
