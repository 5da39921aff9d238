"""Liver first, then tumour in what the found liver leaves to see: two slice networks as one segmenter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hepar.geometry import Geometry
from hepar.inference.decision import Decision, Finding
from hepar.inference.segmenter import SlabSegmenter
from hepar.inference.two_pass import Box, box_around, part_of
from hepar.postprocess import IN_SLICE
from hepar.preprocess.intensity import Step
from hepar.preprocess.spatial import InPlanePlan
from hepar.volume import LIVER, TUMOUR, LabelMap, Volume

Mask = NDArray[np.bool_]
Bytes = NDArray[np.uint8]
Joins = Literal["inside", "second"]


@dataclass(frozen=True)
class View:
    """What the tumour stage sees of a scan in which a liver was found.

    `masked`: grey 0 where it is more than about `margin_mm` to the liver of the
    same slice, after the stage's steps. `cropped`: only the smallest box around
    the liver, `margin_mm` wider, and the stage's steps see that box; otherwise
    whole slices. Slices beyond the liver's are left out where they would be
    black, and further away than `margin_mm` otherwise. `beside`: the
    probability of liver (0..255) as a second channel.
    """

    masked: bool = True
    cropped: bool = False
    beside: bool = False
    margin_mm: float = 4.0

    def box(self, liver: Mask, grid: Geometry) -> Box | None:
        """The part of the axial scan that the stage sees; None without liver."""
        wide = box_around(liver, grid, self.margin_mm)
        narrow = box_around(liver, grid, 0)
        if wide is None or narrow is None:
            return None
        rows = narrow[0] if self.masked else wide[0]
        return (rows, *wide[1:]) if self.cropped else (rows, slice(0, grid.shape[1]), slice(0, grid.shape[2]))

    def steps(self, prepare: tuple[Step, ...], liver: Mask, grid: Geometry) -> tuple[Step, ...]:
        """`prepare`, and darkness beyond the liver where the view is masked."""
        return (*prepare, Blackout(liver, grid, self.margin_mm)) if self.masked else prepare


@dataclass(frozen=True, eq=False)
class FoundLiver:
    """A liver found in an axial scan: the mask, and its probability in 255ths where somebody looks at it."""

    mask: Mask
    probability: Bytes | None = None


@dataclass(frozen=True, eq=False)
class Blackout:
    """A step: grey 0 beyond the liver, which is given on `grid`. Takes any part of that grid; its place tells which."""

    liver: Mask
    grid: Geometry
    margin_mm: float

    def __call__(self, part: Volume) -> Volume:
        z, y, x = place_in(self.grid, part.geometry)
        near = near_liver(self.liver[z], self.grid, self.margin_mm)
        return part.with_values(np.where(near[:, y, x], part.values, 0).astype(np.float32))


@dataclass(frozen=True, eq=False)
class BesideSegmenter(SlabSegmenter):
    """A slice network with one channel more: `channel` (z, y, x), 0..255, on the axial grid of the scan it segments."""

    channel: Bytes = field(default_factory=lambda: np.zeros((0, 0, 0), np.uint8))

    def _batches(self, axial: Volume, plan: InPlanePlan) -> Iterator[tuple[int, NDArray[np.float32]]]:
        for start, batch in super()._batches(axial, plan):
            more = plan.to_net(self.channel[start : start + len(batch)].astype(np.float32))
            yield start, np.concatenate([batch, more[:, None]], axis=1)


@dataclass(frozen=True, eq=False)
class StagedSegmenter:
    """`tumour` looks at what `view` shows of the scan, prepared by `prepare`, once `liver` has found the liver.

    `joins` "inside": the liver is the first stage's, tumours lie inside it.
    "second": liver and tumours are the second stage's. Beside the scan and its
    labels, memory holds some bytes a voxel and the slabs of one stage.
    """

    liver: SlabSegmenter
    tumour: SlabSegmenter
    prepare: tuple[Step, ...]
    view: View
    joins: Joins = "inside"

    @property
    def name(self) -> str:
        return f"{self.liver.name}+{self.tumour.name}"

    def segment(self, ct: Volume, progress: Any = None) -> LabelMap:
        """Labels on the exact grid of `ct`."""
        return self.find(ct, progress).labels

    def find(self, ct: Volume, progress: Any = None) -> Finding:
        """Labels and the second stage's tumour probability, 0 where it does not look, on the exact grid of `ct`."""
        axial = ct.axial()
        found = self.inside(axial, find_liver(self.liver, axial, with_probability=self.view.beside))
        labels, probability = (
            np.ascontiguousarray(ct.geometry.axial().undo(values))
            for values in (found.labels.labels, found.tumour_probability)
        )
        if progress:
            progress(axial.geometry.shape[0], axial.geometry.shape[0])
        return Finding(LabelMap(labels, ct.geometry), probability)

    def inside(self, axial: Volume, liver: FoundLiver) -> Finding:
        """The second stage's answer for a liver that is known already, joined with it; axial, as `axial` is."""
        whole = axial.geometry
        labels, probability = np.zeros(whole.shape, np.uint8), np.zeros(whole.shape, np.uint8)
        if self.joins == "inside":
            labels[liver.mask] = LIVER
        box = self.view.box(liver.mask, whole)
        if box is not None:
            seen = self._looking(liver, whole, box).find(part_of(axial, box))
            probability[box] = seen.tumour_probability
            if self.joins == "inside":
                labels[box][seen.labels.tumour & liver.mask[box]] = TUMOUR
            else:
                labels[box] = seen.labels.labels
        return Finding(LabelMap(labels, whole), probability)

    def _looking(self, liver: FoundLiver, grid: Geometry, box: Box) -> SlabSegmenter:
        """The second stage for this one scan: the found liver is part of its preparation."""
        steps = self.view.steps(self.prepare, liver.mask, grid)
        looking = replace(self.tumour, pipeline=replace(self.tumour.pipeline, prepare=steps))
        if liver.probability is None:
            return looking
        own = {one.name: getattr(looking, one.name) for one in fields(SlabSegmenter)}
        return BesideSegmenter(**own, channel=liver.probability[box])


