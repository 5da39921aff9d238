"""Runs the cells of a bench, each step in a process of its own; what ended well is kept.

One at a time unless asked otherwise, so that no cell takes another's time.
Training and labelling are two processes: the peak memory of each is its own.
"""

from __future__ import annotations

import logging
import math
import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import Empty
from threading import Lock
from typing import Any

from hepar.files import write_json
from hepar.metrics.figures import figure
from hepar.metrics.protocols import PROTOCOLS
from hepar.study.bench.cell import named, test_cell, train_cell
from hepar.study.bench.order import BenchJob
from hepar.study.reproduce.cell import is_finished, plain
from hepar.study.reproduce.results import read_cell
from hepar.study.reproduce.runner import SECONDS_BETWEEN, SHOWN, Happened, Listener
from hepar.training.loop import Tick

Step = Callable[[BenchJob, Listener], None]


def run_cells(jobs: Sequence[BenchJob], listen: Listener, isolated: bool = True, workers: int = 1) -> list[str]:
    """Run every cell that has not finished, in order; gives the ids of those that failed.

    Not `isolated`, everything happens in this process, and peaks of memory are
    this process's. Several `workers` share the machine, so their cells get less
    of it in the same time.
    """
    if workers <= 1:
        return [job.cell.id for job in jobs if not _run(job, listen, isolated)]
    turn = Lock()

    def one_by_one(happened: Happened) -> None:
        with turn:
            listen(happened)

    with ThreadPoolExecutor(workers) as pool:
        ended = list(pool.map(lambda job: _run(job, one_by_one, True), jobs))
    return [job.cell.id for job, well in zip(jobs, ended, strict=True) if not well]


def _run(job: BenchJob, listen: Listener, isolated: bool) -> bool:
    """Whether the cell ended well, now or earlier."""
    if is_finished(job.folder):
        listen(Happened(job.cell.id, "kept", told_result(job)))
        return True
    # A failure of an earlier start must not be taken for this one's.
    (job.folder / "cell.json").unlink(missing_ok=True)
    error = _in_steps(job, listen, isolated)
    if error is not None:
        write_json(job.folder / "cell.json", named(job) | {"state": "failed", "error": error})
    listen(Happened(job.cell.id, "failed" if error else "finished", error or told_result(job)))
    return error is None


def told_result(job: BenchJob) -> str:
    """Mean Dice of liver / tumour over the cell's test cases, as `lits` has them."""
    scores = list(read_cell(job.folder).scores("all_slices", "lits").values())
    specs = {spec.name: spec for spec in PROTOCOLS["lits"].figures}
    shown = [figure(specs[name], scores).value for name in SHOWN]
    return " / ".join("n/a" if math.isnan(value) else f"{value:.3f}" for value in shown)


def training(job: BenchJob, listen: Listener) -> None:
    """The first step of a cell."""
    last = [0.0]
    listen(Happened(job.cell.id, "training", "measuring"))

    def ticked(tick: Tick) -> None:
        if tick.ended or time.monotonic() - last[0] >= SECONDS_BETWEEN:
            last[0] = time.monotonic()
            epoch = f"{tick.epoch + tick.share_of_epoch:.1f} of {tick.epochs}"
            listen(
                Happened(job.cell.id, "training", f"{epoch}, loss {tick.loss:.3f}, {tick.seconds_left / 60:.0f} min")
            )

    train_cell(job, ticked)


def testing(job: BenchJob, listen: Listener) -> None:
    """The second step of a cell."""
    test_cell(job, lambda done, count: listen(Happened(job.cell.id, "testing", f"{done} of {count} tested")))


STEPS: tuple[Step, ...] = (training, testing)


def _in_steps(job: BenchJob, listen: Listener, isolated: bool) -> str | None:
    """Why the cell failed; None where it ended well."""
    for step in STEPS:
        error = _in_process(step, job, listen) if isolated else _here(step, job, listen)
        if error is not None:
            return error
    return None


def _here(step: Step, job: BenchJob, listen: Listener) -> str | None:
    try:
        step(job, listen)
    # Whatever stops one cell, the others must go on.
    except Exception as bad:
        return plain(bad) or type(bad).__name__
    return None


def _in_process(step: Step, job: BenchJob, listen: Listener) -> str | None:
    context = multiprocessing.get_context("spawn")
    news: Any = context.Queue()
    process = context.Process(target=_work, args=(step, job, news))
    process.start()
    told: list[str | None] = []
    try:
        while process.is_alive() and not told:
            _pass_on(news, listen, told)
        process.join()
        _pass_on(news, listen, told)
    finally:
        process.terminate()
    if told:
        return told[0]
    return f"its process died (exit code {process.exitcode}), perhaps short of memory"


def _work(step: Step, job: BenchJob, news: Any) -> None:
    """In a process of its own. It ends with the bench: an orphan would write where the next start does."""
    parent = multiprocessing.parent_process()
    # Encoders that start from random weights stand in the cell's facts; lines would tear the live table.
    logging.getLogger("hepar").setLevel(logging.ERROR)

    def listen(happened: Happened) -> None:
        if parent is not None and not parent.is_alive():
            os._exit(1)
        news.put(happened)

    news.put(_Ended(_here(step, job, listen)))


class _Ended:
    """The last that a step tells."""

    def __init__(self, error: str | None) -> None:
        self.error = error


def _pass_on(news: Any, listen: Listener, told: list[str | None]) -> None:
    """Everything that has been told, waiting half a second at most for the first."""
    wait = 0.5
    while True:
        try:
            heard = news.get(timeout=wait)
        except Empty:
            return
        wait = 0.01
        if isinstance(heard, _Ended):
            told.append(heard.error)
        else:
            listen(heard)
