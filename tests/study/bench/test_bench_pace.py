"""Trials of trainings: each kind can be timed, what it costs is counted, and a long one is broken off."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from hepar import methods
from hepar.cases import Case
from hepar.datasets.phantom import PhantomSettings, phantom_case
from hepar.errors import BadModel
from hepar.nets.weights import load_encoder_weights
from hepar.study.bench import pace as pace_module
from hepar.study.bench.encoders import with_encoders
from hepar.study.bench.memory import peak_mb
from hepar.study.bench.order import BenchCell, BenchJob, BenchOrder, cells_of, folds_to_run
from hepar.study.bench.pace import StagePace, clock, measure, planned
from hepar.study.bench.stages import Place, Stage, stages_of, tiny_of
from hepar.training.deep_method import DeepMethod
from hepar.training.deep_method3d import Deep3dMethod

PHANTOM = PhantomSettings(seed=3, shape=(10, 64, 64), spacing_mm=(19, 6, 6), lesions=3, noise_hu=8)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def case() -> Case:
    return phantom_case(PHANTOM, "phantom")


def timed(name: str, case: Case) -> dict[str, StagePace]:
    return {stage.name: measure(stage, [case], "cpu") for stage in stages_of(tiny_of(methods.get(name)))}


# One of each kind of training: slices, phases, boxes, side outputs with a detector, blocks, a plan.
@pytest.mark.parametrize("name", ["unet", "vorontsov", "bi", "bellver", "residual_unet3d", "nnunet_2d"])
def test_every_kind_of_training_can_be_timed(name, case):
    found = timed(name, case)
    for stage in stages_of(tiny_of(methods.get(name))):
        pace = found[stage.name]
        assert 0 < pace.update < 60
        assert pace.parameters > 0
        slices = isinstance(planned(stage.training, [case]), DeepMethod)
        assert bool(pace.slice) == slices
        assert StagePace.from_json(pace.to_json()) == pace


def test_an_update_of_a_larger_batch_takes_longer_by_its_micro_batches(case):
    (stage,) = stages_of(tiny_of(methods.get("unet")))
    large = replace(stage.training.recipe, batch=40)
    pace = measure(Stage(replace(stage.training, recipe=large), stage.place), [case], "cpu")
    single = measure(stage, [case], "cpu")
    assert pace.batch == 10 * single.batch
    # Ten pieces; clocks on a busy machine are rough.
    assert 2 < pace.update / single.update < 50


def test_a_trial_leaves_neither_files_nor_warnings_behind(case, caplog, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with caplog.at_level(logging.WARNING, logger="hepar"):
        timed("cdnn_squeeze", case)
    assert not caplog.records
    assert not list(tmp_path.iterdir())


def test_a_long_trial_is_broken_off_and_labelling_is_guessed_from_it(case, monkeypatch):
    monkeypatch.setattr(pace_module, "PATIENCE_SECONDS", 0.0)
    (stage,) = stages_of(tiny_of(methods.get("unet")))
    pace = measure(stage, [case], "cpu")
    assert pace.slice == pytest.approx(pace.update / 4 / 3)
    patched = replace(stage.training, recipe=replace(stage.training.recipe, patch=32))
    guessed = measure(Stage(patched, stage.place), [case], "cpu")
    # A picture of 64 pixels is four patches of 32.
    assert guessed.slice == pytest.approx(guessed.update / 4 / 3 * 4)


def test_costs_are_of_the_network_as_it_is_trained(case):
    (stage,) = stages_of(tiny_of(methods.get("unet")))
    pace = measure(stage, [case], "cpu")
    network = stage.training.network.build(0)
    assert pace.parameters == sum(weights.numel() for weights in network.parameters())
    assert pace.gflop_size == (64, 64)
    (blocks,) = stages_of(tiny_of(methods.get("residual_unet3d")))
    assert isinstance(blocks.training, Deep3dMethod)
    assert len(measure(blocks, [case], "cpu").gflop_size) == 3


def test_twice_the_side_costs_four_times_as_much():
    (stage,) = stages_of(tiny_of(methods.get("unet")))
    cost = {}
    for side in (64, 128):
        grid = replace(stage.training.grid, matrix=side)
        cost[side] = pace_module._cost(replace(stage.training, grid=grid))[1]
    assert cost[64] is not None
    assert cost[128] == pytest.approx(4 * cost[64], rel=0.01)


def test_a_network_that_cannot_be_counted_has_no_cost(monkeypatch):
    def refuses(*_: Any) -> None:
        raise NotImplementedError

    monkeypatch.setattr(pace_module, "cost_of", refuses)
    (stage,) = stages_of(tiny_of(methods.get("unet")))
    parameters, gflop, _ = pace_module._cost(stage.training)
    assert parameters > 0
    assert gflop is None


def test_a_piece_holds_the_middle_of_the_liver_and_lies_in_its_place(case):
    long = phantom_case(replace(PHANTOM, shape=(30, 64, 64), spacing_mm=(6, 6, 6)), "long")
    piece = pace_module._piece(replace(long, heights_mm=tuple(6.0 * z for z in range(30))), None)
    assert piece.ct.values.shape == (pace_module.SLICES, 64, 64)
    assert piece.ct.geometry.same_grid(piece.truth.geometry)
    assert piece.truth.liver.any(axis=(1, 2)).all()
    assert piece.heights_mm is not None
    first = round((piece.heights_mm[0]) / 6)
    assert np.array_equal(piece.truth.labels, long.truth.axial().labels[first : first + 12])
    assert pace_module._piece(case, None).ct.values.shape[0] == 10


def test_a_stage_that_sees_boxes_is_timed_on_a_box(case):
    whole, boxed = (pace_module._piece(case, margin).ct.values.shape for margin in (None, 6.0))
    assert boxed[1] < whole[1]
    assert boxed[2] < whole[2]


def test_labelling_is_timed_on_a_whole_slab_since_a_part_costs_as_much(case, monkeypatch):
    class Slow:
        slab = 8

        def __init__(self) -> None:
            self.seen: list[int] = []

        def segment(self, ct):
            self.seen.append(len(ct.values))
            time.sleep(0.08)

    monkeypatch.setattr(pace_module, "clock", lambda *_: time.monotonic())
    slow = Slow()
    # An eighth of the call, however late a busy machine wakes it.
    assert 0.0099 < pace_module._slice_seconds(slow, case, "cpu") < 0.08
    assert slow.seen == [8]
    assert pace_module._slice_seconds(None, case, "cpu") == 0.0


def test_clocks_count_threads_on_a_cpu_and_the_wall_elsewhere():
    began = clock("cpu", 1)
    time.sleep(0.05)
    assert clock("cpu", 1) - began < 0.05
    assert clock("cpu", 4) == pytest.approx(clock("cpu", 1) / 4, rel=0.05)
    began = clock("cuda", 1)
    time.sleep(0.05)
    assert clock("cuda", 1) - began >= 0.05


def test_the_peak_of_memory_is_read_where_the_system_tells(tmp_path):
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmHWM:\t  250000 kB\n")
    assert peak_mb(status) == pytest.approx(256.0)
    own = peak_mb()
    assert own is None or own > 50


def test_a_system_that_does_not_tell_gives_none(tmp_path, monkeypatch):
    monkeypatch.setattr("hepar.study.bench.memory.sys.platform", "win32")
    assert peak_mb(tmp_path / "missing") is None
    (tmp_path / "odd").write_text("VmHWM: none\n")
    assert peak_mb(tmp_path / "odd") is None


def order(tmp_path, **changes: Any) -> BenchOrder:
    return replace(BenchOrder(None, tmp_path / "bench", phantoms=4), **changes)


def test_encoders_start_from_a_file_that_fits_and_say_what_is_fresh(tmp_path):
    from safetensors.torch import save_file

    method = replace(tiny_of(methods.get("cdnn_squeeze")), encoder_weights="imagenet")
    encoder = method.network.build(5).encoder
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "notes.txt").write_text("not weights")
    save_file({"other.weight": torch.zeros(3)}, tmp_path / "weights" / "a_stranger.safetensors")
    save_file({k: v.contiguous() for k, v in encoder.state_dict().items()}, tmp_path / "weights" / "mine.safetensors")
    started, told = with_encoders(method, order(tmp_path, weights=str(tmp_path / "weights")))
    assert started.encoder_weights == str(tmp_path / "weights" / "mine.safetensors")
    assert told == {"joint": "ImageNet, mine.safetensors"}
    load_encoder_weights(method.network.build(0), tmp_path / "weights" / "mine.safetensors")
    with pytest.raises(BadModel):
        load_encoder_weights(method.network.build(0), tmp_path / "weights" / "a_stranger.safetensors")


def test_encoders_without_weights_start_at_random_and_say_so(tmp_path, monkeypatch):
    monkeypatch.setenv("HEPAR_CACHE", str(tmp_path / "empty"))
    method = replace(tiny_of(methods.get("cdnn_squeeze")), encoder_weights="imagenet")
    started, told = with_encoders(method, order(tmp_path))
    assert (started.encoder_weights, told) == ("none", {"joint": "random (He): its ImageNet weights are not at hand"})
    _, told = with_encoders(method, order(tmp_path, weights="none"))
    assert told == {"joint": "random (He), as asked"}


def test_methods_that_start_at_random_anyway_have_nothing_to_tell(tmp_path):
    method = methods.get("unet")
    assert with_encoders(method, order(tmp_path)) == (method, {})


def test_cells_come_fold_by_fold_and_unknown_methods_are_refused():
    cells = cells_of(["unet", "chlebus/without_filter"], [0, 2])
    assert [cell.id for cell in cells] == [
        "unet/fold0", "chlebus+without_filter/fold0", "unet/fold2", "chlebus+without_filter/fold2"
    ]  # fmt: skip
    assert [cell.method for cell in cells_of((), [1])] == methods.names()
    with pytest.raises(Exception, match="no method is called u_net"):
        cells_of(["u_net"], [0])
    with pytest.raises(Exception, match="unet has no variant x"):
        cells_of(["unet/x"], [0])


def test_folds_are_those_asked_for_or_all_or_the_first():
    assert folds_to_run((), False, 4) == [0]
    assert folds_to_run((3, 1, 3), False, 4) == [1, 3]
    assert folds_to_run((), True, 4) == [0, 1, 2, 3]
    with pytest.raises(Exception, match="has folds 0 to 3, not 4"):
        folds_to_run((4,), False, 4)


def test_an_order_tells_what_makes_a_bench_and_no_folder(tmp_path):
    facts = order(tmp_path, data=tmp_path / "secret" / "LITS", folds=str(tmp_path / "secret" / "folds.json")).facts()
    assert (facts["data"], facts["folds"]) == ("LITS", "folds.json")
    assert "secret" not in str(facts)
    assert "out" not in facts
    job = BenchJob(BenchCell("unet", 1), order(tmp_path))
    assert job.folder == tmp_path / "bench" / "cells" / "unet" / "fold1"


def test_a_place_is_one_training_of_the_whole_picture_unless_said_otherwise():
    assert Place() == Place("", 1, 0, 1, None)
