"""A study on the terminal: every arm with its start and time, every cell with its state."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from hepar.cases import Fold
from hepar.service import reproduce_console
from hepar.service.reproduce_console import show_plan, study_listener
from hepar.study.reproduce.order import Decided, StudyOrder
from hepar.study.reproduce.plan import plan_cells
from hepar.study.reproduce.protocol import CaseSurvey
from hepar.study.reproduce.runner import Happened
from hepar.study.reproduce.study import PreparedStudy


@pytest.fixture
def prepared(tmp_path: Path) -> PreparedStudy:
    cells = plan_cells(("joint_cascade", "decoders", "largest_component"), 2, narrow=True)
    row = {"epochs_asked": 40, "epochs_used": 1, "updates_an_epoch": 5.0, "seconds_an_epoch": 600.0,
           "seconds_a_slice": 0.1}  # fmt: skip
    timing = {"/".join(cell.arm.key): row for cell in cells if cell.arm.after is None}
    encoders = {"cdnn_alex/with": "/somewhere/alexnet.npz"}
    surveyed = {p: CaseSurvey(p, 50, 40, 9, 1, True, "real") for p in ("a", "b")}
    folds = (Fold(("a",), ("b",)), Fold(("b",), ("a",)))
    order = StudyOrder(Path("data"), tmp_path, budget_minutes=8.0)
    return PreparedStudy(order, Decided(encoders=encoders), tuple(cells), timing, surveyed, folds)


@pytest.fixture
def shown(monkeypatch) -> Console:
    console = Console(record=True, width=140, force_terminal=True, highlight=False)
    for module in (reproduce_console, reproduce_console.say.__globals__):
        target = module if isinstance(module, dict) else vars(module)
        monkeypatch.setitem(target, "console", console)
    return console


def test_a_plan_says_how_epochs_were_scaled_and_what_a_cascade_costs(prepared, shown, capsys):
    show_plan(prepared, workers=2)
    rows = {line.split("│")[1].strip(): line for line in shown.export_text().splitlines() if line.startswith("│")}
    assert "alexnet.npz" in rows["cdnn_alex/with"] and "somewhere" not in rows["cdnn_alex/with"]
    assert "1 of 40 (0.8 fit)" in rows["cdnn_alex/with"]
    assert "│ 10.0 " in rows["cdnn_alex/with"]
    assert "│ 20.0 " in rows["cdnn_alex-cascade/with"]
    assert "random (He)" in rows["cdnn_alex-fcn32s/with"]
    assert "network of cdnn_resnet18/with" in rows["cdnn_resnet18-largest/with"]
    assert "14 cells to run, 0 finished" in capsys.readouterr().out


def test_the_live_table_shows_every_cell_as_it_stands(prepared, shown, capsys):
    with study_listener(prepared) as listen:
        listen(Happened("cdnn_alex/with/fold0", "finished", "0.912 / 0.433"))
        listen(Happened("cdnn_alex/with/fold1", "training", "3.2 of 12, loss 0.100, 4 min"))
        listen(Happened("cdnn_resnet18/with/fold0", "failed", "the loss became nan"))
    lines = [line for line in shown.export_text().splitlines() if "│ cdnn" in line]
    last = {line.split("│")[1].strip(): line for line in lines}
    assert "0.912 / 0.433" in last["cdnn_alex/with"] and "loss 0.100" in last["cdnn_alex/with"]
    assert "failed" in last["cdnn_resnet18/with"] and "waiting" in last["cdnn_resnet18/with"]
    # An arm of the first fold only has nothing to wait for in the second.
    assert last["cdnn_alex-fcn32s/with"].count("waiting") == 1


def test_without_a_terminal_each_cell_that_ends_is_a_line(prepared, monkeypatch, capsys):
    with study_listener(prepared) as listen:
        listen(Happened("cdnn_alex/with/fold0", "training", "1.0 of 12"))
        listen(Happened("cdnn_alex/with/fold0", "finished", "0.912 / 0.433"))
    assert "finished  cdnn_alex/with/fold0: 0.912 / 0.433" in " ".join(capsys.readouterr().out.split("\n"))
