"""The table of `hepar series`."""

from __future__ import annotations

from rich import box
from rich.markup import escape
from rich.table import Table

from hepar.io.series.listing import Listing, Row
from hepar.service.console import console, say

COLOURS = {"error": "red", "repaired": "yellow", "note": "yellow", "fact": "default"}
# "gap": from slice to slice, beside it how thick a slice is; "iv": contrast given.
HEADS = ("study", "series", "slices", "matrix", "gap / mm", "plane", "phase", "iv", "kernel")
CONTRAST = {True: "yes", False: "no", None: "?"}


def show_series(listing: Listing) -> None:
    """A row a series (* is picked, x cannot be read), then their findings, what is picked and what was passed over."""
    several = len({row.study for row in listing.rows}) > 1
    table = Table(box=box.SIMPLE, pad_edge=False)
    for head in HEADS if several else HEADS[1:]:
        table.add_column(head, no_wrap=True)
    for row in listing.rows:
        cells = _cells(row)
        table.add_row(*(cells if several else cells[1:]))
    console.print(table)
    for row in listing.rows:
        for finding in row.findings:
            colour = COLOURS[finding["weight"]]
            line = f"{_short(row)}: [{colour}]{finding['weight']}[/{colour}] {escape(finding['text'])}"
            console.print(line, soft_wrap=True)
    for choice in listing.choices:
        say(f"picked: {choice}")
    if listing.passed:
        say("passed over: " + ", ".join(f"{count} {kind}" for kind, count in listing.passed.items()))


def _cells(row: Row) -> tuple[str, ...]:
    mark = "[green]*[/green]" if row.picked else (" " if row.readable else "[red]x[/red]")
    matrix = f"{row.rows} x {row.columns}"
    lengths = f"{row.spacing_mm:.3g} / {row.thickness_mm:.3g}"
    which = f"{mark} {_short(row).removeprefix('series ')}"
    return (
        str(row.study), which, str(row.slices), matrix, lengths, row.orientation,
        row.phase, CONTRAST[row.contrast], row.kernel,
    )  # fmt: skip


def _short(row: Row) -> str:
    """`series 3` of `DICOM series 3 (CT, 24 slices)`."""
    return row.name.removeprefix("DICOM ").split(" (")[0]
