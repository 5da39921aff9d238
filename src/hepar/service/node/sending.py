"""From the outbox to the destinations, with pauses that grow while one does not answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hepar.errors import HeparError
from hepar.service.jobs import JobQueue
from hepar.service.node import dimse, web
from hepar.service.node.audit import Audit
from hepar.service.node.outbox import Entry, Outbox
from hepar.service.node.settings import NodeSettings, Peer

Send = Callable[[Peer, Path], None]


@dataclass(frozen=True)
class Waiting:
    """After some tries in vain, when the next is due."""

    tries: int = 0
    due: float = 0.0


class Sender:
    """Sends what is due; a restart tries everything at once. `send` raises HeparError where a file did not arrive."""

    def __init__(self, settings: NodeSettings, outbox: Outbox, queue: JobQueue, audit: Audit, send: Send) -> None:
        self._settings = settings
        self._outbox = outbox
        self._queue = queue
        self._audit = audit
        self._send = send
        self._waiting: dict[tuple[str, str], Waiting] = {}

    def look(self) -> None:
        """One try of each entry that is due; a destination that failed once is left alone until the next look."""
        silent: set[str] = set()
        for entry in self._outbox.entries():
            job = self._queue.get(entry.id)
            # Until its job has ended, a killed node makes the result again; a job that is forgotten had ended.
            if job is not None and job.state in ("waiting", "running"):
                continue
            if job is not None and job.state == "cancelled":
                self._outbox.remove(entry)
                self._audit.add("result dropped", series=entry.key, job=entry.id, why="more slices came")
                continue
            left = [self._to(peer, entry, silent) for peer in self._settings.destination]
            if not any(left):
                self._outbox.remove(entry)
                self._audit.add("result delivered", series=entry.key, job=entry.id)

    def _to(self, peer: Peer, entry: Entry, silent: set[str]) -> int:
        """How many files the destination still lacks."""
        unsent = entry.unsent(peer.name)
        # By entry, too: one object that an archive does not want must not hold up the others.
        which = (peer.name, entry.id)
        waiting = self._waiting.get(which, Waiting())
        if not unsent or peer.name in silent or time.monotonic() < waiting.due:
            return len(unsent)
        try:
            for name in unsent:
                self._send(peer, entry.folder / name)
                entry.mark_sent(peer.name, name)
                self._audit.add("sent", series=entry.key, job=entry.id, file=name, destination=peer.name)
        except HeparError as error:
            tries = waiting.tries + 1
            pause = self._settings.retry.pause_seconds(tries)
            silent.add(peer.name)
            self._waiting[which] = Waiting(tries, time.monotonic() + pause)
            self._audit.add(
                "not sent", series=entry.key, job=entry.id, destination=peer.name, why=str(error),
                tries=tries, again_seconds=pause,
            )  # fmt: skip
            return len(entry.unsent(peer.name))
        self._waiting.pop(which, None)
        return 0


def send(calling: str) -> Send:
    """C-STORE under an AE title, or STOW-RS, as the destination wants it."""

    def to(peer: Peer, path: Path) -> None:
        if peer.url:
            web.store(peer, path)
        else:
            dimse.store(peer, calling, path)

    return to
