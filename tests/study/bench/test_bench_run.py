"""A tiny bench from end to end: cells with all their facts, killed and unbroken alike, failures reported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hepar import methods
from hepar.errors import BadInput, SomeCasesFailed
from hepar.io import read_labels
from hepar.metrics.protocols import PROTOCOLS
from hepar.study.bench import cell as cell_module
from hepar.study.bench.cell import Stopwatch
from hepar.study.bench.order import BenchCell
from hepar.study.bench.study import group_of, prepare_bench, run_bench
from hepar.study.reproduce.results import read_cell
from hepar.study.reproduce.runner import Happened
from hepar.study.reproduce.study import alone_in
from tiny_bench import FAST, heard_by, own_method, run, tiny


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Tiny convolutions gain nothing from threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """Three methods of different kinds on the first of two folds."""
    out = tmp_path_factory.mktemp("bench") / "tiny"
    run(tiny(out), *FAST)
    return out


def facts_of(out: Path, method: str, fold: int = 0) -> dict[str, Any]:
    return read_cell(out / "cells" / method / f"fold{fold}").facts


@pytest.mark.parametrize("method", FAST)
def test_a_cell_tells_what_it_took_and_what_it_rests_on(finished, method):
    facts = facts_of(finished, method)
    assert (facts["state"], facts["error"], facts["evidence"]) == ("finished", None, ["phantom"])
    assert facts["minutes"] > 0
    assert facts["minutes_all"] >= facts["minutes"] * 0.9
    assert facts["seconds_a_scan"] > facts["seconds_a_slice"] > 0
    assert min(facts["peak_mb_training"], facts["peak_mb_segmenting"]) > 100
    assert facts["budget_minutes"] == pytest.approx(2 / 60)
    assert facts["seed"] == 2018
    assert {"python", "torch", "hepar"} <= facts["versions"].keys()
    assert facts["command"]
    assert facts["settings"]
    assert len(facts["training_patients"]) == len(facts["test_patients"]) == 2
    assert not set(facts["training_patients"]) & set(facts["test_patients"])


def test_networks_have_sizes_and_costs_and_classical_methods_have_none(finished):
    unet, classical = facts_of(finished, "unet"), facts_of(finished, "cheng_wei")
    built = cell_module.tiny_of(methods.get("unet")).network.build(0)
    assert unet["parameters"] == sum(weights.numel() for weights in built.parameters())
    assert unet["gflop"]["joint"]["gflop"] > 0
    assert unet["gflop"]["joint"]["size"] == [64, 64]
    assert (classical["parameters"], classical["gflop"], classical["updates"]) == (0, {}, 0)


def test_a_method_without_epochs_is_fitted_and_one_cut_short_says_how_far_it_came(finished):
    assert facts_of(finished, "cheng_wei")["converged"] is True
    unet = facts_of(finished, "unet")
    assert unet["updates"] < unet["updates_asked"]
    # On a fast machine eight whole epochs fit, and the loss decides; on a slow one the budget does.
    (stage,) = unet["plan"]["stages"]
    if stage["samples_per_epoch"] is None:
        assert "epochs" in unet["convergence"]
    else:
        assert unet["converged"] is False
        assert "the budget ended it after" in unet["convergence"]
    assert any("updates" in sentence for sentence in unet["differs"])
    assert unet["updates"] == sum(stage["updates"] for stage in unet["plan"]["stages"])


def test_every_test_case_is_scored_under_every_protocol_and_keeps_its_labels(finished):
    for method in FAST:
        cell = read_cell(finished / "cells" / method / "fold0")
        assert [case["patient"] for case in cell.cases] == cell.facts["test_patients"]
        for case in cell.cases:
            assert case["conditions"]["all_slices"].keys() == PROTOCOLS.keys()
            assert read_labels(cell.prediction(case["case"])).labels.shape == (20, 96, 96)


def test_checkpoints_are_gone_and_models_stay(finished):
    run_folder = finished / "cells" / "unet" / "fold0" / "run"
    assert (run_folder / "model" / "weights.safetensors").is_file()
    assert (run_folder / "history.json").is_file()
    assert not list(finished.rglob("checkpoint.safetensors"))


def test_a_finished_cell_is_not_repeated(finished):
    before = {path: path.stat().st_mtime_ns for path in (finished / "cells").rglob("*") if path.is_file()}
    events: list[Happened] = []
    run(tiny(finished), *FAST, listen=heard_by(events))
    assert [happened.what for happened in events] == ["kept"] * 3
    assert all("/" in happened.told for happened in events)
    assert before == {path: path.stat().st_mtime_ns for path in (finished / "cells").rglob("*") if path.is_file()}


def test_more_methods_are_welcome_and_another_bench_is_refused(finished):
    assert prepare_bench(tiny(finished), ("chlebus",)).cells == (BenchCell("chlebus", 0),)
    with pytest.raises(BadInput, match=r"holds another bench \(budget_minutes was 0.0333.*, now 5"):
        prepare_bench(tiny(finished, budget_minutes=5.0), FAST)
    with pytest.raises(BadInput, match="tiny was True, now False"):
        prepare_bench(tiny(finished, tiny=False), FAST)


def test_the_estimate_counts_budgets_and_names_what_was_never_measured(finished, tmp_path):
    fresh = prepare_bench(tiny(tmp_path / "other", budget_minutes=30.0), FAST)
    assert fresh.unmeasured == list(FAST)
    # Three budgets of half an hour, and six cases to score.
    assert fresh.hours == pytest.approx(1.5 + 6 * 15 / 3600)
    measured = prepare_bench(tiny(finished), FAST, every_fold=True)
    assert measured.unmeasured == []
    assert len(measured.unfinished) == 3
    assert prepare_bench(tiny(finished), FAST).hours == 0.0


@pytest.fixture
def threshold(tmp_path, monkeypatch) -> Iterator[None]:
    """A user's own method, without a network, joins the bench by its file."""
    monkeypatch.setenv("HEPAR_METHODS", str(own_method(tmp_path / "methods")))
    yield
    sys.modules.pop("hepar.methods.threshold", None)


