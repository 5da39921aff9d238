"""The files that a path holds, in a folder or in a .zip, and how their voxels are read.

A .zip is never unpacked: a .nii is read straight from it, every other file
goes alone into a temporary folder and is gone after reading.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import BinaryIO, cast

from hepar.errors import BadInput
from hepar.io import FORMATS
from hepar.io.stored import MOST_DEFLATE, ZIP_ERRORS, Stored

GZIP_MAGIC = b"\x1f\x8b"
# TotalSegmentator's data set: CASE/segmentations/liver.nii.gz.
DEEPEST = 3
MOST_FILES = 200_000
# The largest member that hepar reads: 2000 slices of 1024 x 1024 in two bytes, twice.
MOST_BYTES = 8 << 30
# Besides voxels, a folder's own account of its labels.
MOST_TEXT = 1 << 22
# Of each file, its beginning, middle and end go into the fingerprint.
SAMPLED_BYTES = 1 << 20


@dataclass(frozen=True)
class Entry:
    """One file: `root` is the folder or .zip that was named, `inside` the way below it; empty when `root` is the file.

    Only paths are kept, so it can be sent to another process.
    """

    root: Path
    inside: str = ""
    packed: bool = False

    @property
    def parts(self) -> tuple[str, ...]:
        # Some Windows tools pack with backslashes.
        inside = self.inside.replace("\\", "/") if self.packed else self.inside
        return PurePosixPath(inside).parts if inside else (self.root.name,)

    @property
    def name(self) -> str:
        """For people: the file's name without folders."""
        return self.parts[-1]

    @property
    def folders(self) -> tuple[str, ...]:
        return self.parts[:-1]

    @property
    def path(self) -> Path:
        """Where the file lies on disk; a packed one has no such place."""
        return self.root / self.inside if self.inside else self.root

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """The file's bytes. Raises BadInput when they cannot be read, or a .zip claims more than it can hold."""
        if self.packed:
            with (
                member_errors(self),
                zipfile.ZipFile(self.root) as archive,
                archive.open(_member(archive, self)) as file,
            ):
                yield cast(BinaryIO, file)
            return
        try:
            file = self.path.open("rb")
        except OSError as error:
            raise BadInput(f"'{self.name}' cannot be read ({error.strerror}); check the file and its rights") from error
        with file:
            yield file

    def text(self) -> str:
        """A small text file, such as dataset.json."""
        with self.opened() as file:
            return file.read(MOST_TEXT).decode("utf-8", errors="replace")

    def stored(self) -> Stored:
        """The voxels of a volume file. Raises BadInput for a damaged one."""
        kind = next((k for k, ends in FORMATS.items() if self.name.lower().endswith(ends)), None)
        if kind is None:
            raise BadInput(f"'{self.name}' is of a kind that hepar does not read; convert it to .nii.gz")
        read = import_module(f"hepar.io.{kind}").read_stored
        try:
            if not self.packed:
                return cast(Stored, read(self.path))
            with member_errors(self):
                if kind == "nifti" and self._is_plain():
                    # The NIfTI reader asks its path for a name, a size and the bytes; a member answers these.
                    return cast(Stored, read(_Member(self)))
                with self.alone() as path:
                    return cast(Stored, read(path))
        except MemoryError as error:
            raise BadInput(f"'{self.name}' needs more memory than there is; use a larger machine") from error

    @contextmanager
    def alone(self) -> Iterator[Path]:
        """The file on disk; a packed one in a temporary folder."""
        if not self.packed:
            yield self.path
            return
        with tempfile.TemporaryDirectory(prefix="hepar-") as folder:
            path = Path(folder) / re.sub(r"[^\w.-]", "_", self.name)
            with self.opened() as file, path.open("wb") as out:
                while piece := file.read(1 << 20):
                    out.write(piece)
            yield path

    def _is_plain(self) -> bool:
        with self.opened() as file:
            return file.read(2) != GZIP_MAGIC

    def fingerprint(self) -> str:
        """Changes when the file does; holds no folder."""
        if self.packed:
            with member_errors(self), zipfile.ZipFile(self.root) as archive:
                info = _member(archive, self)
                return f"{self.name} {info.file_size} {info.CRC:08x}"
        # Label maps of one scan have one size, and copies one time: the place and the bytes tell them apart.
        digest = hashlib.sha256(str(self.path.resolve()).encode())
        for path in (self.path, *_detached(self.path)):
            held = path.stat()
            digest.update(f"{held.st_size} {held.st_mtime_ns}".encode())
            with path.open("rb") as file:
                for start in (0, held.st_size // 2, max(held.st_size - SAMPLED_BYTES, 0)):
                    file.seek(start)
                    digest.update(file.read(SAMPLED_BYTES))
        return f"{self.name} {digest.hexdigest()}"


def _detached(header: Path) -> list[Path]:
    """The files beside a .mhd or .nhdr that may hold its voxels."""
    if header.suffix.lower() not in (".mhd", ".nhdr"):
        return []
    return sorted(path for path in header.parent.glob(f"{header.stem}.*") if path != header and path.is_file())


class _Member:
    """A .nii in a .zip as the NIfTI reader needs it."""

    def __init__(self, entry: Entry) -> None:
        self.name = entry.name
        self._entry = entry

    def open(self, mode: str) -> BinaryIO:
        assert mode == "rb"
        # A ZipFile that is closed keeps its file open for the members that are still read.
        with zipfile.ZipFile(self._entry.root) as archive:
            return cast(BinaryIO, archive.open(_member(archive, self._entry)))

    def stat(self) -> SimpleNamespace:
        with zipfile.ZipFile(self._entry.root) as archive:
            return SimpleNamespace(st_size=_member(archive, self._entry).file_size)


@contextmanager
def member_errors(entry: Entry) -> Iterator[None]:
    """What a damaged or encrypted .zip provokes becomes BadInput that names the member."""
    try:
        yield
    except PermissionError as error:
        raise BadInput(f"'{entry.root.name}' cannot be read ({error.strerror}); check its rights") from error
    except (*ZIP_ERRORS, OSError) as error:
        raise BadInput(
            f"'{entry.name}' in '{entry.root.name}' cannot be unpacked ({type(error).__name__}): damaged or of a rare "
            "kind. Pack the .zip again"
        ) from error


def _member(archive: zipfile.ZipFile, entry: Entry) -> zipfile.ZipInfo:
    try:
        info = archive.getinfo(entry.inside)
    except KeyError as error:
        raise BadInput(f"'{entry.root.name}' no longer holds '{entry.name}'; it changed while it was read") from error
    if info.file_size > min(MOST_BYTES, max(info.compress_size, 1) * MOST_DEFLATE):
        raise BadInput(
            f"'{entry.name}' in '{entry.root.name}' claims {info.file_size:,} bytes from {info.compress_size:,}, more "
            f"than a .zip can hold or hepar reads ({MOST_BYTES:,}); do not trust it"
        )
    return info


def entries_of(path: Path) -> list[Entry]:
    """Every file that `path` holds, in order of name; hidden files and macOS's companions are passed over.

    Raises BadInput for a path that is not there, and for a .zip that is
    damaged, encrypted or holds absurdly many files.
    """
    if not path.exists():
        raise BadInput(f"'{path.name}' does not exist; expected a label map, a folder of label maps or a .zip")
    try:
        if path.is_dir():
            return sorted(_in_folder(path), key=lambda entry: entry.inside)
        if path.suffix.lower() == ".zip":
            return sorted(_in_zip(path), key=lambda entry: entry.inside)
    except OSError as error:
        raise BadInput(f"'{path.name}' cannot be read ({error.strerror}); check its rights") from error
    return [Entry(path)]


def _in_folder(root: Path) -> Iterator[Entry]:
    for folder, subfolders, names in os.walk(root):
        depth = len(Path(folder).relative_to(root).parts)
        subfolders[:] = [] if depth >= DEEPEST else [name for name in subfolders if not name.startswith(".")]
        for name in names:
            path = Path(folder) / name
            if not name.startswith(".") and path.is_file():
                yield Entry(root, path.relative_to(root).as_posix())


def _in_zip(root: Path) -> Iterator[Entry]:
    try:
        with zipfile.ZipFile(root) as archive:
            members = [member for member in archive.infolist() if member.filename and not member.is_dir()]
    except PermissionError:
        raise
    except (*ZIP_ERRORS, OSError) as error:
        raise BadInput(
            f"'{root.name}' is no .zip that can be read ({type(error).__name__}); pack it again or pass the folder"
        ) from error
    if len(members) > MOST_FILES:
        raise BadInput(f"'{root.name}' claims {len(members):,} files; expected up to {MOST_FILES:,}. Do not trust it")
    kept = [m for m in members if not any(p.startswith((".", "__MACOSX")) for p in PurePosixPath(m.filename).parts)]
    if any(member.flag_bits & 1 for member in kept):
        raise BadInput(f"'{root.name}' is encrypted; unpack it with its password and pass the folder")
    for member in kept:
        yield Entry(root, member.filename, packed=True)
