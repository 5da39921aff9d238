"""Segmenters for training cases that never saw their patient: what a later stage must learn from.

A stage that learns from what an earlier one found in its own training cases
learns from answers that are too good. Here the cases are dealt into inner
folds, and each is segmented by a training without its fold.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hepar.cases import Case, Fold, patient_folds
from hepar.errors import BadInput
from hepar.training.loop import Listener


def train_out_of_fold(
    method: Any, cases: Sequence[Case], folder: Path, folds: Sequence[Fold], listen: Listener, device: str = "auto"
) -> dict[str, Any]:
    """For each case id the segmenter of a training of `method` without the case's patient.

    `folder` receives a run folder a fold, fold-1 and so on; called again the
    trainings go on where they stopped. A fold that trains on a patient it is
    to segment is our mistake, and an AssertionError.
    """
    found: dict[str, Any] = {}
    for number, fold in enumerate(folds, start=1):
        home = folder / f"fold-{number}"
        segmenter = method.train(fold.training_cases(cases), home, listen, device)
        trained = json.loads((home / "run.json").read_text(encoding="utf-8"))["training_patients"]
        tested = fold.test_cases(cases)
        assert not {case.patient for case in tested} & set(trained), f"fold {number} saw a patient it is tested on"
        found |= {case.id: segmenter for case in tested}
    assert found.keys() == {case.id for case in cases}, "inner folds leave a case out"
    return found


def inner_folds(cases: Sequence[Case], count: int, seed: int) -> list[Fold]:
    """`count` folds over the patients of `cases`, at most as many as patients. Raises BadInput below 2 patients."""
    patients = sorted({case.patient for case in cases})
    if len(patients) < 2:
        raise BadInput(f"{len(patients)} patient to train on; out-of-fold predictions need at least 2")
    return patient_folds(dict.fromkeys(patients, 0.0), min(count, len(patients)), seed)
