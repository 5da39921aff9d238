"""A repaired copy of a data set in a new folder.

Originals are only read. Cases without a remedy are copied byte for byte,
those with one are written anew, and `repairs.json` says what was done to which
file, with the SHA-256 of every source. Sets of NIfTI files keep their names
and folders; sets of DICOM or MetaImage come out as a raw data set of nnU-Net,
which keeps apart what is labelled and what is not. Labels are never redrawn:
a remedy moves them, it does not change what they say.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepar.datasets.layout import Entry, meant
from hepar.doctor.findings import NO_AXES, Diagnosis, Finding, Remedy
from hepar.doctor.listing import Subject
from hepar.doctor.place import repaired_grid
from hepar.errors import BadInput
from hepar.files import replace_whole, write_json
from hepar.geometry import Geometry
from hepar.io import WRITTEN, write_volume

BESIDE = ("*.json", "*.csv", "*.txt")


@dataclass(frozen=True)
class RepairReport:
    """Names of cases: `repaired`, `copied` as they were, and `left_out` because a file of them cannot be read."""

    folder: Path
    repaired: tuple[str, ...]
    copied: tuple[str, ...]
    left_out: tuple[str, ...]


def repair(diagnosis: Diagnosis, out_folder: Path | str) -> RepairReport:
    """Write the repaired copy and its `repairs.json`.

    Raises BadInput when nothing can be repaired or the folder is in use, and
    OutputError when it cannot be written.
    """
    out = Path(out_folder)
    _require_free(diagnosis, out)
    kept = all(_is_nifti(path) for one in diagnosis.subjects for path in (one.entry.image, one.entry.label) if path)
    home = _Home(diagnosis.root, out, kept)
    rows = [_treat(subject, diagnosis.of(subject.id), home) for subject in diagnosis.subjects]
    if kept:
        for pattern in BESIDE:
            for path in sorted(diagnosis.root.glob(pattern)):
                home.copy(path, home.place_of(path))
    else:
        full = any(one.entry.labels == "full" for one in diagnosis.subjects)
        write_json(out / "dataset.json", _nnunet_facts(full, sum(row["status"] != "left out" for row in rows)))
    facts = {"made_by": "hepar doctor", "source": diagnosis.root.resolve().name, "layout": diagnosis.layout}
    write_json(out / "repairs.json", facts | {"cases": rows})
    names = {status: tuple(row["case"] for row in rows if row["status"] == status) for status in STATUSES}
    return RepairReport(out, names["repaired"], names["copied"], names["left out"])


STATUSES = ("repaired", "copied", "left out")


@dataclass(frozen=True)
class _Home:
    """Where files come from and go to; `kept`: names and folders stay as they are."""

    root: Path
    out: Path
    kept: bool

    def place_of(self, path: Path) -> Path:
        return self.out / path.relative_to(self.root)

    def image(self, entry: Entry) -> Path:
        assert entry.image
        return self.place_of(entry.image) if self.kept else self.out / "imagesTr" / f"{entry.id}_0000.nii.gz"

    def label(self, entry: Entry) -> Path:
        assert entry.label
        return self.place_of(entry.label) if self.kept else self.out / "labelsTr" / f"{entry.id}.nii.gz"

    def copy(self, source: Path, target: Path) -> None:
        with replace_whole(target) as growing:
            shutil.copyfile(source, growing)


def _require_free(diagnosis: Diagnosis, out: Path) -> None:
    if diagnosis.layout == "collection":
        raise BadInput("a folder of several data sets is not repaired as one; repair each data set on its own")
    if not diagnosis.repairable:
        raise BadInput("nothing that was found can be repaired without a person looking; nothing was written")
    root, target = diagnosis.root.resolve(), out.resolve()
    if target == root or root in target.parents or target in root.parents:
        raise BadInput(
            f"'{out.name}' lies within the data set or holds it; originals stay untouched: name a new folder"
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BadInput(f"'{out.name}' is not empty; name a new folder for the repaired copy")


def merged(findings: Sequence[Finding]) -> Remedy:
    """All remedies of a case as one."""
    whole = Remedy()
    for remedy in (finding.remedy for finding in findings if finding.remedy):
        whole = Remedy(
            grid=remedy.grid or whole.grid,
            turn=_both(whole.turn, remedy.turn),
            label_takes_grid=whole.label_takes_grid or remedy.label_takes_grid,
            label_to_image=whole.label_to_image or remedy.label_to_image,
            label_turn=_both(whole.label_turn, remedy.label_turn),
            add_hu=whole.add_hu + remedy.add_hu,
        )
    return whole


def _both(one: tuple[bool, bool, bool], other: tuple[bool, bool, bool]) -> tuple[bool, bool, bool]:
    return (one[0] or other[0], one[1] or other[1], one[2] or other[2])


def _treat(subject: Subject, findings: Sequence[Finding], home: _Home) -> dict[str, Any]:
    entry = subject.entry
    remaining = [_told(finding) for finding in findings if not finding.remedy and finding.severity != "note"]
    row = {"case": entry.id, "status": "left out", "done": [], "remaining": remaining, "sources": _sources(entry, home)}
    if any(finding.kind == "unreadable" for finding in findings):
        return row
    remedied = [finding for finding in findings if finding.remedy]
    try:
        _write_image(entry, merged(findings), home)
        _write_label(entry, merged(findings), home)
    except BadInput as error:  # what stands in the way is told; the rest of the set goes on
        return row | {"remaining": [*remaining, str(error)]}
    done = [finding.repair for finding in remedied]
    return row | {"status": "repaired" if remedied else "copied", "done": done}


def _write_image(entry: Entry, remedy: Remedy, home: _Home) -> None:
    if entry.image is None:
        return
    changed = remedy.grid is not None or remedy.turn != NO_AXES or remedy.add_hu
    if home.kept and not changed:
        home.copy(entry.image, home.image(entry))
        return
    stored = entry.read_image()
    grid = repaired_grid(stored.geometry, remedy)
    volume = replace(stored, geometry=grid).as_volume(entry.image.name)
    write_volume(volume.with_values(_moved(volume.values, remedy.add_hu)), home.image(entry))


def _moved(values: NDArray[Any], add_hu: int) -> NDArray[Any]:
    if not add_hu:
        return values
    whole = values.dtype == np.int16 and int(values.min()) + add_hu >= -32768 and int(values.max()) + add_hu <= 32767
    return np.asarray(values + np.int16(add_hu) if whole else values.astype(np.float32) + np.float32(add_hu))


def _write_label(entry: Entry, remedy: Remedy, home: _Home) -> None:
    if entry.label is None:
        return
    if home.kept and not _moves_label(remedy):
        home.copy(entry.label, home.label(entry))
        return
    # In its own layout a label keeps its own numbers; elsewhere they are 0, 1, 2.
    stored = entry.read_label() if home.kept else entry.read_classes()
    values, grid = _whole_numbers(meant(stored), entry.label.name), stored.geometry
    if _moves_label(remedy) and entry.image is not None:
        image = entry.read_image().geometry
        if image.shape != grid.shape and not remedy.label_to_image:
            raise BadInput(f"'{entry.label.name}' has other voxels than its image; get the pair again")
        if remedy.label_to_image:
            values = image.axial().undo(grid.axial().apply(values))
        values = np.flip(values, tuple(axis for axis in range(3) if remedy.label_turn[axis]))
        grid = repaired_grid(image, remedy)
    _write_numbers(values, grid, home.label(entry))


def _moves_label(remedy: Remedy) -> bool:
    return (
        remedy.grid is not None
        or remedy.turn != NO_AXES
        or remedy.label_turn != NO_AXES
        or remedy.label_takes_grid
        or remedy.label_to_image
    )


def _whole_numbers(values: NDArray[Any], name: str) -> NDArray[np.uint8]:
    whole = np.rint(values)
    if values.min() < 0 or values.max() > 255 or np.abs(values - whole).max() > 1e-3:
        raise BadInput(f"label file '{name}' holds other values than whole numbers from 0 to 255")
    return np.asarray(whole, np.uint8)


def _write_numbers(values: NDArray[np.uint8], grid: Geometry, path: Path) -> None:
    from hepar.io.nifti import write_voxels

    write_voxels(np.ascontiguousarray(values), grid, path)


def _sources(entry: Entry, home: _Home) -> list[dict[str, str]]:
    return [
        {"file": path.relative_to(home.root).as_posix(), "sha256": _sha256(path)}
        for path in (entry.image, entry.label)
        if path and path.exists()
    ]


def _sha256(path: Path) -> str:
    """Of a file; of a folder, over its files' contents in the order of their names."""
    digest = hashlib.sha256()
    for file in [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file()):
        with file.open("rb") as opened:
            while piece := opened.read(1 << 20):
                digest.update(piece)
    return digest.hexdigest()


def _nnunet_facts(full: bool, count: int) -> dict[str, Any]:
    labels = {"background": 0, "liver": 1} | ({"tumour": 2} if full else {})
    return {"channel_names": {"0": "CT"}, "labels": labels, "numTraining": count, "file_ending": ".nii.gz"}


def _told(finding: Finding) -> str:
    return f"{finding.message} ({finding.detail})" if finding.detail else finding.message


def _is_nifti(path: Path) -> bool:
    return path.name.lower().endswith(WRITTEN)
