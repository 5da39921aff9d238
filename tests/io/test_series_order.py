"""Slices are sorted by where they lie: whatever files are called, however patient and scan are turned."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from series_files import SeriesFiles

from hepar.io.series.diagnosis import examine
from hepar.io.series.header import entry, seconds
from hepar.io.series.reading import read_series
from hepar.io.series.scanning import scan
from hepar.io.series.slices import Passed, Slice, Tags
from hepar.io.series.stack import stacked

SMALL = SeriesFiles(count=7, size=(5, 6), pixel_mm=(20.0, 24.0), gap_mm=8.0)
AXES = [np.array(axis, float) for axis in ((1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1))]


def a_slice(position, row=(1.0, 0, 0), column=(0, 1.0, 0), name="a", instance=None) -> Slice:
    orientation = np.array([*row, *column], float)
    tags = Tags(instance=instance)
    return Slice(name, (), "1", 1, 4, 4, np.ones(2), np.asarray(position, float), orientation, 1.0, 0.0, 1.0, tags)


@st.composite
def turns(draw) -> tuple[np.ndarray, np.ndarray]:
    """Row and column direction of any scan: an axis pair with signs, then turned obliquely."""
    row = draw(st.sampled_from(AXES))
    column = draw(st.sampled_from([axis for axis in AXES if axis @ row == 0]))
    angles = draw(st.tuples(*[st.floats(-0.6, 0.6) for _ in range(3)]))
    turn = np.eye(3)
    for axis, angle in enumerate(angles):
        a, b = [k for k in range(3) if k != axis]
        one = np.eye(3)
        one[[a, a, b, b], [a, b, a, b]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
        turn = one @ turn
    return turn @ row, turn @ column


@given(turns(), st.permutations(range(9)), st.floats(0.4, 9), st.floats(-300, 300))
@settings(max_examples=60, deadline=None)
def test_any_order_of_any_orientation_gives_the_same_stack(turn, shuffled, gap, start):
    row, column = turn
    normal = np.cross(row, column)
    made = [a_slice(normal * (start + gap * k), row, column, f"{shuffled[k]}") for k in range(9)]
    stack = stacked([made[k] for k in shuffled])
    assert [one.file for one in stack.slices] == [one.file for one in made]
    assert stack.heights_mm == pytest.approx(gap * np.arange(9), abs=1e-6)
    assert stack.is_even and stack.off_line_mm < 1e-6 and stack.tilt_degrees < 1e-4


@given(turns(), st.floats(-30, 30), st.permutations(range(9)))
@settings(max_examples=40, deadline=None)
def test_tilt_is_measured_in_any_orientation(turn, degrees, shuffled):
    row, column = turn
    step = np.cross(row, column) * 3 + column * 3 * np.tan(np.radians(degrees))
    stack = stacked([a_slice(step * k, row, column, f"{k}") for k in shuffled])
    assert stack.tilt_degrees == pytest.approx(abs(degrees), abs=1e-6)
    assert stack.drift == pytest.approx([np.tan(np.radians(degrees)), 0], abs=1e-6)


@given(st.permutations(range(12)), st.sets(st.integers(1, 10), min_size=1, max_size=3))
@settings(max_examples=40, deadline=None)
def test_a_hole_is_where_it_is_whatever_the_order(shuffled, missing):
    stack = stacked([a_slice((0, 0, 2.0 * k), name=f"{k}") for k in shuffled if k not in missing])
    assert not stack.is_even
    assert sorted({round(h / 2) for h in stack.heights_mm} ^ set(range(12))) == sorted(missing)


def test_slices_at_one_height_stand_by_instance_number():
    made = [a_slice((0, 0, z), name=f"{20 - n:02d}", instance=n) for z, n in [(0, 9), (0.004, 2), (5, 1), (4.996, 7)]]
    assert [one.tags.instance for one in stacked(made).slices] == [2, 9, 1, 7]
    assert [[one.tags.instance for one in level] for level in stacked(made).levels()] == [[2, 9], [1, 7]]


@given(turns(), st.permutations(range(7)))
@settings(max_examples=8, deadline=None)
def test_files_in_any_order_and_orientation_give_one_volume(turn, shuffled):
    row, column = turn
    series = SMALL.but(row=tuple(row), column=tuple(column))
    with tempfile.TemporaryDirectory() as folder:
        series.write(Path(folder), order=shuffled)
        (one,) = examine(folder).series
        reading = read_series(one)
    assert reading.findings == ()
    assert np.array_equal(reading.volume.values, [series.hu(k) for k in range(7)])
    for index in ((0, 0, 0), (6, 4, 5), (3, 1, 2)):
        place = series.pixels_mm(index[0])[index[1], index[2]]
        assert reading.volume.geometry.position_mm(index) == pytest.approx(place, abs=1e-4)


@pytest.mark.parametrize("flip", ["head first", "feet first", "prone"])
def test_a_flipped_patient_is_not_mirrored(tmp_path, flip):
    row, column = {
        "head first": ((1, 0, 0), (0, 1, 0)),
        "feet first": ((-1, 0, 0), (0, 1, 0)),
        "prone": ((-1, 0, 0), (0, -1, 0)),
    }[flip]
    series = SeriesFiles(count=9, size=(24, 30), pixel_mm=(4, 4), gap_mm=8, row=row, column=column)
    # A second look from the side: only where places are right do all orientations show the same.
    series.write(tmp_path)
    (one,) = examine(tmp_path).series
    ct = read_series(one).volume.axial()
    z, y, x = np.argwhere(ct.values == 110).mean(axis=0)
    assert ct.geometry.position_mm((z, y, x)) == pytest.approx(series.middle_mm, abs=2.5)
    assert np.diag(ct.geometry.directions[::-1]) == pytest.approx([1, 1, 1], abs=1e-6)


# Scanning


def test_the_order_of_files_on_disk_does_not_matter(tmp_path, monkeypatch):
    import os

    SMALL.write(tmp_path / "a")
    SMALL.but(uid="1.2.3", number=8).write(tmp_path / "b")
    here = [(one.series.name, [str(s.file) for s in one.stack.slices]) for one in examine(tmp_path).series]
    honest = os.walk

    def backwards(root):
        for folder, subfolders, names in honest(root):
            subfolders.reverse()
            yield folder, subfolders, names[::-1]

    monkeypatch.setattr(os, "walk", backwards)
    there = [(one.series.name, [str(s.file) for s in one.stack.slices]) for one in examine(tmp_path).series]
    assert here == there


def test_what_is_no_ct_slice_is_counted_by_kind(tmp_path):
    SMALL.write(tmp_path)
    (tmp_path / "readme.txt").write_text("hello")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG" + bytes(200))
    (tmp_path / "empty").touch()
    SMALL.but(tags={"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, at=(0,), name="scout").write(tmp_path)
    SMALL.but(tags={"Modality": "SR"}, at=(0,), name="report").write(tmp_path)
    SMALL.but(tags={"Modality": "PT"}, at=(0, 1), name="pet").write(tmp_path)
    found = scan(tmp_path)
    assert len(found.slices) == 7
    assert found.passed == {
        "PT images": 2, "localizers": 1, "no DICOM": 3, "reports and objects beside images": 1,
    }  # fmt: skip


def test_headers_alone_are_read(tmp_path):
    """A file cut off in its pixels is found as a slice; only reading notices."""
    files = SMALL.write(tmp_path)
    whole = files[2].read_bytes()
    files[2].write_bytes(whole[:-30])
    assert len(examine(tmp_path).series[0].stack.slices) == 7


def test_an_entry_says_what_a_file_is(tmp_path):
    (file,) = SMALL.but(at=(3,), tags={"AcquisitionTime": "101530.5", "GantryDetectorTilt": 2}).write(tmp_path)
    with file.open("rb") as opened:
        one = entry(opened, file, ())
    assert isinstance(one, Slice)
    assert one.tags.moment_s == 10 * 3600 + 15 * 60 + 30.5
    assert (one.tags.tilt_degrees, one.tags.instance, one.tags.modality) == (2.0, 1, "CT")
    with (Path(__file__)).open("rb") as opened:
        assert entry(opened, file, ()) == Passed("no DICOM")


@pytest.mark.parametrize(("text", "value"), [("10", 36000), ("1015", 36900), ("101530", 36930), ("000000.25", 0.25)])
def test_dicom_times_may_end_early(text, value):
    assert seconds(text) == value


def test_what_is_no_time_is_none():
    with pytest.raises(ValueError, match="no time"):
        seconds("")


def test_no_text_of_the_header_is_kept(tmp_path):
    tags = {"SeriesDescription": "Doe^John portal", "ImageComments": "born 1951", "ProtocolName": "Doe abdomen"}
    SMALL.but(tags=tags).write(tmp_path)
    for one in scan(tmp_path).slices:
        assert one.tags.words == {"portal", "venous", "abdomen"}
        kept = repr(one)
        assert not any(secret in kept.replace(str(tmp_path), "") for secret in ("Doe", "John", "1951", "Secret"))
