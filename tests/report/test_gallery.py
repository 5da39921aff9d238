"""Galleries: the slices that show what is wrong, four outlines that hide nothing, and nothing in a repository."""

from __future__ import annotations

import re

import numpy as np
import pytest
from PIL import Image

from hepar.errors import BadInput, GeometryMismatch
from hepar.geometry import Geometry
from hepar.report.gallery import (
    FOUND_LIVER,
    FOUND_TUMOUR,
    LOOK,
    TRUTH_LIVER,
    TRUTH_TUMOUR,
    Shown,
    captioned,
    largest_view,
    outlined,
    pair,
    sheet_of,
    worst_view,
    write_gallery,
)
from hepar.report.pictures import Slice
from hepar.volume import LIVER, TUMOUR, LabelMap, Volume

GRID = Geometry.from_spacing((6, 60, 80), (5, 2, 2))


def labels(*boxes: tuple[int, tuple[int, int, int, int, int, int]], grid: Geometry = GRID) -> LabelMap:
    values = np.zeros(grid.shape, np.uint8)
    for label, (z0, z1, y0, y1, x0, x1) in boxes:
        values[z0:z1, y0:y1, x0:x1] = label
    return LabelMap(values, grid)


TRUTH = labels((1, (1, 5, 10, 50, 10, 50)), (2, (3, 5, 20, 30, 20, 30)))
FOUND = labels((1, (1, 5, 10, 50, 10, 56)), (2, (2, 3, 34, 42, 36, 46)))
CT = Volume(np.full(GRID.shape, 60, np.int16), GRID)


def item(truth: LabelMap = TRUTH, found: LabelMap = FOUND, ct: Volume = CT) -> Shown:
    views = ((Slice("axial", 3), "largest tumour area"), (Slice("coronal", 25), "coronal"))
    return Shown(ct, truth, found, "phantom-1 (test)", ("liver Dice 0.9", "fold 1, model@abc"), views)


def shows(picture: Image.Image, colour: tuple[int, int, int]) -> int:
    near = np.abs(np.asarray(picture.convert("RGB")).astype(int) - colour).max(axis=-1) < 60
    return int(near.sum())


def test_views_are_the_slices_with_most_of_it_and_most_wrong_of_it():
    assert largest_view(TRUTH, TUMOUR) == Slice("axial", 3)
    assert worst_view(TRUTH, FOUND, TUMOUR) == Slice("axial", 3)
    assert worst_view(TRUTH, FOUND, LIVER) == Slice("axial", 1)
    assert largest_view(TRUTH, TUMOUR, "coronal") == Slice("coronal", 20)
    assert worst_view(TRUTH, TRUTH, LIVER) is None
    assert largest_view(labels(), LIVER) is None


def test_a_scan_stored_otherwise_gives_the_same_views_and_pictures():
    affine = GRID.affine.copy()
    affine[:3, 3] += affine[:3, 0] * 5 + affine[:3, 2] * 79
    affine[:3, [0, 2]] *= -1
    grid = Geometry(GRID.shape, affine)
    turned = [LabelMap(np.ascontiguousarray(m.labels[::-1, :, ::-1]), grid) for m in (TRUTH, FOUND)]
    assert worst_view(*turned, TUMOUR) == worst_view(TRUTH, FOUND, TUMOUR)
    here, there = pair(item(), Slice("axial", 3)), pair(item(*turned, Volume(CT.values, grid)), Slice("axial", 3))
    assert np.array_equal(np.asarray(here), np.asarray(there))


def test_truth_and_result_have_outlines_of_their_own_and_no_fill():
    picture = outlined(CT, TRUTH, FOUND, Slice("axial", 3))
    assert shows(picture, TRUTH_LIVER) > 100
    assert shows(picture, FOUND_LIVER) > 100
    assert shows(picture, TRUTH_TUMOUR) > 50
    assert shows(picture, FOUND_TUMOUR) == 0  # on the slice below
    assert shows(outlined(CT, TRUTH, FOUND, Slice("axial", 2)), FOUND_TUMOUR) > 50
    # The middle of liver and tumour is the CT's own grey: 60 HU stands in the middle of the window.
    scale = picture.width / 80
    inside = np.asarray(picture)[int(25 * scale), int(25 * scale)]
    assert np.abs(inside.astype(int) - 127).max() <= 2


def test_where_truth_and_result_agree_both_are_seen():
    picture = outlined(CT, TRUTH, TRUTH, Slice("axial", 3))
    assert shows(picture, TRUTH_LIVER) > 50
    assert shows(picture, FOUND_LIVER) > 50