def test_a_method_dropped_into_a_folder_is_a_cell_like_any_other(threshold, tmp_path):
    run(tiny(tmp_path / "bench"), "threshold")
    facts = facts_of(tmp_path / "bench", "threshold")
    assert (facts["state"], facts["converged"], facts["kind"]) == ("finished", True, "")
    # What has no history says its own minutes, and nothing of it can be shrunk.
    assert (facts["minutes"], facts["updates"], facts["updates_asked"], facts["differs"]) == (0.5, 0, 0, [])


def test_a_cell_that_fails_is_reported_and_the_others_go_on(threshold, tmp_path):
    out = tmp_path / "bench"
    events: list[Happened] = []
    with pytest.raises(SomeCasesFailed, match=r"1 of 2 cells failed \(threshold\+broken/fold0\)"):
        run(tiny(out), "threshold/broken", "threshold", listen=heard_by(events))
    failed = facts_of(out, "threshold+broken")
    assert failed["error"] == "RuntimeError: no luck in x.nii"
    assert {"schema", "id", "method", "fold", "budget_minutes", "seed", "state"} <= failed.keys()
    assert facts_of(out, "threshold")["state"] == "finished"
    ends = [(happened.cell, happened.what) for happened in events if happened.what in ("failed", "finished")]
    assert ends == [("threshold+broken/fold0", "failed"), ("threshold/fold0", "finished")]


def test_the_same_command_tries_failed_cells_again_and_only_those(threshold, tmp_path, monkeypatch):
    out = tmp_path / "bench"
    with pytest.raises(SomeCasesFailed):
        run(tiny(out), "threshold/broken", "threshold")
    broken = methods.get("threshold/broken")
    monkeypatch.setattr(type(broken), "train", lambda *_: methods.get("threshold").load(None))
    events: list[Happened] = []
    run(tiny(out), "threshold/broken", "threshold", listen=heard_by(events))
    assert [happened.cell for happened in events if happened.what == "kept"] == ["threshold/fold0"]
    assert [happened.cell for happened in events if happened.what == "training"] == ["threshold+broken/fold0"]
    assert facts_of(out, "threshold+broken")["state"] == "finished"


def test_cells_at_a_time_have_processes_of_their_own_and_one_that_dies_takes_nobody_along(threshold, tmp_path):
    order = tiny(tmp_path / "bench")
    prepared = prepare_bench(order, ("threshold/deadly", "threshold"))
    events: list[Happened] = []
    with pytest.raises(SomeCasesFailed, match=r"1 of 2 cells failed \(threshold\+deadly/fold0\)"):
        run_bench(prepared, events.append, workers=2)
    died = facts_of(order.out, "threshold+deadly")["error"]
    assert died == "its process died (exit code 3), perhaps short of memory"
    facts = facts_of(order.out, "threshold")
    assert facts["state"] == "finished"
    # Peaks are of the children, each its own.
    assert min(facts["peak_mb_training"], facts["peak_mb_segmenting"]) > 50
    assert {happened.what for happened in events} == {"training", "failed", "testing", "finished"}


