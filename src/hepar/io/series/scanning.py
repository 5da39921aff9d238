"""Every file of a folder or .zip looked at once, in an order that does not depend on the file system.

Files that are no CT slices (text, DICOMDIR, reports, scouts, other modalities)
are passed over and counted; those that may be slices but do not say where
they lie, or cannot be read, are kept as lost.
"""

from __future__ import annotations

import os
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from hepar.errors import BadInput
from hepar.io.series.header import entry
from hepar.io.series.slices import Lost, Passed, Slice, unzipped
from hepar.io.stored import MOST_DEFLATE

# A thin-slice study of several series has some 10,000 files and 5 GB.
MOST_ZIP_FILES = 200_000
MOST_ZIP_BYTES = 64 << 30


@dataclass(frozen=True, eq=False)
class Scanned:
    """What lies in a folder or .zip: CT slices, files that may be some, and how many others of each kind."""

    slices: tuple[Slice, ...]
    lost: tuple[Lost, ...]
    passed: dict[str, int]
    archive: Path | None = None

    def lost_from(self, slices: list[Slice]) -> tuple[int, int]:
        """How many files of the slices' series have no place, and how many in their folders are of no known series."""
        uids, folders = {one.uid for one in slices}, {one.folder for one in slices}
        placeless = [one for one in self.lost if one.uid in uids and (one.uid or one.folder in folders)]
        unknown = [one for one in self.lost if not one.uid and one.uid not in uids and one.folder in folders]
        return len(placeless), len(unknown)


def scan(path: Path) -> Scanned:
    """Look at every file of a folder, with its subfolders, or of a .zip; headers only.

    Raises BadInput for a .zip that is damaged, encrypted, hostile (paths that
    lead out of it, or more data than a .zip of its size can hold).
    """
    archive = path if path.is_file() else None
    slices: list[Slice] = []
    lost: list[Lost] = []
    passed: Counter[str] = Counter()
    for one in _in_zip(path) if archive else _in_folder(path):
        if isinstance(one, Slice):
            slices.append(one)
        elif isinstance(one, Lost):
            lost.append(one)
        else:
            passed[one.kind] += 1
    return Scanned(tuple(slices), tuple(lost), dict(sorted(passed.items())), archive)


def _in_folder(root: Path) -> Iterator[Slice | Lost | Passed]:
    for folder, subfolders, names in os.walk(root):
        subfolders.sort()
        parts = Path(folder).relative_to(root).parts
        for path in (Path(folder) / name for name in sorted(names)):
            try:
                if not path.is_file():  # a pipe, a broken link
                    continue
                with path.open("rb") as file:
                    yield entry(file, path, parts)
            except OSError:
                yield Lost(parts)


def _in_zip(path: Path) -> Iterator[Slice | Lost | Passed]:
    with unzipped(path) as archive:
        # A member without a name makes zipfile stumble; nothing can be said of it.
        members = [m for m in archive.infolist() if m.filename and not m.is_dir()]
        _require_harmless(members, path)
        for member in sorted(members, key=lambda m: m.filename):
            with archive.open(member) as file:
                parts = PurePosixPath(member.filename).parts[:-1]
                yield entry(cast(BinaryIO, file), member.filename, parts)


def _require_harmless(members: list[zipfile.ZipInfo], path: Path) -> None:
    for member in members:
        parts = member.filename.replace("\\", "/").split("/")
        if ".." in parts or parts[0] == "" or ":" in parts[0]:
            raise BadInput(f"'{path.name}' names files outside itself ('..' or an absolute path); do not trust it")
    claimed = sum(m.file_size for m in members)
    if len(members) > MOST_ZIP_FILES or claimed > min(MOST_ZIP_BYTES, path.stat().st_size * MOST_DEFLATE):
        raise BadInput(
            f"'{path.name}' claims {len(members):,} files with {claimed:,} bytes, more than hepar unpacks "
            f"({MOST_ZIP_FILES:,} files, {MOST_ZIP_BYTES:,} bytes, {MOST_DEFLATE} times its size); do not trust it"
        )
