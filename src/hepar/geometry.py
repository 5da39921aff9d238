"""Where a voxel grid lies in the patient.

Arrays are (z, y, x). `affine` takes a voxel index (z, y, x, 1) to patient
coordinates in mm along LPS (x to the patient's left, y to posterior, z to
superior), so its columns stand in array order. Nothing assumes axial slices,
right-handedness or equal spacing.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepar.errors import BadInput

Shape = tuple[int, int, int]
Triple = tuple[float, float, float]

# NIfTI calls the patient axes right-anterior-superior; DICOM and we, left-posterior-superior.
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class Geometry:
    """A voxel grid: `shape` (z, y, x) and `affine`, 4x4 float64, index to LPS mm.

    Raises BadInput when the shape is not three positive numbers or the affine
    is not finite, not affine, or flat (a spacing of zero).
    """

    shape: Shape
    affine: NDArray[np.float64]

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape)
        if len(shape) != 3 or min(shape) < 1:
            raise BadInput(f"found a grid of shape {self.shape}; a volume has three dimensions of at least 1")
        affine = np.array(self.affine, dtype=np.float64)
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise BadInput("the header's affine is not a finite 4x4 matrix; repair the header's orientation")
        if not np.allclose(affine[3], (0, 0, 0, 1)):
            raise BadInput("the last row of the affine is not (0, 0, 0, 1); repair the header's orientation")
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        if spacing.min() <= 1e-6 or abs(np.linalg.det(affine[:3, :3] / spacing)) < 1e-6:
            raise BadInput(
                f"voxel spacing (z, y, x) is {tuple(spacing.round(6).tolist())} mm; every spacing must be above 0 "
                "and the axes must span space; repair the header"
            )
        affine.setflags(write=False)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "affine", affine)

    @classmethod
    def from_spacing(cls, shape: Shape, spacing_mm: Triple, origin_mm: Triple = (0, 0, 0)) -> Geometry:
        """An axial grid along LPS; `spacing_mm` and `origin_mm` are (z, y, x)."""
        affine = np.zeros((4, 4))
        for column, row in enumerate((2, 1, 0)):
            affine[row, column] = spacing_mm[column]
            affine[row, 3] = origin_mm[column]
        affine[3, 3] = 1
        return cls(shape, affine)

    @classmethod
    def from_nifti(cls, shape_ijk: Shape, affine_ras: NDArray[np.floating[Any]]) -> Geometry:
        """From a NIfTI header: shape (i, j, k) and affine from (i, j, k) to RAS mm."""
        if np.shape(affine_ras) != (4, 4):
            raise BadInput("the header's affine is not a finite 4x4 matrix; repair the header's orientation")
        lps = RAS_TO_LPS @ np.asarray(affine_ras, dtype=np.float64)
        return cls(tuple(shape_ijk)[::-1], lps[:, [2, 1, 0, 3]])  # type: ignore[arg-type]

    def to_nifti(self) -> NDArray[np.float64]:
        """The affine from (i, j, k) = (x, y, z) indices to RAS mm."""
        return RAS_TO_LPS @ self.affine[:, [2, 1, 0, 3]]

    @property
    def spacing_mm(self) -> Triple:
        """Distance between neighbouring voxel centres along (z, y, x)."""
        z, y, x = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(z), float(y), float(x)

    @property
    def directions(self) -> NDArray[np.float64]:
        """3x3; column a is the unit vector in LPS along array axis a."""
        return np.asarray(self.affine[:3, :3] / np.linalg.norm(self.affine[:3, :3], axis=0))

    @property
    def voxel_volume_mm3(self) -> float:
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    def position_mm(self, index: NDArray[Any] | Triple) -> NDArray[np.float64]:
        """LPS position in mm of voxel indices (..., 3) given as (z, y, x)."""
        points = np.asarray(index, dtype=np.float64)
        return np.asarray(points @ self.affine[:3, :3].T + self.affine[:3, 3])

    def index_of(self, position_mm: NDArray[Any] | Triple) -> NDArray[np.float64]:
        """Fractional voxel index (z, y, x) of LPS positions (..., 3) in mm."""
        offset = np.asarray(position_mm, dtype=np.float64) - self.affine[:3, 3]
        return np.asarray(offset @ np.linalg.inv(self.affine[:3, :3]).T)

    def same_grid(self, other: Geometry, tolerance_mm: float = 0.01) -> bool:
        """True when shapes agree and no corner voxel lies further away than `tolerance_mm`.

        0.01 mm is above the rounding of a NIfTI header's float32 and below any scanner's precision.
        """
        if self.shape != other.shape:
            return False
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in self.shape])).reshape(3, -1).T
        apart = np.linalg.norm(self.position_mm(corners) - other.position_mm(corners), axis=1)
        return bool(apart.max() <= tolerance_mm)

    def axial(self) -> Reorientation:
        """The flips and swaps that bring arrays nearest to the radiologist's axial view.

        Afterwards index z grows to superior, y to posterior, x to the patient's left
        (displayed: patient right on image left). No voxel is interpolated.
        """
        toward = np.abs(self.directions)
        # Row of LPS that each new axis (z, y, x) should follow.
        wanted = (2, 1, 0)
        axes = max(permutations(range(3)), key=lambda p: sum(toward[w, a] for w, a in zip(wanted, p, strict=True)))
        flips = tuple(bool(self.directions[w, a] < 0) for w, a in zip(wanted, axes, strict=True))
        return Reorientation(self, axes, flips)  # type: ignore[arg-type]

    def __str__(self) -> str:
        spacing = " x ".join(f"{s:.4g}" for s in self.spacing_mm)
        origin = ", ".join(f"{o:.2f}" for o in self.affine[:3, 3])
        names = [_axis_name(self.directions[:, a]) for a in range(3)]
        return f"grid {self.shape} (z, y, x), {spacing} mm, axes toward {'/'.join(names)}, origin LPS ({origin}) mm"


@dataclass(frozen=True, eq=False)
class Reorientation:
    """Swap and flip array axes; `undo` is the exact inverse of `apply`.

    New axis i is old axis `axes[i]`, reversed where `flips[i]`. Both ways
    return views where NumPy can.
    """

    source: Geometry
    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]

    def apply(self, values: NDArray[Any]) -> NDArray[Any]:
        """(source z, y, x) to the reoriented array."""
        turned = np.transpose(values, self.axes)
        return turned[tuple(slice(None, None, -1 if f else 1) for f in self.flips)]

    def undo(self, values: NDArray[Any]) -> NDArray[Any]:
        """The reoriented array back to the source's axes."""
        back = values[tuple(slice(None, None, -1 if f else 1) for f in self.flips)]
        return np.transpose(back, np.argsort(self.axes))

    @property
    def geometry(self) -> Geometry:
        """The grid on which `apply`'s result lies: same voxels, same places."""
        affine = np.eye(4)
        affine[:3, 3] = self.source.affine[:3, 3]
        for new, (old, flip) in enumerate(zip(self.axes, self.flips, strict=True)):
            step = self.source.affine[:3, old]
            affine[:3, new] = -step if flip else step
            if flip:
                affine[:3, 3] += step * (self.source.shape[old] - 1)
        return Geometry(tuple(self.source.shape[a] for a in self.axes), affine)  # type: ignore[arg-type]


def _axis_name(direction: NDArray[np.float64]) -> str:
    row = int(np.argmax(np.abs(direction)))
    return ("L", "P", "S")[row] if direction[row] > 0 else ("R", "A", "I")[row]
