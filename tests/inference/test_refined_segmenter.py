"""A field behind two networks: nothing moves without weights, noise gives way with them, and the grid stays."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepar.classical.dense_crf import DenseCrf
from hepar.datasets.phantom import PhantomSettings, phantom_case
from hepar.errors import BadInput, BadModel
from hepar.geometry import Geometry, Reorientation
from hepar.inference import Pipeline, SlabSegmenter, refined
from hepar.inference.refined import RefinedSegmenter, bent, load_crf, save_crf
from hepar.inference.staged import StagedSegmenter, View
from hepar.metrics import evaluate
from hepar.postprocess import KeepLargestLiver
from hepar.preprocess import InPlaneGrid, Window
from hepar.volume import Volume

GRID = Geometry.from_spacing((20, 40, 44), (2.5, 2.0, 2.0))
GREY = (Window(0, 255),)
LARGEST = (KeepLargestLiver(),)
FIELD = DenseCrf()
# Weights that can change no rounding.
FAINT = DenseCrf(near=1e-9, alike=1e-9)


def scan(seed: int = 0, noise: float = 14) -> tuple[Volume, np.ndarray]:
    """A liver of 110 HU in 40 with a tumour of 75, noisy, and its labels."""
    z, y, x = np.mgrid[:20, :40, :44]
    labels = ((z - 10) ** 2 * 1.6 + (y - 20) ** 2 + (x - 21) ** 2 < 150).astype(np.uint8)
    labels[(z - 10) ** 2 * 1.6 + (y - 18) ** 2 + (x - 24) ** 2 < 24] = 2
    hu = np.choose(labels, (40, 110, 75)) + np.random.default_rng(seed).normal(0, noise, labels.shape)
    return Volume(hu.astype(np.int16), GRID), labels


def liver_by_grey(batch: np.ndarray) -> np.ndarray:
    """Each pixel by itself: above 58 HU is liver."""
    liver = (batch[:, 0] - 58) / 12
    return np.stack([-liver, liver, np.full_like(liver, -40)], axis=1).astype(np.float32)


def tumour_by_grey(batch: np.ndarray) -> np.ndarray:
    """Each pixel by itself: below 92 HU is tumour, where there is light."""
    tumour = np.where(batch[:, 0] > 0, (92 - batch[:, 0]) / 12, -40)
    return np.stack([-tumour, np.full_like(tumour, -40), tumour], axis=1).astype(np.float32)


def staged(liver=liver_by_grey, clean=LARGEST, pixel_mm: float = 2.0, **more) -> StagedSegmenter:
    grid = InPlaneGrid(pixel_mm=pixel_mm, multiple=1)
    first = SlabSegmenter(liver, Pipeline(GREY, grid, clean), "grey", slab=4)
    return StagedSegmenter(
        first, SlabSegmenter(tumour_by_grey, Pipeline((), grid), "grey", slab=4), GREY, View(), **more
    )


def dice(truth: np.ndarray, found: np.ndarray) -> float:
    return 2 * (truth & found).sum() / (truth.sum() + found.sum())


@pytest.mark.parametrize("crf", [replace(FIELD, near=0.0, alike=0.0), FAINT], ids=["no weights", "faint weights"])
@pytest.mark.parametrize("clean", [(), LARGEST], ids=["as found", "cleaned"])
def test_without_weights_every_label_stays(crf, clean):
    ct, _ = scan()
    plain = staged(clean=clean)
    assert np.array_equal(RefinedSegmenter(plain, crf).segment(ct).labels, plain.segment(ct).labels)


@pytest.mark.parametrize("crf", [replace(FIELD, near=0.0, alike=0.0), FAINT], ids=["no weights", "faint weights"])
def test_without_weights_no_figure_of_a_phantom_gets_worse(crf):
    case = phantom_case(PhantomSettings(seed=4, shape=(12, 64, 64), spacing_mm=(16, 6, 6), lesions=3), "phantom")
    # Brighter than fat and darker than bone: bad, but not the same everywhere.
    plain = staged(lambda grey: liver_by_grey(np.where(grey > 150, 0, grey - 20)), pixel_mm=6.0)
    before, after = (evaluate(case.truth, one.segment(case.ct)) for one in (plain, RefinedSegmenter(plain, crf)))
    assert before.liver.dice > 0.1
    assert (after.liver.dice, after.tumour.dice) == (before.liver.dice, before.tumour.dice)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_noise_gives_way(seed):
    ct, truth = scan(seed)
    before, after = staged().segment(ct), RefinedSegmenter(staged(), FIELD).segment(ct)
    # Half of what was wrong.
    assert 1 - dice(truth > 0, after.liver) < 0.5 * (1 - dice(truth > 0, before.liver))
    assert dice(truth == 2, after.tumour) > dice(truth == 2, before.tumour) + 0.1
    # Single voxels that the second network took for tumour are gone.
    assert (after.tumour & (truth != 2)).sum() < 0.4 * (before.tumour & (truth != 2)).sum()


def test_labels_lie_on_the_scan_s_own_grid_however_it_is_stored():
    ct, _ = scan()
    turn = Reorientation(GRID, (2, 0, 1), (True, False, True))
    angle = np.deg2rad(15)
    tilt = np.eye(4)
    tilt[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    oblique = Volume(
        np.ascontiguousarray(turn.apply(ct.values)), Geometry(turn.geometry.shape, tilt @ turn.geometry.affine)
    )
    segmenter = RefinedSegmenter(staged(), FIELD)
    here, there = segmenter.find(ct), segmenter.find(oblique)
    assert there.labels.geometry is oblique.geometry
    assert np.array_equal(there.labels.labels, turn.apply(here.labels.labels))
    assert np.array_equal(there.tumour_probability, turn.apply(here.tumour_probability))
    assert there.labels.labels.flags.c_contiguous
    assert set(np.unique(here.labels.labels)) == {0, 1, 2}


@pytest.mark.parametrize("piece", [1, 3, 100])
def test_slabs_leave_no_trace(piece, monkeypatch):
    ct, _ = scan()
    whole = RefinedSegmenter(staged(), FIELD).segment(ct).labels
    monkeypatch.setattr(refined, "PIECE", piece)
    parts = RefinedSegmenter(staged(), FIELD).segment(ct).labels
    # Sums in another order: no more than a voxel on the very border.
    assert (parts != whole).sum() <= 2


def test_the_scan_is_read_a_few_slices_at_a_time(monkeypatch):
    ct, _ = scan()
    held: list[int] = []
    messages = refined.messages

    def counted(slabs, *more):
        return messages(((start, held.append(len(part)) or part) for start, part in slabs), *more)

    monkeypatch.setattr(refined, "messages", counted)
    RefinedSegmenter(staged(), FIELD).segment(ct)
    assert max(held) <= refined.PIECE and sum(held) > 10


def test_beyond_the_liver_s_box_nothing_is_looked_at():
    ct, _ = scan(noise=0)
    values = ct.values.copy()
    values[:, :, 42:] = 110  # as bright as liver, and 10 mm from it
    found = RefinedSegmenter(staged(), DenseCrf(near=9.0, alike=9.0)).segment(Volume(values, GRID))
    assert not found.labels[:, :, 42:].any()
    assert found.liver.any()


def test_where_no_liver_was_found_there_is_none():
    ct, _ = scan()
    nothing = staged(lambda batch: liver_by_grey(batch - 200))
    finding = RefinedSegmenter(nothing, FIELD).find(ct)
    assert not finding.labels.labels.any() and not finding.tumour_probability.any()


def test_what_cleaning_took_away_stays_away():
    ct, labels = scan(noise=3)
    values = ct.values.copy()
    values[4:6, 4:9, 4:9] = 110  # an island inside the box
    field = RefinedSegmenter(staged(), DenseCrf(near=1.0, alike=2.0))
    found = field.segment(Volume(values, GRID))
    assert not found.labels[4:6, 4:9, 4:9].any()
    assert dice(labels > 0, found.liver) > 0.9


def test_a_piece_that_the_field_cuts_off_is_cleaned_away():
    ct, _ = scan(noise=0)
    values = ct.values.copy()
    values[8:13, 1:6, 19:24] = 110
    values[10, 6:8, 21] = 60  # a bridge that the network is unsure of
    bridged = Volume(values, GRID)
    island = np.s_[8:13, 1:6, 19:24]
    assert staged().segment(bridged).liver[island].all()
    assert RefinedSegmenter(staged(clean=()), FIELD).segment(bridged).liver[island].any()
    assert not RefinedSegmenter(staged(), FIELD).segment(bridged).liver[island].any()


def test_probabilities_say_what_labels_say():
    ct, _ = scan()
    finding = RefinedSegmenter(staged(), FIELD).find(ct)
    inside = finding.labels.liver
    assert (finding.tumour_probability[finding.labels.tumour] >= 64).all()
    # A tumour needs liver and tumour to be likelier than not.
    sure = finding.tumour_probability > 128
    assert finding.labels.tumour[sure & inside].all()


def test_the_listener_hears_the_end():
    ct, _ = scan()
    heard: list[tuple[int, int]] = []
    segmenter = RefinedSegmenter(staged(), FIELD)
    segmenter.segment(ct, lambda *told: heard.append(told))
    assert heard[-1] == (20, 20)
    assert segmenter.name == "grey+grey+crf"


def test_a_second_stage_that_decides_alone_cannot_be_refined():
    with pytest.raises(BadInput, match="these stages join 'second'"):
        RefinedSegmenter(staged(joins="second"), FIELD)


@given(st.lists(st.tuples(st.integers(0, 255), st.booleans()), min_size=1, max_size=20))
def test_bent_probabilities_agree_with_what_was_decided_and_keep_how_sure_it_was(rows):
    probability, mask = (np.array(column) for column in zip(*rows, strict=True))
    found = bent(probability.astype(np.uint8), mask)
    assert np.array_equal(found > 0.5, mask)
    assert found.min() > 0 and found.max() < 1
    assert np.allclose(np.abs(found - 0.5), np.abs(np.clip(probability, 0.5, 254.5) / 255 - 0.5), atol=1e-6)


def test_what_was_stored_comes_back(tmp_path):
    save_crf(tmp_path / "crf.json", DenseCrf(near=0.3, updates=2))
    assert load_crf(tmp_path / "crf.json") == DenseCrf(near=0.3, updates=2)


GOOD = {"format": 1, "crf": asdict(FIELD)}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "missing or damaged"),
        (json.dumps(GOOD | {"format": 2}), "has format 2, this hepar reads 1; update hepar"),
        (json.dumps({"format": 1}), "missing or damaged .'crf'"),
        (json.dumps({"format": 1, "crf": {"near": -1}}), "must be at least 0"),
        (json.dumps({"format": 1, "crf": {"far": 1}}), "far"),
        (json.dumps({"format": 1, "crf": {"near": None}}), "missing or damaged"),
        (None, "missing or damaged .No such file"),
    ],
)
def test_a_damaged_file_is_a_bad_model_and_named_without_its_folder(tmp_path, text, told):
    path = tmp_path / "somewhere" / "crf.json"
    path.parent.mkdir()
    if text is not None:
        path.write_text(text)
    with pytest.raises(BadModel, match=told) as error:
        load_crf(path)
    assert "crf.json" in str(error.value) and "somewhere" not in str(error.value)
