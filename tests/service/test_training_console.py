"""A training says how far it is, in a log file as well as in a terminal."""

from __future__ import annotations

from rich.console import Console

from hepar.service import console as shown
from hepar.service.console import training_listener
from hepar.training.loop import Tick


def told(capsys, terminal: bool, seconds_between: float, monkeypatch) -> list[str]:
    monkeypatch.setattr(shown, "console", Console(highlight=False, force_terminal=terminal, width=100))
    with training_listener(seconds_between) as listen:
        listen(Tick(0, 4, 0.25, 1.5, 600.0, {}))
        listen(Tick(0, 4, 0.5, 1.25, 500.0, {}))
        listen(Tick(0, 4, 1.0, 1.125, 450.0, {"dice": 0.5}, ended=True))
    return capsys.readouterr().out.splitlines()


def test_outside_a_terminal_lines_come_before_the_first_epoch_ends(capsys, monkeypatch):
    assert told(capsys, False, 0.0, monkeypatch)[:4] == [
        "reading slices",
        "epoch 1 of 4, 25%: loss 1.5000, 10.0 min left",
        "epoch 1 of 4, 50%: loss 1.2500, 8.3 min left",
        "epoch 1: loss 1.1250, 7.5 min left, dice 0.500",
    ]


def test_lines_are_as_rare_as_asked_for(capsys, monkeypatch):
    lines = told(capsys, False, 60.0, monkeypatch)
    assert [line for line in lines if line.strip()] == [
        "reading slices",
        "epoch 1: loss 1.1250, 7.5 min left, dice 0.500",
    ]


def test_in_a_terminal_the_bar_says_it(capsys, monkeypatch):
    assert not any(line.strip() == "reading slices" or "25%:" in line for line in told(capsys, True, 0.0, monkeypatch))
