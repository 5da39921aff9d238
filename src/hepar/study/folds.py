"""Patient-level folds of a data set, stratified on tumour burden, made once and kept in a file."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hepar.cases import Case, Fold, patient_folds
from hepar.errors import BadInput
from hepar.volume import LIVER, TUMOUR

# Patients whose labels do not tell tumour from liver are dealt as a stratum of their own, below the tumour-free.
UNKNOWN_BURDEN = -1.0


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


def extend_folds(folds: Sequence[Fold], cases: Sequence[Case], seed: int) -> list[Fold]:
    """The same folds with every further patient of `cases` dealt into them; nobody changes sides.

    So results on the first patients stay comparable when data is added.
    Raises BadInput when there are fewer new patients than folds.
    """
    known = {patient for fold in folds for patient in (*fold.train, *fold.test)}
    burden = burden_of(cases)
    patients = sorted({case.patient for case in cases} - known)
    if len(patients) < len(folds):
        raise BadInput(f"found {len(patients)} new patients for {len(folds)} folds; give at least as many")
    hands = patient_folds({p: burden.get(p, UNKNOWN_BURDEN) for p in patients}, len(folds), seed)
    return [
        Fold(tuple(sorted({*old.train, *new.train})), tuple(sorted({*old.test, *new.test})))
        for old, new in zip(folds, hands, strict=True)
    ]
