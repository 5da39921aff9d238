"""Copies of one image and its labels that lesions are painted on, patch by patch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepar.training.synthesis.liver import Liver
from hepar.training.synthesis.sections import Box, Grid
from hepar.training.synthesis.settings import HU_PER_GREY

Array = NDArray[np.float32]
# Noise of liver pixels in portal-venous scans on the networks' grids: `studies/lesion_realism`.
CUT_NOISE_HU = 10.0


@dataclass(eq=False)
class Canvas:
    """`images` (channel, y, x) and `labels` (y, x) are the canvas's own and change; `liver` is what was there first."""

    images: NDArray[Any]
    labels: NDArray[np.uint8]
    grid: Grid
    liver: Liver

    @property
    def middle(self) -> int:
        return len(self.images) // 2

    def patch(self, box: Box) -> Array:
        return self.images[(slice(None), *box)].astype(np.float32)

    def full_range(self, patch: Array, rng: np.random.Generator) -> Array:
        """The patch with the noise that the window cut off at its upper end, where bright livers lose half of it.

        What a darker lesion brings down from there must not be smooth; anything left there is cut off again.
        """
        cut_off = patch >= 254.5
        count = int(np.count_nonzero(cut_off))
        if not count:
            return patch
        whole = patch.copy()
        whole[cut_off] += np.abs(rng.normal(0, CUT_NOISE_HU / HU_PER_GREY, count)).astype(np.float32)
        return whole

    def put(self, box: Box, values: Array) -> None:
        """Whole grey levels in float images too: the scan's are whole, and fractions would give a lesion away."""
        self.images[(slice(None), *box)] = np.rint(np.clip(values, 0, 255)).astype(self.images.dtype)

    def liver_grey(self, box: Box) -> float:
        """Median of plain liver in the box, of all liver where the box holds little of it."""
        part, home = self.liver, self.liver.box
        inner = tuple(
            slice(max(0, b.start - h.start), max(0, b.stop - h.start)) for b, h in zip(box, home, strict=True)
        )
        near = part.smooth[inner][part.plain[inner]]
        return float(np.median(near[:: max(1, len(near) // 1000)])) if len(near) >= 20 else part.grey

    def same_tissue(self, patch: Array, allowed: NDArray[np.bool_], grey: float) -> Array:
        """0 to 1 (channel, y, x): where the liver goes on.

        In the labelled slice `allowed` with a soft border; beside it, where no
        labels are known, also only where the image is about as bright as the liver.
        """
        from scipy import ndimage

        border = ndimage.uniform_filter(allowed.astype(np.float32), 3, mode="nearest")
        inside = np.repeat(np.clip((border - 0.25) * 2, 0, 1)[None], len(patch), axis=0)
        others = [k for k in range(len(patch)) if k != self.middle]
        if others:
            smooth = ndimage.uniform_filter(patch[others], (1, 3, 3), mode="nearest")
            # Fat, gas and bile lie more than 60 HU below, bone and contrast-filled vessels more than 60 above.
            inside[others] *= np.clip((75 - np.abs(smooth - grey) * HU_PER_GREY) / 25, 0, 1)
        return inside


def new_grid(images: NDArray[Any], pixel_mm: float, step_mm: float) -> Grid:
    """A channel that repeats the one before (at the end of a stack) lies at the same height."""
    count = len(images)
    heights = [0.0] * count
    for side in (1, -1):
        for k in range(1, count // 2 + 1):
            here, before = count // 2 + side * k, count // 2 + side * (k - 1)
            same = np.array_equal(images[here], images[before])
            heights[here] = heights[before] + (0 if same else side * step_mm)
    return Grid(pixel_mm, tuple(heights), (images.shape[1], images.shape[2]))
