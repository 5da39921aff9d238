"""The report's numbers agree with shapes whose numbers are known."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from hepar.errors import GeometryMismatch
from hepar.files import write_json
from hepar.geometry import Geometry
from hepar.report.measure import measurements_of, tumour_table, tumours_of, volumes
from hepar.volume import LIVER, TUMOUR, LabelMap, Volume

GRID = Geometry.from_spacing((12, 40, 50), (5.0, 2.0, 1.0), (-10.0, 20.0, 30.0))


def scan(labels: np.ndarray, grid: Geometry = GRID) -> tuple[Volume, LabelMap]:
    values = np.where(labels == TUMOUR, 60, np.where(labels == LIVER, 110, -100)).astype(np.int16)
    return Volume(values, grid), LabelMap(labels.astype(np.uint8), grid)


@pytest.fixture
def labels() -> np.ndarray:
    """A liver of 20 x 30 x 8 voxels with a tumour 6 x 4 x 2, another of a single voxel."""
    made = np.zeros(GRID.shape, dtype=np.uint8)
    made[2:10, 5:25, 5:35] = LIVER
    made[3:5, 8:12, 10:16] = TUMOUR
    made[8, 20, 30] = TUMOUR
    return made


def test_volumes_count_tumours_into_the_liver(labels):
    found = volumes(scan(labels)[1])
    assert found.liver_ml == pytest.approx(8 * 20 * 30 * 10 / 1000)
    assert found.tumour_ml == pytest.approx(49 * 10 / 1000)
    assert found.healthy_ml == pytest.approx(found.liver_ml - found.tumour_ml)
    assert found.burden_percent == pytest.approx(100 * 49 / 4800)


def test_burden_without_liver_is_not_defined():
    assert math.isnan(volumes(scan(np.zeros(GRID.shape))[1]).burden_percent)


def test_burden_without_tumour_is_zero(labels):
    assert volumes(scan(np.minimum(labels, LIVER))[1]).burden_percent == 0


def test_tumours_are_listed_largest_first_with_size_hu_and_place(labels):
    first, second = tumour_table(*scan(labels))
    assert (first.number, second.number) == (1, 2)
    assert first.volume_ml == pytest.approx(0.48)
    assert second.volume_ml == pytest.approx(0.01)
    assert first.mean_hu == 60
    # Index (8, 20, 30) of spacing (5, 2, 1) from origin (-10, 20, 30), as x, y, z.
    assert second.position_mm == pytest.approx((60.0, 60.0, 30.0))
    assert second.axial_slice == 9  # counted from 1


def test_a_row_of_pixels_is_as_long_as_its_pixels():
    row = np.zeros(GRID.shape)
    row[4, 10, 10:21] = TUMOUR
    assert tumour_table(*scan(row))[0].longest_axial_diameter_mm == pytest.approx(11.0, abs=0.2)


def test_a_column_of_slices_is_no_longer_in_the_axial_plane():
    column = np.zeros(GRID.shape)
    column[2:10, 10, 10] = TUMOUR
    assert tumour_table(*scan(column))[0].longest_axial_diameter_mm == pytest.approx(2.0)


def test_the_diameter_of_a_disc_is_its_diameter():
    grid = Geometry.from_spacing((3, 80, 80), (3.0, 0.8, 0.8))
    y, x = np.ogrid[:80, :80]
    labels = np.zeros(grid.shape)
    labels[1] = np.where(np.hypot(y - 40, x - 40) * 0.8 <= 20, TUMOUR, 0)
    assert tumour_table(*scan(labels, grid))[0].longest_axial_diameter_mm == pytest.approx(40, abs=0.9)


def test_voxels_that_touch_by_an_edge_only_are_two_tumours():
    by_edge, by_face = np.zeros(GRID.shape), np.zeros(GRID.shape)
    by_edge[4, 10, 10] = by_edge[4, 11, 11] = TUMOUR
    by_face[4, 10, 10] = by_face[4, 11, 10] = TUMOUR
    assert len(tumour_table(*scan(by_edge))) == 2
    assert len(tumour_table(*scan(by_face))) == 1


def test_the_table_stops_where_asked(labels):
    assert len(tumour_table(*scan(labels), most=1)) == 1


def test_a_turned_scan_has_the_same_tumours(oblique_grid):
    labels = np.zeros(oblique_grid.shape)
    labels[2:7, 2:5, 3:8] = TUMOUR
    ct, found = scan(labels, oblique_grid)
    turned = tumour_table(ct.axial(), found.axial())[0]
    here = tumour_table(ct, found)[0]
    assert here.longest_axial_diameter_mm == pytest.approx(turned.longest_axial_diameter_mm)
    assert here.position_mm == pytest.approx(turned.position_mm)
    assert here.axial_slice == turned.axial_slice
    assert here.volume_ml == pytest.approx(75 * oblique_grid.voxel_volume_mm3 / 1000)


def test_labels_of_another_grid_are_refused(labels):
    ct, _ = scan(labels)
    moved = Geometry.from_spacing(GRID.shape, GRID.spacing_mm, (0, 0, 0))
    with pytest.raises(GeometryMismatch, match="bring the labels back"):
        tumour_table(ct, LabelMap(labels, moved))


def test_json_repeats_the_numbers(labels, tmp_path):
    ct, found = scan(labels)
    measured = volumes(found)
    write_json(tmp_path / "numbers.json", measurements_of(measured, tumour_table(ct, found)))
    read = json.loads((tmp_path / "numbers.json").read_text())
    assert read["volumes"]["tumour_ml"] == pytest.approx(measured.tumour_ml)
    assert read["volumes"]["healthy_ml"] == pytest.approx(measured.healthy_ml)
    assert [(row["number"], row["axial_slice"]) for row in read["tumours"]] == [(1, 5), (2, 9)]


def test_json_writes_an_undefined_burden_as_null(tmp_path):
    ct, found = scan(np.zeros(GRID.shape))
    write_json(tmp_path / "numbers.json", measurements_of(volumes(found), tumour_table(ct, found)))
    read = json.loads((tmp_path / "numbers.json").read_text())
    assert read["volumes"]["burden_percent"] is None
    assert read["tumours"] == []


def test_the_confidence_of_a_tumour_is_its_mean_probability_whatever_the_axes():
    labels = np.zeros((6, 10, 12), np.uint8)
    labels[1:3, 2:5, 2:6], labels[4, 7:9, 8:10] = 2, 2
    probability = np.where(np.arange(12) < 7, 204, 51).astype(np.uint8) * np.ones((6, 10, 1), np.uint8)
    turned = Geometry((6, 10, 12), np.array([[0, 0, -1.0, 0], [0, -1, 0, 0], [2, 0, 0, 0], [0, 0, 0, 1]]))
    for grid in (Geometry.from_spacing((6, 10, 12), (2, 1, 1)), turned):
        ct, found = scan(labels, grid)
        rows = tumour_table(ct, found, probability=probability)
        assert [row.confidence for row in rows] == pytest.approx([0.8, 0.2])
        assert tumour_table(ct, found)[0].confidence is None


def test_both_diameters_are_of_one_slice_which_is_named():
    labels = np.zeros(GRID.shape)
    labels[2:5, 10:13, 10:20] = TUMOUR
    labels[4, 8:16, 6:26] = TUMOUR
    row = tumour_table(*scan(labels))[0]
    assert row.diameter_slice == 5  # counted from 1
    assert row.longest_axial_diameter_mm > row.perpendicular_axial_diameter_mm > 0


def test_numbered_tumours_are_those_of_the_table(labels):
    ct, found = scan(labels)
    tumours = tumours_of(found.axial())
    each, together = tumours.numbered(5), tumours.numbered(1)
    for row in tumour_table(ct, found):
        voxels = np.count_nonzero(each == row.number)
        assert voxels * found.geometry.voxel_volume_mm3 / 1000 == pytest.approx(row.volume_ml)
    assert each.max() == together.max() == 2
    assert np.array_equal(together > 0, found.axial().tumour)


def test_tumours_beyond_the_most_share_a_number():
    labels = np.zeros(GRID.shape)
    for k in range(5):
        labels[2 * k, 5, 3 : 9 - k] = TUMOUR
    numbered = tumours_of(scan(labels)[1].axial()).numbered(3)
    assert [np.count_nonzero(numbered == n) for n in (1, 2, 3, 4, 5)] == [6, 5, 4, 3 + 2, 0]
