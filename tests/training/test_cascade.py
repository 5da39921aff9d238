"""Liver first, tumour inside it: what each stage sees, how both answers join, who can teach the second."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hepar import methods
from hepar.cases import Case
from hepar.errors import BadInput
from hepar.geometry import Geometry, Reorientation
from hepar.preprocess import InPlaneGrid, Window
from hepar.training.cascade import CascadeMethod, CascadeSegmenter, _ct_inside, _tumour_only, blacked_out
from hepar.volume import LabelMap, Volume

GRID = Geometry.from_spacing((3, 12, 12), (5, 2, 2))
GREY = (Window(0, 255),)


def fixed(labels: np.ndarray) -> SimpleNamespace:
    """A segmenter that finds `labels` in every scan, and keeps what it saw."""
    seen: list[Volume] = []

    def segment(ct: Volume) -> LabelMap:
        seen.append(ct)
        return LabelMap(labels, ct.geometry)

    return SimpleNamespace(segment=segment, seen=seen, name="fixed")


def square(low: int, high: int, value: int = 1) -> np.ndarray:
    labels = np.zeros((3, 12, 12), np.uint8)
    labels[1, low:high, low:high] = value
    return labels


def scan(value: float = 100.0) -> Volume:
    return Volume(np.full((3, 12, 12), value, np.float32), GRID)


@given(liver=arrays(np.uint8, (3, 12, 12), elements=st.integers(0, 1)),
       tumour=arrays(np.uint8, (3, 12, 12), elements=st.sampled_from([0, 2])))  # fmt: skip
def test_tumours_lie_inside_the_liver_that_was_found_and_nowhere_else(liver, tumour):
    found = CascadeSegmenter(fixed(liver), fixed(tumour), GREY, 4.0).segment(scan()).labels
    assert np.array_equal(found > 0, liver > 0)
    assert np.array_equal(found == 2, (liver > 0) & (tumour == 2))


def test_the_tumour_stage_sees_the_found_liver_with_its_margin_and_darkness_beyond():
    tumour = fixed(square(0, 0))
    CascadeSegmenter(fixed(square(5, 7)), tumour, GREY, margin_mm=4.0).segment(scan())
    (seen,) = tumour.seen
    shown = seen.values > 0
    assert not shown[0].any() and not shown[2].any()
    assert shown[1, 3, 5] and not shown[1, 2, 5]  # two pixels of 2 mm
    assert set(np.unique(seen.values)) == {0.0, 100.0}


def test_without_liver_nothing_is_looked_for():
    tumour = fixed(square(0, 12, 2))
    found = CascadeSegmenter(fixed(square(0, 0)), tumour, GREY, 4.0).segment(scan())
    assert not found.labels.any()
    assert tumour.seen == []


def test_slices_are_prepared_whole_before_they_are_blacked_out():
    def mean(ct: Volume) -> Volume:
        return ct.with_values(np.full_like(ct.values, ct.values.mean()))

    values = np.zeros((3, 12, 12), np.float32)
    values[:, 0] = 120  # far from the liver, and yet it counts
    ct = Volume(values, GRID)
    assert blacked_out(ct, square(5, 7) > 0, (mean,), 2.0).values.max() == pytest.approx(10)


def test_the_labels_lie_on_the_grid_of_a_scan_stored_otherwise():
    turn = Reorientation(GRID, (2, 0, 1), (True, False, True))
    ct = Volume(np.ascontiguousarray(turn.apply(scan().values)), turn.geometry)
    found = CascadeSegmenter(fixed(square(4, 8)), fixed(square(5, 6, 2)), GREY, 2.0).segment(ct)
    assert found.geometry is ct.geometry
    back = found.axial().labels
    assert (np.count_nonzero(back == 1), np.count_nonzero(back == 2)) == (15, 1)


@pytest.fixture
def case() -> Case:
    labels = square(4, 8)
    labels[1, 5, 5] = 2
    ct = Volume(np.where(labels == 2, 60, np.where(labels == 1, 120, 20)).astype(np.float32), GRID)
    return Case("a", "a", lambda: ct, lambda: LabelMap(labels, GRID), evidence="phantom")


def test_the_tumour_stage_trains_on_tumour_alone_in_slices_with_liver(case):
    rows = slice(1, 2)
    labels = _tumour_only(case, rows)
    assert labels.labels.shape == (1, 12, 12)
    assert set(np.unique(labels.labels)) == {0, 2}
    assert _ct_inside(case, rows, GREY, 2.0).geometry.same_grid(labels.geometry)


@pytest.fixture
def method() -> CascadeMethod:
    joint = methods.get("cdnn_squeeze")
    recipe = replace(joint.recipe, epochs=1, batch=1, micro_batch=1)
    network = replace(joint.network, width=0.05)
    return CascadeMethod(replace(joint, network=network, grid=InPlaneGrid(matrix=64), prepare=GREY, recipe=recipe,
                                 encoder_weights="none"))  # fmt: skip


def test_both_stages_are_run_folders_and_training_goes_on_in_them(method, case, tmp_path):
    method.train([case], tmp_path / "run")
    run = json.loads((tmp_path / "run/run.json").read_text())
    assert run["finished"] is True
    assert [run["stages"][stage]["updates"] for stage in ("liver", "tumour")] == [1, 1]
    assert run["stages"]["liver"]["slices"]["training_with_tumour"] == 0
    assert run["stages"]["tumour"]["slices"]["training_with_tumour"] == 1
    ticks: list[object] = []
    again = method.train([case], tmp_path / "run", ticks.append)
    assert ticks == []
    assert again.name == method.load(tmp_path / "run").name
    with pytest.raises(BadInput, match="run holds another training"):
        replace(method, margin_mm=9.0).train([case], tmp_path / "run")


def test_labels_that_do_not_tell_tumour_from_liver_teach_the_liver_only(method, case, tmp_path):
    union = replace(case, id="u", patient="u", labels="liver_union")
    segmenter = method.train([case, union], tmp_path / "run")
    stages = json.loads((tmp_path / "run/run.json").read_text())["stages"]
    assert [stages[stage]["training_cases"] for stage in ("liver", "tumour")] == [["a", "u"], ["a"]]
    assert segmenter.segment(case.ct).geometry is GRID
    with pytest.raises(BadInput, match="no training case tells tumour from liver"):
        method.train([union], tmp_path / "other")
