"""A worker: takes jobs one after the other, says that it lives, and keeps going when a job fails."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from hepar.errors import HeparError
from hepar.service.jobs.queue import STALE_SECONDS, Job, JobQueue

log = logging.getLogger("hepar")

Told = Callable[[float, str], None]
Work = Callable[[Job, Told], dict[str, Any]]


class Stopped(Exception):
    """Raised into a job that was cancelled, or whose worker is to stop, when it next says how far it is."""


def work_off(queue: JobQueue, works: Mapping[str, Work], stop: threading.Event, idle_seconds: float = 1.0) -> None:
    """Work on `queue` until `stop` is set; `works` has a function for each kind of job.

    A function gets the job and `told(share, text)`; what it returns joins the
    job's facts. hepar's own errors are shown as they are; of any other only the
    kind is kept with the job, since its text may hold a path or a name.
    """
    queue.recover()
    while not stop.is_set():
        job = queue.take(tuple(works))
        if job is None:
            stop.wait(idle_seconds)
            continue
        with _alive(queue, job):
            _one(queue, job, works[job.kind], stop)


def _one(queue: JobQueue, job: Job, work: Work, stop: threading.Event) -> None:
    def told(share: float, text: str) -> None:
        if not queue.told(job.id, share, text) or stop.is_set():
            raise Stopped

    try:
        queue.done(job.id, work(job, told))
    except Stopped:
        # A cancelled job keeps its state; one that the worker's end broke off begins anew.
        queue.give_back(job.id)
    except HeparError as bad:
        queue.failed(job.id, str(bad))
    # Whatever stops one job, the others must go on.
    except Exception as bad:
        log.error("a job failed: %s", type(bad).__name__)
        log.debug("its traceback", exc_info=True)
        queue.failed(job.id, f"unexpected {type(bad).__name__}")


@contextmanager
def _alive(queue: JobQueue, job: Job) -> Iterator[None]:
    """Long steps say nothing; the job's process does."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(STALE_SECONDS / 6) and queue.touch(job.id):
            pass

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
