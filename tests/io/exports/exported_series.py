"""A series of a ball taken obliquely, what may be marked on it, and who made the marks."""

from __future__ import annotations

import shutil
import subprocess
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from series_files import SeriesFiles

from hepar.io.exports.marked import Maker
from hepar.io.exports.source import Source, source_of
from hepar.io.series.diagnosis import Diagnosed, examine

SCAN = SeriesFiles(
    count=12, size=(30, 36), gap_mm=2.5, pixel_mm=(1.1, 1.3), row=(0.96, 0.28, 0.0), column=(-0.168, 0.576, 0.8)
)
MAKER = Maker("1.2.3", "small_model@abc", "5e" * 32, datetime(2026, 2, 3, 4, 5, 6))


def source_from(folder: Path, scan: SeriesFiles = SCAN) -> Source:
    one = diagnosed(folder, scan)
    return source_of(one.series, one.stack.slices)


def diagnosed(folder: Path, scan: SeriesFiles = SCAN) -> Diagnosed:
    """Of files whose names tell nothing of their order."""
    scan.write(folder, order=np.random.default_rng(2).permutation(len(scan.places)).tolist())
    (one,) = examine(folder).series
    return one


def numbers_on(shape: tuple[int, int, int]) -> np.ndarray:
    """A liver that is no box, with a lesion inside and one that reaches its edge."""
    z, y, x = np.mgrid[: shape[0], : shape[1], : shape[2]]
    numbers = (((z - 5.5) / 4) ** 2 + ((y - 14) / 9) ** 2 + ((x - 15) / 11) ** 2 <= 1).astype(np.uint8)
    numbers[((z - 5) / 1.6) ** 2 + ((y - 12) / 3) ** 2 + ((x - 12) / 4) ** 2 <= 1] = 2
    numbers[(numbers == 1) & (y >= 18) & (z >= 6)] = 3
    return numbers


def require_valid(path: Path) -> None:
    """No error by dicom3tools' validator; skips where it is not installed."""
    program = shutil.which("dciodvfy")
    if program is None:
        pytest.skip("dciodvfy (Debian package dicom3tools) is not installed")
    said = subprocess.run([program, "-new", str(path)], capture_output=True, text=True, check=False).stderr
    assert [line for line in said.splitlines() if line.startswith("Error")] == []
