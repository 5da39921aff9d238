"""A bench folder with made-up cells: what tables, page and pictures read, without any training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hepar.cases import Case
from hepar.files import write_json
from hepar.geometry import Geometry
from hepar.io import write
from hepar.study.reproduce.protocol import data_cases
from hepar.study.reproduce.scoring import score_case
from hepar.volume import LabelMap

PHANTOMS, SEED = 4, 2018
FOLDS = [
    {"train": ["phantom002", "phantom003"], "test": ["phantom000", "phantom001"]},
    {"train": ["phantom000", "phantom001"], "test": ["phantom002", "phantom003"]},
]


def phantoms() -> dict[str, Case]:
    return {case.id: case for case in data_cases(None, PHANTOMS, "full", SEED)}


def shifted(truth: LabelMap, pixels: int) -> LabelMap:
    """The labels moved along x: a result that is right by and large."""
    return truth.with_labels(np.ascontiguousarray(np.roll(truth.labels, pixels, axis=2)))


def facts_of(method: str, fold: int, **changes: Any) -> dict[str, Any]:
    """A `cell.json` as `hepar study bench` writes it."""
    name = method.replace("/", "+")
    facts: dict[str, Any] = {
        "schema": 1, "id": f"{name}/fold{fold}", "method": method, "arm": name, "fold": fold, "title": method,
        "kind": "2D joint", "state": "finished", "error": None, "budget_minutes": 10.0, "matrix": None, "seed": SEED,
        "minutes": 9.5, "minutes_all": 12.25, "minutes_processor": 10.0, "updates": 50, "updates_asked": 4000,
        "converged": False, "convergence": "the budget ended it after 50 of 4000 updates of its recipe",
        "differs": ["joint: 50 of 4000 updates (less than eight epochs)"], "plan": {},
        "seconds_a_scan": 30.0, "seconds_a_slice": 1.5, "peak_mb_training": 2000.0, "peak_mb_segmenting": 900.0,
        "parameters": 2_104_898, "gflop": {"joint": {"gflop": 40.5, "size": [512, 512]}},
        "windows_hu": [{"asked": [-510, 510], "used": [-40, 160], "testable": False}],
        "encoders": {"joint": "random (He): its ImageNet weights are not at hand"}, "networks": [],
        "training_patients": FOLDS[fold]["train"], "test_patients": FOLDS[fold]["test"], "evidence": ["phantom"],
        "machine": "cpu, CPU threads: 1, memory free: 20 GB", "device": "cpu", "command": "hepar study bench -o x",
        "versions": {"hepar": "0"}, "settings": {"network": {}}, "folds_sha256": "ab" * 32,
    }  # fmt: skip
    return facts | changes


def write_study(out: Path, **changes: Any) -> Path:
    """A bench folder without a cell."""
    order = {"data": "4 phantoms", "phantoms": PHANTOMS, "folds": "2", "budget_minutes": 10.0, "matrix": None,
             "tiny": False, "seed": SEED, "device": "cpu"}  # fmt: skip
    facts = {
        "schema": 1, "order": order, "label": "4 phantoms, folds by patient", "evidence": ["phantom"], "patients": 4,
        "patients_with_tumour": 3, "slices": 80, "window_hu": None, "group": "whole volumes",
        "fold_sizes": [[2, 2], [2, 2]], "folds_sha256": "ab" * 32, "versions": {"hepar": "0", "torch": "2"},
        "commands": ["hepar study bench -o x"], "cases": [],
    }  # fmt: skip
    write_json(out / "study.json", facts | changes)
    return out


def write_cell(out: Path, method: str, fold: int = 0, pixels: int = 1, **changes: Any) -> Path:
    """A finished cell whose labels are the truth, moved by some pixels; gives its folder."""
    facts = facts_of(method, fold, **changes)
    folder = out / "cells" / facts["id"]
    cases = phantoms()
    rows = []
    for name in facts["test_patients"]:
        truth = cases[name].truth
        found = shifted(truth, pixels)
        rows.append(score_case(cases[name], truth, found) | {"seconds": 30.0})
        write(found, folder / "predictions" / f"{name}.nii.gz")
    write_json(folder / "scores.json", rows)
    write_json(folder / "cell.json", facts)
    return folder


def write_failed(out: Path, method: str, error: str, fold: int = 0) -> None:
    keep = ("schema", "id", "method", "arm", "fold", "title", "kind", "budget_minutes", "matrix", "seed")
    facts = facts_of(method, fold)
    row = {key: facts[key] for key in keep} | {"state": "failed", "error": error}
    write_json(out / "cells" / facts["id"] / "cell.json", row)


def upright(shape: tuple[int, int, int]) -> Geometry:
    """A grid in the axial view: slices of 5 mm headward, pixels of 2 mm."""
    return Geometry(shape, np.array([[0, 0, 2, 0], [0, 2, 0, 0], [5, 0, 0, 0], [0, 0, 0, 1]], np.float64))
