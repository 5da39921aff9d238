"""Couinaud segments inside a liver that was found: a slice network in the liver's own frame, without torch.

    segmenter = load_couinaud("couinaud")
    found = segmenter.segment(ct, liver)       # liver: labels 1 and 2
    found.segments, found.notes

Segments are told apart by where they lie in the liver and by the vessels
between them. So the network sees the liver's box stretched to one size, and in
the places of ImageNet's three colours: grey values, the liver's mask (brighter
toward the patient's left, since a convolution does not know where it is), and
the slice's height within the liver. Segments are smooth in space: slices some
millimetres apart are looked at, their scores smoothed along z, and interpolated
for the slices between. All of it happens in the axial view, by the affine: how
voxels are stored, mirrored or not, changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepar.errors import BadModel, GeometryMismatch
from hepar.geometry import Geometry
from hepar.inference.model import Model, load_segmenter, open_model
from hepar.inference.segmenter import Pipeline, Predictor
from hepar.inference.two_pass import Box, box_around, part_of_grid
from hepar.metrics.couinaud import SEGMENTS, SegmentMap
from hepar.preprocess.intensity import Step
from hepar.preprocess.spatial import InPlaneGrid, InPlanePlan
from hepar.volume import LabelMap, Volume

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
SHIPPED = "couinaud_small"
# Of the box's sides, on each side of it: the vena cava and the gallbladder are landmarks beside the liver.
MARGIN = 0.08
# The lowest and highest hundredth of the liver's volume are thin tips that readers draw differently.
TIP = 0.01
STEP_MM = 2.5
SMOOTH_MM = 4.0
# Share of the largest slice's area from which a liver at the scan's edge is cut off rather than ending there.
CUT_SHARE = 0.1
# The mask's brightness at the right edge of the box; 1 at the left.
FAINTEST = 0.25


@dataclass(frozen=True, eq=False)
class LiverFrame:
    """The liver's box in the axial view: `box`, its way to the network's pixels, and each slice's relative height.

    `heights` and `heights_mm` have one entry a slice of the scan; `pixel_mm` is (y, x) of a network pixel.
    """

    box: Box
    plan: InPlanePlan
    heights: NDArray[np.float64]
    heights_mm: NDArray[np.float64]
    pixel_mm: tuple[float, float]

    def grey(self, ct: Volume, prepare: Sequence[Step], rows: NDArray[Any]) -> Floats:
        """Prepared grey values (rows, h, w) of slices of the axial scan."""
        _, y, x = self.box
        grey = np.empty((len(rows), *self.plan.padded_size), np.float32)
        # A slice at a time: steps work on whole slices, and the scan may be large.
        for place, z in enumerate(rows.tolist()):
            slab = ct.slab(z, z + 1)
            for step in prepare:
                slab = step(slab)
            grey[place] = self.plan.to_net(slab.values[:, y, x].astype(np.float32))[0]
        return grey

    def inside(self, liver: Mask, rows: NDArray[Any]) -> Floats:
        """The liver's share (rows, h, w) of each network pixel, 0 to 1."""
        _, y, x = self.box
        return self.plan.to_net(liver[rows, y, x].astype(np.float32))


