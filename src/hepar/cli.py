"""The command line: translation only. Every command is a few lines of the Python interface."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer

import hepar
from hepar.cli_dicom import series
from hepar.cli_engine import bench
from hepar.cli_node import node
from hepar.cli_report import report as report_command
from hepar.cli_study import study
from hepar.errors import HeparError, MissingExtra

app = typer.Typer(
    name="hepar",
    help=f"Liver and liver tumours in abdominal CT: segment, measure, score, train. {hepar.DISCLAIMER}",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(study, name="study")
app.add_typer(node, name="node")
app.command()(series)
# Libraries that the base install lacks, and the extra that brings each.
EXTRAS = {"torch": "train", "safetensors": "train", "onnx": "train"}
In = Annotated[
    Path, typer.Argument(help="A CT (.nii, .nii.gz, .mha, .mhd, .nrrd), a DICOM folder or .zip, or a folder.")
]
Out = Annotated[Path, typer.Option("-o", "--out", help="Output folder, or one file ending in .nii or .nii.gz.")]
ModelFolder = Annotated[Path | None, typer.Option("-m", "--model", help="Model folder; default: the shipped one.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
Program = Annotated[
    Literal["auto", "openvino", "onnxruntime", "torch"], typer.Option("--engine", help="What runs the network.")
]
Precision = Annotated[
    Literal["auto", "fp32", "bf16", "int8"], typer.Option(help="auto: bf16 where the device computes in it, else fp32.")
]


def main() -> None:
    """Entry point: hepar's own errors become one line and an exit code."""
    try:
        _run()
    except HeparError as error:
        _leave(error)
    except ModuleNotFoundError as error:
        extra = EXTRAS.get(str(error.name).split(".", maxsplit=1)[0])
        if extra is None:
            raise
        _leave(MissingExtra(f"this command needs {error.name}; install it with `pip install hepar[{extra}]`"))
    except (KeyboardInterrupt, typer.Abort):
        sys.stderr.write("hepar: interrupted; finished cases and epochs are kept, run the command again to go on\n")
        sys.exit(INTERRUPTED)


INTERRUPTED = 130
# The base of all usage errors: Typer brings click, or in newer versions a copy of its own.
UsageProblem: type[typer.BadParameter] = typer.BadParameter.__mro__[2]


def _run() -> None:
    """Outside of Typer's own handling, which swallows Ctrl-C; so usage errors are shown here."""
    try:
        code = app(standalone_mode=False, prog_name="hepar") or 0
    except UsageProblem as error:
        error.show()
        sys.exit(error.exit_code)
    # Newer Typers turn Ctrl-C into this exit code, older ones into Abort.
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    sys.exit(code)


def _leave(error: HeparError) -> NoReturn:
    from rich.console import Console

    Console(stderr=True, highlight=False, soft_wrap=True).print(f"[red]hepar:[/red] {_plain(str(error))}")
    sys.exit(error.exit_code)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"hepar {hepar.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    verbose: Annotated[bool, typer.Option("--verbose", help="Log what happens, with tracebacks.")] = False,
    _: Annotated[bool, typer.Option("--version", is_eager=True, callback=_version, help="Show the version.")] = False,
) -> None:
    logging.basicConfig(level=logging.DEBUG if verbose else logging.WARNING, format="%(name)s: %(message)s")


@app.command()
def segment(
    ct: In,
    out: Out = Path("hepar-out"),
    model: ModelFolder = None,
    device: Device = "auto",
    report: Annotated[bool, typer.Option(help="Also write pictures and an HTML page for each scan.")] = True,
    fast: Annotated[bool, typer.Option(help="The model's small first pass alone: less accurate.")] = False,
    couinaud: Annotated[bool, typer.Option(help="Also Couinaud's segments 1 to 8 as NAME_couinaud.nii.gz.")] = False,
    couinaud_model: Annotated[Path | None, typer.Option(help="Their model folder; default: the shipped one.")] = None,
    engine: Program = "auto",
    precision: Precision = "auto",
    threads: Annotated[int, typer.Option(help="Threads of the network; 0: all cores.")] = 0,
    shard: Annotated[
        str, typer.Option(help="i/N: every N-th scan from the i-th on; without, processes share.")
    ] = "1/1",
    retries: Annotated[int, typer.Option(help="How often a scan of a folder that failed is tried again.")] = 2,
    seg: Annotated[
        Literal["binary", "labelmap", "fractional", "none"],
        typer.Option(help="DICOM SEG of a DICOM scan, with an SR; fractional adds tumour probabilities."),
    ] = "binary",
) -> None:
    """Label liver (1) and tumours (2) on the exact grid of each scan."""
    from hepar.inference.engine import EngineOptions
    from hepar.service.batch import require_success
    from hepar.service.cohort.local import segment_cohort
    from hepar.service.cohort.order import CohortOrder, Shard
    from hepar.service.console import batch_listener, say, show_model

    wanted = EngineOptions(device, engine, precision, threads)
    order = CohortOrder(
        ct,
        out,
        model,
        fast,
        wanted,
        report,
        couinaud,
        couinaud_model,
        Shard.parse(shard),
        retries if ct.is_dir() else 0,
        seg,
    )
    show_model(order.opened())
    with batch_listener() as listener:
        outcomes = segment_cohort(order, listener)
    if any(outcome.status != "failed" for outcome in outcomes):
        say(f"results are in '{out.name}'")
    require_success(outcomes)


