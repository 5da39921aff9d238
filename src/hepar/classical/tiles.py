"""Square tiles of a slice: where they lie in an organ, what they show, and how their scores become pixels.

A corner is the (y, x) of a tile's first pixel in the slice; it may lie outside
of the slice, since an organ at its border is covered like any other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hepar.errors import BadInput

Mask = NDArray[np.bool_]
Bytes = NDArray[np.uint8]
Corners = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Tiles:
    """Tiles of `side` pixels, `stride` apart, that lie in the organ with a share of `least_inside` or more.

    Raises BadInput for a stride that leaves gaps, and a share outside of 0 to 1.
    """

    side: int = 32
    stride: int = 16
    least_inside: float = 0.5

    def __post_init__(self) -> None:
        if not (self.side >= 4 and 1 <= self.stride <= self.side and 0 < self.least_inside <= 1):
            raise BadInput(
                f"tiles of {self.side} pixels, {self.stride} apart, {self.least_inside} inside; expected 4 pixels or "
                "more, a stride from 1 to the side, and a share above 0 up to 1"
            )

    def corners(self, inside: Mask) -> Corners:
        """(n, 2) corners of the tiles that lie in `inside` (y, x) by row; none for an empty mask."""
        axes = [np.flatnonzero(inside.any(axis=1 - axis)) for axis in (0, 1)]
        if not axes[0].size:
            return np.zeros((0, 2), np.int64)
        starts = [np.arange(at[0] - self.side + self.stride, at[-1] + 1, self.stride) for at in axes]
        grid = np.stack(np.meshgrid(*starts, indexing="ij"), axis=-1).reshape(-1, 2)
        return np.asarray(grid[self.shares(inside, grid) >= self.least_inside])

    def shares(self, mask: Mask, corners: Corners) -> Floats:
        """(n,) share of each tile's pixels that lie in `mask` (y, x); what is beyond the slice does not."""
        sums = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), np.int64)
        sums[1:, 1:] = mask.cumsum(0).cumsum(1)
        (y, x), (below, right) = (
            np.clip(at, 0, [[n] for n in mask.shape]) for at in (corners.T, corners.T + self.side)
        )
        counts = sums[below, right] - sums[y, right] - sums[below, x] + sums[y, x]
        return np.asarray(counts / self.side**2)

    def cut(self, grey: Bytes, inside: Mask, corners: Corners) -> Bytes:
        """(n, side, side) of what a slice shows in its tiles; pixels beyond `inside` repeat the nearest one in it.

        So a tile at the organ's border shows the organ's texture, and no fat.
        """
        if not len(corners):
            return np.zeros((0, self.side, self.side), np.uint8)
        first, last = corners.min(axis=0), corners.max(axis=0) + self.side
        window = np.lib.stride_tricks.sliding_window_view(_filled(grey, inside, first, last), (self.side, self.side))
        y, x = (corners - first).T
        return np.ascontiguousarray(window[y, x])

    def spread(self, scores: Floats, corners: Corners, shape: tuple[int, int]) -> Floats:
        """(y, x) mean score of the tiles that cover each pixel, 0 where none does."""
        room = np.zeros((2, *(n + 2 * self.side for n in shape)))
        for (y, x), score in zip((corners + self.side).tolist(), scores.tolist(), strict=True):
            room[0, y : y + self.side, x : x + self.side] += score
            room[1, y : y + self.side, x : x + self.side] += 1
        sums, counts = room[:, self.side : -self.side, self.side : -self.side]
        return np.asarray(sums / np.maximum(counts, 1))


def _filled(grey: Bytes, inside: Mask, first: NDArray[np.int64], last: NDArray[np.int64]) -> Bytes:
    """The slice from `first` up to `last`, each pixel that is not in `inside` replaced by the nearest one that is."""
    from scipy.ndimage import distance_transform_edt

    # All of the organ must be seen, also where no tile reaches.
    low, high = np.minimum(first, 0), np.maximum(last, grey.shape)
    around = [(-int(a), int(b) - n) for a, b, n in zip(low, high, grey.shape, strict=True)]
    box = tuple(slice(int(a - b), int(c - b)) for a, b, c in zip(first, low, last, strict=True))
    nearest = distance_transform_edt(~np.pad(inside, around)[box], return_distances=False, return_indices=True)
    return np.asarray(np.pad(grey, around)[box][tuple(nearest)])
