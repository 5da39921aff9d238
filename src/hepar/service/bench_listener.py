"""`hepar study bench` on the terminal: its plan with hours, then a live table of methods and folds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.live import Live
from rich.markup import escape
from rich.table import Column, Table

from hepar import methods
from hepar.service.console import console, say
from hepar.service.reproduce_console import STYLES

if TYPE_CHECKING:
    from hepar.study.bench.study import PreparedBench
    from hepar.study.reproduce.runner import Happened, Listener


def show_bench_plan(prepared: PreparedBench, workers: int = 1) -> None:
    """Methods with their folds, then the hours that are left."""
    table = Table(Column("method", no_wrap=True), "kind", "folds")
    for method in dict.fromkeys(cell.method for cell in prepared.cells):
        card = methods.card(method.split("/")[0])
        folds = " ".join(str(cell.fold) for cell in prepared.cells if cell.method == method)
        table.add_row(escape(method), escape(card.kind if card else ""), folds)
    console.print(table)
    left, budget = prepared.unfinished, prepared.order.budget_minutes
    many = "with the machine to itself" if workers <= 1 else f"with {workers} cells at a time, which share the machine"
    say(
        f"{len(left)} cells to run, {len(prepared.cells) - len(left)} finished; {budget:g} minutes each for training; "
        f"about {prepared.hours / max(1, workers):.1f} h {many}"
    )
    if prepared.unmeasured:
        say(f"labelling comes on top for what was never measured: {', '.join(prepared.unmeasured)}")
    if prepared.order.data is not None:
        say("2D methods learn from slices; what looks along z gets the slices of a scan as one stack")


@contextmanager
def bench_listener(prepared: PreparedBench) -> Iterator[Listener]:
    """Shows a live table of methods and folds: epoch, loss and time left, then Dice of liver / tumour.

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


def _grid(prepared: PreparedBench, states: dict[str, Happened]) -> Table:
    folds = sorted({cell.fold for cell in prepared.cells})
    columns = [f"fold {fold}" for fold in folds]
    table = Table(Column("method", no_wrap=True), *columns, title="Dice liver / tumour, mean over test cases")
    planned = {cell.id for cell in prepared.cells}
    for arm in dict.fromkeys(cell.arm for cell in prepared.cells):
        cells = [f"{arm}/fold{fold}" for fold in folds]
        table.add_row(escape(arm), *(_shown(states.get(cell)) if cell in planned else "" for cell in cells))
    return table


def _shown(happened: Happened | None) -> str:
    if happened is None:
        return "[dim]waiting[/dim]"
    told = happened.what if happened.what == "failed" else happened.told
    return f"[{STYLES[happened.what]}]{escape(told)}[/]"
