"""Pictures stand as a radiologist reads them, whatever the axis order of the file."""

from __future__ import annotations

import numpy as np
import pytest

from hepar.errors import BadInput, GeometryMismatch
from hepar.geometry import Geometry
from hepar.report.contact_sheet import contact_sheet, key_slices
from hepar.report.pictures import Display, Slice, overlay_picture
from hepar.volume import LIVER, TUMOUR, LabelMap, Volume

GRID = Geometry.from_spacing((20, 60, 80), (4.0, 2.0, 2.0))
PLANES = ("axial", "coronal", "sagittal")


def block(
    grid: Geometry, low: tuple[int, int, int], high: tuple[int, int, int], hu: int = 240
) -> tuple[Volume, LabelMap]:
    """A black scan with one bright block that is liver."""
    values, labels = np.full(grid.shape, -200, np.int16), np.zeros(grid.shape, np.uint8)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    values[box], labels[box] = hu, LIVER
    return Volume(values, grid), LabelMap(labels, grid)


def bare(ct: Volume, plane: str, index: int) -> np.ndarray:
    """Grey values of the picture's middle part, clear of letters and scale bar."""
    picture = overlay_picture(ct, None, Slice(plane, index), Display(size_px=(400, 400)))
    return np.asarray(picture.convert("L"), dtype=float)


def centre(picture: np.ndarray, mask: np.ndarray) -> tuple[float, float]:
    """(row, column) of a mask's centre as a share of the picture."""
    rows, columns = np.nonzero(mask)
    return float(rows.mean() / picture.shape[0]), float(columns.mean() / picture.shape[1])


def greenish(picture: np.ndarray) -> np.ndarray:
    return (picture[..., 1] > 150) & (picture[..., 0] < 130)


def reddish(picture: np.ndarray) -> np.ndarray:
    return (picture[..., 0] > 180) & (picture[..., 1] < 120)


def pixels(ct: Volume, labels: LabelMap, where: Slice) -> np.ndarray:
    return np.asarray(overlay_picture(ct, labels, where), dtype=int)


def test_axial_shows_patient_right_on_the_left_and_anterior_up():
    ct, labels = block(GRID, (5, 10, 10), (15, 22, 25))
    picture = pixels(ct, labels, Slice("axial", 9))
    row, column = centre(picture, greenish(picture))
    assert column < 0.35
    assert row < 0.4


def test_coronal_shows_superior_up_and_patient_right_on_the_left():
    ct, labels = block(GRID, (14, 10, 10), (18, 50, 25))
    picture = pixels(ct, labels, Slice("coronal", 30))
    row, column = centre(picture, greenish(picture))
    assert row < 0.3
    assert column < 0.35


def test_sagittal_shows_anterior_on_the_left_and_superior_up():
    ct, labels = block(GRID, (14, 10, 10), (18, 22, 60))
    picture = pixels(ct, labels, Slice("sagittal", 30))
    row, column = centre(picture, greenish(picture))
    assert row < 0.3
    assert column < 0.4


@pytest.mark.parametrize("plane", PLANES)
def test_a_turned_file_gives_the_same_picture(plane, oblique_grid):
    values = np.random.default_rng(1).integers(-160, 240, oblique_grid.shape).astype(np.int16)
    labels = np.zeros(oblique_grid.shape, np.uint8)
    labels[3:7, 2:5, 4:9] = LIVER
    ct, found = Volume(values, oblique_grid), LabelMap(labels, oblique_grid)
    here = overlay_picture(ct, found, Slice(plane, 3))
    turned = overlay_picture(ct.axial(), found.axial(), Slice(plane, 3))
    assert here.tobytes() == turned.tobytes()


def test_a_mirrored_body_gives_another_picture():
    ct, _ = block(GRID, (5, 10, 10), (15, 22, 25))
    mirrored = ct.with_values(np.ascontiguousarray(ct.values[:, :, ::-1]))
    assert not np.array_equal(bare(ct, "axial", 9), bare(mirrored, "axial", 9))


@pytest.mark.parametrize(("plane", "width_mm", "height_mm"), [("axial", 160, 120), ("coronal", 160, 80)])
def test_a_millimetre_is_as_wide_as_high(plane, width_mm, height_mm):
    ct, labels = block(GRID, (5, 10, 10), (15, 22, 25))
    picture = overlay_picture(ct, labels, Slice(plane, 9))
    assert picture.width / picture.height == pytest.approx(width_mm / height_mm, rel=0.01)


def test_the_scale_bar_is_five_centimetres_long():
    ct, _ = block(GRID, (0, 0, 0), (1, 1, 1))
    picture = overlay_picture(ct, None, Slice("axial", 9), Display(size_px=(640, 640)))
    row = np.asarray(picture.convert("L"))[picture.height - 9]
    assert np.count_nonzero(row > 200) == pytest.approx(50 * 640 / 160, abs=3)


def test_the_window_maps_low_to_black_and_high_to_white():
    ct, _ = block(GRID, (5, 10, 20), (15, 50, 60))
    grey = bare(ct, "axial", 9)
    assert grey[150, 200] > 250
    assert grey[60, 40] < 5
    wide = overlay_picture(ct, None, Slice("axial", 9), Display(window_hu=(-240, 720), size_px=(400, 400)))
    assert np.asarray(wide.convert("L"))[150, 200] == pytest.approx(127, abs=3)


