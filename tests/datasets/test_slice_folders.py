"""Slices as pictures become scans: grey means HU, the patient's right is on the left, union labels stay union."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hepar.datasets import lits512, open_cases, slice_folder, slices256
from hepar.errors import BadInput

ROWS = [
    {"file": "p1_s004", "patient": "lits001", "slice": 4},
    {"file": "p1_s002", "patient": "lits001", "slice": 2},
    {"file": "p2_s000", "patient": "lits047", "slice": 0},
]


def picture(number: int) -> np.ndarray:
    """20 x 24 grey ramp; each slice brighter than the one before, top left darkest."""
    y, x = np.mgrid[:20, :24]
    return (10 * number + 4 * y + x).astype(np.uint8)


def labels(number: int) -> np.ndarray:
    """Liver on image left, with a tumour of 2 pixels."""
    truth = np.zeros((20, 24), np.uint8)
    truth[5:15, 2:10] = 1
    truth[8, 3 : 5 + (number > 2)] = 2
    return truth


def write_rows(root: Path, rows: list[dict[str, object]]) -> None:
    with (root / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_folder(root: Path, rows: list[dict[str, object]], suffix: str = "") -> Path:
    for part in ("images", "labels"):
        (root / part).mkdir(parents=True, exist_ok=True)
    write_rows(root, rows)
    for number, row in enumerate(rows):
        name = f"{row['file']}{suffix}"
        # Lossless, so that a grey value is what it was.
        options = {"lossless": True} if name.endswith(".webp") else {}
        Image.fromarray(picture(number)).save(root / "images" / name, **options)
        Image.fromarray(labels(number)).save(root / "labels" / f"{Path(name).stem}.png")
    return root


@pytest.fixture
def own(tmp_path) -> Path:
    """A user's own folder: slices.json says what grey means."""
    rows = [row | {"file": f"{row['file']}.png"} for row in ROWS]
    facts = {"name": "own", "low_hu": -100, "high_hu": 410, "pixel_mm": 0.8, "slice_mm": 3}
    root = write_folder(tmp_path / "own", rows)
    (root / "slices.json").write_text(json.dumps(facts))
    return root


@pytest.fixture
def lits(tmp_path) -> Path:
    root = write_folder(tmp_path / "lits", ROWS, ".webp")
    (root / "scans.csv").write_text("patient,x_mm,y_mm,z_mm\nlits001,0.7,0.7,5.0\nlits047,1,1,1\n")
    return root


@pytest.fixture
def slices(tmp_path) -> Path:
    rows = [
        {"file": "idx1_lits001_z081.png", "patient": "lits001", "label_status": "full"},
        {"file": "idx2_lits001_z095.png", "patient": "lits001", "label_status": "liver_union"},
        {"file": "idx3_lits002_z010.png", "patient": "lits002", "label_status": "liver_union"},
    ]
    return write_folder(tmp_path / "slices", rows)


def test_each_folder_is_recognised_as_what_it_is(own, lits, slices, tmp_path):
    kinds = (slice_folder, lits512, slices256)
    assert [[k.recognises(root) for k in kinds] for root in (own, lits, slices)] == [
        [True, False, False],
        [False, True, False],
        [False, False, True],
    ]
    assert [case.id for case in open_cases(lits)] == ["lits512-lits001", "lits512-lits047"]
    for nothing in (tmp_path, tmp_path / "not there"):
        with pytest.raises(BadInput, match="is not a"):
            open_cases(nothing)


def test_slices_are_stacked_headward_whatever_the_order_of_the_rows(own):
    first = slice_folder.cases(own)[0]
    low, high = (-100 + 2 * picture(number).astype(int) for number in (1, 0))  # slices 2 and 4
    assert np.array_equal(first.ct.values, np.stack([low, high]))
    assert np.array_equal(first.truth.labels, np.stack([labels(1), labels(0)]))
    z = first.ct.geometry.directions[:, 0]
    assert z == pytest.approx((0, 0, 1))


def test_grey_is_hu_by_the_folders_own_scale(own, lits, slices):
    at = (0, 3, 7)
    grey = 3 * 4 + 7
    assert slice_folder.cases(own)[1].ct.values[at] == -100 + 2 * (20 + grey)
    assert lits512.cases(lits)[1].ct.values[at] == round(-40 + (20 + grey) * 200 / 255)
    assert slices256.cases(slices)[0].ct.values[at] == grey
    assert slice_folder.cases(own)[0].ct.values.dtype == np.int16


def test_image_left_is_the_patients_right_and_below_is_behind(own):
    truth = slice_folder.cases(own)[0].truth
    liver = truth.geometry.position_mm(np.argwhere(truth.liver)).mean(axis=0)
    middle = truth.geometry.position_mm((0.5, 9.5, 11.5))
    assert liver[0] < middle[0]  # LPS: smaller x is further right
    assert truth.geometry.directions[:, 1] == pytest.approx((0, 1, 0))
    assert np.array_equal(truth.axial().labels, truth.labels)


