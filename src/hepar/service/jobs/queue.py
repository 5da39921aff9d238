"""A queue of jobs in one SQLite file: several threads and processes share it, and a killed one loses no job.

A running job belongs to the process that took it. When that process is gone,
or has not been heard of for a while, the job waits again; at the third such end
it has failed, since what kills a process twice will do so once more.
"""

from __future__ import annotations

import json
import os
import platform
import secrets
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hepar.errors import BadInput, OutputError

VERSION = 1
TRIES = 3
STALE_SECONDS = 120.0
FINISHED = ("done", "failed", "cancelled")

TABLE = """
CREATE TABLE IF NOT EXISTS jobs (
  id TEXT PRIMARY KEY, kind TEXT NOT NULL, state TEXT NOT NULL, share REAL NOT NULL, text TEXT NOT NULL,
  error TEXT NOT NULL, facts TEXT NOT NULL, created REAL NOT NULL, updated REAL NOT NULL, tries INTEGER NOT NULL,
  holder TEXT NOT NULL)
"""
COLUMNS = "id, kind, state, share, text, error, facts, created, updated, tries"


@dataclass(frozen=True)
class Job:
    """One job as it stands: `state` is waiting, running, done, failed or cancelled; times are seconds since 1970."""

    id: str
    kind: str
    state: str = "waiting"
    share: float = 0.0
    text: str = ""
    error: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    created: float = 0.0
    updated: float = 0.0
    tries: int = 0


