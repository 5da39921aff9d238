"""Which CT series a folder or .zip holds, from the headers of its files.

Files that are no CT slices (text, DICOMDIR, reports, scouts, other
modalities) are passed over; those that may be slices but do not say where
they lie, or cannot be read, are counted. Nothing of a patient is kept but where slices
lie: no names, no ids, no descriptions.
"""

from __future__ import annotations

import logging
import math
import os
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from hepar.errors import BadInput
from hepar.io.stored import MOST_DEFLATE

# A thin-slice study of several series has some 10,000 files and 5 GB.
MOST_ZIP_FILES = 200_000
MOST_ZIP_BYTES = 64 << 30
# Files without the "DICM" mark begin with group 0002 or 0008, little endian.
BARE_STARTS = (b"\x02\x00", b"\x08\x00")
WANTED = (
    "Modality", "ImageType", "SeriesInstanceUID", "SeriesNumber", "Rows", "Columns", "PixelSpacing",
    "ImagePositionPatient", "ImageOrientationPatient", "RescaleSlope", "RescaleIntercept", "SliceThickness",
)  # fmt: skip
# Slices of one series agree in their direction far better; a scout does not.
SAME_DIRECTION = 1e-3


@dataclass(frozen=True, eq=False)
class Slice:
    """Where one file's pixels lie. `orientation`: directions in LPS of growing column, then row index.

    `file` is its path, or its name in the series' .zip.
    """

    file: Path | str
    folder: tuple[str, ...]
    uid: str
    number: int | None
    rows: int
    columns: int
    pixel_spacing_mm: NDArray[np.float64]
    position_mm: NDArray[np.float64]
    orientation: NDArray[np.float64]
    slope: float
    intercept: float
    thickness_mm: float

    def belongs_to(self, other: Slice) -> bool:
        # Some de-identification leaves the series UID empty; then the folder says what belongs together.
        same_series = self.uid == other.uid and (self.uid != "" or self.folder == other.folder)
        same_size = (self.rows, self.columns) == (other.rows, other.columns)
        return same_series and same_size and np.allclose(self.orientation, other.orientation, atol=SAME_DIRECTION)


@dataclass(frozen=True)
class Lost:
    """A file that may be a CT slice without a place; `uid` is None where the file could not be read at all."""

    folder: tuple[str, ...]
    uid: str | None = None


@dataclass(frozen=True, eq=False)
class Series:
    """CT slices of one series, in no order; `name` is safe to show and never the patient's.

    `placeless` counts image files of the series that do not say where they
    lie, `unread` those in its folders of which not even the series is known.
    """

    name: str
    slices: tuple[Slice, ...]
    archive: Path | None = None
    placeless: int = 0
    unread: int = 0

    @property
    def number(self) -> int | None:
        """The SeriesNumber, where there is one."""
        return self.slices[0].number

    @property
    def folder(self) -> tuple[str, ...]:
        """Parts of the innermost folder that holds all slices, below the path that was searched."""
        shared: list[str] = []
        for parts in zip(*(one.folder for one in self.slices), strict=False):
            if len(set(parts)) > 1:
                break
            shared.append(parts[0])
        return tuple(shared)

    @contextmanager
    def opener(self) -> Iterator[Callable[[Slice], BinaryIO]]:
        """A function that opens the file of a slice."""
        if self.archive is None:
            yield lambda one: Path(one.file).open("rb")  # noqa: SIM115 (closed by who asked)
        else:
            with _unzipped(self.archive) as archive:
                yield lambda one: cast(BinaryIO, archive.open(str(one.file)))


@contextmanager
def _unzipped(path: Path) -> Iterator[zipfile.ZipFile]:
    """Raises BadInput where the .zip or a file in it cannot be unpacked."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except PermissionError as error:
        raise BadInput(f"'{path.name}' cannot be read ({error.strerror}); check its rights") from error
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, OSError, EOFError) as error:
        raise BadInput(
            f"'{path.name}' is no .zip that can be read ({type(error).__name__}: damaged or encrypted); pack it again"
        ) from error


def find_series(path: Path) -> list[Series]:
    """Every CT series in a folder (with its subfolders) or a .zip, by folder and series number.

    Files of a folder that cannot be read are passed over and counted.

    Raises BadInput for a .zip that is damaged, encrypted, hostile (paths that
    lead out of it, or more data than a .zip of its size can hold).
    """
    archive = path if path.is_file() else None
    found = _in_zip(path) if archive else _in_folder(path)
    groups: list[list[Slice]] = []
    lost: list[Lost] = []
    for one in found:
        if isinstance(one, Lost):
            lost.append(one)
            continue
        home = next((group for group in groups if one.belongs_to(group[0])), None)
        if home is None:
            groups.append([one])
        else:
            home.append(one)
    series = [Series("", tuple(group), archive, *_lost_from(group, lost)) for group in groups]
    series.sort(key=lambda s: (s.folder, s.number is None, s.number or 0, s.slices[0].uid))
    return [replace(s, name=_shown(s, place)) for place, s in enumerate(series, start=1)]


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """pydicom remarks on every odd value of a real file, and shows it; what matters is checked here.

    It warns and logs. The level silences loggers that are still to be made
    below "pydicom" as well, `disabled` those that have a level of their own.
    """
    top = logging.getLogger("pydicom")
    known = [logging.getLogger(name) for name in list(logging.root.manager.loggerDict) if name.startswith("pydicom.")]
    before = [(one, one.disabled) for one in (top, *known)]
    level = top.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        top.setLevel(logging.CRITICAL + 1)
        for one, _ in before:
            one.disabled = True
        try:
            yield
        finally:
            top.setLevel(level)
            for one, disabled in before:
                one.disabled = disabled


def _lost_from(slices: list[Slice], lost: list[Lost]) -> tuple[int, int]:
    """How many files of the slices' series have no place, and how many in their folders are of no known series."""
    uid, folders = slices[0].uid, {one.folder for one in slices}
    placeless = [one for one in lost if one.uid == uid and (uid or one.folder in folders)]
    unknown = [one for one in lost if not one.uid and one.uid != uid and one.folder in folders]
    return len(placeless), len(unknown)


