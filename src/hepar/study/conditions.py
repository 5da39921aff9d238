"""What else a scan could have been: noisier, thicker, windowed, turned, poorer in contrast, cut.

A condition takes a scan with its labels to the scan as it would have come, and
carries every label map along, so that what was found on the unchanged scan can
be judged on the same voxels. Scans stand in the axial view (`Volume.axial`).
A condition that a scan cannot show gives None.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepar.geometry import Geometry
from hepar.metrics.crop import Box, box_of, cropped
from hepar.volume import LIVER, TUMOUR, LabelMap, Volume

Pixels = NDArray[np.float32]
# Soft tissue of the noise index of Christianson et al. 2015 (AJR 205:W93): 0 to 100 HU; contrast medium lifts ours.
SOFT_TISSUE_HU = (0.0, 150.0)
_WINDOW_PX = 7
# Neighbouring pixels of a CT share noise; white noise would vanish in the first averaging of a network.
_NOISE_GRAIN_PX = 0.8
THICK_MM = 5.0
OTHER_WINDOW_HU = (-150.0, 250.0)
SHIFT_HU = 20.0
NATIVE_LIVER_HU = 60.0
FIELD_MARGIN_MM = 10.0
LOW_DOSE_NOISE, LOW_DOSE_BLUR_MM = 3.0, 1.2
_TILT_DEGREES, _TURN_DEGREES = 20.0, 15.0


@dataclass(frozen=True, eq=False)
class Scan:
    """A scan, its truth, and what was found on it unchanged; all on one grid, in the axial view."""

    ct: Volume
    truth: LabelMap
    found: LabelMap

    def with_values(self, values: NDArray[Any]) -> Scan:
        """Other grey values on the same grid, as whole HU within the scan's own range; its ends are held.

        What an 8-bit window cut off stays cut off: fat below -40 HU would not rise above it by noise. The
        padding around a round field of view has none either.
        """
        own = self.ct.values
        low, high = own.min(), own.max()
        held = (own == low) | (own == high)
        kept = np.where(held, own, np.rint(np.clip(values, low, high)))
        return replace(self, ct=self.ct.with_values(kept.astype(np.int16)))


@dataclass(frozen=True)
class Condition:
    """`same_labels` says that only the storage changes, so that the labels must be the same voxel by voxel."""

    name: str
    what: str
    apply: Callable[[Scan, np.random.Generator], Scan | None]
    same_labels: bool = False


def noise_hu(ct: Volume) -> float:
    """Noise of a scan: the most frequent standard deviation in 7 x 7 pixels of soft tissue (Christianson et al. 2015).

    Where tissue is even, the spread is noise; edges and vessels only make the
    tail of the histogram. Without soft tissue the spread over all is taken.
    """
    from scipy.ndimage import uniform_filter

    spreads = []
    # Noise of a scan needs no more than some twenty slices.
    for z in range(0, ct.values.shape[0], max(1, ct.values.shape[0] // 20)):
        values = ct.values[z].astype(np.float64)
        mean = uniform_filter(values, _WINDOW_PX)
        spread = np.sqrt(np.maximum(uniform_filter(values**2, _WINDOW_PX) - mean**2, 0))
        # One off n of the sample's variance: a window of 49 values estimates its own mean.
        spread *= np.sqrt(_WINDOW_PX**2 / (_WINDOW_PX**2 - 1))
        soft = (mean > SOFT_TISSUE_HU[0]) & (mean < SOFT_TISSUE_HU[1])
        spreads.append(spread[soft] if soft.any() else spread.ravel())
    every = np.concatenate(spreads)
    middle = float(np.median(every))
    if not middle:
        return 0.0
    # Far tails would make the bins too wide.
    heights, edges = np.histogram(every[every <= 4 * middle], bins=100)
    top = int(heights.argmax())
    return float((edges[top] + edges[top + 1]) / 2)


def noisier(scan: Scan, rng: np.random.Generator, times: float = 2.0) -> Scan:
    """The scan's noise `times` as strong: what is missing is added in quadrature, grained as CT noise is."""
    missing = noise_hu(scan.ct) * np.sqrt(times**2 - 1)
    return scan.with_values(scan.ct.values + missing * grained_noise(scan.ct.values.shape, rng))


def grained_noise(shape: tuple[int, ...], rng: np.random.Generator) -> Pixels:
    """Noise (z, y, x) of mean 0 and standard deviation 1 whose neighbours in plane are alike, slices independent."""
    from scipy.ndimage import gaussian_filter

    noise = rng.standard_normal(shape, dtype=np.float32)
    noise = gaussian_filter(noise, (0, _NOISE_GRAIN_PX, _NOISE_GRAIN_PX), mode="wrap")
    return np.asarray((noise - noise.mean()) / noise.std(), np.float32)


