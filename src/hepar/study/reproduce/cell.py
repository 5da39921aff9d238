"""One cell from data to `cell.json`: train, label the fold's test cases, score. See `results` for the files."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hepar.cases import Case, load_folds
from hepar.errors import BadInput, HeparError
from hepar.files import write_json
from hepar.inference import load_segmenter, open_model
from hepar.io import read_labels, write
from hepar.method import Segmenter
from hepar.methods.korabelnikov import smoothing
from hepar.postprocess import KeepLargestLiver
from hepar.study.reproduce.convergence import of_all
from hepar.study.reproduce.order import Decided, StudyOrder, arm_method, joint_method, window_of_arm
from hepar.study.reproduce.plan import Cell
from hepar.study.reproduce.protocol import data_cases, sha256_of
from hepar.study.reproduce.results import SCHEMA, read_cell
from hepar.study.reproduce.scoring import score_case
from hepar.training.cascade import STAGES, CascadeMethod
from hepar.training.deep_method import DeepMethod
from hepar.training.loop import Listener as TrainingListener
from hepar.training.run_folder import command_line, versions
from hepar.volume import LabelMap

Heard = Callable[[int, int], None]
Label = Callable[[Case], LabelMap]


@dataclass(frozen=True)
class CellJob:
    """A cell with all that it needs, for this process or another."""

    cell: Cell
    order: StudyOrder
    decided: Decided
    timing: dict[str, Any]

    @property
    def folder(self) -> Path:
        return folder_of(self.order.out, self.cell.id)


def folder_of(study: Path, cell: str) -> Path:
    return study / "cells" / cell


def is_finished(folder: Path) -> bool:
    """Whether the cell ended well. A failed one is tried again."""
    return (folder / "cell.json").is_file() and read_cell(folder).finished


def run_cell(job: CellJob, listen: TrainingListener = lambda _: None, tested: Heard = lambda *_: None) -> str | None:
    """Bring a cell to its end; gives the error of one that failed, which is also in its `cell.json`.

    Called again it goes on after the last finished epoch and test case.
    """
    try:
        facts = _run(job, listen, tested)
    # Whatever stops one cell, the others must go on.
    except Exception as bad:
        record_failure(job, plain(bad))
        return plain(bad)
    write_json(job.folder / "cell.json", facts)
    return None


def record_failure(job: CellJob, error: str) -> None:
    """The `cell.json` of a cell that failed."""
    write_json(job.folder / "cell.json", _named(job) | {"state": "failed", "error": error})


def plain(error: BaseException) -> str:
    """One line without folders: they tell whose machine it was."""
    words = str(error) if isinstance(error, HeparError) else f"{type(error).__name__}: {error}"
    return re.sub(r"(?<![\w.])/[^\s'\"]*/", "", " ".join(words.split()))


def _run(job: CellJob, listen: TrainingListener, tested: Heard) -> dict[str, Any]:
    fold = load_folds(job.order.out / "folds.json")[job.cell.fold]
    cases = data_cases(job.order.data, job.order.phantoms, job.order.cohort, job.order.seed)
    training, testing = fold.training_cases(cases), fold.test_cases(cases)
    own = job.folder / "run"
    if job.cell.trained_by is None:
        arm_method(job.cell.arm, job.order, job.decided).train(training, own, listen, job.order.device)
    rows = _tested(job, testing, tested)
    write_json(job.folder / "scores.json", rows)
    sides = {"training_patients": training, "test_patients": testing}
    evidence = sorted({case.evidence for case in [*training, *testing]})
    return (
        _named(job)
        | _trained(job)
        | {"evidence": evidence}
        | {side: sorted({case.patient for case in cases}) for side, cases in sides.items()}
    )


def _network_folder(job: CellJob) -> Path:
    """Where the network lies that this cell labels with. Raises BadInput when its cell has not finished."""
    if job.cell.trained_by is None:
        return job.folder / "run"
    folder = folder_of(job.order.out, job.cell.trained_by)
    if not is_finished(folder):
        raise BadInput(f"it takes over the network of {job.cell.trained_by}, which has not finished")
    return folder / "run"


def _tested(job: CellJob, testing: Sequence[Case], tested: Heard) -> list[dict[str, Any]]:
    network, arm = _network_folder(job), job.cell.arm
    origin = _origin(network) + ("" if arm.finish == "none" else f", {arm.finish}")
    loaded: list[Segmenter] = []

    def label(case: Case) -> LabelMap:
        if arm.finish == "largest_component" and job.cell.trained_by:
            theirs = folder_of(job.order.out, job.cell.trained_by) / "predictions" / f"{case.id}.nii.gz"
            found = read_labels(theirs)
            cleaned = KeepLargestLiver()(found.axial())
            return LabelMap(found.geometry.axial().undo(cleaned.labels).copy(), found.geometry)
        loaded.extend([] if loaded else [_segmenter(job, network)])
        return loaded[0].segment(case.ct)

    rows = []
    for number, case in enumerate(testing):
        rows.append(_one(job.folder, case, label, origin))
        tested(number + 1, len(testing))
    return rows


def _one(folder: Path, case: Case, label: Label, origin: str) -> dict[str, Any]:
    """The entry of a test case: the one kept if the same network made it, else labelled and scored now."""
    kept = folder / "cases" / f"{case.id}.json"
    if kept.is_file():
        stored = json.loads(kept.read_text(encoding="utf-8"))
        if stored["origin"] == origin:
            row: dict[str, Any] = stored["row"]
            return row
    started = time.monotonic()
    found = label(case)
    seconds = round(time.monotonic() - started, 1)
    write(found, folder / "predictions" / f"{case.id}.nii.gz")
    row = score_case(case, case.truth, found) | {"seconds": seconds}
    write_json(kept, {"origin": origin, "row": row})
    return row


def _segmenter(job: CellJob, network: Path) -> Segmenter:
    if job.cell.arm.stages == "cascade":
        return CascadeMethod(joint_method(job.cell.arm, job.order, job.decided)).load(network)
    found = load_segmenter(network / "model", job.order.device)
    return smoothing(found) if job.cell.arm.finish == "gaussian" else found


def _origin(network: Path) -> str:
    """Which network it is: the hashes of its weights and of the steps around them."""
    folders = [network / "model"] if (network / "model").is_dir() else [network / s / "model" for s in STAGES]
    return "+".join(open_model(folder).id for folder in folders)


def _named(job: CellJob) -> dict[str, Any]:
    cell, arm = job.cell, job.cell.arm
    return {
        "schema": SCHEMA,
        "id": cell.id,
        "arm": arm.name,
        "preprocessing": arm.preprocessing,
        "fold": cell.fold,
        "title": arm.title,
        "groups": list(cell.groups),
        "state": "finished",
        "error": None,
        "stages": arm.stages,
        "finish": arm.finish,
        "trained_by": cell.trained_by,
        "recipe": arm.recipe or job.order.recipe,
        "folds_sha256": sha256_of(job.order.out / "folds.json"),
        "versions": versions(),
        "command": command_line(),
    }


def _trained(job: CellJob) -> dict[str, Any]:
    """What the training says of itself; a cell that took a network over tells what that one's training was."""
    if job.cell.trained_by:
        theirs = read_cell(folder_of(job.order.out, job.cell.trained_by)).facts
        taken = ("learning_rate", "batch", "matrix", "encoder", "epochs_asked", "epochs_used", "updates", "minutes",
                 "converged", "convergence", "loss", "method", "training_slices")  # fmt: skip
        return {key: theirs[key] for key in taken} | {"window_hu": window_of_arm(job.cell.arm, job.decided)[1]}
    method = arm_method(job.cell.arm, job.order, job.decided)
    joint = method if isinstance(method, DeepMethod) else method.joint
    parts = {"joint": job.folder / "run"} if method is joint else {s: job.folder / "run" / s for s in STAGES}
    runs = {part: json.loads((path / "run.json").read_text(encoding="utf-8")) for part, path in parts.items()}
    told = {part: json.loads((path / "history.json").read_text(encoding="utf-8")) for part, path in parts.items()}
    losses = {part: [row["loss"] for row in rows] for part, rows in told.items()}
    first, flat = next(iter(runs.values())), of_all(list(losses.values()))
    return {
        "learning_rate": joint.recipe.learning_rate,
        "batch": joint.recipe.batch,
        "matrix": job.order.matrix,
        "window_hu": window_of_arm(job.cell.arm, job.decided)[1],
        "encoder": first["encoder"],
        "epochs_asked": job.timing["epochs_asked"],
        "epochs_used": joint.recipe.epochs,
        "updates": first["updates"],
        "minutes": round(sum(run["minutes_training"] for run in runs.values()), 2),
        "converged": flat.converged,
        "convergence": flat.why,
        "loss": losses.get("joint", losses),
        "method": method.to_json(),
        "training_slices": first["slices"]["training"],
    }