@pytest.mark.parametrize("where", [Slice("axial", 4), Slice("coronal", 22), Slice("sagittal", 24)])
def test_outlines_surround_what_they_mark_in_every_plane(where):
    tumour = labels((1, (1, 6, 10, 50, 10, 50)), (2, (4, 6, 20, 30, 20, 30)))
    ct = Volume(np.where(tumour.tumour, 160, -40).astype(np.int16), GRID)
    picture = np.asarray(outlined(ct, tumour, tumour, where)).astype(int)
    white = np.argwhere(picture.min(axis=-1) > 250)
    white = white[(white[:, 1] > 40) & (white[:, 1] < picture.shape[1] - 40)]
    red = np.argwhere(np.abs(picture - FOUND_TUMOUR).max(axis=-1) < 80)
    # The tumour's white middle lies in the middle of its outline: up and down as left and right.
    assert np.median(white, axis=0) == pytest.approx((red.min(axis=0) + red.max(axis=0)) / 2, abs=12)


def test_millimetres_are_as_wide_as_high_in_coronal_views():
    picture = pair(item(), Slice("coronal", 25))
    half = np.asarray(picture.crop((0, 0, LOOK.size_px[0], picture.height)).convert("L"))
    rows, columns = np.flatnonzero((half > 100).any(axis=1)), np.flatnonzero((half > 100).any(axis=0))
    # The whole scan but 1 cm: 6 slices of 5 mm; liver of 10..56 and 3 cm of margin, in columns of 2 mm.
    high, wide = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
    assert wide / high == pytest.approx((71 * 2) / 30, rel=0.05)


def test_the_cut_around_the_labels_keeps_the_slice_number_and_the_orientation():
    truth = labels((1, (2, 4, 30, 34, 60, 70)))
    values = CT.values.copy()
    values[3, 30, 70:] = 400
    picture = np.asarray(pair(item(truth, truth, Volume(values, GRID)), Slice("axial", 3)).convert("L"))
    bare = picture[:, : LOOK.size_px[0]]
    bright = np.argwhere(bare == 255)
    # What lies to the left of the patient is on the right of the picture.
    assert np.median(bright[:, 1]) > LOOK.size_px[0] / 2


def test_maps_on_other_grids_are_refused():
    other = labels(grid=Geometry.from_spacing((6, 60, 80), (5, 2, 2), (1, 0, 0)))
    with pytest.raises(GeometryMismatch, match="prediction on"):
        outlined(CT, TRUTH, other, Slice("axial", 3))


def test_captions_tell_case_reason_and_facts_and_never_leave_the_tile():
    short = captioned(item(), 0)
    plain = pair(item(), item().views[0][0])
    assert short.width == plain.width
    assert short.height > plain.height
    long = Shown(CT, TRUTH, FOUND, "a very long name " * 20, ("fact " * 60,), item().views)
    assert captioned(long, 0).width == plain.width


def test_a_gallery_is_sheets_and_one_page_that_needs_no_network(tmp_path):
    names = [f"phantom-{number} <{number}>" for number in range(5)]
    items = [Shown(CT, TRUTH, FOUND, name, ("liver Dice 0.9", "fold 0"), item().views) for name in names]
    paths = write_gallery(iter(items), tmp_path / "out", "Left-out & looked at")
    assert [path.name for path in paths] == ["sheet1.png", "sheet2.png", "gallery.html"]
    page = paths[-1].read_text(encoding="utf-8")
    assert "Left-out &amp; looked at" in page
    assert "phantom-4 &lt;4&gt;" in page
    assert re.findall(r'src="([^"]+)"', page) == ["sheet1.png", "sheet2.png"]
    assert "http" not in page.replace("http-equiv", "")
    with Image.open(paths[0]) as first, Image.open(paths[1]) as second:
        assert first.width == second.width
        assert first.height > second.height


def test_pictures_of_patients_stay_out_of_repositories(tmp_path):
    (tmp_path / "code" / ".git").mkdir(parents=True)
    with pytest.raises(BadInput, match="lies in a git repository; pictures of real CT stay out of it"):
        write_gallery([item()], tmp_path / "code" / "runs" / "gallery", "no")
    assert not (tmp_path / "code" / "runs").exists()
    with pytest.raises(BadInput, match="no case to show"):
        write_gallery([], tmp_path / "elsewhere", "no")
    with pytest.raises(BadInput, match="no case to show"):
        sheet_of([])
