"""One file's slice, the files that are none, and a series of slices."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from hepar.errors import BadInput
from hepar.io.stored import ZIP_ERRORS

# Slices of one series agree in their direction far better; a scout does not.
SAME_DIRECTION = 1e-3


@dataclass(frozen=True)
class Tags:
    """What a header says beside the place of its slice; empty or None where it says nothing.

    Nothing here is a patient's: of descriptions only words of a fixed list are
    kept. `moment_s` is when the slice was taken, `bolus_s` when contrast was
    first injected, both in seconds; `frames` is above 1 for multi-frame files.
    """

    study: str = ""
    frame: str = ""
    instance_uid: str = ""
    sop_class: str = ""
    syntax: str = ""
    modality: str = ""
    image_type: tuple[str, ...] = ()
    instance: int | None = None
    acquisition: int | None = None
    temporal: int | None = None
    moment_s: float | None = None
    bolus_s: float | None = None
    kvp: float | None = None
    kernel: str = ""
    rescaled: bool = True
    rescale_type: str = ""
    tilt_degrees: float | None = None
    spacing_between_mm: float | None = None
    images: int | None = None
    contrast_agent: bool | None = None
    patient_position: str = ""
    words: frozenset[str] = frozenset()


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
    tags: Tags = field(default_factory=Tags)

    def belongs_to(self, other: Slice) -> bool:
        """Same series, size and direction."""
        # Some de-identification leaves the series UID empty; then the folder says what belongs together.
        same_series = self.uid == other.uid and (self.uid != "" or self.folder == other.folder)
        same_size = (self.rows, self.columns) == (other.rows, other.columns)
        return same_series and same_size and np.allclose(self.orientation, other.orientation, atol=SAME_DIRECTION)


@dataclass(frozen=True)
class Lost:
    """A file that may be a CT slice without a place; `uid` is None where the file could not be read at all."""

    folder: tuple[str, ...]
    uid: str | None = None


@dataclass(frozen=True)
class Passed:
    """A file that is certainly no CT slice: `kind` says what it is instead, in words that are safe to show."""

    kind: str


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
            with unzipped(self.archive) as archive:
                yield lambda one: cast(BinaryIO, archive.open(str(one.file)))


@contextmanager
def unzipped(path: Path) -> Iterator[zipfile.ZipFile]:
    """Raises BadInput where the .zip or a file in it cannot be unpacked."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except PermissionError as error:
        raise BadInput(f"'{path.name}' cannot be read ({error.strerror}); check its rights") from error
    except (*ZIP_ERRORS, OSError) as error:
        raise BadInput(
            f"'{path.name}' is no .zip that can be read ({type(error).__name__}: damaged or encrypted); pack it again"
        ) from error
