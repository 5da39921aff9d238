"""`hepar bench`: what runs a model fastest here. Translation only, as `hepar.cli`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def bench(
    model: Annotated[Path | None, typer.Option("-m", "--model", help="Model folder; default: the shipped one.")] = None,
    slices: Annotated[int, typer.Option(help="Slices of the phantom, up to 64.")] = 32,
    rounds: Annotated[int, typer.Option(help="Every engine runs so many times, in turns; medians count.")] = 5,
    threads: Annotated[int, typer.Option(help="Threads of the network; 0: all cores.")] = 0,
    json: Annotated[Path | None, typer.Option(help="Write all figures to this JSON file.")] = None,
) -> None:
    """Measure the engines and precisions of this machine on a phantom, and say which to use."""
    from hepar.files import write_json
    from hepar.inference import open_model
    from hepar.service.bench_console import show_bench
    from hepar.service.bench_engines import bench as measure
    from hepar.service.console import say

    found = measure(open_model(model), slices, rounds, threads, say)
    show_bench(found)
    if json:
        write_json(json, found.as_json())
