"""Files appear whole or not at all."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hepar.errors import OutputError


@contextmanager
def replace_whole(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well.

    The temporary name keeps the suffixes, for libraries that judge by them. On
    any failure it is removed and an old `path` stays as it was. Raises
    OutputError when the folder cannot be written or the disk is full.
    """
    suffix = "".join(path.suffixes[-2:])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".writing-", suffix=suffix, dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise OutputError(f"cannot write {path.name}: {error.strerror}; choose a folder you can write to") from error
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes private files; results should be readable as the user's umask allows.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    except OSError as error:
        raise OutputError(
            f"writing {path.name} failed: {error.strerror or error}; free space or choose another folder"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def require_writable(folder: Path) -> None:
    """Find out before hours of work, not after. Makes the folder; raises OutputError when it cannot be written to."""
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"'{folder.name}' is a file, not a folder; choose another place for the output")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(
            f"cannot write to '{folder.name}': {error.strerror}; choose a folder you can write to"
        ) from error


def write_text(path: Path, text: str) -> None:
    with replace_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Indented JSON with a final newline; NaN is written as null, since JSON knows no NaN."""
    write_text(path, json.dumps(_without_nan(value), indent=1, allow_nan=False) + "\n")


def _without_nan(value: Any) -> Any:
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, dict):
        return {k: _without_nan(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(v) for v in value]
    return value
