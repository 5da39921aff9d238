"""From an order to a finished bench: survey, folds, estimate, then cell by cell.

prepared = prepare_bench(BenchOrder(data, Path("bench"), "folds.json"), ("chlebus", "unet"), folds=(0,))
prepared.hours
run_bench(prepared, listen=print)
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hepar.cases import Fold
from hepar.datasets import slices256
from hepar.errors import BadInput, SomeCasesFailed
from hepar.files import require_writable, write_json
from hepar.study.bench.order import BenchCell, BenchJob, BenchOrder, cells_of, folds_to_run
from hepar.study.bench.runner import run_cells
from hepar.study.left_out import LOOSE, STACKS, VOLUMES
from hepar.study.reproduce.budget import SCORING_SECONDS
from hepar.study.reproduce.cell import is_finished
from hepar.study.reproduce.protocol import CaseSurvey, data_cases, kept_folds, sha256_of, survey, window_of
from hepar.study.reproduce.runner import Listener
from hepar.study.reproduce.study import LITS26, alone_in
from hepar.training.run_folder import command_line, versions


@dataclass(frozen=True)
class PreparedBench:
    """A plan with everything decided but the epochs, which each cell measures for itself."""

    order: BenchOrder
    cells: tuple[BenchCell, ...]
    surveyed: dict[str, CaseSurvey]
    folds: tuple[Fold, ...]

    @property
    def jobs(self) -> list[BenchJob]:
        return [BenchJob(cell, self.order) for cell in self.cells]

    @property
    def unfinished(self) -> list[BenchJob]:
        return [job for job in self.jobs if not is_finished(job.folder)]

    @property
    def unmeasured(self) -> list[str]:
        """Methods whose speed of labelling is not known yet: `hours` holds nothing for it."""
        return list(dict.fromkeys(job.cell.method for job in self.unfinished if self._slice_seconds(job) is None))

    @property
    def hours(self) -> float:
        """What is left: budgets, labelling where its speed is known, and scoring, with the machine to itself."""
        seconds = 0.0
        for job in self.unfinished:
            tested = [row for row in self.surveyed.values() if row.patient in set(self.folds[job.cell.fold].test)]
            trained = (job.folder / "trained.json").is_file()
            seconds += 0 if trained else 60 * self.order.budget_minutes
            seconds += SCORING_SECONDS * len(tested)
            seconds += (self._slice_seconds(job) or 0.0) * sum(row.slices for row in tested)
        return seconds / 3600

    def _slice_seconds(self, job: BenchJob) -> float | None:
        path = self.order.out / "paces" / f"{job.cell.arm}.json"
        if not path.is_file():
            return None
        return float(sum(row["slice"] for row in json.loads(path.read_text(encoding="utf-8")).values()))


def prepare_bench(
    order: BenchOrder, chosen: Sequence[str] = (), folds: Sequence[int] = (), every_fold: bool = False
) -> PreparedBench:
    """Everything before the first cell; `chosen` () means all methods, `folds` () the first one.

    Raises BadInput when the folder holds another bench, a fold or method is not there, or nothing can be tested.
    """
    require_writable(order.out)
    _claim(order)
    cases = data_cases(order.data, order.phantoms, "full", order.seed)
    surveyed = survey(cases, order.out / "survey.json")
    known = kept_folds(surveyed, (order.folds, None, order.seed), order.out / "folds.json")
    cells = cells_of(chosen, folds_to_run(folds, every_fold, len(known)))
    _write_facts(order, surveyed, known)
    return PreparedBench(order, tuple(cells), surveyed, tuple(known))


def run_bench(
    prepared: PreparedBench, listen: Listener = lambda _: None, isolated: bool = True, workers: int = 1
) -> None:
    """Run what is left, as `run_cells` does. Raises SomeCasesFailed when cells failed; all others are then finished."""
    with alone_in(prepared.order.out):
        failed = run_cells(prepared.jobs, listen, isolated, workers)
    if failed:
        raise SomeCasesFailed(
            f"{len(failed)} of {len(prepared.cells)} cells failed ({', '.join(failed[:5])}); each cell.json says why. "
            "The same command tries them again"
        )


def group_of(data: Path | None) -> str:
    """What cases are, as tables of left-out patients call it: whole volumes, stacks of slices, or loose slices."""
    if data is None or window_of(data) is None:
        return VOLUMES
    return LOOSE if slices256.recognises(data) else STACKS


def _claim(order: BenchOrder) -> None:
    """Make the folder the home of this bench. Raises BadInput when it is that of another."""
    path = order.out / "study.json"
    if not path.is_file():
        write_json(path, {"schema": 1, "order": order.facts()})
        return
    earlier = json.loads(path.read_text(encoding="utf-8"))["order"]
    if changed := [key for key, value in order.facts().items() if earlier.get(key) != value]:
        told = "; ".join(f"{key} was {earlier.get(key)}, now {order.facts()[key]}" for key in changed)
        raise BadInput(f"{order.out.name} holds another bench ({told}); repeat its options or choose a new folder")


def _write_facts(order: BenchOrder, surveyed: dict[str, CaseSurvey], folds: Sequence[Fold]) -> None:
    path = order.out / "study.json"
    earlier: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    patients = {row.patient for row in surveyed.values()}
    facts = {
        "label": f"{LITS26 if order.facts()['data'] == 'lits512' else order.facts()['data']}, folds by patient",
        "evidence": sorted({row.evidence for row in surveyed.values()}),
        "cases": sorted(surveyed),
        "patients": len(patients),
        "patients_with_tumour": len({row.patient for row in surveyed.values() if row.tumour}),
        "slices": sum(row.slices for row in surveyed.values()),
        "window_hu": window_of(order.data),
        "group": group_of(order.data),
        "fold_sizes": [[len(patients & set(side)) for side in (fold.train, fold.test)] for fold in folds],
        "folds_sha256": sha256_of(order.out / "folds.json"),
        "versions": versions(),
        "commands": [*dict.fromkeys([*earlier.get("commands", []), command_line()])],
    }
    if earlier.get("cases", facts["cases"]) != facts["cases"]:
        raise BadInput(f"the data no longer holds the cases that {order.out.name} began with; choose a new folder")
    write_json(path, earlier | facts)
