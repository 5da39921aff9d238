"""Lesions from tiles: pixels of the found liver only, kinds of lesions, and model folders that run no code."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest

from hepar.classical.kernel_machine import KernelMachine
from hepar.classical.region_growing import GrowLiver
from hepar.classical.tile_view import TileView
from hepar.classical.tiles import Tiles
from hepar.errors import BadModel
from hepar.geometry import Reorientation
from hepar.inference import ModelCard
from hepar.inference.classical import GrownLiver, TileModel, TileSegmenter, load_tiles, save_tiles
from hepar.preprocess import Window
from hepar.volume import LabelMap, Volume
from tiled_livers import liver_scan

CARD = ModelCard("tiles", "for tests", "free", "nothing", "for tests only")
VIEW = TileView(Tiles(6, 3), (Window(0, 255),))


class TrueLiver:
    """Stands in for a liver network: the truth of the scan it was made for."""

    name = "truth@0"

    def __init__(self, truth: LabelMap) -> None:
        self.truth = truth

    def segment(self, ct: Volume) -> LabelMap:
        return LabelMap(self.truth.onto(ct.geometry).liver.astype(np.uint8), ct.geometry)


class Darker:
    """Judges by the mean grey value: lesions of class 1 are below 92, of class 2 below 55."""

    classes = 3

    def scores(self, features):
        mean = features[:, 0]
        kind = (mean < 92).astype(int) + (mean < 55)
        return np.eye(3)[kind]


def segmenter_of(truth: LabelMap, cut: float = 0.5) -> TileSegmenter:
    model = TileModel(VIEW, Darker(), ("normal", "grey", "black"), "0" * 64)  # type: ignore[arg-type]
    return TileSegmenter(TrueLiver(truth), model, cut)


def test_lesions_lie_in_the_found_liver_and_where_tiles_are_dark():
    ct, truth = liver_scan(1, lesion_hu=60)
    found = segmenter_of(truth).segment(ct)
    assert np.array_equal(found.liver, truth.liver)
    overlap = 2 * (found.tumour & truth.tumour).sum() / (found.tumour.sum() + truth.tumour.sum())
    assert overlap > 0.75
    none = segmenter_of(truth, cut=1.0).segment(ct)
    assert none.liver.any() and not none.tumour.any()


def test_the_score_is_the_share_of_dark_tiles():
    ct, truth = liver_scan(1, lesion_hu=60)
    found = segmenter_of(truth).find(ct)
    assert found.tumour_probability.dtype == np.uint8
    assert not found.tumour_probability[~truth.liver].any()
    # Half of the tiles, 128 of 255, is not enough.
    assert np.array_equal(found.labels.tumour, found.tumour_probability > 128)
    assert 0 < found.tumour_probability[1][found.tumour_probability[1] > 0].min() < 255


@pytest.mark.parametrize(("lesion_hu", "kind"), [(60, "grey"), (20, "black")])
def test_each_lesion_is_called_what_most_of_it_looks_like(lesion_hu, kind):
    ct, truth = liver_scan(2, lesion_hu=lesion_hu)
    segmenter = segmenter_of(truth)
    found = [one for one in segmenter.kinds(ct) if one.voxels > 20]
    assert [one.kind for one in found] == [kind]
    assert 0.5 < found[0].share <= 1
    assert sum(one.voxels for one in segmenter.kinds(ct)) == segmenter.segment(ct).tumour.sum()


def test_a_turned_scan_has_turned_labels_and_progress_ends():
    ct, truth = liver_scan(3)
    segmenter = segmenter_of(truth)
    turn = Reorientation(ct.geometry, (1, 2, 0), (True, False, True))
    turned = Volume(np.ascontiguousarray(turn.apply(ct.values)), turn.geometry)
    told = []
    there = segmenter.segment(turned, lambda done, count: told.append((done, count)))
    assert there.geometry is turned.geometry
    assert np.array_equal(there.labels, turn.apply(segmenter.segment(ct).labels))
    assert told[-1] == (4, 4)


def test_no_liver_no_lesion():
    ct, truth = liver_scan(3)
    nothing = LabelMap(np.zeros_like(truth.labels), truth.geometry)
    found = segmenter_of(nothing).find(ct)
    assert not found.labels.labels.any() and not found.tumour_probability.any()
    assert segmenter_of(nothing).kinds(ct) == []


def test_region_growing_is_a_segmenter_named_by_its_settings():
    ct, truth = liver_scan(0)
    grown = GrownLiver(GrowLiver())
    found = grown.segment(ct)
    assert set(np.unique(found.labels)) == {0, 1}
    assert 2 * (found.liver & truth.liver).sum() / (found.liver.sum() + truth.liver.sum()) > 0.9
    assert grown.name == GrownLiver(GrowLiver()).name != GrownLiver(GrowLiver(tolerance=3)).name


@pytest.fixture
def stored(tmp_path):
    machine = KernelMachine(
        np.zeros(20), np.ones(20), np.eye(20)[:3], np.array([[1.0, -0.5, -0.5]]), np.zeros(1), 0.1, 2
    )
    save_tiles(tmp_path / "model", VIEW, machine, ("normal", "tumour"), CARD)
    return tmp_path / "model", machine


def test_a_model_folder_holds_arrays_and_settings(stored):
    folder, machine = stored
    assert {path.name for path in folder.iterdir()} == {"tiles.json", "tiles.npz"}
    model = load_tiles(folder)
    assert (model.view, model.kinds) == (VIEW, ("normal", "tumour"))
    features = np.random.default_rng(0).normal(size=(5, 20))
    assert np.array_equal(model.classifier.scores(features), machine.scores(features))
    assert TileSegmenter(TrueLiver(None), model).name == f"truth@0+tiles@{model.sha256[:12]}"  # type: ignore[arg-type]


def changed(folder, **facts):
    settings = json.loads((folder / "tiles.json").read_text())
    (folder / "tiles.json").write_text(json.dumps(settings | facts))


def test_changed_or_missing_files_are_refused(stored):
    folder, _ = stored
    with (folder / "tiles.npz").open("ab") as file:
        file.write(b"x")
    with pytest.raises(BadModel, match=r"tiles\.npz is not the file"):
        load_tiles(folder)
    (folder / "tiles.npz").unlink()
    with pytest.raises(BadModel, match="no tile model that can be read"):
        load_tiles(folder)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"format": 9}, "has format 9"),
        ({"classifier": {"name": "os.system"}}, r"tiles\.json is damaged"),
        ({"kinds": ["normal", "a", "b"]}, "names 3 classes for 2"),
        ({"view": {}}, "unusable settings"),
        ({"kinds": 7}, r"tiles\.json is damaged"),
    ],
)
def test_unknown_or_damaged_settings_are_refused(stored, facts, message):
    folder, _ = stored
    changed(folder, **facts)
    with pytest.raises(BadModel, match=message):
        load_tiles(folder)


def test_objects_among_the_arrays_are_not_opened(stored):
    import hashlib

    class Boom:
        def __reduce__(self):
            return (print, ("code has run",))

    folder, machine = stored
    assert pickle.dumps(Boom())
    np.savez(folder / "tiles.npz", **(machine.arrays() | {"mean": np.array([Boom()], dtype=object)}))
    changed(folder, sha256=hashlib.sha256((folder / "tiles.npz").read_bytes()).hexdigest())
    with pytest.raises(BadModel, match="damaged"):
        load_tiles(folder)


def test_the_name_follows_the_settings(stored):
    folder, machine = stored
    before = load_tiles(folder).sha256
    save_tiles(folder, replace(VIEW, equalise="slice"), machine, ("normal", "tumour"), CARD)
    assert load_tiles(folder).sha256 != before
