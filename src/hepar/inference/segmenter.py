"""A whole volume through a slice network, slab by slab.

The grid changes in two places only: the array is turned to the axial view
(no interpolation, undone exactly), and each slab is resampled in plane to the
network's pixels and its logits back to the scan's, before the argmax. Steps
work on each slice by itself, so where a slab ends changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hepar.inference.neighbours import SINGLE_SLICES, Neighbours
from hepar.postprocess import Clean
from hepar.preprocess.intensity import Step
from hepar.preprocess.spatial import InPlaneGrid, InPlanePlan
from hepar.volume import LabelMap, Volume

# float32 (batch, slices, y, x) grey values 0..255 to float32 logits (batch, 3, y, x)
Predictor = Callable[[NDArray[np.float32]], NDArray[np.float32]]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Pipeline:
    """What stands around a network: steps before, pixels it works on, steps after, slices it sees."""

    prepare: tuple[Step, ...]
    grid: InPlaneGrid
    clean: tuple[Clean, ...] = ()
    neighbours: Neighbours = SINGLE_SLICES


@dataclass(frozen=True, eq=False)
class SlabSegmenter:
    """A trained slice network that keeps the scan's grid.

    Beside the scan and its labels, memory holds `slab` slices of logits and
    their prepared neighbours only, whatever the number of slices.
    """

    predict: Predictor
    pipeline: Pipeline
    name: str
    slab: int = 8

    def segment(self, ct: Volume, progress: Progress | None = None) -> LabelMap:
        """Labels on the exact grid of `ct`; `progress(slices done, slices in all)`."""
        turn = ct.geometry.axial()
        axial = ct.axial()
        count = axial.geometry.shape[0]
        labels = np.zeros(axial.geometry.shape, dtype=np.uint8)
        plan = self.pipeline.grid.plan(axial.geometry)
        for start, batch in self._batches(axial, plan):
            slices = len(batch)
            logits = self.predict(self._full(batch))
            labels[start : start + slices] = plan.to_scan(logits[:slices]).argmax(axis=1)
            if progress:
                progress(start + slices, count)
        found = LabelMap(labels, axial.geometry)
        for clean in self.pipeline.clean:
            found = clean(found)
        return LabelMap(np.ascontiguousarray(turn.undo(found.labels)), ct.geometry)

    def _batches(self, axial: Volume, plan: InPlanePlan) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """First slice and network input (slices of the slab, channel, h, w) of every slab; prepares a slice once."""
        count = axial.geometry.shape[0]
        seen = self.pipeline.neighbours.of(count, axial.geometry.spacing_mm[0])
        ready: dict[int, NDArray[np.float32]] = {}
        done = 0
        for start in range(0, count, self.slab):
            wanted = seen[start : start + self.slab]
            ready = {i: grey for i, grey in ready.items() if i >= wanted.min()}
            while done <= wanted.max():
                # In pieces no larger than a slab: neighbours of thin slices reach far.
                stop = min(done + self.slab, int(wanted.max()) + 1)
                ready |= enumerate(self._prepared(axial.slab(done, stop), plan), done)
                done = stop
            yield start, np.stack([ready[i] for i in wanted.ravel().tolist()]).reshape(*wanted.shape, *plan.padded_size)

    def _prepared(self, slab: Volume, plan: InPlanePlan) -> NDArray[np.float32]:
        for step in self.pipeline.prepare:
            slab = step(slab)
        return plan.to_net(slab.values.astype(np.float32))

    def _full(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Pad the last slab with empty slices: engines compile once for one shape."""
        missing = self.slab - len(batch)
        return np.pad(batch, ((0, missing), (0, 0), (0, 0), (0, 0))) if missing else batch
