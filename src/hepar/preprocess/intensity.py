"""The paper's preprocessing: histogram equalisation, then a median filter.

Elmenabawy et al. equalise and filter in MATLAB R2018a and name no window; the
clip to [-100, 400] HU before it is Christ et al.'s published one. `histeq` and
`medfilt2` are rebuilt here to the bit. From `Window` on, a Volume's values are
8-bit grey values (whole numbers 0..255 held in float32) instead of HU.

Slices lie along array axis 0: bring a scan to its axial view first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from hepar.errors import BadInput
from hepar.preprocess.stored import Row, rows_of, steps_of
from hepar.volume import Volume

Step = Callable[[Volume], Volume]
Bytes = NDArray[np.uint8]
Variant = Literal["matlab", "skimage", "cv2", "body"]
Border = Literal["zero", "nearest"]

GREYS = 256
# histeq's default number of flat output levels.
LEVELS = 64


@dataclass(frozen=True)
class Window:
    """Clip to [low_hu, high_hu] and scale to 0..255, rounded half up to whole numbers (float32).

    The default is Christ et al. 2017's window. Raises BadInput unless low < high, both finite.
    """

    low_hu: float = -100
    high_hu: float = 400

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low_hu) and math.isfinite(self.high_hu) and self.low_hu < self.high_hu):
            raise BadInput(f"window is {self.low_hu} to {self.high_hu} HU; expected finite numbers, low below high")

    def __call__(self, ct: Volume) -> Volume:
        grey = np.empty(ct.values.shape, np.float32)
        width = np.float32(self.high_hu - self.low_hu)
        # Slice by slice, so that the arithmetic stays in the processor's cache.
        for hu, out in zip(ct.values, grey, strict=True):
            np.clip(hu, self.low_hu, self.high_hu, out=out, casting="unsafe", dtype=np.float32)
            np.subtract(out, np.float32(self.low_hu), out=out)
            # Multiply first: for whole HU the quotient then rounds exactly, halves too.
            np.multiply(out, np.float32(255), out=out)
            np.divide(out, width, out=out)
            np.floor(out + np.float32(0.5), out=out)
        return ct.with_values(grey)


@dataclass(frozen=True)
class EqualizeHistogram:
    """Histogram equalisation of every axial slice of 8-bit values.

    `matlab`: R2018a's `histeq` (the paper's). `skimage`: the plain cumulative
    distribution, as `exposure.equalize_hist`, rounded to 8 bit. `cv2`:
    `equalizeHist`. `body`: `matlab`, but counting only the slice's largest
    connected region above the window's low end; an ablation, since air is
    about half of a slice.

    Raises BadInput when the values are not whole numbers 0..255.
    """

    variant: Variant = "matlab"

    def __post_init__(self) -> None:
        if self.variant not in get_args(Variant):
            raise BadInput(f"equalisation variant is {self.variant!r}; expected one of {', '.join(get_args(Variant))}")

    def __call__(self, ct: Volume) -> Volume:
        out = np.empty(ct.values.shape, np.float32)
        for source, target in zip(ct.values, out, strict=True):
            grey = _bytes_of(source)
            if grey is None:
                raise BadInput("histogram equalisation needs whole numbers 0 to 255; put a Window step before it")
            target[...] = np.take(self.table(grey), grey)
        return ct.with_values(out)

    def table(self, grey: Bytes) -> Bytes:
        """The grey value, 0..255, that takes the place of each of 256, for one uint8 slice."""
        if self.variant == "body":
            counted = grey[_largest_region(grey > 0)]
            # Without a body there is nothing to equalise: keep the slice.
            return _matlab_table(_histogram(counted)) if counted.size else np.arange(GREYS, dtype=np.uint8)
        tables = {"matlab": _matlab_table, "skimage": _skimage_table, "cv2": _cv2_table}
        return tables[self.variant](_histogram(grey))


@dataclass(frozen=True)
class MedianInPlane:
    """Median of a `size` x `size` window in every axial slice; MATLAB's `medfilt2`.

    `border` "zero" pads with 0, as medfilt2 does (so a slice's corners always
    become 0 at size 3); "nearest" repeats the edge, as OpenCV and Pillow do.
    Raises BadInput unless the size is odd and at least 1.
    """

    size: int = 3
    border: Border = "zero"

    def __post_init__(self) -> None:
        if not isinstance(self.size, int) or self.size < 1 or self.size % 2 == 0:
            raise BadInput(f"median size is {self.size!r}; expected an odd whole number such as 3")
        if self.border not in get_args(Border):
            raise BadInput(f"median border is {self.border!r}; expected one of {', '.join(get_args(Border))}")

    def __call__(self, ct: Volume) -> Volume:
        out = np.empty_like(ct.values)
        for source, target in zip(ct.values, out, strict=True):
            grey = _bytes_of(source)
            target[...] = self._slice(source if grey is None else grey)
        return ct.with_values(out)

    def _slice(self, values: NDArray[Any]) -> NDArray[Any]:
        if self.size == 3:
            mode: Any = "constant" if self.border == "zero" else "edge"
            return _median_of_nine(np.pad(values, 1, mode=mode))
        from scipy.ndimage import median_filter

        mode = "constant" if self.border == "zero" else "nearest"
        return np.asarray(median_filter(values, self.size, mode=mode, cval=0))


PAPER: tuple[Step, ...] = (Window(), EqualizeHistogram(), MedianInPlane())
WITHOUT: tuple[Step, ...] = (Window(),)

STEPS: dict[str, type] = {cls.__name__: cls for cls in (Window, EqualizeHistogram, MedianInPlane)}


def steps_to_json(steps: Iterable[Step]) -> list[Row]:
    """Steps as JSON rows {"step": name, settings...}. Raises BadInput for a step that hepar does not ship."""
    return rows_of(steps, STEPS)


def steps_from_json(rows: Any) -> tuple[Step, ...]:
    """The steps that `steps_to_json` wrote. Raises BadModel on an unknown step or setting."""
    return steps_of(rows, STEPS)


def _bytes_of(values: NDArray[Any]) -> Bytes | None:
    """The same numbers as uint8, or None when uint8 cannot hold them."""
    if values.min() < 0 or values.max() > 255:
        return None
    grey = values.astype(np.uint8)
    return grey if np.array_equal(grey, values) else None


def _histogram(grey: Bytes) -> NDArray[np.int64]:
    return np.bincount(grey.ravel(), minlength=GREYS).astype(np.int64)


def _matlab_table(counts: NDArray[np.int64]) -> Bytes:
    """R2018a histeq in whole numbers.

    MATLAB takes, for each grey k, the first of 64 levels j whose error
    (j+1)N/64 - C_k + tol_k is least among those not below -N sqrt(eps), where
    tol_k is half of k's own count (0 at both ends). That is the smallest j
    with 64 C_k - 64 tol_k <= (j+1) N; both sides are multiples of 32 or N, so
    the sqrt(eps) cannot matter below 2^25 pixels.
    """
    pixels = int(counts.sum())
    own = counts.copy()
    own[[0, -1]] = 0
    reached = 64 * np.cumsum(counts) - 32 * own
    level = np.maximum(-(-reached // pixels) - 1, 0)
    top = LEVELS - 1
    return np.asarray((2 * 255 * level + top) // (2 * top), dtype=np.uint8)


def _skimage_table(counts: NDArray[np.int64]) -> Bytes:
    pixels = int(counts.sum())
    return np.asarray((2 * 255 * np.cumsum(counts) + pixels) // (2 * pixels), dtype=np.uint8)


def _cv2_table(counts: NDArray[np.int64]) -> Bytes:
    first = int(np.flatnonzero(counts)[0])
    rest = int(counts.sum() - counts[first])
    if rest == 0:
        return np.arange(GREYS, dtype=np.uint8)
    above = np.cumsum(counts) - counts[first]
    # OpenCV multiplies in float32 and rounds half to even.
    scaled = np.maximum(above, 0).astype(np.float32) * np.float32(255.0 / rest)
    return np.asarray(np.rint(scaled), dtype=np.uint8)


def _largest_region(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    from scipy.ndimage import label

    regions, count = label(mask)
    if count <= 1:
        return mask
    sizes = np.bincount(regions.ravel())
    sizes[0] = 0
    return np.asarray(regions == sizes.argmax())


def _median_of_nine(padded: NDArray[Any]) -> NDArray[Any]:
    """The 3 x 3 median of the inner pixels: sort each column of three, then the middle of
    (largest low, middle of the mids, smallest high). Whole-array min and max, any number type."""
    low, mid, high = _sorted3(padded[:-2], padded[1:-1], padded[2:])
    largest_low = np.maximum(np.maximum(low[:, :-2], low[:, 1:-1]), low[:, 2:])
    smallest_high = np.minimum(np.minimum(high[:, :-2], high[:, 1:-1]), high[:, 2:])
    middle_mid = _middle(mid[:, :-2], mid[:, 1:-1], mid[:, 2:])
    return _middle(largest_low, middle_mid, smallest_high)


def _sorted3(a: NDArray[Any], b: NDArray[Any], c: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    small, large = np.minimum(a, b), np.maximum(a, b)
    rest = np.minimum(large, c)
    return np.minimum(small, rest), np.maximum(small, rest), np.maximum(large, c)


def _middle(a: NDArray[Any], b: NDArray[Any], c: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(np.maximum(np.minimum(a, b), np.minimum(np.maximum(a, b), c)))