def low_dose(scan: Scan, rng: np.random.Generator) -> Scan:
    """Noise three times as strong, smoothed in plane: a low dose and the soft kernel chosen for it."""
    from scipy.ndimage import gaussian_filter

    loud = noisier(scan, rng, LOW_DOSE_NOISE)
    _, y, x = scan.ct.geometry.spacing_mm
    sigma = (0, LOW_DOSE_BLUR_MM / y, LOW_DOSE_BLUR_MM / x)
    return loud.with_values(gaussian_filter(loud.ct.values.astype(np.float32), sigma))


def thick_slices(scan: Scan, _: np.random.Generator) -> Scan | None:
    """Slices of about 5 mm: neighbours averaged; a label stands where most of them have it, ties go to the larger.

    A last group that is not whole is left out. None for slices of more than 3.3 mm: two of them are no 5 mm.
    """
    z_mm = scan.ct.geometry.spacing_mm[0]
    count = round(THICK_MM / z_mm)
    groups = scan.ct.values.shape[0] // max(1, count)
    if count < 2 or groups < 1:
        return None
    affine = scan.ct.geometry.affine.copy()
    affine[:3, 3] += affine[:3, 0] * (count - 1) / 2
    affine[:3, 0] *= count
    grid = Geometry((groups, *scan.ct.values.shape[1:]), affine)
    joined = scan.ct.values[: groups * count].reshape(groups, count, *grid.shape[1:])
    values = np.rint(joined.mean(axis=1, dtype=np.float32)).astype(np.int16)
    thick = partial(_majority, groups=groups, count=count, grid=grid)
    return Scan(Volume(values, grid, scan.ct.notes), thick(scan.truth), thick(scan.found))


def _majority(labels: LabelMap, groups: int, count: int, grid: Geometry) -> LabelMap:
    joined = labels.labels[: groups * count].reshape(groups, count, *grid.shape[1:])
    votes = [(joined == label).sum(axis=1) for label in (TUMOUR, LIVER, 0)]
    return LabelMap((TUMOUR - np.argmax(votes, axis=0)).astype(np.uint8), grid)


def shifted(scan: Scan, _: np.random.Generator, by_hu: float = SHIFT_HU) -> Scan:
    """Every value `by_hu` higher: a scanner out of calibration, or a window read as another.

    Not those at the ends of the scan's range, which a window cut off.
    """
    return scan.with_values(scan.ct.values + np.float32(by_hu))


def eight_bits(scan: Scan, _: np.random.Generator) -> Scan:
    """Saved as a picture of 256 greys over -150..250 HU, and read with that window."""
    low, high = OTHER_WINDOW_HU
    step = (high - low) / 255
    grey = np.rint((np.clip(scan.ct.values, low, high) - low) / step)
    return replace(scan, ct=scan.ct.with_values(np.rint(low + grey * step).astype(np.int16)))


def half_contrast(scan: Scan, _: np.random.Generator) -> Scan | None:
    """What stands out from the liver, tumours and vessels, stands out half as much; noise as before.

    None without a liver in the truth.
    """
    liver = liver_hu(scan)
    if liver is None:
        return None
    given = np.array([-1000.0, -50.0, liver - 50, liver, liver + 100, 3000.0])
    wanted = np.array([-1000.0, -50.0, liver - 25, liver, liver + 50, 2950.0])
    return _remapped(scan, given, wanted)


def native(scan: Scan, _: np.random.Generator) -> Scan | None:
    """As without contrast medium: the liver at 60 HU, lesions and vessels hardly different, noise as before.

    None without a liver in the truth, or with one below 70 HU: that scan is poor already.
    """
    liver = liver_hu(scan)
    if liver is None or liver < NATIVE_LIVER_HU + 10:
        return None
    given = np.array([-1000.0, -50.0, liver - 50, liver, liver + 50, liver + 150, 3000.0])
    wanted = np.array([-1000.0, -50.0, 40.0, NATIVE_LIVER_HU, 65.0, 80.0, 2800.0])
    return _remapped(scan, given, wanted)


def liver_hu(scan: Scan) -> float | None:
    """Median of the labelled liver without tumours; None where there is none."""
    inside = scan.ct.values[scan.truth.labels == LIVER]
    return float(np.median(inside)) if inside.size else None


def _remapped(scan: Scan, given: NDArray[np.float64], wanted: NDArray[np.float64]) -> Scan:
    """Smooth parts moved along a line of corners, what is finer (noise, edges) kept as it is."""
    from scipy.ndimage import gaussian_filter

    values = scan.ct.values.astype(np.float32)
    smooth = gaussian_filter(values, (0, 1.0, 1.0), mode="nearest")
    return scan.with_values(values + np.interp(smooth, given, wanted) - smooth)


