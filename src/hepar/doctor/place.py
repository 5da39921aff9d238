"""Does the header say where voxels lie, and do image and label lie on one grid?

The identity affine with 1 mm on every axis is LiTS volumes 28 to 47 (the
3D-IRCADb patients) and the segmentation of volume 53: what a converter writes
that knew no place. No scanner does: its pixels are a field of view over 512.
"""

from __future__ import annotations

import numpy as np

from hepar.doctor.findings import NO_AXES, Finding, Remedy
from hepar.doctor.reading import Reading
from hepar.geometry import Geometry

# A field of view of a body scanner; a scan of an abdomen's part along z. Outside, a unit or an axis is mistaken.
FIELD_MM = (120.0, 900.0)
LENGTH_MM = (15.0, 2200.0)
# Slices of CT are 0.3 to 10 mm apart, 15 in old series; pixels are square.
SLICE_MM = (0.2, 15.0)
SQUARE = 0.02
LOST = "the affine is the identity with voxels of 1 x 1 x 1 mm: true size and place are lost"
FROM_ANOTHER = "take the grid of the same scan from a second data set (--against)"


def image_place(reading: Reading) -> list[Finding]:
    """Findings on the image's own header; none where its place is a plain CT's."""
    grid, subject = reading.grid, reading.subject
    if grid is None:
        return []
    if subject.slices:
        return [_size_unknown(reading)] if subject.layout == "lits512" and not subject.size_known else []
    if is_identity(grid):
        return [
            Finding(reading.id, "identity-affine", "error", LOST, f"grid {_shape(grid)}", f"none alone: {FROM_ANOTHER}")
        ]
    return _spacing(reading.id, grid)


def _size_unknown(reading: Reading) -> Finding:
    message = "scans.csv says 1 x 1 x 1 mm: the true voxel size is unknown, hepar assumes that of its fellows"
    return Finding(reading.id, "spacing-unknown", "warning", message, repair="none: take no mm or mL from this case")


def is_identity(grid: Geometry) -> bool:
    """Spacing exactly 1 mm along every axis, axes straight, origin 0: a header that was never filled in."""
    straight = np.allclose(np.abs(grid.directions).max(axis=0), 1)
    return bool(straight and np.allclose(grid.spacing_mm, 1, atol=1e-6) and np.allclose(grid.affine[:3, 3], 0))


def _spacing(case: str, grid: Geometry) -> list[Finding]:
    turn = grid.axial()
    axial = turn.geometry
    spacing, field = axial.spacing_mm, [n * s for n, s in zip(axial.shape, axial.spacing_mm, strict=True)]
    wrong = []
    if not all(FIELD_MM[0] <= mm <= FIELD_MM[1] for mm in field[1:]):
        wrong.append(f"a field of view of {field[2]:.4g} x {field[1]:.4g} mm")
    if not (SLICE_MM[0] <= spacing[0] <= SLICE_MM[1] and field[0] <= LENGTH_MM[1]):
        wrong.append(f"slices {spacing[0]:.4g} mm apart over {field[0]:.4g} mm")
    if abs(spacing[1] - spacing[2]) > SQUARE * spacing[1]:
        wrong.append(f"pixels of {spacing[2]:.4g} x {spacing[1]:.4g} mm")
    if not wrong:
        return []
    message = "the voxel size is none of a CT of the abdomen: a wrong unit or mistaken axes"
    return [Finding(case, "spacing", "error", message, "; ".join(wrong), f"none alone: {FROM_ANOTHER}")]


def label_place(reading: Reading, *, label_fits: bool) -> list[Finding]:
    """Findings on the label's grid against the image's.

    `label_fits`: voxel by voxel, the label lies on what looks like liver. A
    label that is stored along other axes but lies in the same place is sound
    for tools that read affines, so it is told as a warning.
    """
    image, label = reading.grid, reading.label_grid
    if image is None or label is None or image.same_grid(label):
        return []
    turned_image, turned_label = image.axial().geometry, label.axial().geometry
    if turned_image.same_grid(turned_label, tolerance_mm=0.1):
        message = "image and label lie in one place, but their arrays run along different axes"
        detail = f"image {_axes(image)}, label {_axes(label)}"
        repair = "reorder the label's voxels onto the image's axes"
        return [Finding(reading.id, "label-axes", "warning", message, detail, repair, Remedy(label_to_image=True))]
    if image.shape != label.shape:
        message = "image and label have different numbers of voxels"
        detail = f"image {_shape(image)}, label {_shape(label)}"
        return [Finding(reading.id, "grid-shape", "error", message, detail, "none: get the pair again")]
    what = "the label's affine is the identity, the image's is not" if is_identity(label) else _difference(image, label)
    message = "image and label have the same voxels, but their headers place them differently"
    remedy = Remedy(label_takes_grid=True) if label_fits else None
    repair = "give the label the image's header" if remedy else "none: the label does not lie on liver tissue"
    return [Finding(reading.id, "grid-place", "error", message, what, repair, remedy)]


def _difference(image: Geometry, label: Geometry) -> str:
    wrong = []
    if not np.allclose(image.spacing_mm, label.spacing_mm, atol=1e-3):
        sizes = [" x ".join(f"{s:.4g}" for s in grid.spacing_mm) for grid in (image, label)]
        wrong.append(f"voxels {sizes[0]} mm against {sizes[1]} mm")
    if not np.allclose(image.directions, label.directions, atol=1e-3):
        wrong.append(f"axes {_axes(image)} against {_axes(label)}")
    apart = float(np.linalg.norm(image.affine[:3, 3] - label.affine[:3, 3]))
    if apart > 0.01:
        wrong.append(f"first voxels {apart:.4g} mm apart")
    return "; ".join(wrong) or "by less than the header's rounding shows"


def flipped(grid: Geometry, axes: tuple[bool, bool, bool]) -> Geometry:
    """The grid that covers the same box with these array axes reversed."""
    affine = grid.affine.copy()
    for axis in np.flatnonzero(axes):
        affine[:3, 3] += affine[:3, axis] * (grid.shape[axis] - 1)
        affine[:3, axis] *= -1
    return Geometry(grid.shape, affine)


def repaired_grid(grid: Geometry, remedy: Remedy) -> Geometry:
    """The image's grid after a remedy."""
    grid = remedy.grid or grid
    return flipped(grid, remedy.turn) if remedy.turn != NO_AXES else grid


def _axes(grid: Geometry) -> str:
    """Where the array's axes point, fastest first, as NIfTI tools print it: RAS, LPS."""
    letters = []
    for axis in (2, 1, 0):
        direction = grid.directions[:, axis]
        row = int(np.argmax(np.abs(direction)))
        letters.append(("LPS" if direction[row] > 0 else "RAI")[row])
    return "".join(letters)


def _shape(grid: Geometry) -> str:
    return " x ".join(str(n) for n in grid.shape)
