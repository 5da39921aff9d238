"""Cases (one scan each) and folds (which patients train, which are tested).

Folds are made over patients, never over scans or slices, and live in a file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from hepar import files
from hepar.errors import BadInput
from hepar.volume import LabelMap, Volume

LabelStatus = Literal["full", "liver_union"]


@dataclass(frozen=True)
class Case:
    """One scan of one patient.

    `read_ct` and `read_truth` read when called, so a list of cases costs
    nothing. `labels`: "full" (0/1/2) or "liver_union" (1 means liver or
    tumour, never tumour-free liver). `evidence` says what a result on the case
    may claim: "real", "phantom" or "synthetic". `heights_mm` are the places of
    the slices, ascending in the axial view, where the geometry's even spacing
    is not the whole truth: thinned stacks with gaps, or slices from anywhere in
    their scan, which have no neighbours (all NaN).
    """

    id: str
    patient: str
    read_ct: Callable[[], Volume]
    read_truth: Callable[[], LabelMap] | None = None
    labels: LabelStatus = "full"
    evidence: Literal["real", "phantom", "synthetic"] = "real"
    heights_mm: tuple[float, ...] | None = None

    @property
    def ct(self) -> Volume:
        return self.read_ct()

    @property
    def truth(self) -> LabelMap:
        if self.read_truth is None:
            raise BadInput(f"case {self.id} has no reference labels")
        return self.read_truth()


@dataclass(frozen=True)
class Fold:
    """Patients to train on and patients to test on; no patient stands on both sides."""

    train: tuple[str, ...]
    test: tuple[str, ...]

    def __post_init__(self) -> None:
        both = set(self.train) & set(self.test)
        if both:
            raise BadInput(f"patients {sorted(both)} stand on both sides of a fold")

    def training_cases(self, cases: Sequence[Case]) -> list[Case]:
        return [case for case in cases if case.patient in set(self.train)]

    def test_cases(self, cases: Sequence[Case]) -> list[Case]:
        return [case for case in cases if case.patient in set(self.test)]


def patient_folds(burden: dict[str, float], count: int, seed: int) -> list[Fold]:
    """`count` folds over patients, stratified on tumour burden.

    `burden` maps each patient to any measure of tumour (0 = tumour-free).
    Patients are ranked by burden, shuffled within runs of `count`, and dealt
    out, so tumour-free and heavily diseased patients spread evenly.
    """
    if not 2 <= count <= len(burden):
        raise BadInput(f"{count} folds of {len(burden)} patients; use 2 up to as many folds as patients")
    rng = np.random.default_rng(seed)
    ranked = sorted(burden, key=lambda patient: (burden[patient], patient))
    hands: list[list[str]] = [[] for _ in range(count)]
    for start in range(0, len(ranked), count):
        run = ranked[start : start + count]
        # An incomplete last run goes to the folds in shuffled order as well; sizes differ by at most 1.
        for hand, patient in zip(rng.permutation(count), run, strict=False):
            hands[int(hand)].append(patient)
    everyone = set(burden)
    return [Fold(tuple(sorted(everyone - set(hand))), tuple(sorted(hand))) for hand in hands]


def inner_split(burden: dict[str, float], share: float, seed: int) -> Fold:
    """Hold back about `share` of the training patients for inner validation, at least one."""
    count = max(2, math.floor(1 / share)) if share > 0 else 0
    if not count or len(burden) < 2:
        return Fold(tuple(sorted(burden)), ())
    return patient_folds(burden, min(count, len(burden)), seed)[0]


def save_folds(folds: Sequence[Fold], path: Path) -> None:
    rows = [{"train": list(f.train), "test": list(f.test)} for f in folds]
    files.write_json(path, rows)


def load_folds(path: Path) -> list[Fold]:
    """Raises BadInput when the file is not a list of {"train": [...], "test": [...]}."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"{path.name} cannot be read as a fold file: {error.strerror}") from error
    except ValueError:
        rows = None
    if not (isinstance(rows, list) and all(_is_fold(row) for row in rows)):
        raise BadInput(f'{path.name} is not a list of {{"train": [...], "test": [...]}}; make it with save_folds')
    return [Fold(tuple(row["train"]), tuple(row["test"])) for row in rows]


def _is_fold(row: object) -> bool:
    if not isinstance(row, dict):
        return False
    sides = (row.get("train"), row.get("test"))
    return all(isinstance(side, list) and all(isinstance(patient, str) for patient in side) for side in sides)
