"""Runs the cells of a plan, here or in processes of their own; what ended well is never repeated."""

from __future__ import annotations

import math
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from queue import Empty
from typing import Any, Literal

from hepar.study.reproduce.cell import CellJob, is_finished, record_failure, run_cell
from hepar.study.reproduce.results import read_cell
from hepar.training.loop import Tick

What = Literal["kept", "training", "testing", "finished", "failed"]
# A listener is told of a training at most this often.
SECONDS_BETWEEN = 1.0


@dataclass(frozen=True)
class Happened:
    """What a listener hears of a cell: `told` is a few words for a table."""

    cell: str
    what: What
    told: str = ""


Listener = Callable[[Happened], None]


def run_cells(jobs: Sequence[CellJob], workers: int, listen: Listener) -> list[str]:
    """Run every cell that has not finished, in order; gives the ids of those that failed.

    A cell that takes over another's network waits for it. With several
    workers each cell has a process of its own, with one thread; one that dies
    takes only its own cell with it.
    """
    todo = []
    for job in jobs:
        if is_finished(job.folder):
            listen(Happened(job.cell.id, "kept", _result(job)))
        else:
            todo.append(job)
    if workers <= 1:
        for job in todo:
            run_cell(job, *_ears(job, listen))
            _tell_end(job, listen)
    else:
        _in_processes(todo, workers, listen)
    return [job.cell.id for job in todo if not is_finished(job.folder)]


def _ears(job: CellJob, listen: Listener) -> tuple[Callable[[Tick], None], Callable[[int, int], None]]:
    """Listeners of a training and of its tests, which tell a study's listener now and then."""
    last = [0.0]

    def ticked(tick: Tick) -> None:
        if tick.ended or time.monotonic() - last[0] >= SECONDS_BETWEEN:
            last[0] = time.monotonic()
            epoch = f"{tick.epoch + tick.share_of_epoch * (not tick.ended) + tick.ended:.1f} of {tick.epochs}"
            told = f"{epoch}, loss {tick.loss:.3f}, {tick.seconds_left / 60:.0f} min"
            listen(Happened(job.cell.id, "training", told))

    def tested(done: int, count: int) -> None:
        listen(Happened(job.cell.id, "testing", f"{done} of {count} tested"))

    return ticked, tested


def _tell_end(job: CellJob, listen: Listener) -> None:
    result = read_cell(job.folder)
    what: What = "finished" if result.finished else "failed"
    listen(Happened(job.cell.id, what, _result(job) if result.finished else str(result.facts["error"])))


def _result(job: CellJob) -> str:
    """Mean Dice of liver and tumour over the cell's test cases, as `lits` has them."""
    from hepar.metrics.figures import figure
    from hepar.metrics.protocols import PROTOCOLS

    scores = list(read_cell(job.folder).scores("all_slices", "lits").values())
    specs = {spec.name: spec for spec in PROTOCOLS["lits"].figures}
    shown = [figure(specs[name], scores).value for name in SHOWN]
    return " / ".join("n/a" if math.isnan(value) else f"{value:.3f}" for value in shown)


SHOWN = ("liver_dice", "tumour_dice")


def _in_processes(todo: Sequence[CellJob], workers: int, listen: Listener) -> None:
    context = multiprocessing.get_context("spawn")
    news: Any = context.Queue()
    waiting, running = list(todo), dict[str, tuple[CellJob, Any]]()
    try:
        while waiting or running:
            _start_some(waiting, running, workers, lambda job: _process(context, job, news))
            _pass_on(news, listen)
            for cell, (job, process) in list(running.items()):
                if process.exitcode is not None:
                    del running[cell]
                    if not (job.folder / "cell.json").is_file():
                        record_failure(job, f"its process died (exit code {process.exitcode}), perhaps short of memory")
                    _pass_on(news, listen)
                    _tell_end(job, listen)
    finally:
        for _, process in running.values():
            process.terminate()


def _start_some(
    waiting: list[CellJob],
    running: dict[str, tuple[CellJob, Any]],
    workers: int,
    start: Callable[[CellJob], Any],
) -> None:
    for job in list(waiting):
        if len(running) >= workers:
            return
        # A cell whose network is still being trained has to wait; one whose trainer failed fails by itself.
        if job.cell.trained_by in running or any(job.cell.trained_by == other.cell.id for other in waiting):
            continue
        waiting.remove(job)
        running[job.cell.id] = (job, start(job))


def _process(context: Any, job: CellJob, news: Any) -> Any:
    # A failure of an earlier start must not be taken for this one's.
    (job.folder / "cell.json").unlink(missing_ok=True)
    with _one_thread():
        process = context.Process(target=_work, args=(job, news))
        process.start()
    return process


def _work(job: CellJob, news: Any) -> None:
    """In a process of its own. It ends with the study: an orphan would write where the next start does."""
    parent = multiprocessing.parent_process()

    def listen(happened: Happened) -> None:
        if parent is not None and not parent.is_alive():
            os._exit(1)
        news.put(happened)

    run_cell(job, *_ears(job, listen))


def _pass_on(news: Any, listen: Listener) -> None:
    """Everything that has been told, waiting half a second at most for the first."""
    wait = 0.5
    while True:
        try:
            listen(news.get(timeout=wait))
            wait = 0.01
        except Empty:
            return


@contextmanager
def _one_thread() -> Iterator[None]:
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before