def test_tumour_is_outlined_in_red_inside_the_green_liver():
    ct, labels = block(GRID, (5, 10, 10), (15, 50, 60), hu=40)
    marked = labels.labels.copy()
    marked[8:11, 25:35, 30:40] = TUMOUR
    picture = pixels(ct, labels.with_labels(marked), Slice("axial", 9))
    assert greenish(picture).any()
    assert reddish(picture).any()
    rows, columns = np.nonzero(greenish(picture))
    red_rows, red_columns = np.nonzero(reddish(picture))
    assert rows.min() < red_rows.min() and red_rows.max() < rows.max()
    assert columns.min() < red_columns.min() and red_columns.max() < columns.max()
    without = pixels(ct, labels, Slice("axial", 9))
    assert not reddish(without).any()
    # The liver includes its tumours: no second green line runs round a tumour inside it.
    assert greenish(picture).sum() == greenish(without).sum()


def test_contours_are_thin_however_coarse_the_voxels():
    ct, labels = block(GRID, (5, 10, 10), (15, 50, 60), hu=40)
    picture = pixels(ct, labels, Slice("axial", 9))
    row = greenish(picture)[picture.shape[0] // 2]
    # Two crossings of the contour, each thinner than a voxel (8 pixels here).
    assert 2 <= np.count_nonzero(row) <= 8


def test_a_slice_outside_the_scan_is_refused():
    ct, labels = block(GRID, (5, 10, 10), (15, 22, 25))
    with pytest.raises(BadInput, match="use 0 to 19"):
        overlay_picture(ct, labels, Slice("axial", 20))


def test_labels_of_another_grid_are_refused():
    ct, labels = block(GRID, (5, 10, 10), (15, 22, 25))
    moved = Geometry.from_spacing(GRID.shape, GRID.spacing_mm, (1, 0, 0))
    with pytest.raises(GeometryMismatch, match="onto"):
        overlay_picture(ct, LabelMap(labels.labels, moved), Slice("axial", 9))


def test_a_window_without_width_is_refused():
    with pytest.raises(BadInput, match="low to high"):
        Display(window_hu=(40, 40))


def test_key_slices_hold_the_largest_tumour_and_the_largest_liver_area():
    ct, labels = block(GRID, (2, 10, 10), (18, 40, 40))
    marked = labels.labels.copy()
    marked[6, 10:50, 10:60] = LIVER
    marked[13, 20:30, 20:30] = TUMOUR
    chosen = dict((why, where) for where, why in key_slices(ct, labels.with_labels(marked)))
    assert chosen["largest tumour area"].index == 13
    assert chosen["largest liver area"].index == 6
    assert chosen["coronal, largest tumour area"].plane == "coronal"
    assert len(chosen) == 6


def test_key_slices_show_tumours_that_the_largest_ones_hide():
    ct, labels = block(GRID, (2, 10, 10), (18, 40, 40))
    marked = labels.labels.copy()
    marked[12:15, 15:30, 15:30] = TUMOUR
    marked[4, 20, 20] = TUMOUR
    heights = {where.index: why for where, why in key_slices(ct, labels.with_labels(marked))}
    assert heights[4] == "another tumour"
    assert list(heights.values()).count("another tumour") == 1


def test_key_slices_go_from_head_to_feet_and_never_repeat():
    ct, labels = block(GRID, (2, 10, 10), (18, 40, 40))
    heights = [where.index for where, _ in key_slices(ct, labels) if where.plane == "axial"]
    assert heights == sorted(set(heights), reverse=True)


def test_a_scan_without_liver_still_has_a_sheet():
    ct, labels = block(GRID, (2, 10, 10), (18, 40, 40))
    nothing = labels.with_labels(np.zeros_like(labels.labels))
    assert all("liver" not in why for _, why in key_slices(ct, nothing))
    assert contact_sheet(ct, nothing).width > 1000


def test_one_slice_is_enough_for_a_sheet():
    grid = Geometry.from_spacing((1, 30, 30), (5, 3, 3))
    ct, labels = block(grid, (0, 5, 5), (1, 15, 15))
    assert contact_sheet(ct, labels).height > 100


def test_truth_stands_beside_what_was_found():
    ct, labels = block(GRID, (2, 10, 10), (18, 40, 40), hu=40)
    marked = labels.labels.copy()
    marked[9:12, 20:30, 20:30] = TUMOUR
    truth = labels.with_labels(marked)
    sheet = np.asarray(contact_sheet(ct, labels, truth), dtype=int)[:-30]
    quarter = sheet.shape[1] // 4
    found_half, truth_half = sheet[:, :quarter], sheet[:, quarter : 2 * quarter]
    assert not reddish(found_half).any()
    assert reddish(truth_half).any()


def test_a_real_scan_shows_liver_left_and_spine_below(shared_data):
    nib = pytest.importorskip("nibabel")
    files = [shared_data / "ct" / f"ircad01_{kind}.nii.gz" for kind in ("ct", "label")]
    images = [nib.load(f) for f in files]
    grid = Geometry.from_nifti(images[0].shape, images[0].affine)
    ct = Volume(np.asarray(images[0].dataobj).T.astype(np.int16), grid)
    labels = LabelMap(np.asarray(images[1].dataobj).T.astype(np.uint8), grid)
    where = next(w for w, why in key_slices(ct, labels) if why == "largest liver area")
    picture = pixels(ct, labels, where)
    assert centre(picture, greenish(picture))[1] < 0.45
    # The vertebra is the bright thing in the middle third.
    bone = np.asarray(overlay_picture(ct, None, where, Display(window_hu=(250, 500))).convert("L"))
    third = bone[30:-30, bone.shape[1] // 3 : 2 * bone.shape[1] // 3]
    assert centre(third, third > 200)[0] > 0.5
