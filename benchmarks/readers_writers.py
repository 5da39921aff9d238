"""Reading CTs and writing labels: hepar, nibabel and SimpleITK in turns, on the same files.

    python benchmarks/readers_writers.py -o docs/benchmarks/readers_writers

A synthetic scan of 512 x 512 x 300 as .nii.gz, .nii and .mha, and its labels.
Each program reads as its documentation says: nibabel `get_fdata` (float64) and
also the faster `dataobj`, SimpleITK `ReadImage`. Files lie in the page cache.
Every reader's numbers, and every written file read back, are compared voxel by
voxel; the run fails where they differ.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pairs import Timed, arguments, bars, in_turns, publish, require_equal, surroundings
from scans import scan

from hepar.io import read, read_labels, write, write_volume
from hepar.volume import LabelMap, Volume

# What hepar promises on two cores.
TARGETS = {"read .nii.gz": ("nibabel get_fdata", 2.5), "write labels .nii.gz": ("nibabel", 4.0)}


def main() -> None:
    order = arguments(__doc__ or "", rounds=7).parse_args()
    ct, labels = scan(12 if order.quick else 300, 128 if order.quick else 512)
    with tempfile.TemporaryDirectory() as scratch:
        timed = measured(ct, labels, Path(scratch), order.rounds)
    rows = [{"task": task} | row for task, one in timed.items() for row in one.rows("hepar")]
    result = {
        "what": "seconds to read a CT and to write its labels",
        "shape_zyx": ct.values.shape,
        **surroundings(order),
        "tasks": {task: one.as_json("hepar") for task, one in timed.items()},
        "targets_met": judged(timed),
    }
    shown = [row | {"at": f"{row['task']}: {row['program']}"} for row in rows]
    publish(order.out, result, rows, bars(shown, "at", "median_s", f"{len(ct.values)} slices"))


def measured(ct: Volume, labels: LabelMap, folder: Path, rounds: int) -> dict[str, Timed]:
    """Every task by every program; raises Disagreement where a program reads or writes other numbers."""
    for ending in (".nii.gz", ".nii"):
        write_volume(ct, folder / f"ct{ending}")
    _itk_write(ct.values, folder / "ct.mha")
    timed = {}
    for ending, readers in READERS.items():
        file = folder / f"ct{ending}"
        timed[f"read {ending}"] = one = in_turns({n: partial(r, file) for n, r in readers.items()}, rounds)
        for name, found in one.results.items():
            require_equal(ct.values, found, f"{name} reading {ending}")
    files = {name: folder / f"{name}_labels.nii.gz" for name in WRITERS}
    timed["write labels .nii.gz"] = in_turns({n: partial(w, labels, files[n]) for n, w in WRITERS.items()}, rounds)
    for name, file in files.items():
        require_equal(labels.labels, read_labels(file).labels, f"{name} writing labels")
    return timed


def judged(timed: dict[str, Timed]) -> dict[str, bool]:
    return {
        f"{task}: {least:g} times {peer}": timed[task].times_faster("hepar", peer)["median"] >= least
        for task, (peer, least) in TARGETS.items()
    }


def _hepar(file: Path) -> Any:
    return read(file).values


def _nibabel_float(file: Path) -> Any:
    import nibabel

    return nibabel.load(file).get_fdata().T


def _nibabel(file: Path) -> Any:
    import nibabel

    return np.asarray(nibabel.load(file).dataobj).T


def _itk(file: Path) -> Any:
    import SimpleITK as itk  # noqa: N813

    return itk.GetArrayFromImage(itk.ReadImage(file))


READERS: dict[str, dict[str, Callable[[Path], Any]]] = {
    ".nii.gz": {"hepar": _hepar, "nibabel get_fdata": _nibabel_float, "nibabel dataobj": _nibabel, "SimpleITK": _itk},
    ".nii": {"hepar": _hepar, "nibabel get_fdata": _nibabel_float, "nibabel dataobj": _nibabel, "SimpleITK": _itk},
    ".mha": {"hepar": _hepar, "SimpleITK": _itk},
}


def _nibabel_labels(labels: LabelMap, file: Path) -> None:
    import nibabel

    nibabel.save(nibabel.Nifti1Image(labels.labels.T, np.eye(4)), file)


def _itk_labels(labels: LabelMap, file: Path) -> None:
    _itk_write(labels.labels, file)


def _itk_write(values: Any, file: Path) -> None:
    import SimpleITK as itk  # noqa: N813

    itk.WriteImage(itk.GetImageFromArray(values), file, useCompression=file.suffix == ".gz")


WRITERS: dict[str, Callable[[LabelMap, Path], None]] = {
    "hepar": write,
    "nibabel": _nibabel_labels,
    "SimpleITK": _itk_labels,
}


if __name__ == "__main__":
    main()
