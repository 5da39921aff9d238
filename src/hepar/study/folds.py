"""Patient-level folds of a data set, stratified on tumour burden, made once and kept in a file."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hepar.cases import Case, Fold, patient_folds
from hepar.volume import LIVER, TUMOUR


def burden_of(cases: Sequence[Case]) -> dict[str, float]:
    """Tumour voxels per liver voxel (label 1 or 2) of each patient, over its fully labelled cases."""
    liver: dict[str, int] = {}
    tumour: dict[str, int] = {}
    for case in cases:
        if case.labels == "full":
            labels = case.truth.labels
            liver[case.patient] = liver.get(case.patient, 0) + int(np.count_nonzero(labels >= LIVER))
            tumour[case.patient] = tumour.get(case.patient, 0) + int(np.count_nonzero(labels == TUMOUR))
    return {patient: tumour[patient] / max(1, liver[patient]) for patient in liver}


def make_folds(cases: Sequence[Case], count: int, seed: int, always_test: Sequence[str] = ()) -> list[Fold]:
    """`count` folds over the patients of `cases`; `always_test` are test patients of every fold and never train."""
    dealt = {p: b for p, b in burden_of(cases).items() if p not in set(always_test)}
    return [Fold(fold.train, tuple(sorted({*fold.test, *always_test}))) for fold in patient_folds(dealt, count, seed)]