def find_liver(segmenter: SlabSegmenter, axial: Volume, with_probability: bool = False) -> FoundLiver:
    """Liver including tumour, cleaned as `segmenter` cleans; the probability is not."""
    if not with_probability:
        return FoundLiver(segmenter.segment(axial).liver)
    labels, probability = np.zeros(axial.geometry.shape, np.uint8), np.zeros(axial.geometry.shape, np.uint8)
    decision = segmenter.pipeline.decision
    for start, scores in segmenter.scores(axial):
        rows = slice(start, start + len(scores))
        labels[rows] = decision.labels(scores)
        pair = Decision("liver_first").scores(scores) if scores.shape[1] == 3 else scores
        probability[rows] = np.rint(255 / (1 + np.exp(-np.clip(pair[:, 0], -30, 30))))
    found = LabelMap(labels, axial.geometry)
    for clean in segmenter.pipeline.clean:
        found = clean(found)
    return FoundLiver(found.liver, probability)


def near_liver(liver: Mask, grid: Geometry, margin_mm: float) -> Mask:
    """Pixels up to about `margin_mm`, at least one pixel, from the liver (slices of `grid`) of their own slice."""
    from scipy.ndimage import binary_dilation

    pixels = max(1, round(margin_mm / min(grid.spacing_mm[1:])))
    return np.asarray(binary_dilation(liver, structure=IN_SLICE, iterations=pixels))


def place_in(whole: Geometry, part: Geometry) -> Box:
    """Which voxels of `whole` a part of it is made of."""
    first = np.rint(whole.index_of(part.position_mm((0, 0, 0)))).astype(int).tolist()
    z, y, x = (slice(start, start + count) for start, count in zip(first, part.shape, strict=True))
    return z, y, x
