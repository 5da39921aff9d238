"""Received slices: a folder a series, a file a slice, each on the disk before its sender is told so."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from hepar.service.node.folders import UNFINISHED, Folders, remove_whole, sync_folder, write_durably
from hepar.service.node.settings import Limits

# PS3.4 B.2.3: what a C-STORE may answer.
OUT_OF_RESOURCES, NO_MATCH, NOT_UNDERSTOOD = 0xA700, 0xA900, 0xC000
MEGABYTE = 1 << 20
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


class Refused(Exception):
    """A slice that is not taken in: the status for its sender and why, without a word of its header."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True)
class About:
    """Of one series: what asks an archive about it, who sent it, and a keyed hash of the patient's identifier."""

    study: str
    series: str
    patient: str
    caller: str
    begun: float


@dataclass(frozen=True)
class Instance:
    """One slice as it came: identifiers from its header, `content` the whole file."""

    study: str
    series: str
    uid: str
    patient: str
    caller: str
    content: bytes


@dataclass(frozen=True)
class Received:
    """What of a series is there: file names in order, and when the last came (seconds since 1970)."""

    names: tuple[str, ...]
    newest: float

    @property
    def print(self) -> str:
        """Tells one set of slices from another."""
        return fingerprint(self.names)


def fingerprint(names: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()[:32]


class Inbox:
    """Series by their keys, which are hashes of their UIDs. Calls come from any thread."""

    def __init__(self, folders: Folders, limits: Limits) -> None:
        self._folders = folders
        self._limits = limits
        self._lock = threading.Lock()
        self._sizes: dict[str, list[int]] = {}

    def key(self, study: str, series: str) -> str:
        return self._folders.hashed("series", study, series)

    def slices(self, key: str) -> Path:
        return self._folders.received / key / "slices"

    def store(self, one: Instance) -> bool:
        """True for a new slice, False for one that is there already: the first of its UID stays.

        Once this returns the slice is on the disk. Raises Refused.
        """
        key = self.key(one.study, one.series)
        path = self.slices(key) / f"{self._folders.hashed('slice', one.uid)}.dcm"
        with self._lock:
            try:
                about = self._about_made(key, one)
                if about.patient != self._folders.hashed("patient", one.patient):
                    raise Refused(NOT_UNDERSTOOD, "the series holds slices of another patient")
                if path.is_file():
                    return False
                self._require_room(key, len(one.content))
                write_durably(path, one.content)
            except OSError as error:
                if error.errno in FULL:
                    raise Refused(OUT_OF_RESOURCES, "the disk is full") from None
                raise Refused(OUT_OF_RESOURCES, "the slice could not be written") from error
            size = self._size(key)
            size[0] += 1
            size[1] += len(one.content)
        return True

    def keys(self) -> list[str]:
        return sorted(one.name for one in self._folders.received.iterdir() if not one.name.startswith(UNFINISHED))

    def about(self, key: str) -> About:
        """Raises OSError where there is no such series."""
        return About(**json.loads((self._folders.received / key / "about.json").read_text(encoding="utf-8")))

    def received(self, key: str) -> Received:
        """Nothing, and that since ever, where there is no such series."""
        found: dict[str, float] = {}
        with suppress(FileNotFoundError), os.scandir(self.slices(key)) as files:
            for one in files:
                if not one.name.startswith(UNFINISHED):
                    found[one.name] = one.stat().st_mtime
        return Received(tuple(sorted(found)), max(found.values(), default=0.0))

    def link(self, key: str, folder: Path) -> str:
        """A copy of a series that later slices leave alone, without taking room; returns its print."""
        folder.mkdir(parents=True)
        names = self.received(key).names
        for name in names:
            try:
                (folder / name).hardlink_to(self.slices(key) / name)
            except OSError:  # a file system without hard links
                shutil.copyfile(self.slices(key) / name, folder / name)
        return fingerprint(names)

    def remove(self, key: str, expected: Received) -> bool:
        """Delete a series unless slices came meanwhile."""
        with self._lock:
            if self.received(key) != expected:
                return False
            self._sizes.pop(key, None)
            remove_whole(self._folders.received / key)
        return True

    def _about_made(self, key: str, one: Instance) -> About:
        path = self._folders.received / key / "about.json"
        if not path.is_file():
            self._require_disk()
            about = About(
                one.study, one.series, self._folders.hashed("patient", one.patient), one.caller, round(time.time(), 3)
            )
            self.slices(key).mkdir(parents=True, exist_ok=True, mode=0o700)
            sync_folder(self._folders.received)
            write_durably(path, json.dumps(asdict(about)).encode())
            return about
        return self.about(key)

    def _require_room(self, key: str, more: int) -> None:
        count, size = self._size(key)
        if count + 1 > self._limits.slices:
            raise Refused(OUT_OF_RESOURCES, f"more than {self._limits.slices} slices in one series")
        if size + more > self._limits.series_mb * MEGABYTE:
            raise Refused(OUT_OF_RESOURCES, f"more than {self._limits.series_mb} MB in one series")
        self._require_disk(more)

    def _require_disk(self, more: int = 0) -> None:
        if shutil.disk_usage(self._folders.root).free - more < self._limits.free_disk_mb * MEGABYTE:
            raise Refused(OUT_OF_RESOURCES, f"less than {self._limits.free_disk_mb} MB of disk would be left")

    def _size(self, key: str) -> list[int]:
        if key not in self._sizes:
            with suppress(FileNotFoundError), os.scandir(self.slices(key)) as files:
                sizes = [one.stat().st_size for one in files if not one.name.startswith(UNFINISHED)]
                self._sizes[key] = [len(sizes), sum(sizes)]
        return self._sizes.setdefault(key, [0, 0])
