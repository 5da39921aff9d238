"""Does the patient lie as the header says, and does the label lie on the liver?

Three facts hold in nearly everyone: the liver fills the right side, the spine
lies behind, the lungs lie above. Measured about the middle of the body, each
tells whether its axis is reversed; where a landmark is missing or too near the
middle, nothing is said. All work is done on about 4 mm voxels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepar.doctor.findings import NO_AXES, Axes, Finding, Remedy
from hepar.doctor.intensity import Scale
from hepar.doctor.labels import FIX_BY_HAND
from hepar.doctor.reading import Reading
from hepar.geometry import Geometry

Mask = NDArray[np.bool_]
COARSE_MM = 4.0
BODY_HU, LUNG_HU, BONE_HU = -300.0, -600.0, 300.0
# Two lung bases hold more; gas in the bowel hardly does in one piece. In four real patients with lungs their
# middle lies 32 to 58 mm above the liver's.
LUNG_ML = 150.0
# Distances from the body's middle, as shares of its width and depth, below which nothing is said.
# In 125 sets of slices at hand, the liver lies right by 0.085 to 0.37 and ahead by -0.03 to 0.20.
RIGHT_SHARE, BEHIND_SHARE, LIVER_BEHIND_SHARE = 0.02, 0.03, 0.04
ABOVE_MM = 20.0
# Median of liver voxels: fatty liver without contrast to late arterial phase.
LIVER_HU = (-30.0, 220.0)
NEAR_HU = 50.0
# Of a label that lies well, 0.85 to 1.0 of the voxels are near its median; a flipped one has 0.3 to 0.7.
LEAD = 0.15
OUTSIDE_SHARE = 0.01
EVERY_TURN: tuple[Axes, ...] = tuple((bool(n & 4), bool(n & 2), bool(n & 1)) for n in range(1, 8))


@dataclass(frozen=True, eq=False)
class Body:
    """A case on coarse voxels in the axial view: z to the head, y to the back, x to the left."""

    hu: NDArray[np.float32]
    inside: Mask
    liver: Mask | None
    grid: Geometry


def body_of(reading: Reading, scale: Scale, hu: NDArray[Any]) -> Body | None:
    """The body, filled slice by slice; None where values are no HU or there is no body."""
    from scipy.ndimage import binary_fill_holes, label

    if reading.grid is None or not scale.known:
        return None
    turn = reading.grid.axial()
    axial = turn.geometry
    steps = [max(1, round(COARSE_MM / s)) for s in axial.spacing_mm]
    if reading.subject.slices:
        steps[0] = 1
    skip = tuple(slice(None, None, step) for step in steps)
    coarse = turn.apply(hu)[skip].astype(np.float32)
    solid = coarse > max(BODY_HU, scale.low + 1)
    pieces, count = label(solid)
    if not count:
        return None
    if not reading.subject.slices:
        solid = pieces == np.bincount(pieces.ravel())[1:].argmax() + 1
    inside = np.stack([binary_fill_holes(part) for part in solid])
    liver = None
    if reading.in_step and reading.labels is not None and (reading.labels > 0).any():
        liver = turn.apply(reading.labels)[skip] > 0
    affine = axial.affine.copy()
    affine[:3, :3] *= steps
    return Body(coarse, inside, liver, Geometry(coarse.shape, affine))


def label_fit(body: Body, axes: Axes = NO_AXES) -> float:
    """Share of the label's voxels within 50 HU of their median, 0 where that median is no liver's.

    `axes`: reverse the label along these axes of the axial view first.
    """
    assert body.liver is not None
    liver = np.flip(body.liver, tuple(axis for axis in range(3) if axes[axis]))
    hu = body.hu[liver]
    if not hu.size:
        return 0.0
    middle = float(np.median(hu))
    return float(np.mean(np.abs(hu - middle) <= NEAR_HU)) if LIVER_HU[0] <= middle <= LIVER_HU[1] else 0.0


def misplaced_label(reading: Reading, body: Body) -> tuple[list[Finding], Axes]:
    """Findings on a label that does not lie on the liver, and the axes of its array to reverse, if that helps."""
    if body.liver is None or not body.liver.any():
        return [], NO_AXES
    here = label_fit(body)
    if not reading.subject.slices:
        fits = {axes: label_fit(body, axes) for axes in EVERY_TURN}
        best = max(EVERY_TURN, key=lambda axes: fits[axes])
        if fits[best] > here + LEAD:
            assert reading.grid is not None
            turn = _array_axes(reading.grid, best)
            message = "the label is reversed against the image: it lies on the liver only when turned back"
            detail = f"{_named(best)}; {here:.0%} of its voxels look like liver as stored, {fits[best]:.0%} turned"
            repair = "reverse the label's voxels along these axes"
            return [
                Finding(reading.id, "label-reversed", "error", message, detail, repair, Remedy(label_turn=turn))
            ], turn
    outside = float(np.mean(~body.inside[body.liver]))
    if outside > OUTSIDE_SHARE and not reading.subject.slices:
        message = "part of the label lies outside the body, in air or on the table"
        return [Finding(reading.id, "outside-body", "warning", message, f"{outside:.0%} of it", FIX_BY_HAND)], NO_AXES
    median = float(np.median(body.hu[body.liver]))
    if not LIVER_HU[0] <= median <= LIVER_HU[1]:
        message = "what is labelled as liver has not the density of liver"
        return [Finding(reading.id, "liver-hu", "warning", message, f"median {median:g} HU", FIX_BY_HAND)], NO_AXES
    return [], NO_AXES


def orientation(reading: Reading, body: Body, scale: Scale) -> list[Finding]:
    """A finding when landmarks say that the header reverses one or more patient axes."""
    marks = _landmarks(body, scale, slices=reading.subject.slices)
    axes = (_reversed(marks.above, 0.0), _reversed(marks.behind, 0.0), _reversed(marks.right, 0.0))
    if not any(axes):
        return []
    assert reading.grid is not None
    turn = _array_axes(reading.grid, axes)
    message = "the patient does not lie as the header says: " + (
        "the image is mirrored" if sum(axes) % 2 else "the image is turned round"
    )
    told = [told for told, wrong in zip(marks.told, axes, strict=True) if wrong]
    if reading.subject.slices:
        return [Finding(reading.id, "orientation", "error", message, "; ".join(told), "none: turn the pictures")]
    repair = "reverse these axes in the headers of image and label; no voxel moves in the array"
    detail = f"{_named(axes)}: {'; '.join(told)}"
    return [Finding(reading.id, "orientation", "error", message, detail, repair, Remedy(turn=turn))]


@dataclass(frozen=True)
class Landmarks:
    """How far lungs lie above, spine behind and liver right; None where unknown, negative where reversed."""

    above: float | None
    behind: float | None
    right: float | None
    told: tuple[str, str, str]


def _landmarks(body: Body, scale: Scale, *, slices: bool) -> Landmarks:
    size = body.grid.spacing_mm
    middle, extent = _middle(body.inside), _extent(body.inside)
    above = behind = right = None
    if not slices and scale.has_air:
        lungs = _lungs(body)
        if lungs is not None:
            reference = _middle(body.liver) if body.liver is not None and body.liver.any() else middle
            away = (_middle(lungs)[0] - reference[0]) * size[0]
            above = away if abs(away) > ABOVE_MM else None
    has_liver = body.liver is not None and bool(body.liver.any())
    if body.liver is not None and has_liver:
        rows = np.flatnonzero(body.liver.any(axis=(1, 2)))
        heights = slice(rows[0], rows[-1] + 1)
        beside = (_middle(body.inside[heights]) - _middle(body.liver[heights])) / extent
        right = beside[2] if abs(beside[2]) > RIGHT_SHARE else None
        behind = _behind(body, scale, heights, float(beside[1]), float(extent[1]))
    told = (
        f"lungs lie {abs(above or 0):.0f} mm below the liver",
        "the spine lies in front and the liver behind" if scale.has_air else "the liver lies behind",
        f"the liver lies left of the middle by {abs(right or 0):.0%} of the body's width",
    )
    return Landmarks(above, behind, right, told)


def _behind(body: Body, scale: Scale, heights: slice, liver_ahead: float, depth: float) -> float | None:
    """How far bone lies behind the middle, in depths of the body, where the liver's place agrees.

    In a narrow window contrast medium is as bright as bone: there, the liver alone has to lie clearly behind.
    """
    if not scale.has_air:
        return liver_ahead if liver_ahead < -LIVER_BEHIND_SHARE else None
    bone = (body.inside & (body.hu >= BONE_HU))[heights]
    if bone.sum() < 0.001 * body.inside[heights].sum():
        return None
    bone_behind = float(_middle(bone)[1] - _middle(body.inside[heights])[1]) / depth
    return bone_behind if abs(bone_behind) > BEHIND_SHARE and (bone_behind > 0) == (liver_ahead > 0) else None


def _lungs(body: Body) -> Mask | None:
    """Large pockets of air inside the body, together."""
    from scipy.ndimage import label

    pieces, _ = label(body.inside & (body.hu < LUNG_HU))
    ml = np.bincount(pieces.ravel()) * body.grid.voxel_volume_mm3 / 1000
    ml[0] = 0
    lungs = (ml >= LUNG_ML)[pieces]
    return lungs if lungs.any() else None


def _reversed(distance: float | None, least: float) -> bool:
    return distance is not None and distance < least


def _middle(mask: Mask) -> NDArray[np.float64]:
    return np.array([np.average(np.arange(n), weights=_along(mask, axis)) for axis, n in enumerate(mask.shape)])


def _along(mask: Mask, axis: int) -> NDArray[np.float64]:
    return np.asarray(mask.sum(axis=tuple(a for a in range(3) if a != axis)) + 1e-12, np.float64)


def _extent(mask: Mask) -> NDArray[np.float64]:
    """Width of the body along each axis in voxels."""
    return np.array([max(1.0, np.ptp(np.flatnonzero(_along(mask, axis) > 0.5))) for axis in range(3)])


def _array_axes(grid: Geometry, axial: Axes) -> Axes:
    """Axes of the axial view (z, y, x) as axes of the array."""
    turn = grid.axial()
    wanted = {turn.axes[new] for new in range(3) if axial[new]}
    return (0 in wanted, 1 in wanted, 2 in wanted)


def _named(axes: Axes) -> str:
    names = ("head and feet", "front and back", "left and right")
    return " and ".join(name for name, wrong in zip(names, axes, strict=True) if wrong) + " swapped"
