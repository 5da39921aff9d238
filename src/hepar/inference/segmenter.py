"""A whole volume through a slice network, slab by slab.

The grid changes in two places only: the array is turned to the axial view
(no interpolation, undone exactly), and each slab is resampled in plane to the
network's pixels and its logits back to the scan's, before the argmax. Steps
work on each slice by itself, and smoothing along z looks across slabs, so where
a slab ends changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hepar.inference.ahead import ahead
from hepar.inference.decision import ARGMAX, Decision, Finding
from hepar.inference.neighbours import SINGLE_SLICES, Neighbours
from hepar.inference.smoothing import along_z
from hepar.postprocess import Clean
from hepar.preprocess.intensity import Step
from hepar.preprocess.spatial import InPlaneGrid, InPlanePlan
from hepar.volume import LabelMap, Volume

# float32 (batch, slices, y, x) grey values 0..255 to float32 logits (batch, 3, y, x)
Predictor = Callable[[NDArray[np.float32]], NDArray[np.float32]]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Pipeline:
    """What stands around a network: steps before, pixels it works on, steps after, slices it sees, how it decides."""

    prepare: tuple[Step, ...]
    grid: InPlaneGrid
    clean: tuple[Clean, ...] = ()
    neighbours: Neighbours = SINGLE_SLICES
    decision: Decision = ARGMAX


@dataclass(frozen=True, eq=False)
class SlabSegmenter:
    """A trained slice network that keeps the scan's grid.

    Three threads follow each other: one prepares a slab, one runs the network
    on the slab before, the caller's makes labels of the one before that. Beside
    the scan and its labels, memory holds these slabs and their prepared
    neighbours only (and the slices that `smooth_mm` reaches), whatever the
    number of slices.
    """

    predict: Predictor
    pipeline: Pipeline
    name: str
    slab: int = 8
    # What runs the network, in words.
    engine: str = ""

    def segment(self, ct: Volume, progress: Progress | None = None) -> LabelMap:
        """Labels on the exact grid of `ct`; `progress(slices done, slices in all)`."""
        if self.pipeline.decision.min_confidence:
            return self.find(ct, progress).labels
        labels = np.zeros(ct.axial().geometry.shape, dtype=np.uint8)
        for start, scores in self._smoothed(ct, progress):
            labels[start : start + len(scores)] = self.pipeline.decision.labels(scores)
        return self._turned_back(self._cleaned(labels, ct), ct)

    def find(self, ct: Volume, progress: Progress | None = None) -> Finding:
        """Labels and calibrated tumour probability on the exact grid of `ct`: a byte a voxel more than `segment`."""
        decision = self.pipeline.decision
        labels = np.zeros(ct.axial().geometry.shape, dtype=np.uint8)
        probability = np.zeros_like(labels)
        for start, scores in self._smoothed(ct, progress):
            rows = slice(start, start + len(scores))
            labels[rows], probability[rows] = decision.labels(scores), decision.tumour_probability(scores)
        found = Finding(self._cleaned(labels, ct), probability).without_doubtful(decision.min_confidence)
        back = ct.geometry.axial().undo(probability)
        return Finding(self._turned_back(found.labels, ct), np.ascontiguousarray(back))

    def scores(self, ct: Volume, progress: Progress | None = None) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """First slice and the decision's scores (slices, channel, y, x) of every slab of the axial view."""
        axial = ct.axial()
        plan = self.pipeline.grid.plan(axial.geometry)
        for start, logits in ahead(self._logits(axial, plan)):
            yield start, plan.to_scan(self.pipeline.decision.scores(logits))
            if progress:
                progress(start + len(logits), axial.geometry.shape[0])

    def sampled(self, axial: Volume, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Labels (len(rows), h, w) of some slices of an axial view, on the network's own pixels and not cleaned.

        A quick look: scores are neither resampled to the scan nor smoothed, and
        slices that no row sees are not prepared.
        """
        plan = self.pipeline.grid.plan(axial.geometry)
        seen = self.pipeline.neighbours.of(axial.geometry.shape[0], axial.geometry.spacing_mm[0])
        h, w = plan.size
        found = np.zeros((len(rows), h, w), np.uint8)
        for start in range(0, len(rows), self.slab):
            wanted = seen[rows[start : start + self.slab]]
            ready = {i: self._prepared(axial.slab(i, i + 1), plan)[0] for i in np.unique(wanted).tolist()}
            batch = np.stack([ready[i] for i in wanted.ravel().tolist()]).reshape(*wanted.shape, *plan.padded_size)
            scores = self.pipeline.decision.scores(self.predict(self._full(batch))[: len(wanted)])
            found[start : start + len(wanted)] = self.pipeline.decision.labels(scores)[:, :h, :w]
        return found

    def _smoothed(self, ct: Volume, progress: Progress | None) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """`scores` as the decision wants them: smoothed along z."""
        spacing_mm = ct.axial().geometry.spacing_mm[0]
        return along_z(self.scores(ct, progress), self.pipeline.decision.smooth_mm / spacing_mm)

    def _cleaned(self, labels: NDArray[np.uint8], ct: Volume) -> LabelMap:
        found = LabelMap(labels, ct.axial().geometry)
        for clean in self.pipeline.clean:
            found = clean(found)
        return found

    def _turned_back(self, found: LabelMap, ct: Volume) -> LabelMap:
        return LabelMap(np.ascontiguousarray(ct.geometry.axial().undo(found.labels)), ct.geometry)

    def _logits(self, axial: Volume, plan: InPlanePlan) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """First slice and logits (slices, 3, h, w) of every slab, the next of which is prepared meanwhile."""
        for start, batch in ahead(self._batches(axial, plan)):
            yield start, self.predict(self._full(batch))[: len(batch)]

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
