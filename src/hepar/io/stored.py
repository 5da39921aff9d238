"""Voxels as a file stores them, and the checks between a file and a Volume or LabelMap.

Every format hands over a `Stored`; what counts as a CT or as a label map is
decided here, once for all formats.
"""

from __future__ import annotations

import lzma
import math
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepar.errors import BadInput
from hepar.geometry import Geometry
from hepar.volume import TUMOUR, LabelMap, Volume

# A whole body of 2000 slices of 1024 x 1024 is half of this.
MOST_VOXELS = 4_000_000_000
# Deflate cannot shrink further: 258 bytes from 2 bits (RFC 1951).
MOST_DEFLATE = 1032
# What Python's zipfile raises for a damaged or encrypted archive, the decompressors' own errors among it.
ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    NotImplementedError,
    RuntimeError,
    EOFError,
    UnicodeDecodeError,
    OverflowError,
)
# A CT windowed to 8 bits has about 200 grey values; label maps rarely have more than this many labels.
MOST_LABELS = 32
# Micro-CT begins below, and no scanner spaces its slices further: a header outside names another unit.
SPACING_RANGE_MM = (0.05, 50.0)
INT16 = np.iinfo(np.int16)


@dataclass(frozen=True, eq=False)
class Stored:
    """Stored numbers `values` (z, y, x) of any real dtype; the meant ones are `values * slope + inter`.

    `notes` are what a report should repeat, without patient data.
    """

    values: NDArray[Any]
    geometry: Geometry
    slope: float = 1.0
    inter: float = 0.0
    notes: tuple[str, ...] = ()

    @property
    def unscaled(self) -> bool:
        return self.slope == 1 and self.inter == 0

    def as_volume(self, name: str) -> Volume:
        """A CT: int16 where that is exact for the file's integers, else float32.

        `name` is the file's, for messages. Raises BadInput for NaN or infinite
        voxels, for spacing that no CT has and for what looks like a label map.
        """
        require_body_spacing(name, self.geometry)
        values = self._int16_or_float32()
        _require_finite(values, name)
        if looks_like_labels(values):
            raise BadInput(
                f"'{name}' looks like a label map: up to {MOST_LABELS} different whole numbers, none below 0; "
                "expected a CT in Hounsfield units. Pass the scan; read label maps with `read_labels`"
            )
        return Volume(values, self.geometry, self.notes)

    def as_labels(self, name: str) -> LabelMap:
        """Labels 0, 1, 2 as uint8; whole numbers stored as floats are accepted.

        Raises BadInput for anything else, naming what was found.
        """
        require_body_spacing(name, self.geometry)
        labels = np.empty(self.values.shape, dtype=np.uint8)
        for z, stored in enumerate(self.values):
            meant = stored if self.unscaled else stored * self.slope + self.inter
            if meant.dtype.kind == "f":
                whole = np.rint(meant)
                # A slope kept as float32 turns 2 into 1.9999999.
                if not (np.abs(meant - whole) <= 1e-3).all():
                    raise BadInput(
                        f"label file '{name}' holds values that are not whole numbers; expected 0 background, "
                        "1 liver, 2 tumour. Pass the label map, not the scan or a probability map"
                    )
                meant = whole
            if meant.size and (meant.min() < 0 or meant.max() > TUMOUR):
                raise BadInput(
                    f"label file '{name}' holds values {np.unique(meant)[:10].tolist()} on slice {z}; expected "
                    "0 background, 1 liver, 2 tumour. Map other labels onto these first"
                )
            labels[z] = meant
        return LabelMap(labels, self.geometry)

    def _int16_or_float32(self) -> NDArray[Any]:
        if self.unscaled and self.values.dtype in (np.int16, np.float32):
            return self.values
        whole = self.values.dtype.kind in "iu" and self.slope.is_integer() and self.inter.is_integer()
        if whole and self._fits_int16():
            out = np.empty(self.values.shape, dtype=np.int16)
            for z, stored in enumerate(self.values):
                out[z] = stored if self.unscaled else stored.astype(np.int64) * int(self.slope) + int(self.inter)
            return out
        out = np.empty(self.values.shape, dtype=np.float32)
        # float64 beyond float32's range becomes infinite here and is reported as such by the finite check.
        with np.errstate(over="ignore", invalid="ignore"):
            for z, stored in enumerate(self.values):
                out[z] = stored.astype(np.float64) * self.slope + self.inter
        return out

    def _fits_int16(self) -> bool:
        ends = [int(end) * self.slope + self.inter for end in (self.values.min(), self.values.max())]
        return min(ends) >= INT16.min and max(ends) <= INT16.max


