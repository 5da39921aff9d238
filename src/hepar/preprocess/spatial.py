"""In-plane resampling between a scan's grid and a network's, as separable linear maps.

Every map is a matrix: rows are output pixels, columns input pixels. Pixel
centres stand at half pixels, so a map and its way back have no shift.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepar.errors import BadInput
from hepar.geometry import Geometry

Floats = NDArray[np.float32]
Size = tuple[int, int]


def linear_weights(n_in: int, n_out: int, scale: float) -> Floats:
    """The (n_out, n_in) float32 matrix of linear resampling; `scale` is input pixels per output pixel.

    A triangle of half-width max(1, scale) around each output centre, so that
    shrinking averages instead of skipping (no aliasing). Rows sum to 1; past
    the edge the border pixel is repeated.
    """
    centres = np.clip((np.arange(n_out) + 0.5) * scale - 0.5, -0.5, n_in - 0.5)
    distance = np.abs(centres[:, None] - np.arange(n_in))
    weights = np.maximum(0.0, 1.0 - distance / max(1.0, scale))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)


@dataclass(frozen=True)
class InPlaneGrid:
    """The in-plane grid a network works on.

    Give exactly one of `pixel_mm` (every scan is resampled to square pixels of
    that size) and `matrix` (every slice is resized to matrix x matrix). The
    result is padded with 0 at bottom and right to a `multiple` of pixels.
    Raises BadInput on anything else.
    """

    pixel_mm: float | None = None
    matrix: int | None = None
    multiple: int = 32

    def __post_init__(self) -> None:
        if (self.pixel_mm is None) == (self.matrix is None):
            raise BadInput(f"in-plane grid has pixel_mm={self.pixel_mm}, matrix={self.matrix}; give exactly one")
        if self.pixel_mm is not None and not (math.isfinite(self.pixel_mm) and self.pixel_mm > 0):
            raise BadInput(f"pixel_mm is {self.pixel_mm}; expected a size above 0 mm")
        if (self.matrix is not None and self.matrix < 1) or self.multiple < 1:
            raise BadInput(f"matrix is {self.matrix} and multiple {self.multiple}; both must be at least 1")

    def plan(self, geometry: Geometry) -> InPlanePlan:
        """The maps for scans on `geometry`, whose slices lie along axis 0."""
        scan = geometry.shape[1:]
        if self.matrix is not None:
            size = (self.matrix, self.matrix)
            scales = (scan[0] / self.matrix, scan[1] / self.matrix)
        else:
            pixel_mm = float(self.pixel_mm or 0)
            _, y_mm, x_mm = geometry.spacing_mm
            scales = (_whole(pixel_mm / y_mm), _whole(pixel_mm / x_mm))
            size = (max(1, round(scan[0] / scales[0])), max(1, round(scan[1] / scales[1])))
        return InPlanePlan(scan, size, scales, self.multiple)


@dataclass(frozen=True)
class InPlanePlan:
    """Maps between slices of `scan_size` (y, x) and a network's of `size` (h, w) before padding.

    `scales` are scan pixels per network pixel along y and x.
    """

    scan_size: Size
    size: Size
    scales: tuple[float, float]
    multiple: int

    @property
    def padded_size(self) -> Size:
        """(h, w) as the network sees it: `size` rounded up to the multiple."""
        h, w = (-(-n // self.multiple) * self.multiple for n in self.size)
        return h, w

    def to_net(self, values: NDArray[Any]) -> Floats:
        """Slices (n, y, x) to float32 (n, h, w), resampled and padded with 0."""
        return self._padded(self._shrunk(values.astype(np.float32, copy=False)))

    def to_scan(self, logits: NDArray[Any]) -> Floats:
        """Network output (n, c, h, w) to float32 (n, c, y, x) on the scan's own pixels."""
        inner = logits[..., : self.size[0], : self.size[1]].astype(np.float32, copy=False)
        return _resampled(inner, self.scan_size, (1 / self.scales[0], 1 / self.scales[1]))

    def labels_to_net(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Labels (n, y, x) to uint8 (n, h, w): the label with the largest share of each pixel.

        At a tie the higher label wins, so that small tumours do not vanish first.
        """
        best = np.zeros((labels.shape[0], *self.size), np.uint8)
        best_share = np.zeros(best.shape, np.float32)
        for value in range(int(labels.max(initial=0)) + 1):
            share = self._shrunk((labels == value).astype(np.float32))
            # 1e-5: equal shares differ by the rounding of float32 sums.
            wins = share >= best_share - 1e-5
            best[wins], best_share[wins] = value, share[wins]
        return np.asarray(self._padded(best))

    def _shrunk(self, values: Floats) -> Floats:
        return _resampled(values, self.size, self.scales)

    def _padded(self, values: NDArray[Any]) -> NDArray[Any]:
        h, w = self.padded_size
        return np.pad(values, ((0, 0), (0, h - self.size[0]), (0, w - self.size[1])))


def _resampled(values: Floats, size: Size, scales: tuple[float, float]) -> Floats:
    """(..., y, x) to (..., *size); an axis that keeps its pixels is not touched."""
    for axis, (n_out, scale) in enumerate(zip(size, scales, strict=True), start=-2):
        n_in = values.shape[axis]
        if n_in == n_out and scale == 1:
            continue
        weights = linear_weights(n_in, n_out, scale)
        values = np.matmul(weights, values) if axis == -2 else np.matmul(values, weights.T)
    return values


def _whole(scale: float) -> float:
    # Header spacings are float32: 0.7 mm asked of a 0.7 mm scan must mean "do not touch".
    return 1.0 if abs(scale - 1) < 1e-5 else scale
