"""What of the slices' headers an export repeats, and what stands in for identifiers that are missing."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pydicom
import pytest
from exported_series import SCAN, diagnosed, source_from
from hypothesis import given
from hypothesis import strategies as st

from hepar.errors import BadInput
from hepar.io.exports.source import CT_IMAGE, source_of
from hepar.io.exports.uids import uid_from
from hepar.io.series.diagnosis import examine

UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_uids_are_valid_and_the_same_each_time(parts):
    made = uid_from(*parts)
    assert re.fullmatch(r"2\.25\.[1-9][0-9]{0,38}", made)
    assert made == uid_from(*parts)


@given(st.lists(st.text(), max_size=3), st.lists(st.text(), max_size=3))
def test_different_texts_have_different_uids(one, other):
    assert (uid_from(*one) == uid_from(*other)) == (one == other)


def test_texts_that_join_to_the_same_are_still_different():
    assert uid_from("ab", "c") != uid_from("a", "bc")


def test_identifiers_of_the_files_are_kept_and_nothing_is_noted(source):
    first = source.headers[0]
    assert source.notes == ()
    assert (first.StudyInstanceUID, first.SeriesInstanceUID) == (SCAN.study, SCAN.uid)
    assert first.FrameOfReferenceUID == f"{SCAN.study}.7"
    assert [one.SOPInstanceUID for one in source.headers] == [f"{SCAN.uid}.{1 + k}" for k in range(12)]
    assert (str(first.PatientName), first.PatientID) == ("Secret^Name", "SecretId")


def test_slices_stand_in_the_order_of_the_volume_however_files_are_named(source):
    expected = np.array([SCAN.position_mm(k) for k in range(12)])
    assert source.shape == (12, *SCAN.size)
    assert np.allclose(source.places_mm(), expected, atol=1e-5)


def test_a_slice_is_found_by_its_place_and_a_stray_place_finds_none(source):
    at = SCAN.position_mm(4)
    assert source.slice_at(at) == 4
    assert source.slice_at(at + np.array([0, 0, 0.005])) == 4
    assert source.slice_at(at + np.array([0, 0, 0.3])) is None


@pytest.mark.parametrize("tag", UIDS)
def test_a_missing_identifier_is_made_noted_and_the_same_each_time(tmp_path, tag):
    scan = SCAN.but(tags={tag: ""})
    once, again = source_from(tmp_path / "a", scan), source_from(tmp_path / "elsewhere" / "b", scan)
    made = [getattr(one, tag) for one in once.headers]
    assert made == [getattr(one, tag) for one in again.headers]
    assert all(uid.startswith("2.25.") for uid in made)
    assert len(set(made)) == (12 if tag == "SOPInstanceUID" else 1)
    assert len(once.notes) == 1 and f"the files lack {tag}: made from their content" in once.notes[0]


def test_other_pixels_have_other_made_identifiers(tmp_path):
    bare = SCAN.but(tags={tag: "" for tag in UIDS})
    one, other = source_from(tmp_path / "a", bare), source_from(tmp_path / "b", bare.but(add_hu=1))
    for tag in UIDS:
        assert getattr(one.headers[0], tag) != getattr(other.headers[0], tag)
    assert one.notes == other.notes
    assert all(tag in one.notes[0] for tag in UIDS)


def test_an_empty_class_is_referred_to_as_ct_and_noted(tmp_path):
    found = source_from(tmp_path, SCAN.but(tags={"SOPClassUID": ""}))
    assert {one.SOPClassUID for one in found.headers} == {CT_IMAGE}
    assert found.notes == ("SOPClassUID is empty in 12 slices: referred to as CT Image Storage",)


def test_instances_that_share_an_identifier_get_their_own(tmp_path):
    found = source_from(tmp_path, SCAN.but(tags={"SOPInstanceUID": "1.2.3"}))
    assert len({one.SOPInstanceUID for one in found.headers}) == 12
    assert "SOPInstanceUID" in found.notes[0]


@pytest.mark.parametrize(
    ("tag", "value", "kept"),
    [
        ("PatientBirthDate", "19700100", ""),
        ("PatientBirthDate", "19700131", "19700131"),
        ("StudyTime", "9999", ""),
        ("PatientSex", "unknown", ""),
        ("PatientSex", "F", "F"),
        ("StudyDescription", "Abdomen", "Abdomen"),
    ],
)
def test_values_that_the_standard_does_not_allow_are_left_empty(tmp_path, tag, value, kept, recwarn):
    found = source_from(tmp_path, SCAN.but(edit=_raw(tag, value)))
    assert str(getattr(found.headers[0], tag)) == kept


def _raw(tag: str, value: str):
    """As an odd archive writes it, past pydicom's own checks."""

    def edit(k: int, data: pydicom.Dataset) -> None:
        element = pydicom.DataElement(tag, "LO", value)
        element.VR = pydicom.datadict.dictionary_VR(tag)
        data[element.tag] = element

    return edit


def test_names_in_other_alphabets_survive(tmp_path):
    name = "Yamada^Tarou=山田^太郎"
    found = source_from(tmp_path, SCAN.but(tags={"SpecificCharacterSet": "ISO_IR 192", "PatientName": name}))
    assert str(found.headers[0].PatientName) == name
    assert found.headers[0].SpecificCharacterSet == "ISO_IR 192"


def test_files_that_vanish_are_told_without_names(tmp_path):
    one = diagnosed(tmp_path / "Doe_Jane")
    shutil.rmtree(tmp_path / "Doe_Jane")
    with pytest.raises(BadInput, match="could be read but not exported") as error:
        source_of(one.series, one.stack.slices)
    assert "Doe" not in str(error.value)


def test_the_series_without_classes_and_identifiers_is_read(shared_data):
    (one,) = examine(shared_data / "dicom" / "abdomen_jpeg2000").series
    found = source_of(one.series, one.stack.slices)
    assert found.shape == (20, 512, 512)
    assert "StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID" in found.notes[0]
    assert "SOPClassUID is empty in 20 slices" in found.notes[1]