def require_plausible_size(
    name: str, shape: tuple[int, ...], itemsize: int, held_bytes: int, *, compressed: bool
) -> None:
    """Raises BadInput before memory is taken for voxels that a file of `held_bytes` cannot hold."""
    grid = " x ".join(str(n) for n in shape)
    if math.prod(shape) > MOST_VOXELS:
        raise BadInput(
            f"the header of '{name}' claims a grid of {grid} voxels; hepar reads up to {MOST_VOXELS:,} voxels. "
            "The header is damaged, or the scan needs cropping first"
        )
    claimed = math.prod(shape) * itemsize
    if claimed > held_bytes * (MOST_DEFLATE if compressed else 1):
        raise BadInput(
            f"the header of '{name}' claims a grid of {grid} voxels, {claimed:,} bytes, but the file has "
            f"{held_bytes:,} bytes for them; it is truncated or its header damaged. Copy or convert it again"
        )


def require_spacing(name: str, spacing_mm: NDArray[Any] | tuple[float, ...]) -> None:
    """Raises BadInput when a header's spacing has a zero, negative or non-finite entry."""
    if not all(math.isfinite(s) and s > 0 for s in spacing_mm):
        shown = tuple(round(float(s), 6) for s in spacing_mm)
        raise BadInput(
            f"the header of '{name}' gives a voxel spacing of {shown} mm; every spacing must be above 0. "
            "Repair the header or export the scan again"
        )


def require_body_spacing(name: str, geometry: Geometry) -> None:
    """Raises BadInput when voxels are smaller or larger than those of any CT of a body."""
    low, high = SPACING_RANGE_MM
    if not all(low <= s <= high for s in geometry.spacing_mm):
        shown = tuple(float(f"{s:.4g}") for s in geometry.spacing_mm)
        raise BadInput(
            f"the voxel spacing of '{name}' is {shown} mm (z, y, x); expected {low} to {high} mm. "
            "The header probably names a wrong unit; repair it or export the scan again"
        )


def looks_like_labels(values: NDArray[Any]) -> bool:
    """True for few different whole numbers from 0 to 255: labels, a mask, or nothing at all."""
    if values.size == 0 or values.min() < 0 or values.max() > 255:
        return False
    seen = np.zeros(256, dtype=bool)
    for part in values:
        whole = part.astype(np.uint8)
        if part.dtype.kind == "f" and (whole != part).any():
            return False
        seen[whole] = True
        if np.count_nonzero(seen) > MOST_LABELS:
            return False
    return True


def _require_finite(values: NDArray[Any], name: str) -> None:
    if values.dtype.kind != "f":
        return
    nans = sum(int(np.count_nonzero(np.isnan(part))) for part in values)
    infinite = sum(int(np.count_nonzero(np.isinf(part))) for part in values)
    if nans or infinite:
        raise BadInput(
            f"'{name}' has {nans} NaN and {infinite} infinite voxels of {values.size}; expected finite Hounsfield "
            "units. Replace them, for example by -1024 (air), or export the scan again"
        )


def byte_chunks(values: NDArray[Any], step: int = 1 << 24) -> Iterator[memoryview]:
    """A C-contiguous array's bytes in pieces, to read into or write from without a copy."""
    view = values.reshape(-1).view(np.uint8).data
    for start in range(0, len(view), step):
        yield view[start : start + step]
