"""One cell: measure its trainings, plan them within the budget, train, label and score the fold's test cases.

STUDY/study.json, folds.json, survey.json      what was asked, and of which patients
STUDY/paces/METHOD.json                        what an update took here; all folds of a method share it
STUDY/cells/METHOD/foldK/                      one cell:
  plan.json                                    patients that train, and the epochs of each training
  run/                                         the method's run folder
  trained.json                                 what training took; the cell goes on from here
  cases/, scores.json, predictions/, cell.json as `hepar study reproduce` has them
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hepar import methods
from hepar.cases import Case, Fold, load_folds
from hepar.files import write_json
from hepar.inference import SlabSegmenter
from hepar.io import write
from hepar.method import Segmenter
from hepar.study.bench.encoders import with_encoders
from hepar.study.bench.memory import peak_mb
from hepar.study.bench.networks import convergence_of, networks_in
from hepar.study.bench.order import BenchJob
from hepar.study.bench.pace import StagePace, measure
from hepar.study.bench.scaling import CellPlan, plan_cell, planned_by
from hepar.study.bench.stages import stages_of, tiny_of, with_matrix, with_window
from hepar.study.left_out import segment_case
from hepar.study.reproduce.protocol import CaseSurvey, data_cases, sha256_of, window_of
from hepar.study.reproduce.results import SCHEMA
from hepar.study.reproduce.scoring import score_case
from hepar.training.loop import Listener as TrainingListener
from hepar.training.loop import Tick
from hepar.training.machine import this_machine
from hepar.training.run_folder import command_line, versions
from hepar.volume import LabelMap

Tested = Callable[[int, int], None]


@dataclass(frozen=True)
class Prepared:
    """A method as the bench trains it: on the data's window, with the weights at hand, within the budget."""

    method: Any
    plan: CellPlan
    paces: dict[str, StagePace]
    windows: list[dict[str, Any]]
    encoders: dict[str, str]


def train_cell(job: BenchJob, listen: TrainingListener) -> None:
    """Train the cell's method and write `trained.json`; called again it goes on where it stopped."""
    done = job.folder / "trained.json"
    if done.is_file():
        return
    fold, cases = fold_and_cases(job)
    prepared = prepared_method(job, fold, cases)
    watch = Stopwatch(job.folder / "spent.json")

    def ticked(tick: Tick) -> None:
        if tick.ended:
            watch.keep()
        listen(tick)

    training = [case for case in cases if case.patient in set(prepared.plan.patients)]
    prepared.method.train(training, job.folder / "run", ticked, job.order.device)
    networks = networks_in(job.folder / "run")
    own = json.loads((job.folder / "run" / "run.json").read_text(encoding="utf-8"))
    facts = {
        "minutes": round(sum(network.minutes for network in networks) or own.get("minutes_training", 0.0), 2),
        "minutes_all": round(watch.keep()["seconds"] / 60, 2),
        "minutes_processor": round(watch.keep()["processor_seconds"] / 60, 2),
        "peak_mb_training": peak_mb(),
        "updates": sum(network.updates for network in networks),
        "networks": [asdict(network) for network in networks],
        "training_patients": sorted({case.patient for case in training}),
        "training_evidence": sorted({case.evidence for case in training}),
        "machine": str(this_machine(job.order.device)),
        "device": this_machine(job.order.device).device,
        "command": command_line(),
        "versions": versions(),
    }
    # What a finished training no longer needs is half of a run folder.
    for checkpoint in (job.folder / "run").rglob("checkpoint.safetensors"):
        checkpoint.unlink()
    write_json(done, facts)


def test_cell(job: BenchJob, tested: Tested) -> None:
    """Label and score the fold's test cases with what `train_cell` left, and write `cell.json`."""
    fold, cases = fold_and_cases(job)
    prepared = prepared_method(job, fold, cases)
    trained = json.loads((job.folder / "trained.json").read_text(encoding="utf-8"))
    testing = fold.test_cases(cases)
    segmenter = prepared.method.load(job.folder / "run")
    rows = []
    for number, case in enumerate(testing):
        rows.append(_tested_case(job.folder, case, segmenter))
        tested(number + 1, len(testing))
    write_json(job.folder / "scores.json", rows)
    write_json(job.folder / "cell.json", _facts(job, prepared, trained, rows))


test_cell.__test__ = False  # type: ignore[attr-defined]  # its name is a verb, not a test's


def named(job: BenchJob) -> dict[str, Any]:
    """What a cell is, failed or not."""
    card = methods.card(job.cell.method.split("/")[0])
    return {
        "schema": SCHEMA,
        "id": job.cell.id,
        "method": job.cell.method,
        "arm": job.cell.arm,
        "fold": job.cell.fold,
        "title": job.cell.method,
        "kind": card.kind if card else "",
        "state": "finished",
        "error": None,
        "budget_minutes": job.order.budget_minutes,
        "matrix": job.order.matrix,
        "seed": job.order.seed,
    }