class JobQueue:
    """The queue in the file `path`, made at first use.

    Every call is a transaction of its own, so any thread or process may make it.
    Raises OutputError where the file cannot be written to (a full disk, too),
    BadInput where it is not a queue or one of a newer hepar.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._open() as base:
            (version,) = base.execute("PRAGMA user_version").fetchone()
            if version > VERSION:
                raise BadInput(
                    f"{path.name} was written by a newer hepar (queue {version}, this one knows {VERSION}); "
                    "use that hepar or another folder"
                )
            base.execute(TABLE)
            base.execute(f"PRAGMA user_version = {VERSION}")

    def add(self, kind: str, facts: dict[str, Any] | None = None) -> Job:
        """A new waiting job. Its id is 128 random bits: nobody guesses another's."""
        now = time.time()
        job = Job(secrets.token_hex(16), kind, facts=dict(facts or {}), created=now, updated=now)
        row = (job.id, kind, job.state, 0.0, "", "", json.dumps(job.facts), now, now, 0, "")
        with self._open() as base:
            base.execute(f"INSERT INTO jobs VALUES ({', '.join('?' * len(row))})", row)
        return job

    def get(self, job_id: str) -> Job | None:
        """The job as it stands; None where there is none of that id."""
        with self._open() as base:
            row = base.execute(f"SELECT {COLUMNS} FROM jobs WHERE id = ?", (job_id,)).fetchone()
        return None if row is None else _job(row)

    def jobs(self, state: str | None = None) -> list[Job]:
        """All jobs, or those in one state, in the order in which they came."""
        where, values = ("", ()) if state is None else (" WHERE state = ?", (state,))
        with self._open() as base:
            rows = base.execute(f"SELECT {COLUMNS} FROM jobs{where} ORDER BY created, rowid", values).fetchall()
        return [_job(row) for row in rows]

    def count(self, *states: str) -> int:
        """How many jobs are in any of these states."""
        with self._open() as base:
            question = f"SELECT COUNT(*) FROM jobs WHERE state IN ({', '.join('?' * len(states))})"
            (number,) = base.execute(question, states).fetchone()
        return int(number)

    def take(self, kinds: Sequence[str]) -> Job | None:
        """The oldest waiting job of these kinds, running from now on and this process's; None where none waits."""
        with self._open() as base:
            row = base.execute(
                f"SELECT id FROM jobs WHERE state = 'waiting' AND kind IN ({', '.join('?' * len(kinds))}) "
                "ORDER BY created, rowid LIMIT 1",
                tuple(kinds),
            ).fetchone()
            if row is None:
                return None
            base.execute(
                "UPDATE jobs SET state = 'running', tries = tries + 1, share = 0, text = '', holder = ?, updated = ? "
                "WHERE id = ?",
                (_me(), time.time(), row[0]),
            )
        return self.get(row[0])

    def told(self, job_id: str, share: float, text: str) -> bool:
        """How far a running job is (0 to 1) and what it does. False where it runs no longer, e.g. was cancelled."""
        return self._changed(job_id, "running", "share = ?, text = ?", (min(1.0, max(0.0, share)), text))

    def touch(self, job_id: str) -> bool:
        """The job's process lives. False where the job runs no longer."""
        return self._changed(job_id, "running", "share = share", ())

    def done(self, job_id: str, facts: dict[str, Any] | None = None) -> bool:
        """A running job has ended well; `facts` join those it came with. False where it had been cancelled."""
        job = self.get(job_id)
        more = json.dumps((job.facts if job else {}) | (facts or {}))
        return self._changed(job_id, "running", "state = 'done', share = 1, facts = ?", (more,))

    def failed(self, job_id: str, why: str) -> bool:
        """A running job has failed for good."""
        return self._changed(job_id, "running", "state = 'failed', error = ?", (why,))

    def waiting_again(self, job_id: str, why: str) -> bool:
        """A running job is given back, to be tried again."""
        return self._changed(job_id, "running", "state = 'waiting', holder = '', error = ?", (why,))

    def give_back(self, job_id: str) -> bool:
        """A running job waits again through no fault of its own; it is as if it had not been tried."""
        change = "state = 'waiting', holder = '', error = '', tries = tries - 1"
        return self._changed(job_id, "running", change, ())

    def cancel(self, job_id: str) -> bool:
        """A waiting or running job is wanted no longer. False where it had ended."""
        return any(self._changed(job_id, state, "state = 'cancelled'", ()) for state in ("waiting", "running"))

    def remove(self, job_id: str) -> None:
        """Forget the job; no error where there is none."""
        with self._open() as base:
            base.execute("DELETE FROM jobs WHERE id = ?", (job_id,))

    def recover(self, stale_seconds: float = STALE_SECONDS) -> list[Job]:
        """Jobs whose process is gone or silent wait again, or have failed after three tries; they are returned."""
        left = []
        with self._open() as base:
            rows = base.execute("SELECT id, holder, updated, tries FROM jobs WHERE state = 'running'").fetchall()
            for job_id, holder, updated, tries in rows:
                if _is_there(holder) and time.time() - updated <= stale_seconds:
                    continue
                left.append(job_id)
                state = "waiting" if tries < TRIES else "failed"
                why = f"the program ended while it ran (try {tries} of {TRIES})"
                base.execute("UPDATE jobs SET state = ?, holder = '', error = ? WHERE id = ?", (state, why, job_id))
        return [job for job in map(self.get, left) if job is not None]

    def _changed(self, job_id: str, state: str, change: str, values: tuple[Any, ...]) -> bool:
        with self._open() as base:
            done = base.execute(
                f"UPDATE jobs SET {change}, updated = ? WHERE id = ? AND state = ?",
                (*values, time.time(), job_id, state),
            )
            return done.rowcount == 1

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection in a write transaction: what is read in it is still so when it is written."""
        base = None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            base = sqlite3.connect(self.path, timeout=30, isolation_level=None)
            base.execute("PRAGMA journal_mode = WAL")
            base.execute("BEGIN IMMEDIATE")
            yield base
            base.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise OutputError(f"the queue {self.path.name} cannot be used ({error}); is its disk full?") from error
            raise BadInput(f"{self.path.name} is no queue of hepar ({error}); name another folder") from error
        except OSError as error:
            raise OutputError(f"the queue {self.path.name} cannot be written ({error.strerror})") from error
        finally:
            if base is not None:
                base.close()


def _job(row: tuple[Any, ...]) -> Job:
    job_id, kind, state, share, text, error, facts, created, updated, tries = row
    return Job(job_id, kind, state, share, text, error, json.loads(facts), created, updated, tries)


def _me() -> str:
    return f"{platform.node()} {os.getpid()} {_born(os.getpid())}"


def _is_there(holder: str) -> bool:
    """Whether the process that holds a job runs. One on another machine is believed to; its silence will tell."""
    machine, process, born = holder.rsplit(" ", 2)
    return machine != platform.node() or _born(int(process)) == born


def _born(process: int) -> str:
    """When a process began: its number alone may be another's by now. Empty for one that is gone."""
    try:
        # The name in brackets may hold blanks; the fields after it do not.
        fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return "" if fields[0] == "Z" else fields[19]
    except FileNotFoundError:
        return "runs" if not Path("/proc").is_dir() and _runs(process) else ""


def _runs(process: int) -> bool:
    """For systems without /proc."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
