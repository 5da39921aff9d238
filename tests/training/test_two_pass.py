"""A coarse pass finds the liver, a fine one labels its box."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hepar.cases import Case
from hepar.errors import BadInput, BadModel
from hepar.geometry import Geometry
from hepar.inference import Decision, Pipeline, SlabSegmenter, open_model
from hepar.inference.two_pass import TwoPassSegmenter, box_around
from hepar.nets.cdnn_squeeze import CdnnSqueeze
from hepar.preprocess import InPlaneGrid, Window
from hepar.training.deep_method import DeepMethod
from hepar.training.recipe import Recipe
from hepar.training.two_pass import TwoPassMethod, around_liver
from hepar.volume import LabelMap, Volume

OBLIQUE = Geometry((20, 40, 44), np.array([[0, 0.2, 1.5, 3], [0.1, -1.5, 0.2, 5], [4, 0, 0, -7], [0, 0, 0, 1.0]]))


def scan(grid: Geometry = OBLIQUE) -> tuple[Volume, LabelMap]:
    """A liver at 100 with a tumour at 200, and something as bright far away from it."""
    values, labels = np.zeros(grid.shape, np.int16), np.zeros(grid.shape, np.uint8)
    values[6:14, 10:24, 8:26], labels[6:14, 10:24, 8:26] = 100, 1
    values[9:11, 14:18, 12:16], labels[9:11, 14:18, 12:16] = 200, 2
    values[1:3, 34:38, 36:42] = 200
    return Volume(values, grid), LabelMap(labels, grid)


def case(name: str = "a", **more: object) -> Case:
    return Case(name, name, lambda: scan()[0], lambda: scan()[1], **more)  # type: ignore[arg-type]


def segmenter(predict, rule: str = "argmax", pixel_mm: float = 1.5) -> SlabSegmenter:
    pipeline = Pipeline((Window(0, 255),), InPlaneGrid(pixel_mm=pixel_mm), decision=Decision(rule))
    return SlabSegmenter(predict, pipeline, "grey", slab=4)


def by_grey(batch: np.ndarray) -> np.ndarray:
    grey = batch[:, 0]
    return np.stack([50 - grey, np.zeros_like(grey), grey - 150], axis=1).astype(np.float32)


def liver_only(batch: np.ndarray) -> np.ndarray:
    """Finds what is 100, and nothing that is 200."""
    liver = 40 - np.abs(batch[:, 0] - 100)
    return np.stack([-liver, liver, np.full_like(liver, -99)], axis=1).astype(np.float32)


def two_passes(first, rule: str = "argmax", margin_mm: float = 3.0) -> TwoPassSegmenter:
    fine = segmenter(by_grey, rule)
    return TwoPassSegmenter(
        fine.predict, fine.pipeline, "two", slab=4, first=segmenter(first, pixel_mm=3.0), margin_mm=margin_mm
    )


@pytest.mark.parametrize("rule", ["argmax", "liver_first"])
def test_the_second_pass_labels_the_liver_and_nothing_beyond_its_box(rule):
    ct, truth = scan()
    alone = segmenter(by_grey, rule).segment(ct).labels
    found = two_passes(liver_only, rule).find(ct)
    assert (alone[1:3] == 2).any()  # one pass takes the bright thing for a tumour
    assert found.labels.geometry.same_grid(ct.geometry)
    assert np.array_equal(found.labels.labels, np.where(truth.labels > 0, alone, 0))
    assert not found.tumour_probability[1:3].any()
    assert np.array_equal(two_passes(liver_only, rule).segment(ct).labels, found.labels.labels)


def test_a_scan_in_which_no_liver_is_found_has_none():
    none = two_passes(lambda batch: by_grey(batch * 0))
    assert not none.segment(scan()[0]).labels.any()


def test_a_box_has_its_margin_in_millimetres_and_ends_with_the_scan():
    mask = np.zeros((10, 20, 20), bool)
    mask[1:3, 8:10, 17:19] = True
    grid = Geometry.from_spacing(mask.shape, (4.0, 1.0, 2.0))
    assert box_around(mask, grid, 5.0) == (slice(0, 5), slice(3, 15), slice(14, 20))
    assert box_around(mask & False, grid, 5.0) is None


def test_a_cropped_case_keeps_its_place_labels_and_heights():
    heights = tuple(float(z) for z in range(20))
    cut = around_liver(case(heights_mm=heights), 4.0)
    ct, truth = cut.ct, cut.truth
    assert ct.geometry.same_grid(truth.geometry)
    assert ct.values.shape[0] == len(cut.heights_mm) == 10
    assert cut.heights_mm == heights[5:15]
    whole = scan()[0].axial()
    place = ct.geometry.position_mm((0, 0, 0))
    z, y, x = np.rint(whole.geometry.index_of(place)).astype(int)
    assert np.allclose(whole.geometry.position_mm((z, y, x)), place)
    assert np.array_equal(whole.values[z : z + 10, y : y + ct.values.shape[1], x : x + ct.values.shape[2]], ct.values)
    assert (truth.labels > 0).sum() == (scan()[1].labels > 0).sum()


def test_a_case_without_liver_has_no_box():
    nothing = replace(case(), read_truth=lambda: LabelMap(np.zeros(OBLIQUE.shape, np.uint8), OBLIQUE))
    assert around_liver(nothing, 4.0) is None


RECIPE = Recipe(epochs=2, batch=4, micro_batch=4, optimizer="adam", slices="all")
ONE = DeepMethod(CdnnSqueeze(width=0.1), (Window(0, 255),), InPlaneGrid(matrix=32), RECIPE, encoder_weights="none")
METHOD = TwoPassMethod(ONE, replace(ONE, grid=InPlaneGrid(matrix=64)), margin_mm=6.0)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "two"
    METHOD.train([case()], folder)
    return folder


def test_a_run_of_two_passes_is_one_model_folder_with_both(run):
    model = open_model(run / "model")
    assert model.first.margin_mm == 6.0
    assert model.pipeline.grid.matrix == 64
    assert model.first.model.pipeline.grid.matrix == 32
    assert METHOD.load(run).segment(scan()[0]).geometry.same_grid(OBLIQUE)
    facts = json.loads((run / "run.json").read_text())
    assert facts["finished"] is True
    assert facts["passes"].keys() == {"coarse", "fine"}


def test_the_model_s_id_depends_on_the_first_pass(run, tmp_path):
    shutil.copytree(run / "model", tmp_path / "model")
    facts = json.loads((tmp_path / "model" / "model.json").read_text())
    facts["first_pass"]["margin_mm"] = 9.0
    (tmp_path / "model" / "model.json").write_text(json.dumps(facts))
    assert open_model(tmp_path / "model").id != open_model(run / "model").id
    shutil.rmtree(tmp_path / "model" / "coarse")
    with pytest.raises(BadModel, match="coarse"):
        open_model(tmp_path / "model")
    (tmp_path / "model" / "model.json").write_text(json.dumps(facts | {"first_pass": {"margin_mm": "wide"}}))
    with pytest.raises(BadModel, match="damaged"):
        open_model(tmp_path / "model")


def test_training_again_repeats_no_epoch_and_another_margin_is_another_training(run):
    ticks = []
    METHOD.train([case()], run, ticks.append)
    assert ticks == []
    with pytest.raises(BadInput, match="another training"):
        replace(METHOD, margin_mm=7.0).train([case()], run)