@app.command()
def evaluate(
    truth: Annotated[Path, typer.Argument(help="Reference label map, or a folder or .zip of them.")],
    found: Annotated[
        list[str], typer.Argument(help="Predictions of one or more methods: PATH or NAME=PATH; file, folder or .zip.")
    ],
    protocol: Annotated[
        list[str] | None, typer.Option(help="lits-codalab, lits or paper, again for several; default: all three.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder for all results; a run goes on in it.")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write everything to this JSON file, full precision.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write one line per case to this CSV file.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page with plots and the worst cases to this file.")] = None,
    map_: Annotated[str | None, typer.Option("--map", help="Labels of the predictions: 3=2,1=1 or tumor=2.")] = None,
    map_truth: Annotated[str | None, typer.Option(help="Labels of the reference, written likewise.")] = None,
    resample: Annotated[
        Literal["none", "nearest", "by-index"],
        typer.Option(help="Where grids differ: error, nearest voxel, or trust indices."),
    ] = "none",
    missing: Annotated[
        Literal["list", "miss"], typer.Option(help="References without prediction: list them, or score a miss.")
    ] = "list",
    union: Annotated[bool, typer.Option(help="The reference marks liver-or-tumour only: score the liver.")] = False,
    patients: Annotated[Path | None, typer.Option(help="CSV (case, patient) for patients with several cases.")] = None,
    probabilities: Annotated[
        list[Path] | None, typer.Option(help="Folder of tumour probabilities, one a method: FROC and calibration.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes; 0: one a core.")] = 0,
) -> None:
    """Score predictions under the official LiTS protocol, the corrected one and the paper's; compare methods."""
    from hepar.service.referee import Options
    from hepar.service.scoreboard_console import referee_listener, show_board
    from hepar.service.scoring import Outputs, Reading, require_all_scored, score_predictions

    options = Options(tuple(protocol or ()), "liver_union" if union else "full", resample, workers, missing=missing)
    outputs = Outputs(out, json, csv, html)
    with referee_listener() as listen:
        reading = Reading(map_, map_truth, patients, tuple(probabilities or ()))
        board, verdict = score_predictions(truth, found, reading, options, outputs, listen)
    if any(case.error is None for case in verdict.cases):
        show_board(board)
    require_all_scored(verdict)


@app.command()
def doctor(
    data: Annotated[Path, typer.Argument(help="Data set folder: LiTS, MSD, 3D-IRCADb, SLIVER07, CHAOS, nnU-Net, ...")],
    against: Annotated[Path | None, typer.Option(help="A second data set: which patients are in both?")] = None,
    folds: Annotated[Path | None, typer.Option(help="Fold file: is a patient on both sides of a split?")] = None,
    repair: Annotated[Path | None, typer.Option(help="New folder for a repaired copy; originals stay.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write all findings to this JSON file.")] = None,
) -> None:
    """Examine a data set: spacing, orientation, values, labels, copies; repair a copy on request."""
    from hepar.service.checkup import check_up, require_sound

    outcome = check_up(data, against, folds, repair, json)
    require_sound(outcome)


@app.command()
def synthesise(
    organs: Annotated[Path, typer.Argument(help="Folder of multi-organ label maps (3D-IRCADb's, as NAME.nii.gz).")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for volume-N.nii and segmentation-N.nii.")],
    seed: Annotated[int, typer.Option(help="Other seeds give other densities, shapes and scanners.")] = 0,
    every: Annotated[int, typer.Option(help="Keep every k-th slice of the map.")] = 1,
    halved: Annotated[bool, typer.Option(help="Half the pixels a side: four times faster.")] = False,
) -> None:
    """Make whole CTs with true labels from real organ label maps, in the layout of LiTS."""
    from hepar.datasets.synthetic import CtSynthesis
    from hepar.datasets.synthetic.written import write_synthetic
    from hepar.service.console import say

    write_synthetic(organs, CtSynthesis(seed=seed, step=every, halved=halved), out, say)


@app.command("preview-preprocessing")
def preview_preprocessing(
    ct: In,
    slice_number: Annotated[int, typer.Option("--slice", help="Axial slice, counted from 0 at the feet.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Picture to write (.png).")] = Path("fig2.png"),
    equalise: Annotated[Literal["matlab", "skimage", "cv2", "body"], typer.Option()] = "matlab",
) -> None:
    """The paper's Fig. 2: a slice before and after histogram equalisation and median filter."""
    from hepar.io import read
    from hepar.report.preview import write_preview

    write_preview(read(ct), slice_number, out, equalise)


@app.command()
def demo(out: Out = Path("demo-out")) -> None:
    """Segment the built-in phantom CT and write labels, pictures and a page; needs no data."""
    from hepar.inference import open_model
    from hepar.service.console import show_demo, show_model
    from hepar.service.demo import phantom_demo

    model = open_model()
    show_model(model)
    show_demo(phantom_demo(out, model))


@app.command()
def methods(
    name: Annotated[str | None, typer.Argument(help="One method: print its card. Default: a table of all.")] = None,
) -> None:
    """List the methods that can be trained, or print the card of one: what its authors published and what is ours."""
    from hepar.service.methods_console import show_card, show_methods

    show_card(name) if name else show_methods()


@app.command()
def train(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[METHOD] DATA",
            help="Data set folders, before them a method (see `hepar methods`); without one, data and machine decide.",
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Run folder; an interrupted run in it is continued.")],
    minutes: Annotated[float | None, typer.Option(help="Time without a method; default 60, on CUDA 240.")] = None,
    leave_out: Annotated[str, typer.Option(help="Patients never to train on, separated by commas.")] = "",
    folds: Annotated[Path | None, typer.Option(help="Fold file; the test patients of --fold never train.")] = None,
    fold: Annotated[int, typer.Option(help="Which fold of --folds, from 0.")] = 0,
    phantoms: Annotated[int, typer.Option(help="Number of training phantoms to mix in.")] = 0,
    encoder_weights: Annotated[str | None, typer.Option(help="imagenet, none, or a weights file.")] = None,
    recipe: Annotated[str | None, typer.Option(help="literal or practical instead of the method's own.")] = None,
    setting: Annotated[list[str] | None, typer.Option("--set", help="Change a setting: epochs=10.")] = None,
    device: Device = "auto",
) -> None:
    """Train on your data, planned for it or with a method; the run folder holds settings, history and the model."""
    from hepar.service.console import say, training_listener
    from hepar.service.plan_console import show_plan
    from hepar.study.self_configuration import Wishes, method_and_data, plan_training, train_planned
    from hepar.study.training import TrainingOrder, train_ordered

    method, data = method_and_data(words, minutes)
    order = TrainingOrder(method, data, out, tuple(leave_out.replace(",", " ").split()), folds, fold, phantoms,
                          encoder_weights, recipe, tuple(setting or ()), device)  # fmt: skip
    plan = None if method else plan_training(order, Wishes(minutes))
    if plan:
        show_plan(plan)
    with training_listener() as listen:
        train_planned(order, plan, listen) if plan else train_ordered(order, listen)
    say(f"the trained model is in {out / 'model'}; use it with `hepar segment -m`, or `hepar export` it")


@app.command()
def export(
    run: Annotated[list[Path], typer.Argument(help="Run folders of `hepar train`; several become one that averages.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Model folder to write.")],
    card: Annotated[Path, typer.Option(help="Card as JSON: name, description, licence, trained_on, limits, figures.")],
    weights: Annotated[Literal["fp32", "fp16"], typer.Option(help="Precision in which weights are stored.")] = "fp32",
    margin: Annotated[
        float | None, typer.Option(help="The model in OUT/coarse finds the liver; this one sees so many mm around it.")
    ] = None,
    tuning: Annotated[
        Path | None, typer.Option(help="How it decides: a run's tuning.json, or `study tune-across --joint`'s file.")
    ] = None,
) -> None:
    """Turn trained runs into an ONNX model folder that runs without torch."""
    from hepar.service.console import say
    from hepar.training.export import export_run

    say(export_run(run, out, card, weights, margin, tuning))


@app.command()
def quantise(
    model: Annotated[Path, typer.Argument(help="Model folder of `hepar export`; its first pass is quantised too.")],
    data: Annotated[list[Path], typer.Argument(help="Labelled data: the fold's training patients calibrate.")],
    folds: Annotated[Path, typer.Option(help="Fold file.")],
    fold: Annotated[int, typer.Option(help="Whose test patients judge.")] = 0,
    scans: Annotated[int, typer.Option(help="Scans to calibrate on.")] = 4,
) -> None:
    """Add eight-bit weights for `--precision int8`, unless they cost more than .005 Dice."""
    from hepar.cases import load_folds
    from hepar.datasets import open_cases
    from hepar.service.console import say
    from hepar.service.quantising import quantise as run

    chosen = load_folds(folds)[fold]
    cases = [case for folder in data for case in open_cases(folder) if case.labels == "full"]
    cost = run(model, chosen.training_cases(cases)[:scans], chosen.test_cases(cases), say)
    say(f"int8 weights are in '{model.name}'; Dice on {cost.cases} cases: {cost}")


app.command("report")(report_command)
app.command("bench")(bench)


def _plain(text: str) -> str:
    """Text whose brackets rich must not read as markup."""
    return text.replace("[", r"\[")
