"""Results on their way: a folder a result, which stays until every destination has said that it has each file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hepar.errors import OutputError
from hepar.service.node.folders import UNFINISHED, Folders, remove_whole, sync_folder, write_durably


@dataclass(frozen=True)
class Entry:
    """One result, by its job's id: `files` in the order in which they are sent."""

    id: str
    folder: Path
    key: str
    files: tuple[str, ...]

    def unsent(self, destination: str) -> list[str]:
        return [name for name in self.files if not self._mark(destination, name).is_file()]

    def mark_sent(self, destination: str, name: str) -> None:
        """Remembered for good. Raises OutputError where that cannot be written; it is then sent once more."""
        try:
            write_durably(self._mark(destination, name), b"")
        except OSError as error:
            raise OutputError(f"what was sent cannot be noted ({error.strerror}); free space on the disk") from error

    def _mark(self, destination: str, name: str) -> Path:
        return self.folder / f"sent-{destination}-{name}"


class Outbox:
    """Entries appear by one rename and vanish by one."""

    def __init__(self, folders: Folders) -> None:
        self._folder = folders.outbox

    def add(self, job: str, key: str, files: Sequence[Path]) -> None:
        """A result of a job; the same once more changes nothing. Raises OutputError."""
        if self.has(job):
            return
        making = self._folder / f"{UNFINISHED}{job}"
        try:
            shutil.rmtree(making, ignore_errors=True)
            making.mkdir()
            for path in files:
                write_durably(making / path.name, path.read_bytes())
            facts = {"key": key, "files": [path.name for path in files]}
            write_durably(making / "entry.json", json.dumps(facts).encode())
            making.rename(self._folder / job)
            sync_folder(self._folder)
        except OSError as error:
            raise OutputError(
                f"a result cannot be kept for sending ({error.strerror}); free space on the disk"
            ) from error

    def has(self, job: str) -> bool:
        return (self._folder / job).is_dir()

    def entries(self) -> list[Entry]:
        """Oldest first."""
        found = []
        for folder in self._folder.iterdir():
            if folder.name.startswith(UNFINISHED):
                continue
            path = folder / "entry.json"
            facts = json.loads(path.read_text(encoding="utf-8"))
            found.append((path.stat().st_mtime, Entry(folder.name, folder, facts["key"], tuple(facts["files"]))))
        return [entry for _, entry in sorted(found, key=lambda pair: (pair[0], pair[1].id))]

    def remove(self, entry: Entry) -> None:
        """Only once nothing of it is unsent."""
        remove_whole(entry.folder)
