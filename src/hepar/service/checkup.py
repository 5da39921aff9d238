"""A data set's examination on a terminal: progress, table, repair, exit code."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from hepar.doctor import Diagnosis, Options, RepairReport, examine, render, repair, to_json
from hepar.errors import BadInput, FaultyDataSet
from hepar.files import write_json
from hepar.service.console import console, say


@dataclass(frozen=True)
class CheckUp:
    """What was found, and what was written where a repair was asked for."""

    diagnosis: Diagnosis
    repaired: RepairReport | None = None


def check_up(data: Path, against: Path | None, folds: Path | None, target: Path | None, json: Path | None) -> CheckUp:
    """Examine, show, and repair into `target` where one is given.

    Raises BadInput for what is no data set and for a repair that cannot be,
    OutputError for a result that cannot be written.
    """
    if target and target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise BadInput(f"'{target.name}' is not empty; name a new folder for the repaired copy")
    columns = (TextColumn("examining"), BarColumn(), TextColumn("{task.completed}/{task.total} cases"))
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task("examining", total=None)

        def progress(done: int, count: int, case: str) -> None:
            del case
            bar.update(task, completed=done, total=count)

        diagnosis = examine(data, Options(against, folds, progress))
    console.print(render(diagnosis))
    if json:
        write_json(json, to_json(diagnosis))
    if target is None:
        return CheckUp(diagnosis)
    if not diagnosis.findings:
        say("nothing to repair; no copy was written")
        return CheckUp(diagnosis)
    report = repair(diagnosis, target)
    said = f"'{target.name}': {len(report.repaired)} cases repaired, {len(report.copied)} copied as they were"
    say(said + (f", left out as unreadable: {', '.join(report.left_out)}" if report.left_out else ""))
    return CheckUp(diagnosis, report)


def require_sound(outcome: CheckUp) -> None:
    """Raises FaultyDataSet where errors were found, and where they remain in the repaired copy."""
    errors = [finding for finding in outcome.diagnosis.findings if finding.severity == "error"]
    if outcome.repaired is not None:
        left = sum(not finding.repairable for finding in errors)
        if left:
            raise FaultyDataSet(f"{_count(left)} could not be repaired and are in the copy too; see its repairs.json")
    elif errors:
        raise FaultyDataSet(
            f"{_count(len(errors))} in this data set, see above; do not trust scores or trainings on it"
        )


def _count(errors: int) -> str:
    return f"{errors} error{'' if errors == 1 else 's'}"