def _shown(series: Series, place: int) -> str:
    which = f"series {series.number}" if series.number is not None else f"series no. {place}"
    return f"DICOM {which} (CT, {len(series.slices)} slices)"


def _in_folder(root: Path) -> Iterator[Slice | Lost]:
    for folder, subfolders, names in os.walk(root):
        subfolders.sort()
        parts = Path(folder).relative_to(root).parts
        for path in (Path(folder) / name for name in sorted(names)):
            try:
                if not path.is_file():  # a pipe, a broken link
                    continue
                with path.open("rb") as file:
                    one = _entry(file, path, parts)
            except OSError:
                one = Lost(parts)
            if one is not None:
                yield one


def _in_zip(path: Path) -> Iterator[Slice | Lost]:
    with _unzipped(path) as archive:
        members = [m for m in archive.infolist() if not m.is_dir()]
        _require_harmless(members, path)
        for member in sorted(members, key=lambda m: m.filename):
            with archive.open(member) as file:
                parts = PurePosixPath(member.filename).parts[:-1]
                one = _entry(cast(BinaryIO, file), member.filename, parts)
            if one is not None:
                yield one


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


def _entry(file: BinaryIO, where: Path | str, parts: tuple[str, ...]) -> Slice | Lost | None:
    """None for what is certainly no CT slice."""
    from pydicom import dcmread

    start = file.read(132)
    marked = start[128:] == b"DICM"
    if not marked and start[:2] not in BARE_STARTS:
        return None
    file.seek(0)
    with quiet_pydicom():
        try:
            header = dcmread(file, stop_before_pixels=True, force=True, specific_tags=list(WANTED))
        except Exception:  # pydicom promises no types for what only looks like DICOM
            return Lost(parts) if marked else None
        try:
            if header.get("Modality") not in ("CT", "", None) or "LOCALIZER" in (header.get("ImageType") or ()):
                return None
            return _slice(header, where, parts)
        except Exception:  # nor for damaged values
            return Lost(parts, _text(header, "SeriesInstanceUID")) if _is_image(header) else None


def _slice(header: Any, file: Path | str, parts: tuple[str, ...]) -> Slice:
    """Raises whatever it may where the header does not say where the slice lies."""
    rows, columns = int(header.Rows), int(header.Columns)
    if min(rows, columns) < 1:
        raise ValueError("no pixels")
    return Slice(
        file=file,
        folder=parts,
        uid=str(header.get("SeriesInstanceUID") or ""),
        number=None if header.get("SeriesNumber") is None else int(header.SeriesNumber),
        rows=rows,
        columns=columns,
        pixel_spacing_mm=_numbers(header.PixelSpacing, 2),
        position_mm=_numbers(header.ImagePositionPatient, 3),
        orientation=_numbers(header.ImageOrientationPatient, 6),
        slope=_number(header.get("RescaleSlope"), 1.0),
        intercept=_number(header.get("RescaleIntercept"), 0.0),
        thickness_mm=_number(header.get("SliceThickness"), 0.0),
    )


def _is_image(header: Any) -> bool:
    # A cut header may end before Rows; a DICOMDIR or report has neither.
    return "Rows" in header or _text(header, "Modality") == "CT"


def _text(header: Any, tag: str) -> str:
    try:
        return str(header.get(tag) or "")
    except Exception:  # pydicom promises no types for damaged values
        return ""


def _numbers(value: Any, count: int) -> NDArray[np.float64]:
    numbers = np.array([float(v) for v in value])
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise ValueError("not the numbers of a position")
    return numbers


def _number(value: Any, otherwise: float) -> float:
    number = otherwise if value in (None, "") else float(value)
    if not math.isfinite(number):
        raise ValueError("not a finite number")
    return number
