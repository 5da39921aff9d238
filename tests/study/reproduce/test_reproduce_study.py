"""A tiny study from end to end: killed and unbroken alike, failures recorded, every file as `results` promises."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hepar.errors import BadInput, SomeCasesFailed
from hepar.io import read_labels
from hepar.metrics.figures import figure
from hepar.metrics.protocols import PROTOCOLS
from hepar.study.reproduce import runner
from hepar.study.reproduce.cell import plain
from hepar.study.reproduce.order import StudyOrder
from hepar.study.reproduce.plan import GROUPS
from hepar.study.reproduce.rate import RateTrials
from hepar.study.reproduce.results import CONDITIONS, read_study
from hepar.study.reproduce.runner import Happened
from hepar.study.reproduce.smoke import StudyLearnedNothing, foreground_dice, require_dice
from hepar.study.reproduce.study import prepare_study, run_study

FAST = ("batch=4", "micro_batch=4", "optimizer=adam", "loss=dice_cross_entropy")
ALL = ("table1", "joint_cascade", "korabelnikov", "largest_component", "fair")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Tiny convolutions gain nothing from threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tiny(out: Path, groups: tuple[str, ...], epochs: int = 1, **changes: Any) -> StudyOrder:
    order = StudyOrder(
        None, out, groups, split="99/30", matrix=64, phantoms=4, width=0.05, weights="none", learning_rate=5e-3,
        settings=(*FAST, f"epochs={epochs}"),
    )  # fmt: skip
    return replace(order, **changes)


def run(order: StudyOrder, listen: Callable[[Happened], None] = lambda _: None) -> None:
    run_study(prepare_study(order), listen=listen)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A study of all kinds of cells on one fold of 3 and 1 phantoms."""
    out = tmp_path_factory.mktemp("study") / "tiny"
    run(tiny(out, ALL))
    return out


def test_every_cell_tells_what_its_schema_promises(finished):
    cells = read_study(finished).cells
    assert len(cells) == 10
    for cell in cells:
        facts = cell.facts
        assert (facts["state"], facts["error"], facts["evidence"]) == ("finished", None, ["phantom"])
        promised = {
            "schema", "id", "arm", "preprocessing", "fold", "title", "groups", "state", "error", "stages", "finish",
            "trained_by", "recipe", "learning_rate", "batch", "matrix", "window_hu", "encoder", "epochs_asked",
            "epochs_used", "updates", "minutes", "converged", "convergence", "loss", "evidence", "training_patients",
            "test_patients", "training_slices", "folds_sha256", "method", "versions", "command",
        }  # fmt: skip
        assert facts.keys() == promised
        assert (facts["epochs_asked"], facts["epochs_used"], facts["converged"]) == (1, 1, False)
        assert not set(facts["training_patients"]) & set(facts["test_patients"])
        assert bool(cell.history()) == (facts["trained_by"] is None)
        (case,) = cell.cases
        assert read_labels(cell.prediction(case["case"])).labels.shape == (20, 96, 96)
        assert case["conditions"].keys() == set(CONDITIONS)
        assert all(scores.keys() == PROTOCOLS.keys() for scores in case["conditions"].values())


def test_study_json_says_what_the_results_are_of(finished):
    facts = read_study(finished).facts
    assert facts["label"] == "4 phantoms, split 99/30 by patient"
    assert (facts["patients"], facts["patients_with_tumour"], facts["fold_sizes"]) == (4, 3, [[3, 1]])
    assert facts["folds_sha256"] == read_study(finished).cells[0].facts["folds_sha256"]


def test_figures_over_cases_come_from_the_stored_scores(finished):
    study = read_study(finished)
    spec = next(spec for spec in PROTOCOLS["lits"].figures if spec.name == "liver_dice")
    patients, scores = study.scores(study.of_arm("cdnn_squeeze", "with"), "all_slices", "lits")
    assert len(patients) == len(scores) == 1
    assert foreground_dice(finished)["cdnn_squeeze/with"] == figure(spec, scores).value


def test_a_cascade_has_two_networks_and_a_taken_over_one_has_none(finished):
    cells = {cell.id: cell for cell in read_study(finished).cells}
    assert cells["cdnn_alex-cascade/with/fold0"].history().keys() == {"liver", "tumour"}
    assert cells["cdnn_alex-cascade/with/fold0"].facts["loss"].keys() == {"liver", "tumour"}
    largest, base = cells["cdnn_alex-largest/with/fold0"], cells["cdnn_alex/with/fold0"]
    assert largest.facts["updates"] == base.facts["updates"] > 0
    assert not (largest.folder / "run").exists()