@dataclass(frozen=True, eq=False)
class SegmentFinding:
    """Segments on the grid of the scan, and what a reader should know of them."""

    segments: SegmentMap
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class CouinaudSegmenter:
    """A trained network of 8 logits for (grey, liver, height) images; keeps the scan's grid."""

    predict: Predictor
    pipeline: Pipeline
    name: str
    batch: int = 8

    def segment(self, ct: Volume, liver: LabelMap, heights_mm: Sequence[float] | None = None) -> SegmentFinding:
        """Segment of each liver or tumour voxel of `liver`, on the exact grid of `ct`.

        `heights_mm` are the places of the axial view's slices where the grid's
        even spacing is not the whole truth. Without a liver the map is empty.
        Raises GeometryMismatch when scan and liver lie on different grids.
        """
        if not ct.geometry.same_grid(liver.geometry):
            raise GeometryMismatch(
                f"the scan lies on {ct.geometry}, the liver on {liver.geometry}; bring it there with `liver.onto`"
            )
        axial, mask = ct.axial(), liver.axial().liver
        labels = np.zeros(mask.shape, np.uint8)
        frame = frame_of(mask, axial.geometry, self.pipeline.grid, heights_mm)
        if frame is not None:
            self._fill(labels, axial, mask, frame)
        back = np.ascontiguousarray(ct.geometry.axial().undo(labels))
        return SegmentFinding(SegmentMap(back, ct.geometry), notes_on(mask))

    def _fill(self, labels: NDArray[np.uint8], axial: Volume, mask: Mask, frame: LiverFrame) -> None:
        shown = np.flatnonzero(mask.any(axis=(1, 2)))
        rows = shown[nearest_rows(frame.heights_mm[shown], STEP_MM)]
        at_mm = frame.heights_mm[rows]
        scores, inside = self._scores(axial, mask, frame, rows)
        weights = smoothing(at_mm, SMOOTH_MM)
        for segment in range(scores.shape[1]):
            scores[:, segment] = np.tensordot(weights, scores[:, segment], 1)
        gap_mm = float(np.median(np.diff(at_mm))) if len(rows) > 1 else STEP_MM
        tidy(scores, inside > 0, (gap_mm, *frame.pixel_mm))
        _, y, x = frame.box
        for z, weight in zip(shown.tolist(), between(at_mm, frame.heights_mm[shown]), strict=True):
            near = np.flatnonzero(weight)
            here = np.tensordot(weight[near], scores[near], 1)[None]
            best = frame.plan.to_scan(here)[0].argmax(axis=0).astype(np.uint8) + np.uint8(1)
            labels[z, y, x] = np.where(mask[z, y, x], best, np.uint8(0))

    def _scores(self, axial: Volume, mask: Mask, frame: LiverFrame, rows: NDArray[Any]) -> tuple[Floats, Floats]:
        """Logits (rows, 8, h, w) and the liver's share (rows, h, w)."""
        size = frame.plan.padded_size
        scores = np.empty((len(rows), len(SEGMENTS), *size), np.float32)
        inside = np.empty((len(rows), *size), np.float32)
        for start in range(0, len(rows), self.batch):
            some = rows[start : start + self.batch]
            inside[start : start + len(some)] = share = frame.inside(mask, some)
            seen = channels(frame.grey(axial, self.pipeline.prepare, some), share, frame.heights[some])
            # Engines compile once for one shape.
            full = np.pad(seen, ((0, self.batch - len(some)), (0, 0), (0, 0), (0, 0)))
            scores[start : start + len(some)] = self.predict(full)[: len(some)]
        return scores, inside


def open_couinaud(folder: Path | str | None = None) -> Model:
    """The Couinaud model in `folder`; the shipped one when None.

    Raises BadModel when none ships, or the folder holds another kind of model.
    """
    where = Path(str(resources.files("hepar"))) / "models" / SHIPPED if folder is None else Path(folder)
    if folder is None and not where.is_dir():
        raise BadModel(
            "this hepar ships no model of Couinaud segments; name a model folder with --couinaud-model FOLDER "
            "(`hepar study couinaud-train` makes one)"
        )
    model = open_model(where)
    if not gives_segments(model):
        raise BadModel(
            f"{where.name} is no model of Couinaud segments: its network does not give {len(SEGMENTS)} of them; "
            "choose another folder"
        )
    return model


def gives_segments(model: Model) -> bool:
    """Whether a model's network, or each of several, gives segments rather than liver and tumour."""
    members = model.network.get("ensemble", [model.network])
    return all(member.get("classes") == len(SEGMENTS) for member in members)


def load_couinaud(model: Model | Path | str | None = None, device: str = "auto") -> CouinaudSegmenter:
    """A segmenter from a model folder of `open_couinaud`."""
    opened = model if isinstance(model, Model) else open_couinaud(model)
    loaded = load_segmenter(opened, device)
    return CouinaudSegmenter(loaded.predict, opened.pipeline, opened.id)


def frame_of(
    liver: Mask, grid: Geometry, pixels: InPlaneGrid, heights_mm: Sequence[float] | None = None
) -> LiverFrame | None:
    """The frame of an axial liver mask (z, y, x); None when it is empty."""
    tight = box_around(liver, grid, margin_mm=0.0)
    if tight is None:
        return None
    z, y, x = tight[0], *(_wider(tight[axis], grid.shape[axis]) for axis in (1, 2))
    mm: NDArray[np.float64] = np.arange(grid.shape[0], dtype=np.float64) * grid.spacing_mm[0]
    if heights_mm is not None and not np.isnan(heights_mm).any():
        mm = np.asarray(heights_mm, np.float64)
    plan = pixels.plan(part_of_grid(grid, (z, y, x)))
    _, y_mm, x_mm = grid.spacing_mm
    pixel_mm = (plan.scales[0] * y_mm, plan.scales[1] * x_mm)
    return LiverFrame((z, y, x), plan, relative_heights(liver, mm), mm, pixel_mm)


