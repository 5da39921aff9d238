"""A cohort, or a shard of it, by this process: claims, retries, and the table at the end."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress

from hepar.errors import HeparError
from hepar.io import Scan
from hepar.service.batch import Engines, Job, Listener, Outcome, opened_batch, segment_one
from hepar.service.cohort.claims import STALE_SECONDS, claimed
from hepar.service.cohort.manifest import forget_failure, note_failure, write_table
from hepar.service.cohort.order import CohortOrder

# How often a case that another process holds is looked at again.
LOOK_AGAIN_SECONDS = 2.0


def segment_cohort(order: CohortOrder, listener: Listener | None = None) -> list[Outcome]:
    """Segment the order's shard; one outcome a scan, in the order of the scans.

    Scans that another process is working on are left to it, and looked at again
    in the end: done by then, or, if that process was killed, done here. Raises
    what `segment_batch` raises before the first scan.
    """
    job = order.job(listener)
    scans, engines = opened_batch(order.source, job)
    mine = order.shard.of(scans)
    outcomes: dict[str, Outcome] = {}
    if len(scans) == 1:
        # Its own files and its error say all: nothing to share, and no table.
        return [_alone(scan, job, engines) for scan in mine]
    for number, attempt, scan in _rounds(mine, outcomes, order.retries):
        job.listener.started(number, len(mine), scan.id)
        outcome = attempt_case(scan, job, engines, attempt)
        if outcome is None:
            continue
        outcomes[scan.id] = outcome
        if outcome.status != "failed" or attempt > order.retries:
            job.listener.ended(outcome)
    write_table(job.out)
    return [outcomes[scan.id] for scan in mine]


def attempt_case(
    scan: Scan, job: Job, engines: Engines, attempt: int, stale_seconds: float = STALE_SECONDS
) -> Outcome | None:
    """One try at one scan, None while another process holds it; a failure is kept beside the results."""
    with claimed(job.out, scan.id, stale_seconds) as mine:
        if not mine:
            return None
        outcome = segment_one(scan, job, engines)
        if outcome.status == "failed":
            # A disk that is full must not end the batch as well.
            with suppress(HeparError):
                note_failure(job.out, scan.id, outcome.message, attempt)
        else:
            forget_failure(job.out, scan.id)
    return outcome


def _rounds(scans: Sequence[Scan], outcomes: dict[str, Outcome], retries: int) -> Iterator[tuple[int, int, Scan]]:
    """Number, attempt from 1, and scan: all of them once, then those that failed or were held, until none is left."""
    attempts = {scan.id: 0 for scan in scans}
    while True:
        tried = False
        for number, scan in enumerate(scans):
            known = outcomes.get(scan.id)
            if known is None or (known.status == "failed" and attempts[scan.id] <= retries):
                yield number, attempts[scan.id] + 1, scan
                # A scan that another process held was not tried.
                attempts[scan.id] += scan.id in outcomes
                tried = True
        if not tried:
            return
        if any(scan.id not in outcomes for scan in scans):
            time.sleep(LOOK_AGAIN_SECONDS)


def _alone(scan: Scan, job: Job, engines: Engines) -> Outcome:
    job.listener.started(0, 1, scan.id)
    outcome = segment_one(scan, job, engines)
    job.listener.ended(outcome)
    return outcome
