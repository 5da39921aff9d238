"""When a series is complete, and its job: one for each set of slices, however often the node starts."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from hepar.errors import HeparError
from hepar.service.jobs import FINISHED, Job, JobQueue
from hepar.service.node import dimse, web
from hepar.service.node.audit import Audit
from hepar.service.node.inbox import About, Inbox, Received
from hepar.service.node.settings import NodeSettings, Peer

log = logging.getLogger("hepar")
SEGMENT = "segment"
Count = Callable[[About], int]


@dataclass(frozen=True)
class Doubt:
    """A series that is idle but lacks slices by the archive's count; asked again after a while."""

    announced: int
    asked: float


class Completion:
    """Looks at what was received. `count` tells how many slices the archive has; without it, idle is complete."""

    def __init__(
        self, settings: NodeSettings, inbox: Inbox, queue: JobQueue, audit: Audit, count: Count | None
    ) -> None:
        self._wanted = settings.completion
        self._plain = settings.retention.plain_uids
        self._inbox = inbox
        self._queue = queue
        self._audit = audit
        self._count = count
        # While the node was down nothing could come: idle time begins when it starts.
        self._started = time.time()
        self._closed: dict[str, str] = {}
        self._doubts: dict[str, Doubt] = {}

    def look(self) -> None:
        """Make a job for each series that is complete and has none."""
        keys = self._inbox.keys()
        self._closed = {key: mark for key, mark in self._closed.items() if key in keys}
        for key in keys:
            received = self._inbox.received(key)
            if not received.names or self._closed.get(key) == received.print:
                continue
            with suppress(FileNotFoundError):  # deleted between two looks
                self._judge(key, received)

    def _judge(self, key: str, received: Received) -> None:
        waited = time.time() - max(received.newest, self._started)
        if waited < self._wanted.idle_seconds:
            return
        if self._has_job(key, received):
            self._closed[key] = received.print
            return
        about = self._inbox.about(key)
        announced = self._announced(key, about)
        if announced > len(received.names) and waited < self._wanted.patience_seconds:
            return
        self._close(key, received, about, announced)

    def _announced(self, key: str, about: About) -> int:
        """How many slices there should be; 0 where nobody knows."""
        if self._count is None:
            return 0
        doubt = self._doubts.get(key)
        if doubt and time.time() - doubt.asked < self._wanted.idle_seconds:
            return doubt.announced
        try:
            announced = self._count(about)
        except HeparError as error:
            self._audit.add("count unknown", series=key, why=str(error))
            announced = 0
        self._doubts[key] = Doubt(announced, time.time())
        return announced

    def _has_job(self, key: str, received: Received) -> bool:
        return any(job.facts.get("print") == received.print for job in jobs_of(self._queue, key))

    def _close(self, key: str, received: Received, about: About, announced: int) -> None:
        self._closed[key] = received.print
        self._doubts.pop(key, None)
        count = len(received.names)
        if count < self._wanted.least_slices:
            self._audit.add("series ignored", series=key, slices=count, why="too few slices")
            return
        for older in jobs_of(self._queue, key):
            # More slices came: a result of the smaller set is wanted no longer.
            if older.state not in FINISHED and self._queue.cancel(older.id):
                self._audit.add("job superseded", series=key, job=older.id)
        facts = {
            "key": key,
            "print": received.print,
            "slices": count,
            "announced": announced,
            # The moment makes the results' UIDs, so it is decided once, here.
            "made": datetime.now().isoformat(),
        }
        job = self._queue.add(SEGMENT, facts)
        told = {"slices": count, "announced": announced, "caller": about.caller, "job": job.id}
        uids = {"study_uid": about.study, "series_uid": about.series} if self._plain else {}
        self._audit.add("series complete", series=key, **told, **uids)


def jobs_of(queue: JobQueue, key: str) -> list[Job]:
    """A series' jobs in the order in which they came."""
    return [job for job in queue.jobs() if job.facts.get("key") == key]


def counter(source: Peer | None, calling: str) -> Count | None:
    """How to ask a source; None without one."""
    if source is None:
        return None
    if source.url:
        return lambda about: web.count_slices(source, about.study, about.series)
    return lambda about: dimse.count_slices(source, calling, about.study, about.series)
