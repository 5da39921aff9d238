"""The liver as the region that grows from a seed in the patient's right upper body (after Cheng and Wei 2016).

The abstract says "region growing"; the rest is ours. Slices are averaged to
`pixel_mm`, which takes noise away and keeps the work small, and the grown
region comes back to the scan's pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hepar.errors import BadInput
from hepar.preprocess.spatial import InPlaneGrid
from hepar.volume import Volume

Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]

# Fat and air are darker, also where a data set was cut at -40 HU.
SOFT_HU = -30.0
# Liver from fatty and plain to late portal-venous; bones and contrast medium lie above.
MODE_HU = (40, 150)
# What noise and vessels leave of an even organ at 2 mm; beyond, the peak is not the liver's alone.
LEAST_SIGMA_HU, MOST_SIGMA_HU = 5.0, 20.0
# Shares of the soft tissue's box, in the axial view: patient's right, not the back muscles, upper part.
BOX = ((0.35, 1.0), (0.15, 0.75), (0.05, 0.45))


@dataclass(frozen=True)
class GrowLiver:
    """Grow over voxels within `tolerance` standard deviations of the liver's most frequent HU.

    The mode and its deviation are read off the histogram of the right upper
    body after a median of 3 x 3; the seed is the voxel there that lies deepest
    in what is within tolerance. Neighbours share a face. In each slice,
    bridges narrower than twice `opening_mm` are cut; afterwards bays narrower
    than twice `closing_mm` and holes belong to the liver, since a tumour is
    not within tolerance. Raises BadInput for numbers that are not above 0.
    """

    tolerance: float = 2.0
    opening_mm: float = 6.0
    closing_mm: float = 16.0
    pixel_mm: float = 2.0

    def __post_init__(self) -> None:
        if min(self.tolerance, self.opening_mm, self.closing_mm, self.pixel_mm) <= 0:
            raise BadInput(f"region growing with {self}; every number must be above 0")

    def __call__(self, axial: Volume) -> Mask:
        """(z, y, x) of a scan in its axial view; empty where the right upper body shows no such tissue.

        Beside the mask, memory holds the scan at `pixel_mm` and some bytes for each of its voxels.
        """
        plan = InPlaneGrid(pixel_mm=self.pixel_mm, multiple=1).plan(axial.geometry)
        small = np.stack([_median(plan.to_net(one[None].astype(np.float32))[0]) for one in axial.values])
        grown = self._grown(small, axial.geometry.spacing_mm[0])
        whole = np.zeros(axial.geometry.shape, bool)
        for z in np.flatnonzero(grown.any(axis=(1, 2))).tolist():
            closed = _closed(grown[z], self.closing_mm / self.pixel_mm)
            whole[z] = plan.to_scan(closed[None, None].astype(np.float32))[0, 0] > 0.5
        return whole

    def _grown(self, hu: Floats, slice_mm: float) -> Mask:
        """Before bays are closed."""
        from scipy.ndimage import distance_transform_edt, label

        box = right_upper_body(hu)
        if box is None:
            return np.zeros(hu.shape, bool)
        mode, sigma = peak_hu(hu[box])
        # Growing, opening and growing once more from the seed finds the same.
        near = _opened(np.abs(hu - mode) <= self.tolerance * sigma, self.opening_mm / self.pixel_mm)
        spacing_mm = (slice_mm, self.pixel_mm, self.pixel_mm)
        deep = distance_transform_edt(np.pad(near[box], 1), sampling=spacing_mm)[1:-1, 1:-1, 1:-1]
        if not deep.any():
            return np.zeros(hu.shape, bool)
        parts, _ = label(near)
        return np.asarray(parts == parts[box][np.unravel_index(int(deep.argmax()), deep.shape)])


def right_upper_body(hu: Floats) -> tuple[slice, slice, slice] | None:
    """The part of an axial scan where the liver lies in everybody; None without soft tissue."""
    soft = hu > SOFT_HU
    box = []
    for axis, (low, high) in enumerate(BOX):
        counts = soft.sum(axis=tuple(a for a in range(3) if a != axis)).cumsum()
        if not counts[-1]:
            return None
        # Not the very first and last: a table or an arm is not the body.
        first, last = np.searchsorted(counts, [0.005 * counts[-1], 0.995 * counts[-1]]).tolist()
        size = last + 1 - first
        start = min(first + int(low * size), len(counts) - 1)
        box.append(slice(start, max(start + 1, first + int(np.ceil(high * size)))))
    return box[0], box[1], box[2]


def peak_hu(hu: Floats) -> tuple[float, float]:
    """The most frequent HU between `MODE_HU`, and the standard deviation that fits its peak's lower width.

    The width is taken at half the peak's height, on the narrower side: the
    other one is often another organ's shoulder.
    """
    from scipy.ndimage import gaussian_filter1d

    low, high = MODE_HU
    bins = np.arange(low - 60, high + 61)
    counts = np.histogram(hu, bins=bins)[0].astype(np.float64)
    smooth = gaussian_filter1d(counts, 3.0)
    # The slope of a higher peak outside of the range is none inside.
    peaks = (smooth[1:-1] >= smooth[:-2]) & (smooth[1:-1] > smooth[2:])
    inside = slice(60, 60 + high - low)
    heights = np.where(peaks[59 : 59 + high - low], smooth[inside], 0)
    at = 60 + int(heights.argmax())
    below = np.flatnonzero(smooth[:at] < smooth[at] / 2)
    above = np.flatnonzero(smooth[at:] < smooth[at] / 2)
    widths = [at - int(below[-1])] if below.size else []
    widths += [int(above[0])] if above.size else []
    sigma = min(widths, default=MOST_SIGMA_HU) / np.sqrt(2 * np.log(2))
    return float(bins[at] + 0.5), float(np.clip(sigma, LEAST_SIGMA_HU, MOST_SIGMA_HU))


def _median(slice_hu: Floats) -> Floats:
    from scipy.ndimage import median_filter

    return np.asarray(median_filter(slice_hu, 3, mode="nearest"))


def _opened(mask: Mask, radius: float) -> Mask:
    """Each slice (z, y, x) without what no disc of `radius` pixels fits into."""
    return np.stack([one & _near(~_near(~one, radius), radius) if one.any() else one for one in mask])


def _closed(mask: Mask, radius: float) -> Mask:
    """A slice (y, x) with what no disc of `radius` pixels outside of it reaches, and with its holes filled."""
    from scipy.ndimage import binary_fill_holes

    room = int(np.ceil(radius)) + 1
    wide = _near(np.pad(mask, room), radius)
    return np.asarray(binary_fill_holes(mask | ~_near(~wide, radius)[room:-room, room:-room]))


def _near(mask: Mask, radius: float) -> Mask:
    """(y, x) pixels up to `radius` from `mask`; nothing is near an empty one."""
    from scipy.ndimage import distance_transform_edt

    return np.asarray(distance_transform_edt(~mask) <= radius) if mask.any() else mask
