"""Which CT series a folder or .zip holds, from the headers of its files.

Files that are no CT slices (text, DICOMDIR, reports, scouts, other
modalities) are passed over. Nothing of a patient is kept but where slices
lie: no names, no ids, no descriptions.
"""

from __future__ import annotations

import math
import os
import warnings
import zipfile
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


@dataclass(frozen=True, eq=False)
class Series:
    """CT slices of one series, in no order; `name` is safe to show and never the patient's."""

    name: str
    slices: tuple[Slice, ...]
    archive: Path | None = None

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
            with zipfile.ZipFile(self.archive) as archive:
                yield lambda one: cast(BinaryIO, archive.open(str(one.file)))


def find_series(path: Path) -> list[Series]:
    """Every CT series in a folder (with its subfolders) or a .zip, by folder and series number.

    Raises BadInput for a .zip that is damaged, encrypted, hostile (paths that
    lead out of it, or more data than a .zip of its size can hold).
    """
    archive = path if path.is_file() else None
    found = _in_zip(path) if archive else _in_folder(path)
    groups: list[list[Slice]] = []
    for one in found:
        home = next((group for group in groups if one.belongs_to(group[0])), None)
        if home is None:
            groups.append([one])
        else:
            home.append(one)
    series = [Series("", tuple(group), archive) for group in groups]
    series.sort(key=lambda s: (s.folder, s.number is None, s.number or 0))
    return [replace(s, name=_shown(s, place)) for place, s in enumerate(series, start=1)]


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """pydicom remarks on every odd value of a real file; what matters is checked here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def _shown(series: Series, place: int) -> str:
    which = f"series {series.number}" if series.number is not None else f"series no. {place}"
    return f"DICOM {which} (CT, {len(series.slices)} slices)"


def _in_folder(root: Path) -> Iterator[Slice]:
    for folder, subfolders, names in os.walk(root):
        subfolders.sort()
        parts = Path(folder).relative_to(root).parts
        for path in (Path(folder) / name for name in sorted(names)):
            if not path.is_file():  # a pipe, a broken link
                continue
            try:
                with path.open("rb") as file:
                    one = _ct_slice(_header(file), path, parts)
            except OSError as error:
                raise BadInput(f"'{path.name}' cannot be read ({error.strerror}); check its rights") from error
            if one is not None:
                yield one


def _in_zip(path: Path) -> Iterator[Slice]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.infolist() if not m.is_dir()]
            _require_harmless(members, path)
            for member in sorted(members, key=lambda m: m.filename):
                with archive.open(member) as file:
                    parts = PurePosixPath(member.filename).parts[:-1]
                    one = _ct_slice(_header(cast(BinaryIO, file)), member.filename, parts)
                if one is not None:
                    yield one
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError) as error:
        raise BadInput(
            f"'{path.name}' is no .zip that can be read ({type(error).__name__}: damaged or encrypted); pack it again"
        ) from error


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


def _header(file: BinaryIO) -> Any:
    """The tags we use, or None when the file is no DICOM."""
    from pydicom import dcmread

    start = file.read(132)
    if start[128:] != b"DICM" and start[:2] not in BARE_STARTS:
        return None
    file.seek(0)
    try:
        with quiet_pydicom():
            return dcmread(file, stop_before_pixels=True, force=True, specific_tags=list(WANTED))
    except Exception:  # pydicom promises no types for what only looks like DICOM
        return None


def _ct_slice(header: Any, file: Path | str, parts: tuple[str, ...]) -> Slice | None:
    """None for what is no CT slice with a place in the patient."""
    if header is None:
        return None
    try:
        with quiet_pydicom():
            if header.get("Modality") not in ("CT", "", None) or "LOCALIZER" in (header.get("ImageType") or ()):
                return None
            one = Slice(
                file=file,
                folder=parts,
                uid=str(header.get("SeriesInstanceUID") or ""),
                number=None if header.get("SeriesNumber") is None else int(header.SeriesNumber),
                rows=int(header.Rows),
                columns=int(header.Columns),
                pixel_spacing_mm=_numbers(header.PixelSpacing, 2),
                position_mm=_numbers(header.ImagePositionPatient, 3),
                orientation=_numbers(header.ImageOrientationPatient, 6),
                slope=_number(header.get("RescaleSlope"), 1.0),
                intercept=_number(header.get("RescaleIntercept"), 0.0),
                thickness_mm=_number(header.get("SliceThickness"), 0.0),
            )
    except (AttributeError, TypeError, ValueError, OverflowError):
        return None
    return one if one.rows > 0 and one.columns > 0 else None


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