def test_two_benches_in_one_folder_at_once_are_refused(threshold, tmp_path):
    order = tiny(tmp_path / "bench")
    prepared = prepare_bench(order, ("threshold",))
    with alone_in(order.out), pytest.raises(BadInput, match="another process is working on bench"):
        run_bench(prepared, isolated=False)


def test_a_killed_bench_goes_on_where_it_stopped_and_ends_as_an_unbroken_one(finished, tmp_path):
    """Killed by the system in its own process; the unbroken twin is `finished`."""
    out = tmp_path / "killed"
    order = tiny(out)
    prepare_bench(order, ("cdnn_squeeze",))
    # The twin's measured paces make the same plan.
    (out / "paces").mkdir()
    for name in ("cdnn_squeeze",):
        (out / "paces" / f"{name}.json").write_bytes((finished / "paces" / f"{name}.json").read_bytes())
    program = (
        "from pathlib import Path; import sys, torch; torch.set_num_threads(1)\n"
        "from tiny_bench import tiny, run\n"
        "run(tiny(Path(sys.argv[1])), 'cdnn_squeeze')"
    )
    places = [str(Path(__file__).parents[2]), *sys.path]
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(out)], env=os.environ | {"PYTHONPATH": os.pathsep.join(places)}
    )
    checkpoint = out / "cells" / "cdnn_squeeze" / "fold0" / "run" / "checkpoint.safetensors"
    try:
        until = time.monotonic() + 50
        while not checkpoint.is_file() and child.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
    finally:
        child.kill()
        child.wait()
    assert not (out / "cells" / "cdnn_squeeze" / "fold0" / "cell.json").is_file(), "it was killed too late"
    run(order, "cdnn_squeeze")
    mine, twin = (read_cell(folder / "cells" / "cdnn_squeeze" / "fold0") for folder in (out, finished))
    assert mine.facts["updates"] == twin.facts["updates"]
    for case in mine.cases:
        found, same = (read_labels(cell.prediction(case["case"])).labels for cell in (mine, twin))
        assert np.array_equal(found, same)
    assert mine.facts["minutes_all"] > 0


def test_a_test_case_that_was_labelled_is_not_labelled_again(threshold, tmp_path, monkeypatch):
    out = tmp_path / "bench"
    prepared = prepare_bench(tiny(out), ("threshold",))
    real, calls = cell_module.score_case, []

    def counted(case: Any, *rest: Any) -> Any:
        calls.append(case.id)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(case, *rest)

    monkeypatch.setattr(cell_module, "score_case", counted)
    with pytest.raises(KeyboardInterrupt):
        run_bench(prepared, isolated=False)
    folder = out / "cells" / "threshold" / "fold0"
    assert not (folder / "cell.json").exists()
    kept = json.loads((folder / "cases" / f"{calls[0]}.json").read_text())
    trained = (folder / "trained.json").read_bytes()
    monkeypatch.setattr(cell_module, "score_case", lambda case, *rest: calls.append(case.id) or real(case, *rest))
    run_bench(prepared, isolated=False)
    assert calls[2:] == [calls[1]]
    assert read_cell(folder).cases[0] == kept
    # Nor is it trained again.
    assert (folder / "trained.json").read_bytes() == trained


def test_folds_share_a_methods_pace_and_plan_for_themselves(threshold, tmp_path):
    order = tiny(tmp_path / "bench")
    run(order, "threshold", folds=(0, 1))
    assert [path.name for path in (order.out / "paces").iterdir()] == ["threshold.json"]
    plans = [json.loads((order.out / "cells" / "threshold" / f"fold{k}" / "plan.json").read_text()) for k in (0, 1)]
    assert not set(plans[0]["patients"]) & set(plans[1]["patients"])


def test_a_stopwatch_goes_on_where_an_earlier_start_stopped(tmp_path):
    path = tmp_path / "spent.json"
    path.write_text(json.dumps({"seconds": 100.0, "processor_seconds": 40.0}))
    watch = Stopwatch(path)
    time.sleep(0.02)
    spent = watch.keep()
    assert 100.0 < spent["seconds"] < 110.0
    assert 40.0 <= spent["processor_seconds"] < 50.0
    assert json.loads(path.read_text()) == spent
    # Asking twice counts nothing twice.
    assert watch.keep()["seconds"] - spent["seconds"] < 5


def test_what_cases_are_follows_from_the_data(tmp_path):
    assert group_of(None) == "whole volumes"
    lits = tmp_path / "lits512"
    lits.mkdir()
    for name in ("scans.csv", "manifest.csv"):
        (lits / name).write_text("patient\n")
    assert group_of(lits) == "LiTS-26 stacks"
    (tmp_path / "volumes").mkdir()
    assert group_of(tmp_path / "volumes") == "whole volumes"
