"""The shipped model on real CT beside the checkout: engines agree, the fast pass is a pass of its own, limits hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hepar.geometry import Geometry
from hepar.inference import EXACT, EngineOptions, load_segmenter, open_model
from hepar.inference.backends.openvino import computes_in_bf16
from hepar.inference.couinaud import open_couinaud
from hepar.inference.two_pass import TwoPassSegmenter, box_around
from hepar.io import read
from hepar.volume import LabelMap, Volume

MOST_MB = 12.0


@pytest.fixture(scope="module")
def piece(shared_data) -> Volume:
    """Sixteen slices of ircad01 through liver and tumours."""
    return read(shared_data / "ct" / "ircad01_ct.nii.gz").axial().slab(66, 82)


@pytest.fixture(scope="module")
def exact(piece) -> LabelMap:
    return load_segmenter(options=EXACT).segment(piece)


def test_the_package_stays_small():
    weights = [path.stat().st_size for path in open_model().folder.rglob("*.onnx")]
    assert len(weights) == 2
    assert sum(weights) < MOST_MB * 1e6
    assert open_couinaud().weights.stat().st_size < 4e6


def test_every_model_in_the_package_says_what_it_is_and_under_which_terms():
    for model in (open_model(), open_model().fast, open_couinaud()):
        assert "non-commercial" in model.card.licence
        assert "not a medical device" in model.card.limits
        assert (model.folder / "WEIGHTS_LICENSE.txt").is_file()
        assert "studies/" in str(model.card.figures)
        assert "-40..160 HU" in model.card.description + model.card.trained_on + model.card.limits


def test_the_default_has_two_passes_and_the_fast_one_is_the_first():
    model = open_model()
    segmenter = load_segmenter(model)
    assert isinstance(segmenter, TwoPassSegmenter)
    assert segmenter.first is not None
    assert segmenter.first.name == model.fast.id != model.id
    assert not isinstance(load_segmenter(model.fast), TwoPassSegmenter)


def test_both_passes_run_with_the_same_engine():
    segmenter = load_segmenter(options=EngineOptions(precision="fp32", threads=1))
    assert isinstance(segmenter, TwoPassSegmenter)
    assert segmenter.first is not None
    assert segmenter.engine == segmenter.first.engine


def test_it_finds_liver_and_tumour_in_the_patients_right(piece, exact):
    assert exact.geometry.same_grid(piece.geometry)
    assert set(np.unique(exact.labels)) == {0, 1, 2}
    centre = np.argwhere(exact.liver).mean(axis=0)
    # In the axial view x grows to the patient's left: the liver lies on the right.
    assert centre[2] < piece.geometry.shape[2] / 2


@pytest.mark.skipif(not computes_in_bf16(), reason="this processor does not compute in bf16")
def test_bf16_gives_nearly_the_same_labels(piece, exact):
    half = load_segmenter(options=EngineOptions(precision="bf16")).segment(piece)
    assert (half.labels == exact.labels).mean() > 0.999


def test_onnx_runtime_gives_the_same_labels_at_fp32(piece, exact):
    pytest.importorskip("onnxruntime", reason="the extra hepar[onnx] is not installed")
    other = load_segmenter(options=EngineOptions(program="onnxruntime", precision="fp32")).segment(piece)
    assert (other.labels == exact.labels).mean() >= 0.9999


def test_threads_and_slab_size_do_not_change_a_label(piece, exact):
    from dataclasses import replace

    one = load_segmenter(options=EngineOptions(precision="fp32", threads=1))
    assert isinstance(one, TwoPassSegmenter)
    assert one.first is not None
    small = replace(one, slab=3, first=replace(one.first, slab=5))
    assert np.array_equal(small.segment(piece).labels, exact.labels)


def test_a_scan_without_a_liver_is_empty_and_no_error():
    grid = Geometry.from_spacing((4, 96, 96), (5.0, 2.0, 2.0))
    found = load_segmenter().find(Volume(np.full(grid.shape, -1000, np.int16), grid))
    assert not found.labels.labels.any()
    assert found.lesions() == []
    assert box_around(found.labels.liver, grid, 20.0) is None


def test_the_folder_can_be_moved(tmp_path, piece, exact):
    import shutil

    moved = Path(shutil.copytree(open_model().folder, tmp_path / "elsewhere"))
    assert open_model(moved).id == open_model().id
    assert np.array_equal(load_segmenter(moved).segment(piece).labels, exact.labels)
