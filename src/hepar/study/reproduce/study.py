"""From an order to a finished study: survey, folds, encoders, rate, budget, then cell by cell.

prepared = prepare_study(StudyOrder(data, Path("study"), ("table1",)))
prepared.hours(workers=2)
run_study(prepared, workers=2, listen=print)
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hepar.cases import Case, Fold
from hepar.errors import BadInput, SomeCasesFailed
from hepar.files import require_writable, write_json
from hepar.study.arms import Say
from hepar.study.reproduce.budget import epochs_of, hours_left
from hepar.study.reproduce.cell import CellJob, folder_of, is_finished
from hepar.study.reproduce.encoders import starts_of
from hepar.study.reproduce.order import PAPER_RATE, Decided, StudyOrder, name
from hepar.study.reproduce.plan import Cell, plan_cells
from hepar.study.reproduce.protocol import CaseSurvey, data_cases, kept_folds, sha256_of, survey, window_of
from hepar.study.reproduce.rate import RateTrials, choose_rate
from hepar.study.reproduce.runner import Listener, run_cells
from hepar.training.loop import Listener as TrainingListener
from hepar.training.run_folder import command_line, versions

LITS26 = "LiTS-26 subset"


@dataclass(frozen=True)
class PreparedStudy:
    """A plan with everything decided."""

    order: StudyOrder
    decided: Decided
    cells: tuple[Cell, ...]
    timing: dict[str, dict[str, Any]]
    surveyed: dict[str, CaseSurvey]
    folds: tuple[Fold, ...]

    @property
    def unfinished(self) -> list[Cell]:
        return [cell for cell in self.cells if not is_finished(folder_of(self.order.out, cell.id))]

    def hours(self, workers: int) -> float:
        """What is left to do, on a machine with nothing else to do."""
        return hours_left(self.unfinished, self.timing, (self.surveyed, self.folds), workers)

    def jobs(self) -> list[CellJob]:
        return [CellJob(c, self.order, self.decided, self.timing.get(name(c.arm), {})) for c in self.cells]


@dataclass(frozen=True)
class Heard:
    """Who hears of the preparation: lines of text, and the trainings that choose a rate."""

    say: Say = lambda _: None
    training: TrainingListener = lambda _: None


def prepare_study(order: StudyOrder, trials: RateTrials | None = None, heard: Heard | None = None) -> PreparedStudy:
    """Everything before the first cell; `trials` chooses the learning rate on inner patients.

    Raises BadInput when the folder holds another study, or nothing in the data can be studied.
    """
    heard = heard or Heard()
    require_writable(order.out)
    _claim(order, trials is not None)
    cases = data_cases(order.data, order.phantoms, order.cohort, order.seed)
    surveyed = survey(cases, order.out / "survey.json")
    folds = kept_folds(surveyed, (order.folds, order.split, order.seed), order.out / "folds.json")
    window = window_of(order.data)
    cells = plan_cells(order.groups, len(folds), narrow=window is not None)
    arms = list(dict.fromkeys(cell.arm for cell in cells))
    decided = Decided(window, order.learning_rate or PAPER_RATE, starts_of(arms, order, heard.say))
    if trials is not None:
        known = _known_patients(folds[0], cases)
        rate = choose_rate(arms, order, decided, (known, cases, trials), (heard.training, heard.say))
        decided = replace(decided, learning_rate=rate)
    timing = epochs_of(arms, order, decided, (surveyed, folds))
    decided = replace(decided, epochs={arm: row["epochs_used"] for arm, row in timing.items()})
    _write_facts(order, decided, surveyed, folds)
    return PreparedStudy(order, decided, tuple(cells), timing, surveyed, tuple(folds))


def run_study(prepared: PreparedStudy, workers: int = 1, listen: Listener = lambda _: None) -> None:
    """Run what is left. Raises SomeCasesFailed when cells failed; all others are then finished."""
    with alone_in(prepared.order.out):
        failed = run_cells(prepared.jobs(), workers, listen)
    if failed:
        raise SomeCasesFailed(
            f"{len(failed)} of {len(prepared.cells)} cells failed ({', '.join(failed[:5])}); each cell.json says why. "
            "The same command tries them again"
        )


def _known_patients(fold: Fold, cases: Sequence[Case]) -> Fold:
    there = {case.patient for case in cases}
    return Fold(tuple(p for p in fold.train if p in there), tuple(p for p in fold.test if p in there))


def _claim(order: StudyOrder, chooses_rate: bool) -> None:
    """Make the folder the home of this study. Raises BadInput when it is that of another."""
    facts = order.facts() | {"chooses_rate": chooses_rate}
    path = order.out / "study.json"
    if not path.is_file():
        write_json(path, {"schema": 1, "order": facts})
        return
    earlier = json.loads(path.read_text(encoding="utf-8"))["order"]
    if changed := [key for key in facts if earlier.get(key) != facts[key]]:
        told = "; ".join(f"{key} was {earlier.get(key)}, now {facts[key]}" for key in changed)
        raise BadInput(f"{order.out.name} holds another study ({told}); repeat its options or choose a new folder")


def _write_facts(order: StudyOrder, decided: Decided, surveyed: dict[str, CaseSurvey], folds: Sequence[Fold]) -> None:
    path = order.out / "study.json"
    earlier = json.loads(path.read_text(encoding="utf-8"))
    patients = {row.patient for row in surveyed.values()}
    sizes = [[len(patients & set(side)) for side in (fold.train, fold.test)] for fold in folds]
    facts = {
        "label": _label(order, sizes),
        "evidence": sorted({row.evidence for row in surveyed.values()}),
        "cases": sorted(surveyed),
        "patients": len(patients),
        "slices": sum(row.slices for row in surveyed.values()),
        "labelled_slices": sum(row.labelled for row in surveyed.values()),
        "patients_with_tumour": len({row.patient for row in surveyed.values() if row.tumour}),
        "window_hu": decided.window,
        "learning_rate": decided.learning_rate,
        "fold_sizes": sizes,
        "folds_sha256": sha256_of(order.out / "folds.json"),
        "versions": versions(),
        "commands": [*dict.fromkeys([*earlier.get("commands", []), command_line()])],
    }
    if earlier.get("cases", facts["cases"]) != facts["cases"]:
        raise BadInput(f"the data no longer holds the cases that {order.out.name} began with; choose a new folder")
    write_json(path, earlier | facts)


def _label(order: StudyOrder, sizes: Sequence[Sequence[int]]) -> str:
    """What the results are of, as a table's heading says it: "LiTS-26 subset, 4 folds by patient"."""
    data = order.facts()["data"]
    name = LITS26 if data == "lits512" else data
    return f"{name}, {f'split {order.split}' if order.split else f'{len(sizes)} folds'} by patient"


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """One process at a time works on a study. Raises BadInput when another does."""
    try:
        import fcntl
    except ImportError:  # not on Windows
        yield
        return
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BadInput(f"another process is working on {folder.name}; wait for it") from error
        yield