def test_spacing_is_the_scans_where_it_is_known(own, lits, slices):
    assert slice_folder.cases(own)[0].ct.geometry.spacing_mm == pytest.approx((3, 0.8, 0.8))
    # Every second slice: twice the scan's spacing.
    assert lits512.cases(lits)[0].ct.geometry.spacing_mm == pytest.approx((10, 0.7, 0.7))
    # LiTS 47's header says 1 mm everywhere; that is not believed.
    assert lits512.cases(lits)[1].ct.geometry.spacing_mm == pytest.approx((2, 0.75, 0.75))
    assert slices256.cases(slices)[0].ct.geometry.spacing_mm == pytest.approx((2, 1.56, 1.56))


def test_union_labels_stay_apart_from_full_ones_of_the_same_patient(slices):
    found = [(case.id, case.patient, case.labels, len(case.ct.values)) for case in slices256.cases(slices)]
    assert found == [
        ("slices256-lits001", "lits001", "full", 1),
        ("slices256-lits001-liver_union", "lits001", "liver_union", 1),
        ("slices256-lits002-liver_union", "lits002", "liver_union", 1),
    ]


def test_a_case_says_that_its_values_were_windowed(lits):
    case = lits512.cases(lits)[0]
    assert "8-bit" in case.ct.notes[0]
    assert case.evidence == "real"


def test_listing_cases_reads_no_picture(lits):
    for path in (lits / "images").iterdir():
        path.write_bytes(b"not a picture")
    first = lits512.cases(lits)[0]
    with pytest.raises(BadInput, match=r"p1_s002\.webp is not a readable picture .*remove it or its row"):
        first.read_ct()


def test_a_missing_picture_is_named(own):
    (own / "labels" / "p1_s004.png").unlink()
    case = slice_folder.cases(own)[0]
    assert case.ct.values.shape == (2, 20, 24)
    with pytest.raises(BadInput, match=r"p1_s004\.png is not a readable picture \(FileNotFoundError\)"):
        case.read_truth()


def test_pictures_of_other_sizes_are_named(own):
    Image.fromarray(picture(0)[:10]).save(own / "images" / "p1_s004.png")
    with pytest.raises(BadInput, match=r"p1_s004\.png has 10 x 24 pixels, other slices of its patient 20 x 24"):
        slice_folder.cases(own)[0].read_ct()


def test_unknown_labels_are_refused(own):
    Image.fromarray(labels(0) * 100).save(own / "labels" / "p1_s004.png")
    with pytest.raises(BadInput, match="hold 200; expected 0, 1 and 2"):
        slice_folder.cases(own)[0].read_truth()


BAD_ROWS = {
    "an unknown status": ({"file": "a.png", "patient": "p", "label_status": "union"}, "label_status 'union'"),
    "no patient": ({"file": "a.png", "label_status": "full"}, "'patient'"),
    "no file": ({"patient": "p"}, "'file'"),
    "a slice that is no number": ({"file": "a.png", "patient": "p", "slice": "top"}, "'top'"),
}


@pytest.mark.parametrize("what", BAD_ROWS)
def test_a_bad_manifest_names_its_line(own, what):
    row, message = BAD_ROWS[what]
    write_rows(own, [row])
    with pytest.raises(BadInput, match=rf"line 2 of manifest\.csv of own lacks or garbles .*{message}"):
        open_cases(own)


def test_an_empty_manifest_lists_no_slice(own):
    (own / "manifest.csv").write_text("file,patient\n")
    with pytest.raises(BadInput, match="lists no slice"):
        open_cases(own)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"low_hu": 0, "high_hu": 1}'])
def test_a_bad_scale_is_named(own, text):
    (own / "slices.json").write_text(text)
    with pytest.raises(BadInput, match=r"slices\.json of own"):
        open_cases(own)


def test_the_real_lits_slices_are_all_there(shared_data):
    cases = open_cases(shared_data / "lits512")
    assert len(cases) == len({case.patient for case in cases}) == 26
    assert sum(len(case.read_ct.args[0]) for case in cases) == 2169
    assert {case.labels for case in cases} == {"full"}
    case = next(case for case in cases if case.patient == "lits005")
    ct, truth = case.ct, case.truth
    assert ct.geometry.same_grid(truth.geometry)
    assert (ct.values.min(), ct.values.max()) == (-40, 160)
    # Pictures stand as a radiologist sees them: the liver fills the patient's right.
    centre = truth.geometry.position_mm(np.argwhere(truth.liver)).mean(axis=0)
    assert centre[0] < truth.geometry.position_mm((0, 0, 255.5))[0]


def test_the_real_small_slices_are_all_there_and_partly_union(shared_data):
    cases = open_cases(shared_data / "slices256")
    assert len({case.patient for case in cases}) == 98
    counts = {
        status: sum(len(c.read_ct.args[0]) for c in cases if c.labels == status) for status in ("full", "liver_union")
    }
    assert counts == {"full": 82, "liver_union": 507 - 82}
    union = next(case for case in cases if case.labels == "liver_union")
    assert union.truth.labels.max() == 1


def test_a_patient_has_one_name_in_all_folders(shared_data):
    named = {name: {c.patient for c in open_cases(shared_data / name)} for name in ("lits512", "slices256", "ct")}
    everyone = set().union(*named.values())
    assert all(len(p) == 7 and p.startswith("lits") and p[4:].isdigit() for p in everyone)
    assert named["ct"] == {"lits028"}
    assert len(named["lits512"] & named["slices256"]) > 20
