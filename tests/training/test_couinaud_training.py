"""Couinaud segments are learnt in the liver's frame, resumed bit for bit, and exported to run without torch."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from hepar.cases import Fold
from hepar.errors import BadInput
from hepar.inference import ModelCard, Pipeline
from hepar.inference.couinaud import CouinaudSegmenter, channels, graded, load_couinaud
from hepar.metrics.couinaud import confusion, share_in_place
from hepar.nets.cdnn_squeeze import CdnnSqueeze
from hepar.nets.cost import cost_of
from hepar.preprocess import InPlaneGrid
from hepar.training.couinaud import (
    FoundLivers,
    SegmentTraining,
    as_if_found,
    frayed,
    load_segment_slices,
    reread_heights,
    segment_cost,
    validate_segments,
)
from hepar.training.couinaud_method import NETWORK, RECIPE, CouinaudMethod, cases_without
from hepar.training.export import export_run
from hepar.training.losses import cross_entropy
from hepar.training.recipe import NO_CHANGES
from segmented_liver import segmented_case, segmented_liver

SMALL = CdnnSqueeze(decoder="unet", classes=8, slices=3, width=0.25)
QUICK = replace(RECIPE, epochs=2, batch=4, micro_batch=4, samples_per_epoch=8, warmup_updates=0, precision="fp32")
METHOD = CouinaudMethod(SMALL, grid=InPlaneGrid(matrix=64), recipe=QUICK, encoder_weights="none")
METHOD_SEGMENTER = CouinaudSegmenter(lambda batch: batch, Pipeline(METHOD.prepare, METHOD.grid), "none")
NOTHING = FoundLivers(fray_px=0, bite_share=0, height_shift=0, cut_share=0)


@pytest.fixture(scope="module")
def cases():
    return [segmented_case("a", 1), segmented_case("b", 2)]


@pytest.fixture(scope="module")
def store(cases):
    return load_segment_slices(cases, METHOD.prepare, METHOD.grid)


def dice(seed=0):
    return torch.Generator().manual_seed(seed)


def test_what_is_trained_on_is_what_a_segmenter_shows_its_network(cases, store):
    ct, _, segments = segmented_liver(seed=1)
    seen = []

    def watching(batch):
        seen.extend(batch)
        return np.zeros((len(batch), 8, 64, 64), np.float32)

    segmenter = replace(METHOD_SEGMENTER, predict=watching)
    labels = segmented_case("a", 1).case.truth
    segmenter.segment(ct, labels)
    rows = np.flatnonzero(segments.liver.any(axis=(1, 2)))
    assert len(store) == 2 * len(rows)
    for i in range(len(rows)):
        assert np.abs(np.stack(store.seen(i)) - seen[i]).max() <= 0.5 + 1e-3


def test_slices_hold_the_segments_of_their_own_pixels(store):
    for i in range(0, len(store), 5):
        inside = np.stack(store.seen(i))[1] > 0
        assert (store.labels[i][~inside] == 0).all()
        assert store.labels[i].max() <= 8


def test_without_changes_a_batch_stays_what_it_is(store):
    images = torch.tensor(np.array([store.seen(i) for i in range(6)], dtype=np.float32))
    labels = torch.from_numpy(np.stack(store.labels[:6])).long()
    found, same = as_if_found(images, labels, NO_CHANGES, NOTHING, dice())
    assert torch.equal(same, labels)
    assert torch.allclose(found[:, 0], images[:, 0])
    assert torch.allclose(found[:, 2], images[:, 2], atol=1e-3)
    # A pixel that is liver in part is liver or not where labels decide.
    assert ((found[:, 1] - images[:, 1]).abs() > 1).float().mean() < 0.1


def test_changes_move_grey_and_labels_alike_and_leave_heights_flat(store):
    images = torch.tensor(np.array([store.seen(i) for i in range(4, 10)], dtype=np.float32))
    labels = torch.from_numpy(np.stack(store.labels[4:10])).long()
    images[:, 0] = 20 + 25 * labels  # grey tells the segment
    still = replace(NO_CHANGES, rotate_degrees=20, shift=0.1, warp_share=1.0)
    found, moved = as_if_found(images, labels, still, FoundLivers(), dice())
    assert not torch.equal(moved, labels)
    core = (torch.nn.functional.max_pool2d((moved == 0).float(), 3, 1, 1) == 0) & (moved > 0)
    assert ((found[:, 0] - 20 - 25 * moved).abs()[core] < 13).float().mean() > 0.9
    assert (found[:, 2].flatten(1).std(dim=1) == 0).all()
    again, _ = as_if_found(images, labels, still, FoundLivers(), dice())
    other, _ = as_if_found(images, labels, still, FoundLivers(), dice(1))
    assert torch.equal(found, again)
    assert not torch.equal(found, other)


def test_frayed_masks_keep_their_bulk_and_change_their_edge():
    masks = torch.zeros(8, 1, 64, 64)
    masks[:, :, 16:48, 12:50] = 1
    changed = frayed(masks, replace(FoundLivers(), bite_share=0.0), dice())
    assert set(changed.unique().tolist()) == {0.0, 1.0}
    assert (changed[:, :, 24:40, 20:42] == 1).all()
    assert (changed[:, :, :4] == 0).all()
    share = (changed != masks).float().mean().item()
    assert 0.005 < share < 0.1
    bitten = frayed(masks, replace(NOTHING, bite_share=1.0, bite_px=20.0), dice())
    assert ((masks - bitten) >= 0).all()
    assert bitten.sum() < masks.sum()
    assert torch.equal(frayed(masks, NOTHING, dice()), masks)


def test_heights_of_a_cut_liver_stay_in_it_and_move_both_ways():
    heights = torch.linspace(0, 1, 200)
    moved = reread_heights(heights, FoundLivers(), dice())
    assert ((moved >= 0) & (moved <= 1)).all()
    assert (moved - heights).max() > 0.1
    assert (moved - heights).min() < -0.1
    assert torch.equal(reread_heights(heights, NOTHING, dice()), heights)


def test_the_loss_knows_the_inside_of_the_liver_only():
    labels = torch.zeros(2, 8, 8, dtype=torch.long)
    labels[:, 2:6, 2:6] = 3
    labels[:, 2:6, 4:6] = 7
    logits = torch.zeros(2, 8, 8, 8, requires_grad=True)
    none = torch.zeros(2, dtype=torch.bool)
    cost = segment_cost(cross_entropy, {1: logits}, labels, none, 0)
    cost.backward()
    assert (logits.grad.abs().sum(1)[labels == 0] == 0).all()
    assert (logits.grad.abs().sum(1)[labels > 0] > 0).all()
    right = torch.full((2, 8, 8, 8), -20.0)
    right[:, 2], right[:, 6] = (20.0 * (labels == s).float() - 20 * (labels != s).float() for s in (3, 7))
    assert segment_cost(cross_entropy, {1: right}, labels, none, 0).item() == pytest.approx(0, abs=1e-4)
    assert cost.item() > 2
    empty = segment_cost(cross_entropy, {1: logits}, labels * 0, none, 0)
    assert empty.item() == 0
    empty.backward()


def test_a_training_learns_says_so_and_goes_on_where_it_stopped(cases, tmp_path):
    recipe = replace(QUICK, learning_rate=5e-3, encoder_share=1.0, epochs=4)
    method = replace(METHOD, recipe=recipe)
    heard = []
    segmenter = method.train(cases, tmp_path / "whole", heard.append)
    losses = [tick.loss for tick in heard if tick.ended]
    assert losses[-1] < losses[0]
    run = json.loads((tmp_path / "whole" / "run.json").read_text())
    assert run["finished"] is True
    assert run["training_patients"] == ["a", "b"]
    assert run["method"]["task"] == "couinaud"

    class Stop(Exception):
        pass

    def stop(tick):
        if tick.epoch == 2:
            raise Stop

    with pytest.raises(Stop):
        method.train(cases, tmp_path / "part", stop)
    resumed = method.train(cases, tmp_path / "part")
    ct, labels, _ = segmented_liver()
    one, two = (which.segment(ct, labels).segments.labels for which in (segmenter, resumed))
    assert np.array_equal(one, two)
    with pytest.raises(BadInput, match="another training"):
        replace(method, recipe=replace(recipe, seed=1)).train(cases, tmp_path / "part")


def test_patients_held_back_judge(cases, tmp_path):
    recipe = replace(QUICK, inner_patients=("b",), epochs=1)
    replace(METHOD, recipe=recipe).train(cases, tmp_path)
    (row,) = json.loads((tmp_path / "history.json").read_text())
    assert 0 <= row["dice_segments"] <= 1
    assert json.loads((tmp_path / "run.json").read_text())["inner_validation_patients"] == ["b"]


def test_validation_gives_a_perfect_network_its_due(store):
    class Knowing(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.none = torch.nn.Parameter(torch.zeros(1))
            self.place = 0

        def forward(self, images):
            rows = range(self.place, self.place + len(images))
            self.place += len(images)
            truth = torch.from_numpy(np.stack([store.labels[i] for i in rows])).long()
            return torch.nn.functional.one_hot((truth - 1).clamp(min=0), 8).movedim(-1, 1).float()

    assert validate_segments(Knowing(), store, QUICK)["dice_segments"] == pytest.approx(1.0)


def test_export_runs_without_torch_and_gives_the_same_segments(cases, tmp_path):
    segmenter = METHOD.train(cases, tmp_path / "run")
    card = tmp_path / "card.json"
    card.write_text(json.dumps(asdict(ModelCard("couinaud_test", "test", "free", "phantoms", "tests only"))))
    export_run([tmp_path / "run"], tmp_path / "out", card, "fp16")
    exported = load_couinaud(tmp_path / "out")
    ct, labels, _ = segmented_liver()
    one, two = (which.segment(ct, labels).segments for which in (segmenter, exported))
    assert share_in_place(confusion(one, two)) > 0.98
    assert exported.name.startswith("couinaud_test@")
    # Two runs become one model that averages.
    export_run([tmp_path / "run", tmp_path / "run"], tmp_path / "both", card)
    assert load_couinaud(tmp_path / "both").segment(ct, labels).segments.labels.any()


def test_the_shipped_network_is_within_its_budget():
    cost = cost_of(NETWORK.build(0), slices=3, size=(160, 160))
    assert CouinaudMethod().grid == InPlaneGrid(matrix=160)
    assert cost.gflop < 1
    assert cost.fp16_mb < 4


def test_batches_of_a_training_repeat_by_seed(store):
    training = SegmentTraining(store, None, RECIPE, FoundLivers())
    one, two, other = (next(iter(training.batches(np.random.default_rng(s))[1])) for s in (1, 1, 2))
    assert torch.equal(one[0], two[0])
    assert not torch.equal(one[0], other[0])
    plain = SegmentTraining(store, None, replace(RECIPE, augmentation=None), FoundLivers())
    count, batches = plain.batches(np.random.default_rng(1))
    assert count == 60
    assert next(iter(batches))[0].shape == (16, 3, 64, 64)


def test_test_patients_of_a_fold_do_not_train(cases):
    kept = cases_without(cases, Fold(("a", "c"), ("b",)))
    assert [one.case.patient for one in kept] == ["a"]
    assert len(cases_without(cases, None)) == 2
    with pytest.raises(BadInput, match="same names"):
        cases_without(cases, Fold(("c",), ("b",)))
    with pytest.raises(BadInput, match="no case with Couinaud segments"):
        load_segment_slices([], METHOD.prepare, METHOD.grid)


def test_the_masks_brightness_tells_right_from_left():
    seen = channels(np.zeros((1, 2, 5), np.float32), np.ones((1, 2, 5), np.float32), np.array([0.5]))
    assert (np.diff(seen[0, 1, 0]) > 0).all()
    assert seen[0, 1].max() == 255
    assert (seen[0, 2] == 127.5).all()
    assert graded(3).tolist() == [0.25, 0.625, 1.0]
