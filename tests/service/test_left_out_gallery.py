"""The gallery shows the worst of each kind and others by chance, each patient once."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from hepar.cases import Fold, save_folds
from hepar.errors import BadInput
from hepar.geometry import Geometry
from hepar.metrics.figures import ProtocolScores
from hepar.report.pictures import Slice
from hepar.service.left_out_gallery import (
    CHANCE,
    FALSE_ALARM,
    WHOLE,
    WORST_LIVER,
    WORST_TUMOUR,
    GalleryOrder,
    chosen,
    facts_of,
    left_out_gallery,
    views_of,
)
from hepar.study.crossval_table import FoldCase
from hepar.study.left_out import LOOSE, STACKS, VOLUMES, FoldFolder, cases_to_test, label_cases
from hepar.volume import LabelMap


def fold_case(patient: str, liver: float, tumour: float | None = None, group: str = STACKS, fold: int = 0) -> FoldCase:
    """A tumour Dice makes a tumour patient; without one, false alarms of 10 mL less the liver Dice."""
    terms = {"liver_dice": (liver, 1.0)}
    terms |= {"false_alarm_ml": (10 - 10 * liver, 1.0)} if tumour is None else {"tumour_dice": (tumour, 1.0)}
    volumes = {"truth_liver_ml": 1500.0, "found_liver_ml": 1490.0, "found_tumour_ml": 2.25}
    facts = volumes | {"truth_tumour_ml": 0.0 if tumour is None else 3.0}
    return FoldCase(fold, f"{group}-{patient}", patient, group, "ours", ProtocolScores(terms), facts)


def picked(cases: list[FoldCase], each: int = 1, seed: int = 0) -> list[tuple[str, str]]:
    return [(case.patient, why) for case, why in chosen(cases, each, seed)]


COHORT = [
    fold_case("a", 0.5, 0.9),
    fold_case("b", 0.9, 0.0),
    fold_case("c", 0.6, 0.8),
    fold_case("d", 0.8),
    fold_case("e", 0.97),
    fold_case("f", 1.0),
]


def test_the_worst_of_each_kind_come_first_and_no_patient_twice():
    found = picked(COHORT)
    assert found[:3] == [("a", WORST_LIVER), ("b", WORST_TUMOUR), ("d", FALSE_ALARM)]
    assert found[3][1] == CHANCE
    assert found[3][0] in {"c", "e", "f"}
    assert {patient for patient, _ in picked(COHORT, each=9)} == set("abcdef")
    assert len(picked(COHORT, each=9)) == 6


def test_chance_is_a_seed_and_never_tells_who_was_found_without_false_alarms():
    assert picked(COHORT, seed=3) == picked(COHORT, seed=3)
    assert len({picked(COHORT, seed=seed)[-1] for seed in range(20)}) > 1
    assert ("f", FALSE_ALARM) not in picked(COHORT, each=9)


def test_whole_volumes_are_shown_once_by_their_worst_fold():
    volumes = [fold_case("w", dice, 0.5, VOLUMES, fold) for fold, dice in enumerate((0.9, 0.7, 0.8))]
    found = chosen([*volumes, fold_case("w", 0.1, group=LOOSE), *COHORT], 1, 0)
    assert (found[0][0].patient, found[0][0].fold, found[0][1]) == ("w", 1, WHOLE)
    assert [why for case, why in found if case.patient == "w"] == [WHOLE]


def test_captions_hold_dice_volumes_fold_and_model():
    said = facts_of(fold_case("a", 0.5, 0.25, fold=2), "net@12ab")
    assert said[0] == "liver Dice 0.500, 1490 -> 1490 mL; tumour Dice 0.250, 3.0 -> 2.2 mL".replace(
        "1490 ->", "1500 ->"
    )
    assert said[1] == "fold 2, ours, net@12ab"
    assert "tumour Dice -, 0.0 -> 2.2 mL" in facts_of(fold_case("a", 0.5), "net@12ab")[0]


def test_views_show_the_reason_and_volumes_a_coronal_too():
    grid = Geometry.from_spacing((8, 20, 20), (5, 2, 2))
    values = np.zeros(grid.shape, np.uint8)
    values[2:7, 4:16, 4:16] = 1
    values[5, 6:10, 6:10] = 2
    found = values.copy()
    found[3, :, :8] = 1
    truth, there = LabelMap(values, grid), LabelMap(found, grid)
    rng = np.random.default_rng(0)
    assert views_of(truth, there, WORST_LIVER, rng) == ((Slice("axial", 3), "most liver errors"),)
    assert [view.plane for view, _ in views_of(truth, there, WHOLE, rng)] == ["axial", "coronal", "axial"]
    ((where, _),) = views_of(truth, there, CHANCE, rng)
    assert 2 <= where.index < 7
    assert views_of(truth, truth, FALSE_ALARM, rng) == ((Slice("axial", 4), "middle"),)


@pytest.fixture
def predicted(tmp_path) -> tuple[Path, GalleryOrder]:
    """One loose slice of a phantom patient, predicted without a flaw."""
    from PIL import Image

    root = tmp_path / "data" / "slices256"
    for name, value in (("images", 110), ("labels", 0)):
        (root / name).mkdir(parents=True)
        picture = np.full((48, 48), value, np.uint8)
        picture[10:40, 10:40] = 160 if name == "images" else 1
        Image.fromarray(picture).save(root / name / "idx1_p.png")
    with (root / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["file", "patient", "label_status"], ["idx1_p.png", "p", "full"]])
    save_folds([Fold(("q",), ("p",))], tmp_path / "folds.json")
    trials = cases_to_test(tmp_path / "data", Fold(("q",), ("p",)))
    label_cases(trials, lambda case: case.truth, ("ours", "net@1"), FoldFolder(tmp_path / "cv", 0), lambda _: None)
    return tmp_path, GalleryOrder(tmp_path / "cv", tmp_path / "data", tmp_path / "folds.json", "ours")


def test_a_gallery_is_drawn_from_predictions_and_data(predicted):
    root, order = predicted
    paths = left_out_gallery(order, root / "gallery")
    assert [path.name for path in paths] == ["sheet1.png", "gallery.html"]
    page = paths[1].read_text(encoding="utf-8")
    assert "slices256-p (lowest liver Dice)" in page
    assert "liver Dice 1.000" in page
    assert json.loads((root / "cv" / "fold0" / "ours.json").read_text())["slices256-p"]["model"] in page


def test_other_data_than_was_predicted_and_empty_groups_are_told(predicted):
    root, order = predicted
    with pytest.raises(BadInput, match="no case of whole volumes was predicted by ours"):
        left_out_gallery(GalleryOrder(*list(vars(order).values())[:4], groups=(VOLUMES,)), root / "gallery")
    (root / "cv" / ".git").mkdir()
    with pytest.raises(BadInput, match="lies in a git repository"):
        left_out_gallery(order, root / "cv" / "gallery")
