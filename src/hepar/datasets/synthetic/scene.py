"""A CT under construction: the canvas, the organs that were drawn, the frame of the trunk, one patient's tissues."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hepar.datasets.phantom.canvas import Canvas, Floats, Mask
from hepar.datasets.synthetic.fields import grain
from hepar.datasets.synthetic.organ_map import Organ, OrganMap
from hepar.datasets.synthetic.tissue import Phase, Tissue
from hepar.datasets.synthetic.torso import Torso, torso_of

# Vertebral bodies, arch and the muscles beside them: nothing of the cavity lies here.
SPINE_HALF_WIDTH_MM = 24.0
GRAIN_MM = (2.5, 4.5, 8.0, 14.0, 26.0, 55.0)


@dataclass(frozen=True, eq=False)
class Scene:
    """`canvas.hu` and `canvas.free` are painted in place; all else stays as it is.

    `labels` are organ numbers (z, y, x).
    """

    canvas: Canvas
    labels: NDArray[np.uint8]
    torso: Torso
    tissue: Tissue
    phase: Phase
    rng: np.random.Generator
    fields: dict[float, Floats] = field(default_factory=dict)

    def of(self, *organs: Organ) -> Mask:
        return np.asarray(np.isin(self.labels, organs))

    def lacks(self, organ: Organ, ml: float) -> bool:
        """Fewer than `ml` of this organ were drawn: the rest, or all of it, is hidden in "body"."""
        return bool(np.count_nonzero(self.labels == organ) * self.canvas.voxel_ml < ml)

    def grain(self, size_mm: float) -> Floats:
        """Grain over the whole grid, of the nearest of `GRAIN_MM`, turned over by chance each time.

        Tissues lie beside each other, so one field serves many of them; each new one would cost a sixth of a second.
        """
        size = min(GRAIN_MM, key=lambda offered: abs(np.log(offered / size_mm)))
        if size not in self.fields:
            self.fields[size] = grain(self.rng, self.labels.shape, self.canvas.spacing_mm, size)
        return self.fields[size][tuple(slice(None, None, int(step)) for step in self.rng.choice((-1, 1), 3))]

    def paint(self, mask: Mask, hu: ArrayLike) -> None:
        """HU for a mask over the whole grid; it is taken afterwards."""
        self.canvas.hu[mask] = np.broadcast_to(hu, mask.shape)[mask]
        self.canvas.free &= ~mask

    def spine_at(self, z: float) -> tuple[float, float]:
        """x of the spine and y of its front at the height `z` in mm."""
        heights = self.torso.axes_mm[0]
        return (
            float(np.interp(z, heights, self.torso.spine_x)),
            float(np.interp(z, heights, self.torso.spine_front)),
        )


def scene_of(organs: OrganMap, tissue: Tissue, phase: Phase, rng: np.random.Generator) -> Scene:
    """An empty scene: air, with the cavity free where no organ was drawn."""
    torso = torso_of(organs, rng)
    canvas = Canvas(organs.labels.shape, organs.geometry.spacing_mm, rng, warp_mm=3.5)
    left, behind = torso.beside_spine()
    spine = (np.abs(left) < SPINE_HALF_WIDTH_MM) & (behind > -1)
    canvas.free[:] = torso.body & (torso.wall_mm < 0) & ~spine & (organs.labels <= Organ.BODY)
    return Scene(canvas, organs.labels, torso, tissue, phase, rng)
