"""A study on the terminal: its plan with hours, a live table of arms and folds, its outcome."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.live import Live
from rich.markup import escape
from rich.table import Column, Table

from hepar.service.console import console, say

if TYPE_CHECKING:
    from hepar.study.reproduce.plan import Arm
    from hepar.study.reproduce.runner import Happened, Listener
    from hepar.study.reproduce.study import PreparedStudy

STYLES = {"kept": "green", "finished": "green", "failed": "red", "training": "cyan", "testing": "cyan"}


def show_plan(prepared: PreparedStudy, workers: int) -> None:
    """Each arm with its start, epochs and time, then the hours that are left."""
    table = Table(Column("arm", no_wrap=True), "folds", "encoder starts from", "epochs", "s per epoch", "min per fold")
    for key in dict.fromkeys(cell.arm.key for cell in prepared.cells):
        mine = [cell for cell in prepared.cells if cell.arm.key == key]
        told = _told(mine[0].arm, prepared)
        table.add_row(escape("/".join(key)), " ".join(str(cell.fold) for cell in mine), *map(escape, told))
    console.print(table)
    left = prepared.unfinished
    done = len(prepared.cells) - len(left)
    many = "1 process" if workers <= 1 else f"{workers} processes"
    say(
        f"{len(left)} cells to run, {done} finished; learning rate {prepared.decided.learning_rate:g}; about "
        f"{prepared.hours(workers):.1f} h in {many} with the machine to themselves"
    )


def _told(arm: Arm, prepared: PreparedStudy) -> tuple[str, str, str, str]:
    """Encoder, epochs, seconds an epoch and minutes a fold of an arm."""
    row = prepared.timing.get("/".join(arm.key))
    if row is None:
        return f"network of {'/'.join(arm.after or ())}", "", "", ""
    start = prepared.decided.encoders.get("/".join(arm.key), "none").rsplit("/", 1)[-1]
    used, asked, seconds = row["epochs_used"], row["epochs_asked"], row["seconds_an_epoch"]
    epochs = str(used) if used == asked else f"{used} of {asked}"
    if (budget := prepared.order.budget_minutes) and budget * 60 < seconds:
        epochs += f" ({budget * 60 / seconds:.1f} fit)"
    minutes = (2 if arm.stages == "cascade" else 1) * used * seconds / 60
    return "random (He)" if start == "none" else start, epochs, f"{seconds:.1f}", f"{minutes:.1f}"


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
    table = Table(
        Column("arm", no_wrap=True), *(f"fold {fold}" for fold in folds), title="Dice liver / tumour, all slices"
    )
    planned = {cell.id for cell in prepared.cells}
    for arm in dict.fromkeys("/".join(cell.arm.key) for cell in prepared.cells):
        cells = [f"{arm}/fold{fold}" for fold in folds]
        table.add_row(escape(arm), *(_shown(c, states) if c in planned else "" for c in cells))
    return table


def _shown(cell: str, states: dict[str, Happened]) -> str:
    happened = states.get(cell)
    if happened is None:
        return "[dim]waiting[/dim]"
    told = happened.what if happened.what == "failed" else happened.told
    return f"[{STYLES[happened.what]}]{escape(told)}[/]"
