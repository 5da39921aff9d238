"""Two programs on one output folder, and no case done twice: whoever makes a case's claim file works on it.

A claim is a file that one process creates and no other can (`O_EXCL`), on a
local disk or a shared one. Its holder touches it while it works. A claim whose
process is gone from this machine, or that nobody has touched for a while, was
left by a process that was killed. Taking it over goes through a second file,
named after the old claim's time, so that of several who see it one takes it and
nobody takes the new one for the old.
"""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hepar.errors import OutputError

STALE_SECONDS = 120.0
PREFIX = ".claim-"


def claim_path(folder: Path, case: str) -> Path:
    return folder / f"{PREFIX}{case}"


@contextmanager
def claimed(folder: Path, case: str, stale_seconds: float = STALE_SECONDS) -> Iterator[bool]:
    """True for the one process that may work on the case; gives the claim back at the end, whatever happens.

    Raises OutputError where the folder cannot be written to.
    """
    path = claim_path(folder, case)
    if not (_create(path) or _taken_over(path, stale_seconds)):
        yield False
        return
    done = threading.Event()
    beat = threading.Thread(target=_touch, args=(path, done, stale_seconds / 4), daemon=True)
    beat.start()
    try:
        yield True
    finally:
        done.set()
        beat.join()
        path.unlink(missing_ok=True)


def _create(path: Path) -> bool:
    try:
        file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        try:
            os.write(file, f"{platform.node()} {os.getpid()}".encode())
        finally:
            os.close(file)
    except FileExistsError:
        return False
    except OSError as error:
        raise OutputError(f"'{path.parent.name}' cannot be written to ({error.strerror}); nothing was begun") from error
    return True


def _taken_over(path: Path, seconds: float) -> bool:
    try:
        stamp = path.stat().st_mtime_ns
        if not _is_stale(path, seconds):
            return False
        gate = path.with_name(f"{path.name}.{stamp}")
        if not _create(gate):
            # A process that was killed right here must not bar the case for ever.
            if _is_stale(gate, seconds):
                gate.unlink(missing_ok=True)
            return False
        if _stamp(path) == stamp:
            gate.replace(path)
            return True
        gate.unlink(missing_ok=True)
    except FileNotFoundError:
        # Given back meanwhile, so the work is done: whoever looks again will see it.
        return False
    return False


def _stamp(path: Path) -> int:
    """When a claim was last touched; -1 where it is gone."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return -1


def _is_stale(path: Path, seconds: float) -> bool:
    machine, _, process = path.read_text(encoding="utf-8").rpartition(" ")
    if machine == platform.node() and process.isdigit() and not _runs(int(process)):
        return True
    return time.time() - path.stat().st_mtime > seconds


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _touch(path: Path, done: threading.Event, every: float) -> None:
    while not done.wait(every):
        with suppress(OSError):
            path.touch()
