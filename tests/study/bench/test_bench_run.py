"""A tiny bench from end to end: cells with all their facts, killed and unbroken alike, failures reported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
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
from hepar.study.bench.order import BenchCell, BenchJob
from hepar.study.bench.runner import run_cells
from hepar.study.bench.study import prepare_bench, run_bench
from hepar.study.reproduce.results import read_cell
from hepar.study.reproduce.runner import Happened
from tiny_bench import FAST, heard_by, run, tiny


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


def test_a_method_without_epochs_is_fitted_and_one_cut_short_has_not_converged(finished):
    assert facts_of(finished, "cheng_wei")["converged"] is True
    unet = facts_of(finished, "unet")
    assert unet["updates"] < unet["updates_asked"]
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


def test_a_cell_that_fails_is_reported_and_the_others_go_on(tmp_path, monkeypatch):
    out = tmp_path / "bench"

    def broken(*_: object) -> None:
        raise RuntimeError("no luck in /home/someone/data/x.nii")

    monkeypatch.setattr(type(methods.get("cheng_wei")), "train", broken)
    events: list[Happened] = []
    with pytest.raises(SomeCasesFailed, match=r"1 of 2 cells failed \(cheng_wei/fold0\)"):
        run(tiny(out), "cheng_wei", "cdnn_squeeze", listen=heard_by(events))
    assert facts_of(out, "cheng_wei")["error"] == "RuntimeError: no luck in x.nii"
    assert facts_of(out, "cdnn_squeeze")["state"] == "finished"
    assert [(h.cell, h.what) for h in events if h.what in ("failed", "finished")] == [
        ("cheng_wei/fold0", "failed"),
        ("cdnn_squeeze/fold0", "finished"),
    ]
    # The same command tries the failed one again, and only that.
    monkeypatch.undo()
    events.clear()
    run(tiny(out), "cheng_wei", "cdnn_squeeze", listen=heard_by(events))
    assert [h.cell for h in events if h.what == "kept"] == ["cdnn_squeeze/fold0"]
    assert facts_of(out, "cheng_wei")["state"] == "finished"


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


def test_a_test_case_that_was_labelled_is_not_labelled_again(tmp_path, monkeypatch):
    out = tmp_path / "bench"
    prepared = prepare_bench(tiny(out), ("cheng_wei",))
    real, calls = cell_module.score_case, []

    def counted(case: Any, *rest: Any) -> Any:
        calls.append(case.id)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(case, *rest)

    monkeypatch.setattr(cell_module, "score_case", counted)
    with pytest.raises(KeyboardInterrupt):
        run_bench(prepared, isolated=False)
    monkeypatch.undo()
    assert not (out / "cells" / "cheng_wei" / "fold0" / "cell.json").exists()
    kept = json.loads((out / "cells" / "cheng_wei" / "fold0" / "cases" / f"{calls[0]}.json").read_text())
    monkeypatch.setattr(cell_module, "score_case", lambda case, *rest: calls.append(case.id) or real(case, *rest))
    run_bench(prepared, isolated=False)
    assert calls[2:] == [calls[1]]
    assert read_cell(out / "cells" / "cheng_wei" / "fold0").cases[0] == kept


def test_each_step_has_a_process_of_its_own_and_one_that_dies_takes_only_its_cell(tmp_path):
    prepared = prepare_bench(tiny(tmp_path / "bench"), ("cheng_wei",))
    job = prepared.jobs[0]
    events: list[Happened] = []
    assert run_cells([job], events.append) == []
    facts = read_cell(job.folder).facts
    # Peaks are the children's own, and this test's process does not count.
    assert facts["peak_mb_segmenting"] > 50
    assert {happened.what for happened in events} == {"training", "testing", "finished"}
    assert facts["state"] == "finished"


def test_a_step_whose_process_dies_is_told_as_such(tmp_path):
    from hepar.study.bench.runner import _in_process

    job = BenchJob(BenchCell("unet", 0), tiny(tmp_path))
    error = _in_process(dies, job, lambda _: None)
    assert error == "its process died (exit code 3), perhaps short of memory"


def dies(*_: object) -> None:
    """A step that takes its process with it."""
    os._exit(3)
