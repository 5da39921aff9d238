"""What a study folder holds, and how tables read it.

    STUDY/study.json                      what was asked: data, folds, recipe, budget, window, versions
    STUDY/folds.json                      a list of {"train": [...], "test": [...]}, as hepar.cases.load_folds reads
    STUDY/timing.json                     measured seconds, and the epochs that a budget leaves
    STUDY/rate.json                       where the learning rate was chosen here: every trial
    STUDY/cells/ARM/PREPROCESSING/foldK/  one cell:
      cell.json                           written last; without it the cell is not finished
      scores.json                         a list, one entry a test case
      cases/CASE.json                     the same entries while the cell is in work
      predictions/CASE.nii.gz             labels on the case's grid (never committed for real CT)
      run/                                run folder of the training: run.json, history.json, model/; a cascade has
                                          run/liver/ and run/tumour/; absent where `trained_by` names another cell

`cell.json`:

    schema            1
    id                "cdnn_alex/with/fold2": arm, preprocessing, fold
    arm, preprocessing, fold, title       "cdnn_alex", "with", 2, "CDNN-Alex"
    groups            groups of the plan that hold the arm: ["table1", "joint_cascade"]
    state             "finished" or "failed"; a failed cell has `error` and may lack everything below it
    error             one line, or null
    stages            "joint" (three labels at once) or "cascade" (liver, then tumour inside the predicted liver)
    finish            "none", "largest_component" or "gaussian"
    trained_by        id of the cell whose network this one uses, null for its own
    recipe            "practical" or "literal"
    learning_rate, batch, matrix
    window_hu         {"asked": [-100, 400], "used": [-40, 160], "testable": false}
    encoder           {"source": ..., "fresh": [...], "note": ...}: what the encoder started from
    epochs_asked, epochs_used, updates    of each network; for a cascade, of each of its two
    minutes           training minutes, all networks together, as the machine was loaded
    converged         true, false; `convergence` says why in a sentence
    loss              mean loss of each finished epoch, in order ({"liver": [...], "tumour": [...]} for a cascade)
    evidence          ["real"], ["phantom"], ["synthetic"] or several, of training and test cases
    training_patients, test_patients, training_slices
    folds_sha256      of STUDY/folds.json
    method            the method's whole settings
    versions, command

An entry of `scores.json`:

    case, patient     ids
    evidence, labels  "real"..., "full" or "liver_union"
    slices            number of slices; `labelled_slices`: those that show liver or tumour in the truth
    seconds           of segmenting
    facts             truth_liver_ml, truth_tumour_ml, found_liver_ml, found_tumour_ml, lesions, spacing_mm, ...
    conditions        {"all_slices": {PROTOCOL: scores}, "liver_slices": {PROTOCOL: scores}}

PROTOCOL is a key of hepar.metrics.protocols.PROTOCOLS, `scores` what
ProtocolScores.to_json gives. "liver_slices" is the paper's likely condition:
what was found on slices without any label in the truth does not count. A
figure over cases: `figure(spec, study.scores(cells, condition, protocol))`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hepar.errors import BadInput
from hepar.metrics.figures import ProtocolScores

SCHEMA = 1
Condition = Literal["all_slices", "liver_slices"]
CONDITIONS: tuple[Condition, ...] = ("all_slices", "liver_slices")


@dataclass(frozen=True)
class CellResult:
    """One cell that ended: `facts` is its `cell.json`, `cases` its `scores.json` (empty when it failed)."""

    folder: Path
    facts: dict[str, Any]
    cases: tuple[dict[str, Any], ...]

    @property
    def id(self) -> str:
        return str(self.facts["id"])

    @property
    def finished(self) -> bool:
        return bool(self.facts["state"] == "finished")

    def prediction(self, case: str) -> Path:
        """Label file of a test case; it need not be there any more."""
        return self.folder / "predictions" / f"{case}.nii.gz"

    def scores(self, condition: Condition, protocol: str) -> dict[str, ProtocolScores]:
        """Scores of every test case by case id."""
        return {case["case"]: ProtocolScores.from_json(case["conditions"][condition][protocol]) for case in self.cases}

    def history(self) -> dict[str, list[dict[str, Any]]]:
        """Epochs of each network, "joint" or "liver" and "tumour"; empty where another cell trained it."""
        where = {"joint": "history.json", "liver": "liver/history.json", "tumour": "tumour/history.json"}
        paths = {name: self.folder / "run" / path for name, path in where.items()}
        return {name: _read(path) for name, path in paths.items() if path.is_file()}


@dataclass(frozen=True)
class StudyResults:
    """All cells of a study folder that ended, in the order of their ids."""

    folder: Path
    facts: dict[str, Any]
    cells: tuple[CellResult, ...]

    def of_arm(self, arm: str, preprocessing: str) -> tuple[CellResult, ...]:
        """The finished folds of an arm, in order."""
        mine = [c for c in self.cells if (c.facts["arm"], c.facts["preprocessing"]) == (arm, preprocessing)]
        return tuple(sorted((c for c in mine if c.finished), key=lambda c: int(c.facts["fold"])))

    def scores(
        self, cells: Sequence[CellResult], condition: Condition, protocol: str
    ) -> tuple[list[str], list[ProtocolScores]]:
        """Patients and scores of all test cases of `cells`, in the order of the cells."""
        patients = [case["patient"] for cell in cells for case in cell.cases]
        return patients, [scores for cell in cells for scores in cell.scores(condition, protocol).values()]


def read_study(folder: Path) -> StudyResults:
    """What a study folder holds now, finished and failed cells. Raises BadInput when it is not one."""
    if not (folder / "study.json").is_file():
        raise BadInput(f"{folder.name} holds no study.json; make it with `hepar study reproduce`")
    cells = [read_cell(path.parent) for path in sorted((folder / "cells").glob("*/*/fold*/cell.json"))]
    return StudyResults(folder, _read(folder / "study.json"), tuple(cells))


def read_cell(folder: Path) -> CellResult:
    """A cell that ended. Raises BadInput when its files are missing, damaged or of another schema."""
    facts = _read(folder / "cell.json")
    if facts.get("schema") != SCHEMA:
        raise BadInput(f"cell.json has schema {facts.get('schema')}, this hepar reads {SCHEMA}; run the study again")
    cases = _read(folder / "scores.json") if facts["state"] == "finished" else []
    return CellResult(folder, facts, tuple(cases))


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{path.name} of the study is missing or damaged; remove its folder and run again") from error
