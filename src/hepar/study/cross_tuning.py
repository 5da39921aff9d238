"""Decisions of a cross-validation's models, each chosen on what the other folds' models found in their test patients.

Inside one training three or four scans are held back, too few to choose a
threshold on. The test patients of the other folds are twenty, their models
never saw them, and none of them is a test patient of this fold: a patient
whom every fold tests takes no part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from hepar.cases import Case, Fold
from hepar.errors import BadInput
from hepar.files import write_json
from hepar.inference import load_segmenter
from hepar.study.tuning import Choice, Say, Scan, choose, held_scan, into_model, scan_of

Scans = Mapping[int, Sequence[Scan]]


def tune_across(
    runs: Mapping[int, Path], folds: Sequence[Fold], cases: Sequence[Case], say: Say, joint: Path | None = None
) -> None:
    """Fold number to run folder: each run's `tuning.json` and model get the decision that the other folds chose.

    `joint` is a file for the decision that all folds choose together: for what
    is made of all of them and has no patients left to be tuned on. Raises
    BadInput for fewer than two runs, or folds without stacks of fully labelled
    slices.
    """
    if len(runs) < 2:
        raise BadInput(f"{len(runs)} run; a fold is tuned on the others' patients, so give two folds or more")
    scans = {number: list(_tested(run, number, folds, cases, say)) for number, run in runs.items()}
    for number, run in runs.items():
        others = [one for other, tested in scans.items() if other != number for one in tested]
        if not others:
            raise BadInput(f"no other fold than {number} has a stack of fully labelled slices to tune on")
        choice = choose(others)
        say(f"{run.name}: {len(others)} scans of other folds: {choice}")
        _write(run / "tuning.json", "the models of the other folds, which never saw them", others, choice)
        into_model(run / "model", choice.decision, choice.trial.setting.min_ml)
    if joint:
        everyone = [one for tested in scans.values() for one in tested]
        choice = choose(everyone)
        say(f"all {len(everyone)} scans together: {choice}")
        _write(joint, "for each, the model of the fold that never saw it", everyone, choice)


def once_tested(folds: Sequence[Fold], number: int) -> set[str]:
    """Test patients of a fold that no other fold tests."""
    tested = Counter(patient for fold in folds for patient in fold.test)
    return {patient for patient in folds[number].test if tested[patient] == 1}


def _tested(run: Path, number: int, folds: Sequence[Fold], cases: Sequence[Case], say: Say) -> Iterator[Scan]:
    mine = once_tested(folds, number)
    segmenter = load_segmenter(run / "model")
    for case in cases:
        if case.patient in mine and case.labels == "full":
            for held in held_scan(segmenter, case):
                say(f"fold {number}: {case.id}")
                yield scan_of(held)


def _write(path: Path, found_by: str, scans: Sequence[Scan], choice: Choice) -> None:
    patients = sorted({one.patient for one in scans})
    write_json(path, {"patients": patients, "found_by": found_by, **choice.to_json()})
