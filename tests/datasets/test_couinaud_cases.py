from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from hepar.datasets.couinaud import segment_cases
from hepar.errors import BadInput

ROWS = [("p1_s002", "p1", 2), ("p1_s004", "p1", 4), ("p1_s008", "p1", 8), ("p2_s000", "p2", 0)]


def folder(root, segments: dict[str, int], labels: dict[str, int]):
    """Slices of 6 x 8 pixels whose label or segment is one number on the left half."""
    for name in ("images", "labels", "couinaud"):
        (root / name).mkdir()
    (root / "manifest.csv").write_text(
        "file,patient,slice\n" + "".join(f"{name},{patient},{place}\n" for name, patient, place in reversed(ROWS))
    )
    (root / "scans.csv").write_text("patient,x_mm,y_mm,z_mm\np1,0.5,0.5,1.5\np2,0.5,0.5,1.5\n")
    for name, _, _ in ROWS:
        picture(root / "images" / f"{name}.webp", 100)
        picture(root / "labels" / f"{name}.png", labels.get(name, 0))
        if name in segments:
            picture(root / "couinaud" / f"{name}.png", segments[name])
    return root


def picture(path, value, size=(6, 8)):
    pixels = np.zeros(size, np.uint8)
    pixels[:, : size[1] // 2] = value
    Image.fromarray(pixels).save(path)


def test_segments_lie_on_the_slices_of_their_case_in_their_order(tmp_path):
    root = folder(tmp_path, {"p1_s002": 3, "p1_s008": 8}, {"p1_s002": 1, "p1_s008": 2})
    first, second = segment_cases(root)
    truth = first.read_segments()
    assert first.case.patient == "p1"
    assert [int(part.max()) for part in truth.segments.labels] == [3, 0, 8]
    assert truth.segments.geometry.same_grid(first.case.ct.geometry)
    assert second.read_segments().segments.labels.shape == (1, 6, 8)


def test_a_slice_without_picture_shows_no_liver_unless_its_label_says_so(tmp_path):
    root = folder(tmp_path, {"p1_s002": 3}, {"p1_s002": 1, "p1_s008": 2})
    first, second = segment_cases(root)
    # p1_s004 shows no liver; p1_s008 shows some, whose segments nobody drew.
    assert first.read_segments().known.tolist() == [True, True, False]
    assert second.read_segments().known.all()


def test_pictures_of_another_size_or_number_are_refused(tmp_path):
    root = folder(tmp_path, {"p1_s002": 9}, {"p1_s002": 1})
    with pytest.raises(BadInput, match="up to 9"):
        segment_cases(root)[0].read_segments()
    picture(root / "couinaud" / "p1_s002.png", 1, size=(3, 8))
    with pytest.raises(BadInput, match=r"segments in p1_s002\.png have \(3, 8\) pixels"):
        segment_cases(root)[0].read_segments()


def test_a_folder_without_segments_is_named_and_refused(tmp_path):
    with pytest.raises(BadInput, match="holds no Couinaud segments"):
        segment_cases(tmp_path)


def test_real_segments_fill_the_drawn_liver_wherever_they_are_known(shared_data):
    case = next(one for one in segment_cases(shared_data / "lits512") if one.case.patient == "lits041")
    truth, labels = case.read_segments(), case.case.truth
    assert truth.known.all()
    assert np.array_equal(truth.segments.liver, labels.liver)
    assert set(np.unique(truth.segments.labels)) == set(range(9))