def relative_heights(liver: Mask, heights_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where each slice stands between the lower and the upper tip of the liver, 0 to 1, thin ends left out (`TIP`)."""
    area = liver.sum(axis=(1, 2)).astype(np.float64)
    below, above = np.cumsum(area), np.cumsum(area[::-1])
    # The first slices from either end with more than a tip's volume behind them.
    low = heights_mm[np.argmax(below > TIP * area.sum())]
    high = heights_mm[::-1][np.argmax(above > TIP * area.sum())]
    if high <= low:
        return np.full(len(heights_mm), 0.5)
    return np.asarray(np.clip((heights_mm - low) / (high - low), 0.0, 1.0))


def channels(grey: Floats, inside: Floats, heights: NDArray[np.float64]) -> Floats:
    """The network's input (n, 3, h, w) in 0..255: grey, the liver's share graded, the height in every pixel."""
    flat = np.broadcast_to((255 * heights).astype(np.float32)[:, None, None], grey.shape)
    return np.stack([grey, 255 * inside * graded(grey.shape[-1]), flat], axis=1)


def graded(width: int) -> Floats:
    """Brightness (w,) of the mask from the patient's right to left."""
    return np.linspace(FAINTEST, 1.0, width, dtype=np.float32)


def nearest_rows(heights_mm: NDArray[np.float64], step_mm: float) -> NDArray[np.int64]:
    """Numbers of slices about `step_mm` apart, first and last among them; all where slices lie further apart."""
    wanted = np.linspace(heights_mm[0], heights_mm[-1], 1 + int(np.ceil((heights_mm[-1] - heights_mm[0]) / step_mm)))
    return np.unique(np.abs(heights_mm[:, None] - wanted).argmin(axis=0))


def smoothing(heights_mm: NDArray[np.float64], sigma_mm: float) -> Floats:
    """(k, k) weights of a Gaussian over the heights of k slices; rows sum to 1."""
    weights = np.exp(-0.5 * ((heights_mm[:, None] - heights_mm) / sigma_mm) ** 2)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)


def between(known_mm: NDArray[np.float64], wanted_mm: NDArray[np.float64]) -> Floats:
    """(n, k) weights of linear interpolation from k ascending heights to n others; the ends are held."""
    weights = np.stack([np.interp(wanted_mm, known_mm, row) for row in np.eye(len(known_mm))], axis=1)
    return np.asarray(weights, np.float32)


def tidy(scores: Floats, inside: Mask, spacing_mm: tuple[float, float, float]) -> None:
    """Give pieces off a segment's largest part, in `scores` (k, 8, h, w), to the nearest of the large parts, in place.

    There the scores of both segments change places, so that interpolation stays smooth.
    """
    from scipy import ndimage

    best = np.where(inside, scores.argmax(axis=1) + 1, 0)
    kept = np.zeros_like(best)
    for segment in SEGMENTS:
        parts, count = ndimage.label(best == segment)
        if count:
            kept[parts == np.bincount(parts.ravel())[1:].argmax() + 1] = segment
    loose = (best > 0) & (kept == 0)
    if not loose.any():
        return
    nearest = ndimage.distance_transform_edt(
        kept == 0, sampling=spacing_mm, return_distances=False, return_indices=True
    )
    z, y, x = np.nonzero(loose)
    old, new = best[loose] - 1, kept[tuple(nearest[:, z, y, x])] - 1
    scores[z, old, y, x], scores[z, new, y, x] = scores[z, new, y, x], scores[z, old, y, x]


def notes_on(liver: Mask) -> tuple[str, ...]:
    """What limits the segments of an axial liver mask: none there, or cut off by the scan's first or last slice."""
    area = liver.sum(axis=(1, 2))
    if not area.any():
        return ("no liver was found, so there are no segments",)
    cut = [end for end, z in (("lower", 0), ("upper", -1)) if area[z] >= CUT_SHARE * area.max()]
    if not cut:
        return ()
    return (
        f"the liver is cut off at the {' and the '.join(cut)} end of the scan; segments are guessed from the part "
        "that is shown, and their volumes are those of that part",
    )


def _wider(part: slice, size: int) -> slice:
    more = round(MARGIN * (part.stop - part.start))
    return slice(max(0, part.start - more), min(size, part.stop + more))
