"""What the command line shows while it works: progress with an estimate, tables, notices."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

import hepar
from hepar.inference import Model
from hepar.metrics import EMPTY_RULE
from hepar.service.batch import Listener, Outcome

if TYPE_CHECKING:
    from hepar.service.demo import DemoResult
    from hepar.training.loop import Listener as TrainingListener
    from hepar.training.loop import Tick

console = Console(highlight=False)
STRUCTURE_NAMES = {"liver": "liver + tumour", "liver_exclusive": "liver only", "tumour": "tumour"}


def say(text: str) -> None:
    """One line, however narrow the terminal: paths can be copied whole."""
    console.print(escape(text), soft_wrap=True)


def show_model(model: Model) -> None:
    say(f"model {model.id}; weights: {model.card.licence}")
    console.print(f"[yellow]{escape(hepar.DISCLAIMER)}[/yellow]", soft_wrap=True)


@contextmanager
def batch_listener() -> Iterator[Listener]:
    """Shows one bar for the slices of the current case, and a line for each case that ends."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total} slices"))
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task("reading", total=None)
        cases = 0

        def started(number: int, count: int, case: str) -> None:
            nonlocal cases
            cases = count
            bar.reset(task, description=f"case {number + 1} of {count}: {escape(case)}", total=None)

        def slices(done: int, count: int) -> None:
            bar.update(task, completed=done, total=count)

        def ended(outcome: Outcome) -> None:
            # A lone scan's failure is the command's own: it is told once, on stderr.
            if outcome.status != "failed" or cases > 1:
                bar.console.print(_outcome_line(outcome), soft_wrap=True)
            for note in outcome.notes:
                bar.console.print(f"[yellow]note[/yellow]       {escape(note)}", soft_wrap=True)

        yield Listener(started, slices, ended)


def _outcome_line(outcome: Outcome) -> str:
    case = escape(outcome.id)
    if outcome.status == "failed":
        return f"[red]failed[/red]     {case}: {escape(outcome.message)}"
    if outcome.status == "skipped":
        return f"skipped    {case}: {escape(outcome.message)}"
    liver, tumour = outcome.liver_ml or 0.0, outcome.tumour_ml or 0.0
    said = f"liver {liver:.0f} mL, tumour {tumour:.1f} mL" if liver else "[yellow]no liver found[/yellow]"
    return f"[green]segmented[/green]  {case}: {said}, {outcome.seconds:.1f} s"


def _number(value: float, digits: int) -> str:
    return "n/a" if math.isnan(value) else f"{value:.{digits}f}"


def show_demo(result: DemoResult) -> None:
    scores = result.summary.scores or {}
    table = Table("structure", "Dice", "ASSD (mm)", "truth (mL)", "found (mL)", title="built-in phantom, not a patient")
    for name, row in scores.items():
        cells = [(row["dice"], 3), (row["assd_mm"], 2), (row["truth_ml"], 1), (row["found_ml"], 1)]
        table.add_row(STRUCTURE_NAMES.get(name, name), *(_number(math.nan if v is None else v, d) for v, d in cells))
    console.print(table)
    say(EMPTY_RULE)
    console.print(f"segmented in {result.summary.seconds['segment']:.1f} s; wrote")
    for path in result.files:
        say(f"  {path}")


@contextmanager
def training_listener(seconds_between: float = 60.0) -> Iterator[TrainingListener]:
    """Shows a bar per epoch with loss and time left, and a line for each finished epoch.

    Outside a terminal there is no bar, so a line says every `seconds_between` how far the epoch is.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[facts]}"))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("reading slices", total=1.0, facts="")
        last = time.monotonic()
        if not console.is_terminal:
            console.print("reading slices")

        def listen(tick: Tick) -> None:
            minutes = tick.seconds_left / 60
            facts = f"loss {tick.loss:.4f}, {minutes:.1f} min left"
            bar.update(task, description=f"epoch {tick.epoch + 1} of {tick.epochs}", facts=facts)
            bar.update(task, completed=tick.share_of_epoch)
            nonlocal last
            if not tick.ended and not console.is_terminal and time.monotonic() - last >= seconds_between:
                last = time.monotonic()
                console.print(f"epoch {tick.epoch + 1} of {tick.epochs}, {tick.share_of_epoch:.0%}: {facts}")
            if tick.ended:
                last = time.monotonic()
                found = "".join(f", {name} {value:.3f}" for name, value in tick.validation.items())
                bar.console.print(f"epoch {tick.epoch + 1}: {facts}{found}")

        yield listen
