"""What `hepar bench` shows: a row an engine, the pick, and why."""

from __future__ import annotations

from rich import box
from rich.markup import escape
from rich.table import Table

from hepar.service.bench_engines import Bench, Measured, command, name_of
from hepar.service.console import console, say


def show_bench(found: Bench) -> None:
    say(f"{found.model}, {found.slices} slices of 512 x 512 of a phantom, medians of {found.rounds} rounds in turns")
    table = Table(box=box.SIMPLE, show_edge=False)
    for header in ("engine", "slices/s", "first slab, s", "Dice below fp32's"):
        table.add_column(header, justify="left" if header == "engine" else "right")
    for row in found.rows:
        table.add_row(*map(escape, _cells(row)))
    console.print(table)
    for row in found.rows:
        if row.problem:
            say(f"{name_of(row.options)}: {row.problem}")
    say(f"pick: hepar segment {command(found.pick)}")
    say(f"why: {found.why}")


def _cells(row: Measured) -> tuple[str, str, str, str]:
    if row.slices_per_s is None or row.start_s is None or row.drop is None:
        return name_of(row.options), "-", "-", "-"
    return row.engine, f"{row.slices_per_s:.1f}", f"{row.start_s:.1f}", f"{row.drop:.4f}"
