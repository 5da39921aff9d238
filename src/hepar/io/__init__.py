"""Files to Volume and LabelMap, and back.

    ct = read("ct.nii.gz")              # or a .mha, .nrrd, DICOM folder or .zip
    truth = read_labels("label.nii.gz")
    write(labels, "found.nii.gz")       # lies exactly on the scan in any viewer
    for scan in find_scans("study"):    # what a path holds, read when asked
        scan.read()

A format is one file with `read_stored(path) -> Stored` and one line in
`FORMATS`. Libraries are imported when a format is first used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np
from numpy.typing import NDArray

from hepar.errors import BadInput
from hepar.geometry import Geometry
from hepar.volume import LabelMap, Volume

if TYPE_CHECKING:
    from hepar.io.series.diagnosis import Diagnosed
    from hepar.io.series.reading import SeriesReading
    from hepar.io.stored import Stored

__all__ = ["FORMATS", "DicomScan", "Scan", "find_scans", "read", "read_labels", "read_numbers", "write", "write_volume"]

# Module of hepar.io: the suffixes it reads.
FORMATS = {
    "nifti": (".nii", ".nii.gz"),
    "itk": (".mha", ".mhd", ".nrrd", ".nhdr"),
}
WRITTEN = (".nii", ".nii.gz")


@dataclass(frozen=True)
class Scan:
    """One scan that a path holds. `id` names it among the others, `name` for people, `read` reads it.

    Both come from the path as typed, the files in that folder and series
    numbers; never from folders further inside, which often carry a patient's name.
    """

    id: str
    read: Callable[[], Volume]
    name: str
    dicom: DicomScan | None = None


@dataclass(frozen=True, eq=False)
class DicomScan:
    """The series behind a scan, for results that go back onto its slices; `why` says how it was picked."""

    series: Diagnosed
    why: str

    def reading(self) -> SeriesReading:
        """The volume that the scan's `read` gives, with the way back to the slices."""
        from hepar.io.series.reading import read_series

        found = read_series(self.series)
        notes = (self.why, *found.volume.notes) if self.why else found.volume.notes
        return replace(found, volume=replace(found.volume, notes=notes))

    def volume(self) -> Volume:
        return self.reading().volume


def read(path: str | Path) -> Volume:
    """The CT at `path`: a volume file, or a folder or .zip that holds one scan.

    int16 where the file's Hounsfield units are whole, else float32; array axes
    as the file has them. Of several series of one DICOM study the portal-venous
    axial one is read; it and whatever was repaired are told by `notes`.
    Raises BadInput for no scan, several, or a bad one.
    """
    scans = find_scans(path)
    if len(scans) > 1:
        raise BadInput(
            f"found {len(scans)} scans in '{Path(path).name}': {', '.join(s.name for s in scans)}; expected one. "
            "Pass one of them, or go through `find_scans`"
        )
    return scans[0].read()


def read_labels(path: str | Path) -> LabelMap:
    """The label map in a volume file, 0 background, 1 liver, 2 tumour; whole numbers kept as floats are fine.

    Raises BadInput for other values and bad files.
    """
    path = Path(path)
    return _stored(path).as_labels(path.name)


def read_numbers(path: str | Path) -> tuple[NDArray[np.float32], Geometry]:
    """Any real numbers in a volume file, such as probabilities: float32 (z, y, x) and their grid.

    Raises BadInput for numbers that are not finite and for bad files.
    """
    path = Path(path)
    stored = _stored(path)
    values = np.asarray(stored.values * np.float32(stored.slope) + np.float32(stored.inter), np.float32)
    if not np.isfinite(values).all():
        raise BadInput(f"'{path.name}' holds NaN or infinite numbers; expected finite ones")
    return values, stored.geometry


def write(labels: LabelMap, path: str | Path) -> None:
    """Write labels as uint8 .nii or .nii.gz, whole or not at all; parent folders are made.

    Raises BadInput for another suffix, OutputError where it cannot be written.
    """
    from hepar.io.nifti import write_voxels

    write_voxels(labels.labels, labels.geometry, _nifti(path))


def write_volume(volume: Volume, path: str | Path) -> None:
    """Write a CT as int16 or float32 .nii or .nii.gz, as `write` does labels."""
    from hepar.io.nifti import write_voxels

    write_voxels(volume.values, volume.geometry, _nifti(path))


def find_scans(path: str | Path, *, every: bool = False) -> list[Scan]:
    """Every CT at `path`, never empty; voxels are read when a scan's `read` is called.

    - A volume file is one scan, with the file's stem as its id.
    - A .zip holds DICOM series, in all its folders. Of the series of one study
      (StudyInstanceUID, else frame of reference) the one to segment is picked,
      and a note of its volume says why; `every` gives all. One scan has the
      .zip's stem as its id; of several, each has `STEM_seriesNUMBER`, and
      where a number is missing or shared a running number follows
      (`STEM_series3_2`, `STEM_series_1`).
    - A folder holds DICOM series in all its subfolders, with ids as above from
      the folder's name; then, by name, its volume files and its .zip files.
      Volume files and .zip files in subfolders are not looked for.

    In a folder, a volume file or .zip that is damaged or may not be read is a
    scan whose `read` raises BadInput, so that the others can go on; a .zip
    without CT is passed over. So are files of a DICOM folder that may not be
    read; a note of the volume counts those beside its slices. Label maps in a
    folder are not told apart by their names: `read` refuses them.

    Raises BadInput where nothing is found, and for a damaged .zip given as `path`.
    """
    path = Path(path)
    try:
        scans, passed = _scans_at(path, every)
    except OSError as error:
        raise BadInput(f"'{path.name}' cannot be read ({error.strerror}); check its rights") from error
    if not scans:
        beside = ", ".join(f"{count} {kind}" for kind, count in passed.items())
        raise BadInput(
            f"no CT found in '{path.name}'; expected DICOM CT slices or {_suffixes()} files that you may read"
            f"{f'. Passed over: {beside}' if beside else ''}"
        )
    return _with_unique_ids(scans)