def fold_and_cases(job: BenchJob) -> tuple[Fold, list[Case]]:
    order = job.order
    return load_folds(order.out / "folds.json")[job.cell.fold], data_cases(
        order.data, order.phantoms, "full", order.seed
    )


def prepared_method(job: BenchJob, fold: Fold, cases: Sequence[Case]) -> Prepared:
    """The method, planned: from the cell's files where it was planned before."""
    order, cell = job.order, job.cell
    method = methods.get(cell.method)
    method = tiny_of(method) if order.tiny else method
    method = with_matrix(method, order.matrix)
    method, windows = with_window(method, window_of(order.data))
    method, encoders = with_encoders(method, order)
    paces = _kept_paces(order.out / "paces" / f"{cell.arm}.json", method, fold.training_cases(cases), order.device)
    path = job.folder / "plan.json"
    if not path.is_file():
        surveyed = json.loads((order.out / "survey.json").read_text(encoding="utf-8"))
        rows = {case: CaseSurvey(**row) for case, row in surveyed.items()}
        write_json(path, plan_cell(method, paces, fold, rows, order.budget_minutes).to_json())
    plan = CellPlan.from_json(json.loads(path.read_text(encoding="utf-8")))
    return Prepared(planned_by(method, plan), plan, paces, windows, encoders)


class Stopwatch:
    """Seconds that a cell has spent over all of its starts, kept in a file: by the clock and of all processors."""

    def __init__(self, path: Path) -> None:
        self.path, self.began, self.worked = path, time.monotonic(), time.process_time()
        self.before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    def keep(self) -> dict[str, float]:
        """Write down and give the seconds so far."""
        own = {"seconds": time.monotonic() - self.began, "processor_seconds": time.process_time() - self.worked}
        found = {name: round(self.before.get(name, 0.0) + value, 2) for name, value in own.items()}
        write_json(self.path, found)
        return found


def _kept_paces(path: Path, method: Any, cases: Sequence[Case], device: str) -> dict[str, StagePace]:
    """Each training's pace; measured once, then all folds and later starts plan by it."""
    if path.is_file():
        rows = json.loads(path.read_text(encoding="utf-8"))
        return {stage: StagePace.from_json(row) for stage, row in rows.items()}
    found: dict[str, StagePace] = {}
    for stage in stages_of(method):
        twin = next((one.name for one in stages_of(method) if one.name in found and one.training == stage.training), "")
        found[stage.name] = found[twin] if twin else measure(stage, cases, device)
    write_json(path, {stage: pace.to_json() for stage, pace in found.items()})
    return found


def _tested_case(folder: Path, case: Case, segmenter: Segmenter) -> dict[str, Any]:
    """The entry of a test case, kept from an earlier start or labelled and scored now."""
    kept = folder / "cases" / f"{case.id}.json"
    if kept.is_file():
        row: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        return row
    ct = case.ct
    started = time.monotonic()
    found = _labels(segmenter, case)
    seconds = time.monotonic() - started
    assert found.geometry.same_grid(ct.geometry), "labels lie on another grid than their scan"
    write(found, folder / "predictions" / f"{case.id}.nii.gz")
    row = score_case(case, case.truth, found) | {"seconds": round(seconds, 2)}
    write_json(kept, row)
    return row


def _labels(segmenter: Segmenter, case: Case) -> LabelMap:
    """A slice network sees as neighbours only slices that are; what is made of several takes the stack as it is."""
    if isinstance(segmenter, SlabSegmenter):
        return segment_case(segmenter, case)
    return segmenter.segment(case.ct)


def _facts(
    job: BenchJob, prepared: Prepared, trained: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    stages, paces, plan = stages_of(prepared.method), prepared.paces, prepared.plan
    networks = networks_in(job.folder / "run")
    flat = convergence_of(networks, plan)
    seconds = sum(row["seconds"] for row in rows)
    return named(job) | dict(trained) | {
        "updates_asked": sum(one.times * one.updates_asked for one in plan.stages),
        "differs": list(plan.sentences),
        "plan": plan.to_json(),
        "converged": flat.converged,
        "convergence": flat.why,
        "seconds_a_scan": round(seconds / max(1, len(rows)), 2),
        "seconds_a_slice": round(seconds / max(1, sum(row["slices"] for row in rows)), 3),
        "peak_mb_segmenting": peak_mb(),
        "parameters": sum(stage.place.networks * paces[stage.name].parameters for stage in stages),
        "gflop": {
            stage.name: {"gflop": paces[stage.name].gflop, "size": list(paces[stage.name].gflop_size)}
            for stage in stages
            if stage.place.networks
        },
        "windows_hu": prepared.windows,
        "encoders": prepared.encoders,
        "test_patients": sorted({str(row["patient"]) for row in rows}),
        "evidence": sorted({*trained["training_evidence"], *(str(row["evidence"]) for row in rows)}),
        "folds_sha256": sha256_of(job.order.out / "folds.json"),
        "settings": prepared.method.to_json(),
    }  # fmt: skip
