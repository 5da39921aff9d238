"""Both sides come on one grid, or the error shows how the grids differ and what to type."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from label_files import GRID, blob

from hepar.errors import GeometryMismatch
from hepar.geometry import Geometry
from hepar.predictions import LabelMapping, open_predictions, read_pair
from hepar.volume import LabelMap


def pair(files, grid: Geometry, values: np.ndarray, resample="none"):
    (truth,) = open_predictions(files.save("truth/a.nii.gz")).sources.values()
    (found,) = open_predictions(files.save("found/a.nii.gz", values, grid)).sources.values()
    return read_pair(truth, found, resample)


def turned() -> tuple[Geometry, np.ndarray]:
    """The blob stored as RAS: x and y reversed, in the same places."""
    affine = GRID.affine.copy()
    affine[:3, 3] = GRID.position_mm((0, 5, 7))
    affine[:3, 1:3] *= -1
    return Geometry(GRID.shape, affine), blob()[:, ::-1, ::-1]


def test_one_grid_needs_nothing(files):
    read = pair(files, GRID, blob())
    assert (read.truth.labels == read.found.labels).all()
    assert (read.header_spacing_mm, read.notes) == ((5, 2, 1), ())


def test_a_shift_is_an_error_that_tells_it(files):
    there = Geometry.from_spacing(GRID.shape, (5, 2, 1), (-697.5, -20, -30))
    with pytest.raises(GeometryMismatch) as error:
        pair(files, there, blob())
    assert str(error.value) == (
        "'a.nii.gz' lies on another grid than its truth: shifted by (0, 0, 2.5) mm (left, back, head). Write "
        "predictions on the scan's grid, or use --resample nearest; if only the header is wrong and voxel indices "
        "agree, --resample by-index (the official scorer does so)"
    )


def test_nearest_moves_labels_onto_the_truths_grid(files):
    there = Geometry.from_spacing(GRID.shape, (5, 2, 1), (-695, -20, -30))
    read = pair(files, there, blob(), "nearest")
    assert read.found.geometry.same_grid(GRID)
    assert (read.found.labels[1:] == blob()[:-1]).all()
    assert "resampled to the truth's grid by nearest neighbour; shifted by (0, 0, 5) mm" in read.notes[0]


def test_the_same_voxels_in_another_order_need_a_word_and_lose_nothing(files):
    with pytest.raises(
        GeometryMismatch, match="stored in reverse along y, x; the voxels lie in the same places"
    ) as error:
        pair(files, *turned())
    assert "by-index" not in str(error.value)
    read = pair(files, *turned(), "nearest")
    assert (read.found.labels == blob()).all()
    assert "reordered without interpolation" in read.notes[0]


def test_reordering_agrees_with_nearest_neighbour(files):
    grid, values = turned()
    read = pair(files, grid, values, "nearest")
    assert (LabelMap(np.ascontiguousarray(values), grid).onto(GRID).labels == read.found.labels).all()


def test_by_index_trusts_the_voxels_over_the_header(files):
    there = Geometry(GRID.shape, np.eye(4))
    read = pair(files, there, blob(), "by-index")
    assert (read.found.labels == blob()).all()
    assert read.found.geometry.same_grid(GRID)
    assert "voxels taken by index, though its header says" in read.notes[0]


def test_by_index_needs_equal_shapes(files):
    there = Geometry.from_spacing((3, 6, 8), (5, 2, 1), (-700, -20, -30))
    with pytest.raises(GeometryMismatch, match=r"shape \(3, 6, 8\) against \(4, 6, 8\).*only where shapes are equal"):
        pair(files, there, blob()[:3], "by-index")
    with pytest.raises(GeometryMismatch) as error:
        pair(files, there, blob()[:3])
    assert "by-index" not in str(error.value)


def test_the_spacing_that_counts_is_the_truths_header(files):
    import nibabel

    image = nibabel.Nifti1Image(blob().T, np.eye(4))
    image.header["pixdim"][1:4] = (0.7, 0.8, 2.5)
    nibabel.save(image, files.root / "truth.nii.gz")
    (truth,) = open_predictions(files.root / "truth.nii.gz").sources.values()
    (found,) = open_predictions(
        files.save("found.nii.gz", grid=Geometry.from_nifti((8, 6, 4), np.eye(4)))
    ).sources.values()
    read = read_pair(truth, found)
    assert read.header_spacing_mm == pytest.approx((2.5, 0.8, 0.7))


def test_a_pair_of_bytes_takes_little_more_than_its_own_size(files):
    shape = (60, 256, 256)
    grid = Geometry.from_spacing(shape, (1, 1, 1))
    values = np.zeros(shape, np.uint8)
    values[20:40, 50:200, 50:200] = 5
    values[25:30, 90:120, 90:120] = 7
    mapping = LabelMapping.parse("5=1,7=2")
    sources = [
        next(iter(open_predictions(files.save(name, values, grid), mapping).sources.values()))
        for name in ("t.nii", "f.nii")
    ]
    tracemalloc.start()
    read = read_pair(*sources)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert read.truth.labels.max() == 2
    assert peak < 1.3 * 2 * values.nbytes
