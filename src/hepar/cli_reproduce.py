"""`hepar study reproduce`: the paper's study. Translation only, as `hepar.cli`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def reproduce(  # noqa: PLR0913, PLR0917 (a command has as many options as its users need)
    out: Annotated[Path, typer.Option("-o", "--out", help="Study folder; the same command goes on in it.")],
    data: Annotated[
        Path | None, typer.Option(help="LiTS, MSD, 3D-IRCADb, SLIVER07, CHAOS, nnU-Net or slice folder.")
    ] = None,
    phantoms: Annotated[int, typer.Option(help="Study this many built-in phantoms instead of data.")] = 0,
    arms: Annotated[
        str, typer.Option(help="Groups, separated by commas: table1, fair, joint_cascade, ... or all.")
    ] = "all",
    folds: Annotated[str, typer.Option(help="Number of folds, or a fold file.")] = "4",
    split: Annotated[str | None, typer.Option(help="A published split instead: 105/15, 104/26 or 99/30.")] = None,
    cohort: Annotated[Literal["paper", "full"], typer.Option(help="LiTS 0 to 129, or all.")] = "paper",
    recipe: Annotated[Literal["practical", "literal"], typer.Option(help="20 or 1000 slices an update.")] = "practical",
    matrix: Annotated[int, typer.Option(help="Pixels of a slice's side; 256 for a CPU.")] = 512,
    budget: Annotated[str | None, typer.Option(help="Time of one training, such as 8min: epochs shrink.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="One for all arms; default: the paper's 1e-4.")] = None,
    choose_rate: Annotated[bool, typer.Option(help="Choose it on inner patients: 1e-2, 1e-3 or 1e-4.")] = False,
    rate_epochs: Annotated[int, typer.Option(help="Epochs of each trial of a rate.")] = 1,
    weights: Annotated[str | None, typer.Option(help="Folder of ImageNet weights, or none.")] = None,
    width: Annotated[float, typer.Option(help="Share of all channels; below 1 only to try the study out.")] = 1.0,
    setting: Annotated[list[str] | None, typer.Option("--set", help="Recipe of all arms: batch=8.")] = None,
    workers: Annotated[int, typer.Option(help="Processes, one thread each.")] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    seed: Annotated[int, typer.Option(help="Seed of the folds.")] = 2018,
    only_plan: Annotated[bool, typer.Option("--plan", help="Show the plan and its hours, then stop.")] = False,
    least_dice: Annotated[float, typer.Option(help="Fail when an arm's liver Dice is not above this.")] = 0.0,
) -> None:
    """The paper's study: folds, arms of Table 1, Korabelnikov, ablations; kill it and it goes on."""
    from hepar.errors import BadInput
    from hepar.service.console import say, training_listener
    from hepar.service.reproduce_console import show_plan, study_listener
    from hepar.study.reproduce.order import StudyOrder, minutes_of
    from hepar.study.reproduce.rate import RateTrials
    from hepar.study.reproduce.smoke import require_dice
    from hepar.study.reproduce.study import Heard, prepare_study, run_study

    if (data is None) == (phantoms == 0):
        raise BadInput("give either --data FOLDER or --phantoms N")
    groups = () if arms == "all" else tuple(arms.replace(",", " ").split())
    order = StudyOrder(
        data, out, groups, folds, split, "full" if split == "104/26" else cohort, recipe, matrix,
        tuple(setting or ()), learning_rate, minutes_of(budget) if budget else None, weights, phantoms,
        seed, device, width,
    )  # fmt: skip
    with training_listener() as listen:
        trials = RateTrials(epochs=rate_epochs) if choose_rate else None
        prepared = prepare_study(order, trials, Heard(say, listen))
    show_plan(prepared, workers)
    if only_plan:
        return
    with study_listener(prepared) as told:
        run_study(prepared, workers, told)
    if least_dice:
        require_dice(out, least_dice)
    say(f"every cell is in {out / 'cells'}")


def paper(
    study: Annotated[Path, typer.Argument(help="Folder of `hepar study reproduce`, finished or not.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for page, tables and figures.")],
    data: Annotated[Path | None, typer.Option(help="The study's data: CTs for Fig. 2 and 5.")] = None,
) -> None:
    """The study's tables beside the paper's, what they say, the discrepancy sheet and all figures, as one page."""
    from hepar.service.console import say
    from hepar.service.paper_report import write_paper

    say(f"open {write_paper(study, out, data)}")
