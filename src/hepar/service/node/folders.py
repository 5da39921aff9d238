"""The node's folder on the disk: no name in it tells of a patient, and each file in it is whole."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hepar.errors import BadInput, OutputError

# Being written, being made or being taken away: what bears it was not finished, and is swept at the next start.
UNFINISHED = ".unfinished-"


@dataclass(frozen=True)
class Folders:
    """Places below `root`. `salt` keys the hashes that stand for identifiers, so that nobody can guess back."""

    root: Path
    salt: bytes

    @property
    def received(self) -> Path:
        return self.root / "received"

    @property
    def work(self) -> Path:
        return self.root / "work"

    @property
    def outbox(self) -> Path:
        return self.root / "outbox"

    @property
    def audit(self) -> Path:
        return self.root / "audit"

    @property
    def queue(self) -> Path:
        return self.root / "jobs.sqlite"

    def hashed(self, *parts: str) -> str:
        """32 hex digits that stand for some texts."""
        text = "".join(f"{len(part)}:{part}" for part in parts)
        return hmac.new(self.salt, text.encode(), hashlib.sha256).hexdigest()[:32]

    def sweep(self) -> None:
        """Take away what a killed node left unfinished; only for the one that holds the lock."""
        for place in (self.root, self.received, self.outbox, self.audit):
            for left in place.glob(f"{UNFINISHED}*"):
                _remove(left)
        for left in self.received.glob(f"*/{UNFINISHED}*"):
            _remove(left)
        for left in self.received.glob(f"*/slices/{UNFINISHED}*"):
            _remove(left)
        for left in self.work.iterdir():
            _remove(left)
        for series in self.received.iterdir():
            # Begun, but killed before its first slice was there.
            if not any(series.glob("slices/*")):
                _remove(series)


def opened(root: Path) -> Folders:
    """Make what is missing, for this user only. Raises OutputError."""
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        salt = root / "salt"
        if not salt.is_file():
            write_durably(salt, secrets.token_bytes(32))
        found = Folders(root, salt.read_bytes())
        for place in (found.received, found.work, found.outbox, found.audit):
            place.mkdir(exist_ok=True, mode=0o700)
    except OSError as error:
        raise OutputError(
            f"cannot write to '{root.name}': {error.strerror}; name a folder that this user can write to"
        ) from error
    return found


class Lock:
    """One node at a time works in a folder; the system frees the lock when the process ends, however it ends."""

    def __init__(self, folders: Folders) -> None:
        """Raises BadInput where another node runs."""
        self._file = (folders.root / "lock").open("w")
        try:
            import fcntl
        except ImportError:  # Windows: two nodes would already quarrel about their port
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise BadInput(
                f"another node works in '{folders.root.name}'; stop it, or give this one another folder"
            ) from None

    def release(self) -> None:
        self._file.close()


def write_durably(path: Path, content: bytes) -> None:
    """Write a file that is there, whole, even after a power cut once this returns. Raises OSError."""
    temporary = path.with_name(f"{UNFINISHED}{secrets.token_hex(8)}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """A rename is on the disk once its folder is; some systems cannot say so."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def remove_whole(folder: Path) -> None:
    """Gone at once for everyone who lists its parent, then removed; an end half-way is swept later."""
    gone = folder.with_name(f"{UNFINISHED}{secrets.token_hex(8)}")
    with suppress(FileNotFoundError):
        folder.rename(gone)
    _remove(gone)


def _remove(left: Path) -> None:
    if left.is_dir() and not left.is_symlink():
        shutil.rmtree(left, ignore_errors=True)
    else:
        with suppress(OSError):
            left.unlink()
