"""Any label values become 0, 1, 2, or an error that says what to type."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepar.errors import BadInput
from hepar.geometry import Geometry
from hepar.io.stored import Stored
from hepar.predictions.mapping import LabelMapping, mapped
from hepar.predictions.names import LabelNames

GRID = Geometry.from_spacing((2, 3, 4), (5, 1, 1))
VISTA = LabelNames(((1, "liver"), (3, "spleen"), (26, "hepatic tumor")))


def stored(values, dtype=np.uint8, slope: float = 1.0, inter: float = 0.0) -> Stored:
    return Stored(np.resize(np.array(values, dtype), GRID.shape), GRID, slope, inter)


def labels_of(values, targets=None, dtype=np.uint8, **scale) -> list[int]:
    return mapped(stored(values, dtype, **scale), targets, "x.nii").labels.reshape(-1)[: len(values)].tolist()


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("3=2,1=1", ((3, 2), (1, 1))),
        (" 3 = tumour , 1=Liver,0=background", ((3, 2), (1, 1), (0, 0))),
        ("hepatic tumor=2,liver=1", (("hepatic tumor", 2), ("liver", 1))),
        ("Liver_Lesions=lesion", (("liver lesions", 2),)),
    ],
)
def test_a_mapping_is_read_as_typed(text, pairs):
    assert LabelMapping.parse(text).pairs == pairs


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "has the part ''"),
        ("3", "has the part '3'"),
        ("3=4", "has the part '3=4'"),
        ("=1", "has the part '=1'"),
        ("3=2,,1=1", "has the part ''"),
        ("3=2,3=1", "gives label 3 twice"),
        ("liver=1,LIVER=2", "gives label LIVER twice"),
        ("3=0", "makes nothing liver"),
        ("-1=1", "from 0 to 65535"),
        ("70000=1", "from 0 to 65535"),
    ],
)
def test_a_mapping_that_makes_no_sense_is_refused_with_an_example(text, says):
    with pytest.raises(BadInput, match=says):
        LabelMapping.parse(text)


sources = st.one_of(st.integers(0, 65535), st.from_regex(r"[a-z]{1,8}( [a-z]{1,8}){0,2}", fullmatch=True))
mappings = st.dictionaries(sources, st.integers(0, 2), min_size=1).filter(lambda pairs: any(pairs.values()))


@given(mappings)
def test_a_mapping_that_is_written_down_reads_the_same(pairs):
    mapping = LabelMapping(tuple(pairs.items()))
    assert LabelMapping.parse(str(mapping)) == mapping


@given(
    st.lists(st.integers(0, 65535), min_size=3, max_size=3, unique=True),
    st.lists(st.integers(0, 2), min_size=24, max_size=24),
    st.sampled_from([np.uint16, np.int32, np.float32, np.uint64, np.float64]),
)
def test_labels_that_were_renamed_come_back(values, meant, dtype):
    written = [values[label] for label in meant]
    targets = {value: label for label, value in enumerate(values)}
    assert labels_of(written, targets, dtype) == meant


def test_what_a_mapping_does_not_mention_is_background_and_told():
    found = mapped(stored([0, 1, 5, 26, 200]), {1: 1, 26: 2}, "x.nii")
    assert found.labels.reshape(-1)[:5].tolist() == [0, 1, 0, 2, 0]
    assert found.unmentioned == (5, 200)


def test_without_a_mapping_0_1_2_stay_and_others_are_refused_with_what_to_type():
    assert labels_of([0, 1, 2]) == [0, 1, 2]
    with pytest.raises(BadInput, match=r"'x.nii' holds values 0, 1, 5 on slice 0.*--map 5=1.*--map-truth"):
        labels_of([0, 1, 5])


def test_names_that_are_not_known_are_shown():
    names = LabelNames(((5, "class_5"),))
    with pytest.raises(BadInput, match="called 5 class_5, of which none is known"):
        mapped(stored([0, 5]), None, "x.nii", names)


def test_whole_numbers_kept_as_floats_are_labels():
    assert labels_of([0.0, 1.0, 2.0], dtype=np.float64) == [0, 1, 2]
    assert labels_of([0, 1, 2], dtype=np.int16, slope=np.float32(0.1) * 10) == [0, 1, 2]


def test_a_slope_is_applied_before_the_mapping():
    assert labels_of([0, 1, 2], {10: 1, 20: 2}, dtype=np.int16, slope=10.0) == [0, 1, 2]


@pytest.mark.parametrize("value", [0.5, np.nan, np.inf, 1e30])
def test_fractions_and_what_is_no_number_are_refused(value):
    with pytest.raises(BadInput, match="not whole numbers"):
        labels_of([0, 1, value], dtype=np.float32)


@pytest.mark.parametrize(("dtype", "targets"), [(np.int16, None), (np.float32, {1: 1})])
def test_negative_values_are_refused(dtype, targets):
    with pytest.raises(BadInput, match="holds the value -1024; labels are not negative"):
        labels_of([0, 1, -1024], targets, dtype=dtype)


def test_a_name_is_looked_up_in_the_file():
    mapping = LabelMapping.parse("Hepatic_Tumor=2,liver=1")
    assert mapping.resolve(VISTA, "x.nii") == {26: 2, 1: 1}
    with pytest.raises(BadInput, match=r"'x.nii' has no label named 'hepatic tumr': it has 1 liver, 3 spleen"):
        LabelMapping.parse("hepatic tumr=2").resolve(VISTA, "x.nii")
    with pytest.raises(BadInput, match="names no labels; give numbers"):
        mapping.resolve(None, "x.nii")


def test_a_file_that_leaves_labels_out_just_has_none_of_them():
    sparse = LabelNames(((1, "liver"),), complete=False)
    assert LabelMapping.parse("tumour=2,liver=1").resolve(sparse, "x.dcm") == {1: 1}


def test_bytes_are_rewritten_in_place():
    held = stored([0, 1, 5])
    assert mapped(held, {5: 2, 1: 1}, "x.nii").labels is held.values
