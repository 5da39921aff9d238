"""Left-out patients are labelled once, by models that never saw them, slice by slice where slices are strangers."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hepar.cases import Case, Fold, save_folds
from hepar.errors import BadInput, GeometryMismatch
from hepar.geometry import Geometry
from hepar.inference import Neighbours, Pipeline, SlabSegmenter
from hepar.inference.two_pass import TwoPassSegmenter
from hepar.io import read_labels, write
from hepar.postprocess import KeepLargestLiver
from hepar.preprocess import InPlaneGrid
from hepar.study.arms import Trial
from hepar.study.left_out import (
    LOOSE,
    MIN_MAX,
    STACKS,
    UNION,
    FoldFolder,
    PlacedNeighbours,
    cases_to_test,
    fold_of,
    label_cases,
    predict_left_out,
    segment_case,
    take_predictions,
)
from hepar.volume import LabelMap, Volume


def quiet(_: str) -> None:
    """Says nothing."""


@pytest.fixture
def trial(small_scan) -> Trial:
    ct, truth = small_scan
    return Trial(STACKS, Case("lits512-p1", "p1", lambda: ct, lambda: truth))


@pytest.fixture
def place(tmp_path) -> FoldFolder:
    return FoldFolder(tmp_path / "cv", 2)


@dataclass
class Asked:
    """A segmenter that finds the truth and remembers which cases it was asked for."""

    cases: list[str] = field(default_factory=list)

    def __call__(self, case: Case) -> LabelMap:
        self.cases.append(case.id)
        return case.truth


def test_predictions_lie_beside_their_references_under_the_same_names(trial, place):
    union = replace(trial.case, id="slices256-p1-liver_union", labels="liver_union")
    label_cases([trial, Trial(UNION, union)], Asked(), ("ours", "net@1"), place, quiet)
    names = sorted(str(path.relative_to(place.path)) for path in place.path.rglob("*") if path.is_file())
    assert names == [
        "cases.csv",
        "full/ours/lits512-p1.nii.gz",
        "full/truth/lits512-p1.nii.gz",
        "liver_union/ours/slices256-p1-liver_union.nii.gz",
        "liver_union/truth/slices256-p1-liver_union.nii.gz",
        "ours.json",
    ]
    found = read_labels(place.found("full", "ours") / "lits512-p1.nii.gz")
    assert np.array_equal(found.labels, trial.case.truth.labels)
    rows = list(csv.DictReader((place.path / "cases.csv").read_text(encoding="utf-8").splitlines()))
    assert [tuple(row.values()) for row in rows] == [
        ("lits512-p1", "p1", STACKS, "full"),
        ("slices256-p1-liver_union", "p1", UNION, "liver_union"),
    ]


def test_what_the_same_model_finished_is_not_labelled_again_and_another_models_is(trial, place):
    other = Trial(STACKS, replace(trial.case, id="lits512-p2", patient="p2"))
    asked = Asked()
    assert label_cases([trial], asked, ("ours", "net@1"), place, quiet) == 1
    assert label_cases([trial, other], asked, ("ours", "net@1"), place, quiet) == 1
    assert asked.cases == ["lits512-p1", "lits512-p2"]
    assert label_cases([trial, other], asked, ("ours", "net@2"), place, quiet) == 2
    (place.found("full", "ours") / "lits512-p2.nii.gz").unlink()
    assert label_cases([trial, other], asked, ("ours", "net@2"), place, quiet) == 1
    assert asked.cases[-1] == "lits512-p2"
    # Cases of an earlier call stay listed.
    assert len((place.path / "cases.csv").read_text().splitlines()) == 3


def test_an_interrupted_run_keeps_what_was_finished(trial, place):
    other = Trial(STACKS, replace(trial.case, id="lits512-p2", patient="p2"))

    def breaks(case: Case) -> LabelMap:
        if case.id == "lits512-p2":
            raise KeyboardInterrupt
        return case.truth

    with pytest.raises(KeyboardInterrupt):
        label_cases([trial, other], breaks, ("ours", "net@1"), place, quiet)
    asked = Asked()
    label_cases([trial, other], asked, ("ours", "net@1"), place, quiet)
    assert asked.cases == ["lits512-p2"]


@pytest.mark.parametrize("name", ["truth", "a/b", "", ".hidden", "scores"])
def test_a_method_has_a_name_that_can_be_a_folder(name, trial, place):
    with pytest.raises(BadInput, match="a method cannot be called"):
        label_cases([trial], Asked(), (name, "net@1"), place, quiet)


def test_a_model_is_tested_on_strangers_only(trial, place, threshold_model, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(threshold_model, model)
    (model / "run.json").write_text(json.dumps({"training_patients": ["p1", "p9"]}))
    with pytest.raises(BadInput, match="the model trained on p1; test it on the test patients of its own fold"):
        predict_left_out(model, "ours", [trial], place, quiet)
    (model / "run.json").write_text(json.dumps({"training_patients": ["p9"]}))
    assert predict_left_out(model, "ours", [trial], place, quiet) == 1
    found = read_labels(place.found("full", "ours") / "lits512-p1.nii.gz")
    assert np.array_equal(found.labels, trial.case.truth.labels)
    assert predict_left_out(model, "ours", [trial], place, quiet) == 0


def test_another_programs_files_are_taken_by_name_and_the_missing_told(trial, place, tmp_path):
    other = Trial(STACKS, replace(trial.case, id="lits512-p2", patient="p2"))
    there = tmp_path / "nnunet"
    write(trial.case.truth, there / "lits512-p1.nii.gz")
    said: list[str] = []
    assert take_predictions(there, "nnunet", [trial, other], place, said.append) == 1
    assert said[0] == "  lits512-p2: no prediction of nnunet"
    found = read_labels(place.found("full", "nnunet") / "lits512-p1.nii.gz")
    assert np.array_equal(found.labels, trial.case.truth.labels)
    assert take_predictions(there, "nnunet", [trial, other], place, said.append) == 0
    # A new file of the same name is taken anew.
    write(LabelMap(np.zeros_like(found.labels), found.geometry), there / "lits512-p1.nii.gz")
    assert take_predictions(there, "nnunet", [trial, other], place, said.append) == 1


def test_files_on_another_grid_or_of_other_names_are_refused(trial, place, tmp_path):
    grid = Geometry.from_spacing((6, 40, 48), (2, 1, 1), (0, 0, 0))
    write(LabelMap(trial.case.truth.labels, grid), tmp_path / "shifted" / "lits512-p1.nii.gz")
    with pytest.raises(GeometryMismatch, match="lies on another grid than its truth"):
        take_predictions(tmp_path / "shifted", "nnunet", [trial], place, quiet)
    write(trial.case.truth, tmp_path / "named" / "somebody.nii.gz")
    with pytest.raises(BadInput, match=r"'named' holds no file named like a case, such as lits512-p1\.nii\.gz"):
        take_predictions(tmp_path / "named", "nnunet", [trial], place, quiet)


def middle_and_next(batch: np.ndarray) -> np.ndarray:
    """Liver where the slice after is bright: tells which slices a network was shown."""
    logits = np.zeros((len(batch), 3, *batch.shape[2:]), np.float32)
    logits[:, 1] = batch[:, -1] - 100
    return logits


def stack(bright: int, slices: int = 5) -> Volume:
    values = np.zeros((slices, 16, 16), np.int16)
    values[bright] = 200
    return Volume(values, Geometry.from_spacing(values.shape, (2.5, 1, 1)))


def segmenter(clean: tuple = ()) -> SlabSegmenter:
    pipeline = Pipeline((), InPlaneGrid(pixel_mm=1.0), clean, Neighbours(3, 2.5))
    return SlabSegmenter(middle_and_next, pipeline, "next")


def labelled_slices(found: LabelMap) -> list[int]:
    return np.flatnonzero(found.liver.any(axis=(1, 2))).tolist()


def test_slices_across_a_gap_and_loose_slices_are_no_neighbours():
    ct = stack(bright=2)
    even = Case("c", "p", lambda: ct)
    assert labelled_slices(segment_case(segmenter(), even)) == [1]
    gap = replace(even, heights_mm=(0.0, 2.5, 40.0, 42.5, 45.0))
    # Slice 1 ends its run and sees itself; slice 2 has a dark neighbour behind it.
    assert labelled_slices(segment_case(segmenter(), gap)) == []
    assert labelled_slices(segment_case(segmenter(), replace(even, heights_mm=(0.0, 2.5, 5.0, 42.5, 45.0)))) == [1, 2]
    loose = replace(even, heights_mm=(float("nan"),) * 5)
    assert labelled_slices(segment_case(segmenter(), loose)) == [2]


def test_each_loose_slice_keeps_its_own_liver():
    values = np.zeros((2, 16, 16), np.int16)
    values[0, 2:12, 2:12] = values[1, 13:15, 13:15] = 200
    ct = Volume(values, Geometry.from_spacing(values.shape, (2, 1, 1)))
    case = Case("c", "p", lambda: ct)
    clean = (KeepLargestLiver(),)
    # As one scan, the small piece is an island; as strangers, it is all that its slice shows.
    assert labelled_slices(segment_case(segmenter(clean), replace(case, heights_mm=(0.0, 50.0)))) == [0]
    assert labelled_slices(segment_case(segmenter(clean), replace(case, heights_mm=(float("nan"),) * 2))) == [0, 1]


def grey_is_liver(batch: np.ndarray) -> np.ndarray:
    logits = np.zeros((len(batch), 3, *batch.shape[2:]), np.float32)
    logits[:, 1] = batch[:, batch.shape[1] // 2] - 50
    return logits


@pytest.mark.parametrize("gap_mm", [2.5, 40.0])
def test_a_second_pass_sees_the_neighbours_that_a_single_one_would(gap_mm):
    """The second pass looks at part of the stack only; its slices keep their own heights."""
    values = np.zeros((20, 16, 16), np.int16)
    values[8:13], values[11] = 60, 200
    ct = Volume(values, Geometry.from_spacing(values.shape, (2.5, 1, 1)))
    heights = tuple(np.cumsum([0.0, *[2.5] * 10, gap_mm, *[2.5] * 8]).tolist())
    case = Case("c", "p", lambda: ct, heights_mm=heights)
    one = segmenter()
    first = SlabSegmenter(grey_is_liver, Pipeline((), InPlaneGrid(pixel_mm=1.0)), "first")
    both = TwoPassSegmenter(one.predict, one.pipeline, "both", first=first, margin_mm=1.0)
    box = both.searched(ct)
    assert box is not None
    assert 0 < box[0].start < box[0].stop < len(heights)
    expected = [10] if gap_mm < 10 else []
    assert labelled_slices(segment_case(both, case)) == labelled_slices(segment_case(one, case)) == expected


def test_heights_must_be_those_of_the_stack():
    with pytest.raises(BadInput, match="found 2 heights for 5 slices"):
        PlacedNeighbours(3, 2.5, (0.0, 2.5)).of(5, 2.5)


def write_slices(root: Path, rows: list[dict[str, object]]) -> None:
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True)
    with (root / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    for row in rows:
        picture = Image.fromarray(np.full((16, 16), 200, np.uint8))
        picture.save(root / "images" / str(row["file"]))
        Image.fromarray(np.ones((16, 16), np.uint8)).save(root / "labels" / f"{Path(str(row['file'])).stem}.png")


@pytest.fixture
def data(tmp_path) -> Path:
    """Loose slices of two patients, one of them with union labels too, and slices of unknown grey scale."""
    status = [("a", "full"), ("b", "full"), ("a", "liver_union")]
    rows = [{"file": f"idx{i}_{p}.png", "patient": p, "label_status": s} for i, (p, s) in enumerate(status)]
    write_slices(tmp_path / "data" / "slices256", rows)
    write_slices(tmp_path / "data" / "slices512", [{"file": "s.png", "patient": "a", "label_status": "full"}])
    return tmp_path / "data"


def test_the_cases_of_a_fold_are_those_of_its_test_patients_in_groups(data):
    fold = Fold(("b",), ("a", "c"))
    found = cases_to_test(data, fold)
    assert {(one.group, one.case.patient) for one in found} == {(LOOSE, "a"), (UNION, "a"), (MIN_MAX, "a")}
    assert {one.case.labels for one in found if one.group == UNION} == {"liver_union"}
    # Air is dark and bone is bright; 200 of 255 is soft tissue and more.
    assert next(one for one in found if one.group == MIN_MAX).case.ct.values.max() == 569
    assert [one.group for one in cases_to_test(data, fold, (UNION,))] == [UNION]


def test_a_fold_without_a_case_and_unknown_names_are_told(data, tmp_path):
    with pytest.raises(BadInput, match="data holds no case of the fold's 1 test patients"):
        cases_to_test(data, Fold((), ("z",)))
    with pytest.raises(BadInput, match="no group of cases is called stacks; there are LiTS-26 stacks"):
        cases_to_test(data, Fold((), ("a",)), ("stacks",))
    save_folds([Fold(("a",), ("b",))], tmp_path / "folds.json")
    assert fold_of(tmp_path / "folds.json", 0).test == ("b",)
    with pytest.raises(BadInput, match=r"folds\.json has folds 0 to 0, not 1"):
        fold_of(tmp_path / "folds.json", 1)


def test_the_real_data_gives_every_patient_to_one_fold_and_the_whole_scans_to_all(shared_data):
    root = Path(__file__).resolve().parents[2]
    patients = []
    for fold in range(4):
        found = cases_to_test(shared_data, fold_of(root / "studies" / "folds_all.json", fold))
        assert {one.case.id for one in found} >= {"ircad01", "ircad07"}
        patients += [one.case.patient for one in found if one.group == STACKS]
    assert len(patients) == len(set(patients)) == 26
