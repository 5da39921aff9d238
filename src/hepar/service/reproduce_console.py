"""A study on the terminal: its plan with hours, a live table of arms and folds, its outcome."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.live import Live
from rich.markup import escape
from rich.table import Table

from hepar.service.console import console, say

if TYPE_CHECKING:
    from hepar.study.reproduce.runner import Happened, Listener
    from hepar.study.reproduce.study import PreparedStudy

STYLES = {"kept": "green", "finished": "green", "failed": "red", "training": "cyan", "testing": "cyan"}


def show_plan(prepared: PreparedStudy, workers: int) -> None:
    """Each arm with its start, epochs and time, then the hours that are left."""
    table = Table("arm", "preprocessing", "folds", "encoder starts from", "epochs", "s per epoch", "min per fold")
    for arm, preprocessing in dict.fromkeys(cell.arm.key for cell in prepared.cells):
        mine = [cell for cell in prepared.cells if cell.arm.key == (arm, preprocessing)]
        row = prepared.timing.get(f"{arm}/{preprocessing}")
        start = prepared.decided.encoders.get(f"{arm}/{preprocessing}", "").rsplit("/", 1)[-1]
        start = {"none": "random weights (He)"}.get(start, start)
        if row is None:
            told = [f"network of {'/'.join(mine[0].arm.after or ())}", "", "", ""]
        else:
            networks = 2 if mine[0].arm.stages == "cascade" else 1
            minutes = networks * row["epochs_used"] * row["seconds_an_epoch"] / 60
            used, asked = row["epochs_used"], row["epochs_asked"]
            epochs = str(used) if used == asked else f"{used} of {asked}"
            told = [start, epochs, f"{row['seconds_an_epoch']:.1f}", f"{minutes:.1f}"]
        table.add_row(escape(arm), preprocessing, ", ".join(str(cell.fold) for cell in mine), *map(escape, told))
    console.print(table)
    left = prepared.unfinished
    done = len(prepared.cells) - len(left)
    many = "1 process" if workers <= 1 else f"{workers} processes"
    say(
        f"{len(left)} cells to run, {done} finished; learning rate {prepared.decided.learning_rate:g}; about "
        f"{prepared.hours(workers):.1f} h in {many} with the machine to themselves"
    )


@contextmanager
def study_listener(prepared: PreparedStudy) -> Iterator[Listener]:
    """Shows a live table of arms and folds: epoch, loss and time left, then Dice of liver / tumour.

    Where the output is no terminal, a line for each cell that ends.
    """
    states: dict[str, Happened] = {}
    if not console.is_terminal:
        yield _say_ends
        return
    with Live(_grid(prepared, states), console=console, refresh_per_second=2) as live:

        def listen(happened: Happened) -> None:
            states[happened.cell] = happened
            live.update(_grid(prepared, states))

        yield listen


def _say_ends(happened: Happened) -> None:
    if happened.what in ("kept", "finished", "failed"):
        say(f"{happened.what:9} {happened.cell}: {happened.told}")


def _grid(prepared: PreparedStudy, states: dict[str, Happened]) -> Table:
    folds = range(len(prepared.folds))
    table = Table("arm", "preprocessing", *(f"fold {fold}" for fold in folds), title="Dice liver / tumour, all slices")
    planned = {cell.id for cell in prepared.cells}
    for arm, preprocessing in dict.fromkeys(cell.arm.key for cell in prepared.cells):
        cells = [f"{arm}/{preprocessing}/fold{fold}" for fold in folds]
        table.add_row(escape(arm), preprocessing, *(_shown(c, states) if c in planned else "" for c in cells))
    return table


def _shown(cell: str, states: dict[str, Happened]) -> str:
    happened = states.get(cell)
    if happened is None:
        return "[dim]waiting[/dim]"
    told = happened.what if happened.what == "failed" else happened.told
    return f"[{STYLES[happened.what]}]{escape(told)}[/]"