def test_a_finished_study_is_not_repeated(finished):
    before = {path: path.stat().st_mtime_ns for path in (finished / "cells").rglob("*") if path.is_file()}
    heard: list[Happened] = []
    run(tiny(finished, ALL), heard.append)
    assert [happened.what for happened in heard] == ["kept"] * 10
    assert before == {path: path.stat().st_mtime_ns for path in (finished / "cells").rglob("*") if path.is_file()}


def test_another_study_in_the_same_folder_is_refused_and_more_arms_are_welcome(finished):
    with pytest.raises(BadInput, match=r"tiny holds another study \(matrix was 64, now 32\)"):
        prepare_study(tiny(finished, ALL, matrix=32))
    assert len(prepare_study(tiny(finished, (*ALL, "alexnets"))).unfinished) == 3


def test_an_arm_that_learned_nothing_fails_the_smoke_study(finished, tmp_path):
    least = min(foreground_dice(finished).values())
    with pytest.raises(StudyLearnedNothing, match="foreground Dice must be above"):
        require_dice(finished, max(0.5, least + 0.01))
    require_dice(finished, -1.0)
    (tmp_path / "study.json").write_text("{}")
    with pytest.raises(StudyLearnedNothing, match="no arm finished"):
        require_dice(tmp_path, 0.0)


