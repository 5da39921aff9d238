"""What the node deletes by itself: series that are done with, their jobs, and old audit files."""

from __future__ import annotations

import time

from hepar.service.jobs import FINISHED, JobQueue
from hepar.service.node.audit import DAY, Audit
from hepar.service.node.completion import jobs_of
from hepar.service.node.inbox import Inbox
from hepar.service.node.outbox import Outbox
from hepar.service.node.settings import Retention


def sweep(kept: Retention, inbox: Inbox, outbox: Outbox, queue: JobQueue, audit: Audit) -> None:
    """Delete series whose last slice is old enough, unless a job is open or a result not delivered."""
    audit.sweep()
    waiting = {entry.key for entry in outbox.entries()}
    for key in inbox.keys():  # noqa: SIM118 (a list, no dictionary)
        received = inbox.received(key)
        if not received.names:  # its first slice is being written
            continue
        jobs = jobs_of(queue, key)
        if time.time() - received.newest < kept.received_days * DAY or key in waiting:
            continue
        if all(job.state in FINISHED for job in jobs) and inbox.remove(key, received):
            # After the slices: a job that is forgotten too early would be made again.
            for job in jobs:
                queue.remove(job.id)
            audit.add("series deleted", series=key, slices=len(received.names))