def small_field(scan: Scan, _: np.random.Generator) -> Scan | None:
    """The field of view ends 1 cm beside the liver in plane. None without a liver."""
    if not scan.truth.liver.any():
        return None
    rows, columns = box_of(scan.truth.labels)[1:]
    slices, height, width = scan.ct.values.shape
    y_mm, x_mm = scan.ct.geometry.spacing_mm[1:]
    return cut(scan, (slice(0, slices), _wider(rows, height, y_mm), _wider(columns, width, x_mm)))


def half_liver(scan: Scan, _: np.random.Generator) -> Scan | None:
    """The scan ends in the middle of the liver's height, the lower half kept. None where that is less than a slice."""
    height = box_of(scan.truth.labels)[0]
    middle = (height.start + height.stop) // 2
    if not height.start < middle:
        return None
    rows, columns = scan.ct.values.shape[1:]
    return cut(scan, (slice(0, middle), slice(0, rows), slice(0, columns)))


def _wider(part: slice, size: int, step_mm: float) -> slice:
    margin = round(FIELD_MARGIN_MM / step_mm)
    return slice(max(0, part.start - margin), min(size, part.stop + margin))


def cut(scan: Scan, box: Box) -> Scan:
    """Scan and labels within a box that is not empty, in their place in the patient."""
    truth = cropped(scan.truth, box)
    inside = np.ascontiguousarray(scan.ct.values[box])
    return Scan(replace(scan.ct, values=inside, geometry=truth.geometry), truth, cropped(scan.found, box))


def stored_otherwise(scan: Scan, _: np.random.Generator, axes: tuple[int, ...] = (2,)) -> Scan:
    """The same voxels in the same places, stored in the reverse order along some axes."""
    affine = scan.ct.geometry.affine.copy()
    for axis in axes:
        affine[:3, 3] += affine[:3, axis] * (scan.ct.values.shape[axis] - 1)
        affine[:3, axis] *= -1
    grid = Geometry(scan.ct.geometry.shape, affine)
    return _on(scan, grid, lambda values: np.ascontiguousarray(np.flip(values, axes)))


def sagittal(scan: Scan, _: np.random.Generator) -> Scan:
    """The same voxels in the same places, stored as a sagittal series."""
    order = (2, 0, 1)
    affine = scan.ct.geometry.affine[:, [*order, 3]]
    z, y, x = scan.ct.geometry.shape
    return _on(scan, Geometry((x, z, y), affine), lambda values: np.ascontiguousarray(np.transpose(values, order)))


def oblique(scan: Scan, _: np.random.Generator) -> Scan:
    """A patient who lay turned: the header says that the slices are tilted by 20 and turned by 15 degrees."""
    tilt, turn = np.deg2rad(_TILT_DEGREES), np.deg2rad(_TURN_DEGREES)
    about_x = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    about_z = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    affine = scan.ct.geometry.affine.copy()
    affine[:3] = about_z @ about_x @ affine[:3]
    return _on(scan, Geometry(scan.ct.geometry.shape, affine), lambda values: values)


def _on(scan: Scan, grid: Geometry, move: Callable[[NDArray[Any]], NDArray[Any]]) -> Scan:
    maps = (LabelMap(move(labels.labels), grid) for labels in (scan.truth, scan.found))
    return Scan(replace(scan.ct, values=move(scan.ct.values), geometry=grid), *maps)


CONDITIONS = (
    Condition("noise x2", "noise doubled, grained as the scan's", noisier),
    Condition("low dose", "noise tripled, then smoothed by 1.2 mm in plane", low_dose),
    Condition("5 mm slices", "slices averaged to about 5 mm, scored there against the majority's label", thick_slices),
    Condition("+20 HU", "every value 20 HU higher", shifted),
    Condition("-20 HU", "every value 20 HU lower", partial(shifted, by_hu=-SHIFT_HU)),
    Condition("8-bit window", "256 greys over -150..250 HU", eight_bits),
    Condition("half contrast", "lesions and vessels differ half as much from the liver", half_contrast),
    Condition("native", "liver at 60 HU, lesions and vessels hardly different", native),
    Condition("small field", "field of view ends 1 cm beside the liver", small_field),
    Condition("half liver", "scan ends in the middle of the liver", half_liver),
    Condition("feet last", "slices stored from head to feet, affine alike", partial(stored_otherwise, axes=(0,)), True),
    Condition("flipped", "rows and columns stored in reverse, affine alike",
              partial(stored_otherwise, axes=(1, 2)), True),
    Condition("sagittal storage", "stored as a sagittal series, affine alike", sagittal, True),
    Condition("oblique header", "affine tilted by 20 and turned by 15 degrees", oblique, True),
)  # fmt: skip