def _scans_at(path: Path, every: bool) -> tuple[list[Scan], dict[str, int]]:
    """Scans, and how many DICOM and other files were passed over on the way to them."""
    if not path.exists():
        raise BadInput(f"there is no file or folder '{path.name}'; check the path")
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))
        within = [_zip_scans(p, every) if _is_zip(p) else [_file_scan(p)] for p in files if _is_zip(p) or _format(p)]
        scans, passed = _series_scans(path, every)
        return scans + [scan for scans in within for scan in scans], passed
    if _is_zip(path):
        return _series_scans(path, every)
    if _format(path):
        return [_file_scan(path)], {}
    raise _unknown(path)


def _file_scan(path: Path) -> Scan:
    return Scan(_stem(path), partial(_read_file, path), path.name)


def _read_file(path: Path) -> Volume:
    return _stored(path).as_volume(path.name)


def _stored(path: Path) -> Stored:
    if not path.is_file():
        raise BadInput(f"there is no file '{path.name}'; check the path")
    name = _format(path)
    if name is None:
        raise _unknown(path)
    try:
        found: Stored = import_module(f"hepar.io.{name}").read_stored(path)
    except MemoryError as error:
        raise BadInput(f"'{path.name}' needs more memory than there is; crop it or use a larger machine") from error
    return found


def _series_scans(path: Path, every: bool) -> tuple[list[Scan], dict[str, int]]:
    """One scan a study, or with `every` one a series; and what was passed over."""
    from hepar.io.series.diagnosis import examine
    from hepar.io.series.picker import by_study, choose

    found = examine(path)
    if every:
        picked = [(one, "") for one in found.series]
    else:
        choices = [choose(study) for study in by_study(found.series)]
        picked = [(choice.series, str(choice) if choice.others else "") for choice in choices]
    root = (_stem(path) if path.is_file() else path.resolve().name) or "scan"
    if len(picked) == 1:
        return [_series_scan(root, *picked[0])], found.passed
    numbers = [one.series.number for one, _ in picked]
    scans = []
    for place, (number, (one, why)) in enumerate(zip(numbers, picked, strict=True)):
        id = f"{root}_series{'' if number is None else number}"
        if number is None or numbers.count(number) > 1:
            id += f"_{numbers[: place + 1].count(number)}"
        scans.append(_series_scan(id, one, why))
    return scans, found.passed


def _zip_scans(path: Path, every: bool) -> list[Scan]:
    """Scans of a .zip beside others: one that fails when read where the .zip cannot be opened."""
    try:
        return [replace(scan, name=f"{path.name}: {scan.name}") for scan in _series_scans(path, every)[0]]
    except BadInput as error:
        return [Scan(_stem(path), partial(_refuse, str(error)), path.name)]


def _refuse(message: str) -> NoReturn:
    raise BadInput(message)


def _series_scan(id: str, one: Diagnosed, why: str) -> Scan:
    dicom = DicomScan(one, why)
    return Scan(id, dicom.volume, one.series.name, dicom)


def _with_unique_ids(scans: list[Scan]) -> list[Scan]:
    unique: dict[str, Scan] = {}
    for scan in scans:
        id, again = scan.id, 2
        while id in unique:
            id, again = f"{scan.id}_{again}", again + 1
        unique[id] = replace(scan, id=id)
    return list(unique.values())


def _is_zip(path: Path) -> bool:
    return path.suffix.lower() == ".zip"


def _format(path: Path) -> str | None:
    lower = path.name.lower()
    return next((name for name, suffixes in FORMATS.items() if lower.endswith(suffixes)), None)


def _stem(path: Path) -> str:
    known = [s for suffixes in FORMATS.values() for s in suffixes] + [".zip"]
    longest = max((s for s in known if path.name.lower().endswith(s)), key=len, default="")
    return path.name[: len(path.name) - len(longest)]


def _suffixes() -> str:
    return ", ".join(s for suffixes in FORMATS.values() for s in suffixes)


def _unknown(path: Path) -> BadInput:
    return BadInput(
        f"'{path.name}' is of a kind that hepar does not read; expected {_suffixes()}, or a folder or .zip of DICOM"
    )


def _nifti(path: str | Path) -> Path:
    path = Path(path)
    if not path.name.lower().endswith(WRITTEN):
        raise BadInput(f"'{path.name}' cannot be written; expected a name that ends in .nii or .nii.gz")
    return path
