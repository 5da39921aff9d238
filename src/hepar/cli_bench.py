"""`hepar study bench`: every method side by side. Translation only, as `hepar.cli`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def bench(  # noqa: PLR0913, PLR0917 (a command has as many options as its users need)
    out: Annotated[Path, typer.Option("-o", "--out", help="Bench folder; the same command goes on in it.")],
    data: Annotated[
        Path | None, typer.Option(help="LiTS, MSD, 3D-IRCADb, SLIVER07, CHAOS, nnU-Net or slice folder.")
    ] = None,
    phantoms: Annotated[int, typer.Option(help="Bench on this many built-in phantoms instead of data.")] = 0,
    folds: Annotated[str, typer.Option(help="Fold file, or a number of folds to deal.")] = "4",
    fold: Annotated[
        list[int] | None, typer.Option(help="Run this fold; several times for several. Default: 0.")
    ] = None,
    all_folds: Annotated[bool, typer.Option("--all-folds", help="Run every fold.")] = False,
    method: Annotated[
        list[str] | None, typer.Option(help="Run this method or name/variant; several times for several. Default: all.")
    ] = None,
    budget: Annotated[str, typer.Option(help="Training time of one cell, with the machine to itself.")] = "10min",
    weights: Annotated[str | None, typer.Option(help="Folder of ImageNet weights, or none.")] = None,
    matrix: Annotated[
        int | None, typer.Option(help="Most pixels of a slice's side, 256 for a CPU; default: each method's own.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Cells at a time; they share the machine and its time.")] = 1,
    tiny: Annotated[bool, typer.Option("--tiny", help="Shrink every method, to try the bench itself out.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    seed: Annotated[int, typer.Option(help="Seed of folds that are dealt, and of phantoms.")] = 2018,
    only_plan: Annotated[bool, typer.Option("--plan", help="Show the plan and its hours, then stop.")] = False,
) -> None:
    """Every method on the same folds, for the same time, by the same scorer; kill it and it goes on."""
    from hepar.errors import BadInput
    from hepar.service.bench_listener import bench_listener, show_bench_plan
    from hepar.service.bench_report import write_bench
    from hepar.service.console import say
    from hepar.study.bench.order import BenchOrder
    from hepar.study.bench.study import prepare_bench, run_bench
    from hepar.study.reproduce.order import minutes_of

    if (data is None) == (phantoms == 0):
        raise BadInput("give either --data FOLDER or --phantoms N")
    order = BenchOrder(data, out, folds, minutes_of(budget), weights, phantoms, matrix, tiny, seed, device)
    prepared = prepare_bench(order, tuple(method or ()), tuple(fold or ()), all_folds)
    show_bench_plan(prepared, workers)
    if only_plan:
        return
    try:
        with bench_listener(prepared) as listen:
            run_bench(prepared, listen, workers=workers)
    finally:
        # Tables of what is there are of use even where cells failed.
        say(f"open {write_bench(out)}")


def bench_page(
    bench: Annotated[Path, typer.Argument(help="Folder of `hepar study bench`, finished or not.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder for page and tables; default: the same.")
    ] = None,
) -> None:
    """The bench's tables and page: figures, costs, and the paper's Table 2 with a third column."""
    from hepar.service.bench_report import write_bench
    from hepar.service.console import say

    say(f"open {write_bench(bench, out)}")


def bench_pictures(
    bench: Annotated[Path, typer.Argument(help="Folder of `hepar study bench`.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="PNG file; outside of any repository for real CT.")],
    data: Annotated[Path | None, typer.Option(help="The data that the bench ran on; none for phantoms.")] = None,
    fold: Annotated[int, typer.Option(help="Whose test patients are shown.")] = 0,
) -> None:
    """The same six slices for every method, truth and result outlined, Dice below each."""
    from hepar.service.bench_pictures import write_pictures
    from hepar.service.console import say

    say(f"look at {write_pictures(bench, data, out, fold)}")
