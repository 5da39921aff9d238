"""Couinaud segments of `lits512`: pictures in couinaud/, on the pixels of the slices, 1 to 8 inside the liver.

A slice without a picture shows no liver. Where its label shows one all the
same (the lower part of LiTS 39), nobody drew the segments: they are unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hepar.cases import Case
from hepar.datasets import lits512
from hepar.datasets.slice_folder import read_manifest
from hepar.errors import BadInput
from hepar.metrics.couinaud import SegmentMap


@dataclass(frozen=True, eq=False)
class SegmentTruth:
    """Reference segments, and which slices (z,) of the scan they are known for."""

    segments: SegmentMap
    known: NDArray[np.bool_]


@dataclass(frozen=True)
class SegmentCase:
    """A scan whose Couinaud segments are drawn; they are read when asked for."""

    case: Case
    read_segments: Callable[[], SegmentTruth]


def segment_cases(root: Path) -> list[SegmentCase]:
    """One case a scan. Raises BadInput where the folder is no `lits512` with `couinaud/` in it."""
    if not (lits512.recognises(root) and (root / "couinaud").is_dir()):
        raise BadInput(f"{root.name} holds no Couinaud segments; expected manifest.csv, scans.csv and couinaud/*.png")
    names: dict[str, list[str]] = {}
    # In the order of a case's slices: see `slice_folder.cases_of_rows`.
    for row in sorted(read_manifest(root, ".webp"), key=lambda r: (r.patient, r.index or 0)):
        names.setdefault(row.patient, []).append(row.image.stem)
    return [SegmentCase(case, partial(_read, root, names[case.patient], case)) for case in lits512.cases(root)]


def _read(root: Path, names: Sequence[str], case: Case) -> SegmentTruth:
    truth = case.truth
    segments = np.zeros(truth.labels.shape, np.uint8)
    known = np.asarray(~truth.liver.any(axis=(1, 2)))
    for z, name in enumerate(names):
        path = root / "couinaud" / f"{name}.png"
        if path.is_file():
            segments[z], known[z] = _picture(path, truth.labels.shape[1:]), True
    return SegmentTruth(SegmentMap(segments, truth.geometry), known)


def _picture(path: Path, size: tuple[int, ...]) -> NDArray[np.uint8]:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("L"))
    except (OSError, UnidentifiedImageError) as error:
        raise BadInput(f"{path.name} is not a readable picture ({type(error).__name__}); fetch it again") from error
    if pixels.shape != size:
        raise BadInput(
            f"segments in {path.name} have {pixels.shape} pixels, their slice {size}; bring them to one size"
        )
    return pixels
