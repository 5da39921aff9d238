"""Where a point of the first scan's liver lies in the second: a rigid motion.

First the livers' outlines are laid on each other (signed distances, mean
squares), then, where both CTs are known, the grey values in and around the
liver (mutual information, Mattes et al. 2003: phases may differ). The second
step is kept only if the livers overlap no less. A liver is soft: breathing and
surgery change its shape, which no rigid motion follows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepar.errors import BadInput
from hepar.geometry import Geometry
from hepar.metrics.crop import box_of
from hepar.report.comparison.time_point import TimePoint
from hepar.volume import LabelMap

OUTLINE_MM, GREY_MM = 3.0, 2.0
MARGIN_MM, AROUND_MM = 24.0, 6.0
# Far from the outline distances say nothing of its place.
FAR_MM = 15.0
SHARE, SEED = 0.25, 20260203
# Grey values may cost this much of the outlines' agreement, no more.
DICE_SLACK = 0.01
Points = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Motion:
    """Takes LPS mm of the first scan to LPS mm of the second: `rotation @ place + shift_mm`.

    `liver_dice` is that of the livers after it; `by` says what it rests on.
    """

    rotation: NDArray[np.float64]
    shift_mm: NDArray[np.float64]
    liver_dice: float = float("nan")
    by: str = "nothing: places as given"

    def there(self, places_mm: Points) -> Points:
        return np.asarray(places_mm @ self.rotation.T + self.shift_mm)

    def back(self, places_mm: Points) -> Points:
        return np.asarray((places_mm - self.shift_mm) @ self.rotation)

    @property
    def degrees(self) -> float:
        """The angle of its rotation."""
        return float(np.degrees(np.arccos(np.clip((np.trace(self.rotation) - 1) / 2, -1, 1))))


def register(first: TimePoint, second: TimePoint) -> Motion:
    """The same each time on one machine. Raises BadInput where a scan has no liver."""
    for one in (first, second):
        if not one.labels.liver.any():
            raise BadInput(f"'{one.name}' has no liver, so the scans cannot be laid on each other; check its labels")
    outlines = _by_outlines(first, second)
    found = _judged(outlines, first, second, "the livers' outlines")
    if first.ct is None or second.ct is None:
        return found
    refined = _by_grey(first, second, outlines)
    better = _judged(refined, first, second, "the livers' outlines, then grey values") if refined else found
    return better if better.liver_dice >= found.liver_dice - DICE_SLACK else found


def _by_outlines(first: TimePoint, second: TimePoint) -> Any:
    import SimpleITK as sitk  # noqa: N813

    fixed, moving = (_distance(_around_liver(one.labels, OUTLINE_MM)) for one in (second, first))
    start = sitk.Euler3DTransform()
    middles = [one.labels.geometry.position_mm(np.argwhere(one.labels.liver)).mean(axis=0) for one in (first, second)]
    start.SetCenter(middles[1].tolist())
    start.SetTranslation((middles[0] - middles[1]).tolist())
    method = _method(start)
    method.SetMetricAsMeanSquares()
    method.Execute(fixed, moving)
    return start


def _by_grey(first: TimePoint, second: TimePoint, start: Any) -> Any:
    """None where the grey values overlap too little to be compared."""
    import SimpleITK as sitk  # noqa: N813

    fixed, moving = _grey(second), _grey(first)
    fixed, moving = (sitk.Clamp(image, sitk.sitkFloat32, -150.0, 300.0) for image in (fixed, moving))
    near = _distance(_around_liver(second.labels, GREY_MM)) <= AROUND_MM
    found = sitk.Euler3DTransform(start)
    method = _method(found)
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricFixedMask(near)
    try:
        method.Execute(fixed, moving)
    except RuntimeError:
        # "All samples map outside moving image buffer": the outlines' motion stands.
        return None
    return found


def _grey(point: TimePoint) -> Any:
    """The CT around the liver."""
    assert point.ct is not None
    whole = _image(point.ct.values.astype(np.float32), point.ct.geometry)
    return _resampled(whole, _grid(point.labels, GREY_MM), -1000.0)


def _method(start: Any) -> Any:
    """Changes `start`, which a copy would hide in a list of transforms."""
    import SimpleITK as sitk  # noqa: N813

    method = sitk.ImageRegistrationMethod()
    method.SetInitialTransform(start, inPlace=True)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetMetricSamplingPercentage(SHARE, SEED)
    method.SetOptimizerAsRegularStepGradientDescent(2.0, 0.01, 150, 0.6, 1e-6)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([2, 1])
    method.SetSmoothingSigmasPerLevel([2.0, 0.0])
    # Sums of several threads differ in their last digits from run to run.
    method.SetNumberOfThreads(1)
    return method


def _judged(found: Any, first: TimePoint, second: TimePoint, by: str) -> Motion:
    """The transform, from the second to the first as libraries have it, turned round and with its overlap."""
    ends = np.array([found.TransformPoint(point) for point in np.vstack([np.zeros(3), np.eye(3)]).tolist()])
    rotation = (ends[1:] - ends[0]).T
    motion = Motion(rotation.T, -rotation.T @ ends[0], by=by)
    return Motion(motion.rotation, motion.shift_mm, _liver_dice(motion, first.labels, second.labels), by)


def _liver_dice(motion: Motion, first: LabelMap, second: LabelMap) -> float:
    """Of voxels 3 mm apart around the second liver."""
    grid = _grid(second, OUTLINE_MM)
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1).reshape(-1, 3)
    places = grid.position_mm(index)
    there = _liver_at(second, places)
    moved = _liver_at(first, motion.back(places))
    # What of the first liver lies beyond that grid counts, too.
    whole = np.count_nonzero(first.liver) * first.geometry.voxel_volume_mm3 / grid.voxel_volume_mm3
    return float(2 * np.count_nonzero(there & moved) / (np.count_nonzero(there) + whole))


def _liver_at(labels: LabelMap, places_mm: Points) -> NDArray[np.bool_]:
    index = np.rint(labels.geometry.index_of(places_mm)).astype(int)
    inside = ((index >= 0) & (index < labels.labels.shape)).all(axis=-1)
    out = np.zeros(len(index), bool)
    out[inside] = labels.liver[tuple(index[inside].T)]
    return out


def _grid(labels: LabelMap, step_mm: float) -> Geometry:
    """Along LPS around the liver."""
    box = box_of(labels.liver)
    corners = np.array(np.meshgrid(*[(axis.start, axis.stop - 1) for axis in box])).reshape(3, -1).T
    places = labels.geometry.position_mm(corners)
    low, high = places.min(axis=0) - MARGIN_MM, places.max(axis=0) + MARGIN_MM
    x, y, z = np.ceil((high - low) / step_mm).astype(int) + 1
    return Geometry.from_spacing(
        (int(z), int(y), int(x)), (step_mm,) * 3, (float(low[2]), float(low[1]), float(low[0]))
    )


def _around_liver(labels: LabelMap, step_mm: float) -> Any:
    """The liver as an image of 0 and 1 on a grid of its own."""
    soft = _resampled(_image(labels.liver.astype(np.float32), labels.geometry), _grid(labels, step_mm), 0.0)
    return soft > 0.5


def _distance(mask: Any) -> Any:
    """mm to the outline, negative inside, cut at `FAR_MM`."""
    import SimpleITK as sitk  # noqa: N813

    away = sitk.SignedMaurerDistanceMap(mask, insideIsPositive=False, squaredDistance=False, useImageSpacing=True)
    return sitk.Clamp(sitk.Cast(away, sitk.sitkFloat32), sitk.sitkFloat32, -FAR_MM, FAR_MM)


def _image(values: NDArray[np.float32], grid: Geometry) -> Any:
    import SimpleITK as sitk  # noqa: N813

    image = sitk.GetImageFromArray(values)
    image.SetSpacing(grid.spacing_mm[::-1])
    image.SetOrigin(grid.affine[:3, 3].tolist())
    image.SetDirection(grid.directions[:, ::-1].ravel().tolist())
    return image


def _resampled(image: Any, grid: Geometry, outside: float) -> Any:
    import SimpleITK as sitk  # noqa: N813

    size = [int(n) for n in grid.shape[::-1]]
    spacing, origin = list(grid.spacing_mm[::-1]), grid.affine[:3, 3].tolist()
    direction = grid.directions[:, ::-1].ravel().tolist()
    still = sitk.Transform(3, sitk.sitkIdentity)
    return sitk.Resample(image, size, still, sitk.sitkLinear, origin, spacing, direction, outside, sitk.sitkFloat32)
