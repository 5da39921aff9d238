"""Tiles of a liver: where they lie, what they show, and tumours kept where one is detected (Bellver et al. 2017)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hepar.errors import BadInput
from hepar.inference.decision import Finding
from hepar.inference.segmenter import Predictor
from hepar.inference.staged import FoundLiver, StagedSegmenter
from hepar.preprocess.intensity import Step
from hepar.volume import LIVER, Volume

Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]
Corner = tuple[int, int]


@dataclass(frozen=True)
class Tiles:
    """Square tiles of `side` pixels on the box around the liver, `padding` wider on each side.

    A tile counts where more than `least_liver` of its pixels are liver; it is
    shown with `margin` pixels around. Raises BadInput.
    """

    side: int = 50
    margin: int = 15
    padding: int = 25
    least_liver: int = 625

    def __post_init__(self) -> None:
        if self.side < 1 or min(self.margin, self.padding, self.least_liver) < 0:
            raise BadInput(f"found {self}; expected tiles of 1 pixel or more, and nothing below 0")

    @property
    def shown(self) -> int:
        """Pixels a side of what is shown of a tile."""
        return self.side + 2 * self.margin

    def corners(self, liver: Mask) -> Iterator[tuple[int, list[Corner]]]:
        """Number of each slice of `liver` (z, y, x) with tiles that count, and the tiles' upper left pixels."""
        ys, xs = (np.flatnonzero(liver.any(axis=axes)) for axes in ((0, 2), (0, 1)))
        if not ys.size:
            return
        rows, columns = self._starts(ys, liver.shape[1]), self._starts(xs, liver.shape[2])
        for z in np.flatnonzero(liver.any(axis=(1, 2))).tolist():
            inside = [(y, x) for y in rows for x in columns if self._pixels(liver[z], (y, x)) > self.least_liver]
            if inside:
                yield z, inside

    def show(self, image: NDArray[np.generic], corner: Corner) -> NDArray[np.generic]:
        """What is shown of the tile at `corner` of an image (y, x); beyond the image is 0."""
        found = np.zeros((self.shown, self.shown), image.dtype)
        put, take = self._places(corner, image.shape)
        found[put] = image[take]
        return found

    def light(self, mask: Mask, corner: Corner) -> None:
        """Set the pixels that are shown of a tile."""
        mask[self._places(corner, mask.shape)[1]] = True

    def inner(self, image: NDArray[np.generic], corner: Corner) -> NDArray[np.generic]:
        """The tile itself, without its margin, as far as the image goes."""
        y, x = corner
        return image[max(0, y) : max(0, y + self.side), max(0, x) : max(0, x + self.side)]

    def _pixels(self, liver: Mask, corner: Corner) -> int:
        return int(np.count_nonzero(self.inner(liver, corner)))

    def _starts(self, at: NDArray[np.intp], size: int) -> list[int]:
        first, last = max(0, int(at[0]) - self.padding), min(size, int(at[-1]) + 1 + self.padding)
        return list(range(first, last, self.side))

    def _places(self, corner: Corner, shape: tuple[int, ...]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Where the image lands in what is shown, and which part of the image that is."""
        put, take = [], []
        for start, size in zip((n - self.margin for n in corner), shape, strict=True):
            low, high = max(0, start), min(size, start + self.shown)
            put.append(slice(low - start, max(low, high) - start))
            take.append(slice(low, max(low, high)))
        return (put[0], put[1]), (take[0], take[1])


@dataclass(frozen=True)
class Detector:
    """`predict` gives scores (batch, 1) of tiles shown to it, prepared by `prepare`; positive from `threshold` on."""

    predict: Predictor
    prepare: tuple[Step, ...]
    tiles: Tiles
    threshold: float = 0.33

    def lit(self, axial: Volume, liver: Mask) -> Mask:
        """Pixels that are shown of a positive tile; a slice at a time."""
        found = np.zeros(liver.shape, dtype=bool)
        score = -np.log(1 / self.threshold - 1)
        for z, corners in self.tiles.corners(liver):
            shown = np.stack([self.tiles.show(self.prepared(axial, z), corner) for corner in corners])
            scores = self.predict(shown[:, None].astype(np.float32))[:, 0]
            for corner, positive in zip(corners, scores > score, strict=True):
                if positive:
                    self.tiles.light(found[z], corner)
        return found

    def prepared(self, axial: Volume, z: int) -> Floats:
        """One slice (y, x) as the detector sees it."""
        return prepared_slice(axial, z, self.prepare)


def prepared_slice(axial: Volume, z: int, prepare: tuple[Step, ...]) -> Floats:
    """Slice `z` (y, x) of an axial scan after the steps."""
    part = axial.slab(z, z + 1)
    for step in prepare:
        part = step(part)
    return np.asarray(part.values[0], dtype=np.float32)


@dataclass(frozen=True, eq=False)
class DetectedSegmenter(StagedSegmenter):
    """Two stages, and tumours only where the detector sees one; what it does not see is liver."""

    detector: Detector | None = None

    def inside(self, axial: Volume, liver: FoundLiver) -> Finding:
        found = super().inside(axial, liver)
        if self.detector is None:
            return found
        lit = self.detector.lit(axial, liver.mask)
        labels = found.labels.labels.copy()
        labels[found.labels.tumour & ~lit] = LIVER
        probability = np.where(lit, found.tumour_probability, np.uint8(0))
        return Finding(found.labels.with_labels(labels), probability)
