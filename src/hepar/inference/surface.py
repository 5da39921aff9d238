"""Liver by a 3D network's probability and a surface that moves from there; no tumours.

Network and surface work on grids of their own; the region comes back to the
scan's pixels before it is cut at one half. `surface.json` beside the network's
model folder says how the surface moves; it holds numbers only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepar.classical.surface_evolution import RING_MM, Evolution, evolve
from hepar.errors import BadInput, BadModel
from hepar.files import write_json
from hepar.inference.blocks import PIECE, stack_weights
from hepar.inference.segmenter import Progress, SlabSegmenter
from hepar.inference.two_pass import Box
from hepar.preprocess.spatial import InPlaneGrid, InPlanePlan
from hepar.volume import LabelMap, Volume

Floats = NDArray[np.float32]
FORMAT = 1


@dataclass(frozen=True, eq=False)
class SurfaceView:
    """HU and the network's probability of liver, float32 (z, y, x) on cubes of `voxel_mm`, and the ways there and back.

    `there` and `back` are the matrices between the scan's slices and the cubes' layers.
    """

    hu: Floats
    probability: Floats
    voxel_mm: float
    plan: InPlanePlan
    there: Floats
    back: Floats

    def to_scan(self, u: Floats) -> Iterator[tuple[int, Floats]]:
        """First slice and values (slices, y, x) on the scan's pixels, some slices at a time."""
        for start in range(0, len(self.back), PIECE):
            layers = np.tensordot(self.back[start : start + PIECE], u, 1)
            yield start, self.plan.to_scan(layers[:, None].astype(np.float32))[:, 0]

    def box(self) -> Box | None:
        """Where the map says liver, and what its ring reaches; None where it says so nowhere."""
        box = []
        for axis in range(3):
            at = np.flatnonzero((self.probability > 0.5).any(axis=tuple(a for a in range(3) if a != axis)))
            if not at.size:
                return None
            more = int(np.ceil(RING_MM / self.voxel_mm))
            box.append(slice(max(0, int(at[0]) - more), int(at[-1]) + 1 + more))
        return box[0], box[1], box[2]


@dataclass(frozen=True, eq=False)
class SurfaceSegmenter:
    """`network` gives the probability of liver, `evolution` moves the surface on cubes of `voxel_mm`.

    Beside the scan and its labels, memory holds HU and probability on the
    cubes, and some 25 numbers for each cube of the liver's box.
    """

    network: SlabSegmenter
    evolution: Evolution
    voxel_mm: float

    @property
    def name(self) -> str:
        return f"{self.network.name}+surface"

    def segment(self, ct: Volume, progress: Progress | None = None) -> LabelMap:
        """Labels 0 and 1 on the exact grid of `ct`; `progress(slices done, slices in all)` of the network."""
        axial = ct.axial()
        labels = np.zeros(axial.geometry.shape, np.uint8)
        view = self.view(axial, progress)
        for start, inside in view.to_scan(moved(view, self.evolution)):
            labels[start : start + len(inside)] = inside > 0.5
        return LabelMap(np.ascontiguousarray(ct.geometry.axial().undo(labels)), ct.geometry)

    def view(self, axial: Volume, progress: Progress | None = None) -> SurfaceView:
        """What the surface sees of a scan in its axial view."""
        plan = InPlaneGrid(pixel_mm=self.voxel_mm, multiple=1).plan(axial.geometry)
        there, back = stack_weights(axial.geometry.shape[0], axial.geometry.spacing_mm[0], self.voxel_mm)
        hu = np.zeros((len(there), *plan.padded_size), np.float32)
        probability = np.zeros_like(hu)
        for start, scores in self.network.scores(axial, progress):
            rows = slice(start, start + len(scores))
            part = axial.values[rows].astype(np.float32)
            hu += np.tensordot(there[:, rows], plan.to_net(part), 1)
            probability += np.tensordot(there[:, rows], plan.to_net(liver_probability(scores)), 1)
        return SurfaceView(hu, probability, self.voxel_mm, plan, there, back)


def moved(view: SurfaceView, evolution: Evolution) -> Floats:
    """0 and 1 on the view's cubes: the region that the surface ends around."""
    u = np.zeros(view.hu.shape, np.float32)
    box = view.box()
    if box is not None:
        u[box] = evolve(view.hu[box], view.probability[box], view.voxel_mm, evolution).mask
    return u


def liver_probability(scores: Floats) -> Floats:
    """(n, y, x) of logits (n, labels, y, x): everything that is not background, the first."""
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(1 - shifted[:, 0] / shifted.sum(axis=1), dtype=np.float32)


def save_surface(path: Path, evolution: Evolution, voxel_mm: float) -> None:
    write_json(path, {"format": FORMAT, "evolution": asdict(evolution), "voxel_mm": voxel_mm})


def load_surface(path: Path, network: SlabSegmenter) -> SurfaceSegmenter:
    """The segmenter of a network and what `save_surface` wrote. Raises BadModel when that cannot be read."""
    try:
        facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if facts["format"] != FORMAT:
            raise BadModel(f"{path.name} has format {facts['format']}, this hepar reads {FORMAT}; update hepar")
        voxel_mm = float(facts["voxel_mm"])
        InPlaneGrid(pixel_mm=voxel_mm)  # refuses what is no size
        return SurfaceSegmenter(network, Evolution(**facts["evolution"]), voxel_mm)
    except (OSError, BadInput, KeyError, TypeError, ValueError) as error:
        # An OSError's own words name the folder.
        reason = error.strerror if isinstance(error, OSError) else error
        raise BadModel(f"{path.name} is missing or damaged ({reason}); train the method again") from error