def test_phantoms_are_learned_in_seconds(tmp_path, monkeypatch):
    """`make study-smoke` in small: an arm must find the foreground of a phantom it never saw."""
    monkeypatch.setitem(GROUPS, "fair", GROUPS["fair"][1:])
    learning = (*FAST, "schedule=cosine", "epochs=14")
    run(tiny(tmp_path / "a", ("fair",), width=0.1, learning_rate=1e-2, settings=learning))
    require_dice(tmp_path / "a", 0.5)


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
import torch
torch.set_num_threads(1)
from test_reproduce_study import run, tiny
run(tiny(Path({out!r}), ("fair",), epochs=4))
"""


def test_a_killed_study_goes_on_to_the_results_of_an_unbroken_one(tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    script = KILLED.format(here=str(Path(__file__).parent), out=str(broken))
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
    waited = time.monotonic()
    # Killed with its first cell in the middle of the training.
    while not list(broken.rglob("checkpoint.safetensors")):
        assert process.poll() is None and time.monotonic() - waited < 120, "the study to kill did not get going"
        time.sleep(0.002)
    process.kill()
    process.wait()
    assert not list(broken.rglob("cell.json")), "killed too late to show anything"
    for study in (broken, whole):
        run(tiny(study, ("fair",), epochs=4))
    assert stable(broken) == stable(whole)
    assert stable(broken) != {}


def stable(study: Path) -> dict[str, Any]:
    """Everything of a study that does not tell time."""
    cells = read_study(study).cells
    changing = ("minutes", "command")
    facts = {cell.id: {k: v for k, v in cell.facts.items() if k not in changing} for cell in cells}
    scores = {cell.id: [{k: v for k, v in case.items() if k != "seconds"} for case in cell.cases] for cell in cells}
    found = {cell.id: [read_labels(cell.prediction(c["case"])).labels.tobytes() for c in cell.cases] for cell in cells}
    return {"facts": facts, "scores": scores, "found": found} if cells else {}


def test_a_failed_cell_is_recorded_the_rest_go_on_and_it_is_tried_again(finished, tmp_path):
    out = tmp_path / "tiny"
    shutil.copytree(finished, out)
    cell, taker = out / "cells/cdnn_resnet18/with/fold0", out / "cells/cdnn_resnet18-largest/with/fold0"
    squeeze = out / "cells/cdnn_squeeze/with/fold0"
    for folder in (cell, taker, squeeze):
        (folder / "cell.json").unlink()
    # Another training lies where this one wants to be.
    kept = (cell / "run/run.json").read_text()
    (cell / "run/run.json").write_text(json.dumps(json.loads(kept) | {"seed": 1}))
    heard: list[Happened] = []
    with pytest.raises(SomeCasesFailed, match="2 of 10 cells failed"):
        run(tiny(out, ALL), heard.append)
    assert "holds another training" in json.loads((cell / "cell.json").read_text())["error"]
    assert "which has not finished" in json.loads((taker / "cell.json").read_text())["error"]
    assert [h.what for h in heard if h.cell.startswith("cdnn_squeeze")][-1] == "finished"
    (cell / "run/run.json").write_text(kept)
    run(tiny(out, ALL))
    assert all(one.finished for one in read_study(out).cells)


def test_two_starts_in_one_folder_are_refused(tmp_path):
    prepared = prepare_study(tiny(tmp_path / "a", ("fair",)))

    def again(_: Happened) -> None:
        run_study(prepared)

    with pytest.raises(BadInput, match="another process is working on a"):
        run_study(prepared, listen=again)


def test_the_rate_is_chosen_once_on_inner_patients(tmp_path, monkeypatch):
    order = tiny(tmp_path / "a", ("fair",), learning_rate=None)
    trials = RateTrials((5e-3, 1e-9))
    prepared = prepare_study(order, trials)
    told = json.loads((order.out / "rate.json").read_text())
    assert told["chosen"] == prepared.decided.learning_rate == 5e-3
    assert len(told["trials"]) == 4
    assert set(told["inner_patients"]) <= set(prepared.folds[0].train)
    monkeypatch.setattr("hepar.study.reproduce.rate._trial", lambda *_: pytest.fail("tried again"))
    assert prepare_study(order, trials).decided.learning_rate == 5e-3


class FakeProcesses:
    """Processes that end at the second look; `dies` names the cell whose process is killed."""

    def __init__(self, dies: str) -> None:
        self.dies, self.alive, self.most = dies, 0, 0

    def __call__(self, context: Any, job: Any, news: Any) -> Any:
        self.alive += 1
        self.most = max(self.most, self.alive)
        looks = iter([None])
        owner = self

        class Process:
            @property
            def exitcode(self) -> int | None:
                code = next(looks, -9 if job.cell.id == owner.dies else 0)
                if code is not None:
                    owner.alive -= 1
                    if code == 0:
                        runner.run_cell(job)
                return code

        return Process()


def test_cells_in_processes_wait_for_their_network_and_a_death_takes_one_cell_only(finished, tmp_path, monkeypatch):
    out = tmp_path / "tiny"
    shutil.copytree(finished, out)
    shutil.rmtree(out / "cells/cdnn_alex")
    for path in out.rglob("cell.json"):
        path.unlink()
    fake = FakeProcesses(dies="cdnn_squeeze/with/fold0")
    monkeypatch.setattr(runner, "_process", fake)
    monkeypatch.setattr(runner, "_pass_on", lambda *_: None)
    with pytest.raises(SomeCasesFailed, match=r"1 of 10 cells failed \(cdnn_squeeze/with/fold0\)"):
        run_study(prepare_study(tiny(out, ALL)), workers=3)
    assert fake.most == 3
    failed = json.loads((out / "cells/cdnn_squeeze/with/fold0/cell.json").read_text())
    assert failed["error"].startswith("its process died (exit code -9)")


def test_an_error_names_no_folder():
    assert plain(OSError("cannot open '/home/someone/data/volume-3.nii'")) == "OSError: cannot open 'volume-3.nii'"
    assert plain(BadInput("a/b is not 1/2")) == "a/b is not 1/2"


def test_the_command_runs_a_study_and_shows_its_plan(hepar_command, tmp_path):
    words = ["study", "reproduce", "--phantoms", 4, "-o", tmp_path / "study", "--arms", "fair", "--split", "99/30",
             "--matrix", 64, "--width", 0.05, "--weights", "none", "--budget", "1s", "--set", "batch=4",
             "--set", "micro_batch=4"]  # fmt: skip
    planned = hepar_command(*words, "--plan")
    assert planned.code == 0
    assert "2 cells to run, 0 finished" in planned.out
    done = hepar_command(*words, "--least-dice", 0.99)
    assert done.code != 0
    assert "foreground Dice must be above 0.99" in done.err
    assert hepar_command(*words[:2], "-o", tmp_path).code == 2


def test_labels_of_a_study_are_found_only_on_slices_that_can_count(finished):
    for cell in read_study(finished).cells:
        (case,) = cell.cases
        every, likely = (case["conditions"][name]["paper"]["terms"]["liver_union_dice_pooled"] for name in CONDITIONS)
        assert every[0] == likely[0]
        assert every[1] >= likely[1]
        assert np.isfinite([*every, *likely]).all()
