"""Found lesions one by one: each component of the tumour in 36 numbers, for whoever judges whether it is real.

Chlebus et al. (2018) name three kinds of features, grey values, shape and
distance to the liver's boundary, and their number; which 36 is our choice.
Everything is measured in mm and HU on the axial view, so that the same lesion
on another grid gives about the same numbers (the shell, 3 voxels wide as in
the dossier's reading, excepted).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hepar.geometry import Triple
from hepar.inference.decision import Finding
from hepar.inference.two_pass import Box, box_around
from hepar.volume import LIVER, LabelMap, Volume

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
SHELL_VOXELS = 3
# HU; a shell of one value must not divide by zero, and no scanner's noise is below.
LEAST_SPREAD = 1.0

FEATURES = (
    *(f"hu_{name}" for name in ("mean", "sd", "skewness", "min", "p5", "p25", "median", "p75", "p95", "max")),
    *(f"shell_{name}" for name in ("mean", "sd", "skewness", "p5", "median", "p95")),
    "contrast", "contrast_to_spread",
    "volume_ml", "surface_mm2", "sphericity", "extent_z_mm", "extent_y_mm", "extent_x_mm",
    "longest_axis_mm", "middle_to_longest", "shortest_to_longest", "share_of_box",
    *(f"depth_{name}_mm" for name in ("min", "mean", "median", "max", "sd")),
    "probability_mean", "probability_max", "probability_sd",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Candidates:
    """The face-connected components of a tumour mask: `parts` (int32, numbered from 1) inside `box`, and FEATURES.

    `features` is (candidate, 36) float64, all finite.
    """

    box: Box
    parts: NDArray[np.int32]
    features: Floats

    def __len__(self) -> int:
        return len(self.features)

    def share_in(self, mask: Mask) -> Floats:
        """Share of each candidate's voxels that lie in `mask`, which lies on the whole scan."""
        inside = np.bincount(self.parts[mask[self.box]], minlength=len(self) + 1)
        return np.asarray(inside[1:] / np.bincount(self.parts.ravel(), minlength=len(self) + 1)[1:])

    def without(self, labels: LabelMap, dropped: Mask) -> LabelMap:
        """`labels` with liver in the place of each candidate that is `dropped`, in the order of `features`."""
        if not dropped.any():
            return labels
        changed = labels.labels.copy()
        changed[self.box][np.concatenate([[False], dropped])[self.parts]] = LIVER
        return labels.with_labels(changed)


def candidates_of(ct: Volume, finding: Finding) -> Candidates:
    """The candidates that `finding` has in `ct`, both axial and on one grid.

    Depths are measured on the liver's box, some twenty bytes a voxel of it; all else on the candidates' own boxes.
    """
    from scipy.ndimage import distance_transform_edt, find_objects, label

    grid, spacing_mm = ct.geometry, ct.geometry.spacing_mm
    tumour, liver = finding.labels.tumour, finding.labels.liver
    box = box_around(tumour, grid, 0)
    around = box_around(liver, grid, 0)
    if box is None or around is None:
        nowhere = slice(0, 0)
        return Candidates((nowhere,) * 3, np.zeros((0, 0, 0), np.int32), np.zeros((0, len(FEATURES))))
    parts = np.asarray(label(tumour[box])[0], np.int32)
    # One ring more: beyond the scan is not liver.
    depth_mm = distance_transform_edt(np.pad(liver[around], 1), sampling=spacing_mm)[1:-1, 1:-1, 1:-1]
    rows = []
    for number, part in enumerate(find_objects(parts), start=1):
        mask = parts[part] == number
        here = tuple(slice(a.start + b.start, a.start + b.stop) for a, b in zip(box, part, strict=True))
        in_liver = tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(here, around, strict=True))
        probability = finding.tumour_probability[here][mask] / 255
        rows.append(
            np.concatenate(
                [
                    _grey_features(ct.values, here, mask),
                    _shape_features(mask, spacing_mm),
                    _depth_features(depth_mm[in_liver][mask]),
                    (probability.mean(), probability.max(), probability.std()),
                ]
            )
        )
    features = np.array(rows)
    assert features.shape[1] == len(FEATURES) and np.isfinite(features).all()
    return Candidates(box, parts, features)


def _grey_features(values: NDArray[np.generic], here: tuple[slice, ...], mask: Mask) -> Floats:
    """HU inside (10), in the shell (6), and how both differ (2)."""
    from scipy.ndimage import binary_dilation

    pads = [
        (min(SHELL_VOXELS, s.start), min(SHELL_VOXELS, n - s.stop)) for s, n in zip(here, values.shape, strict=True)
    ]
    wide = tuple(slice(s.start - low, s.stop + high) for s, (low, high) in zip(here, pads, strict=True))
    inside = np.pad(mask, pads)
    hu = values[wide].astype(np.float64)
    shell = binary_dilation(inside, iterations=SHELL_VOXELS) & ~inside
    within = hu[inside]
    # A lesion that fills the scan has no surroundings: it is its own, without contrast.
    outside = hu[shell] if shell.any() else within
    contrast = within.mean() - outside.mean()
    return np.array(
        [
            *_moments(within), within.min(), *np.percentile(within, (5, 25, 50, 75, 95)), within.max(),
            *_moments(outside), *np.percentile(outside, (5, 50, 95)),
            contrast, contrast / max(float(outside.std()), LEAST_SPREAD),
        ]
    )  # fmt: skip


def _moments(values: Floats) -> tuple[float, float, float]:
    """Mean, standard deviation, skewness (0 where all values are one)."""
    mean, sd = float(values.mean()), float(values.std())
    return mean, sd, float((((values - mean) / sd) ** 3).mean()) if sd > 0 else 0.0


def _shape_features(mask: Mask, spacing_mm: Triple) -> Floats:
    """Ten numbers of a component in its own box; the surface is that of its voxels' faces."""
    volume = mask.sum() * math.prod(spacing_mm)
    surface = 0.0
    for axis in range(3):
        faces = np.abs(np.diff(np.pad(mask, 1).astype(np.int8), axis=axis)).sum()
        surface += float(faces) * math.prod(spacing_mm) / spacing_mm[axis]
    sphericity = math.pi ** (1 / 3) * (6 * volume) ** (2 / 3) / surface
    extents = np.array(mask.shape) * spacing_mm
    places = np.argwhere(mask) * np.array(spacing_mm)
    # A voxel is a box, not a point: its own spread makes a single one well defined.
    spread = np.cov(places.T, bias=True) if len(places) > 1 else np.zeros((3, 3))
    spread = spread + np.diag(np.square(spacing_mm) / 12)
    shortest, middle, longest = np.sqrt(np.linalg.eigvalsh(spread))
    axes = (4 * longest, middle / longest, shortest / longest)
    return np.array([volume / 1000, surface, sphericity, *extents, *axes, mask.mean()])


def _depth_features(depth_mm: Floats) -> Floats:
    """How deep in the liver a component lies: distances of its voxels to the nearest voxel that is none."""
    return np.array([depth_mm.min(), depth_mm.mean(), np.median(depth_mm), depth_mm.max(), depth_mm.std()])
