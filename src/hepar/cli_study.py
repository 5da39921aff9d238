"""`hepar study ...`: comparisons under one protocol. Translation only, as `hepar.cli`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hepar.cli_bench import bench, bench_page, bench_pictures
from hepar.cli_reproduce import paper, reproduce

Folds = Annotated[Path, typer.Option(help="Fold file.")]
study = typer.Typer(help="Comparisons under one protocol; each is resumable.", no_args_is_help=True)
study.command("reproduce")(reproduce)
study.command("paper")(paper)
study.command("bench")(bench)
study.command("bench-page")(bench_page)
study.command("bench-pictures")(bench_pictures)


@study.command("folds")
def study_folds(
    data: Annotated[list[Path], typer.Argument(help="Data set folders; a patient in several is one patient.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Fold file to write.")],
    count: Annotated[int, typer.Option(help="Number of folds.")] = 4,
    seed: Annotated[int, typer.Option(help="Seed of the deal.")] = 2018,
    always_test: Annotated[str, typer.Option(help="Patients tested in every fold, separated by commas.")] = "",
    extend: Annotated[Path | None, typer.Option(help="Fold file to keep: only new patients are dealt.")] = None,
) -> None:
    """Deal data sets' patients into folds, stratified on tumour burden."""
    from hepar.cases import load_folds, save_folds
    from hepar.datasets import open_cases
    from hepar.study.folds import extend_folds, make_folds

    cases = [case for folder in data for case in open_cases(folder)]
    tested = always_test.replace(",", " ").split()
    save_folds(extend_folds(load_folds(extend), cases, seed) if extend else make_folds(cases, count, seed, tested), out)


@study.command("score")
def study_score(
    model: Annotated[Path, typer.Argument(help="Model folder.")],
    data: Annotated[Path, typer.Argument(help="Folder with lits512/, ct/ and dicom/.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for scores.json, cases.csv and study.json.")],
    folds: Annotated[Path, typer.Option(help="Fold file.")],
    fold: Annotated[int, typer.Option(help="Which fold to test on.")] = 0,
) -> None:
    """Score a model on a fold's left-out patients and the two whole volumes."""
    from hepar.service.console import say
    from hepar.study.arms import score_model
    from hepar.study.six_arms import SixArms, trials

    plan = SixArms(data / "lits512", data / "ct", data / "dicom", folds, fold, {})
    score_model(model, trials(plan), out, say)


@study.command("six-arms")
def study_six_arms(
    data: Annotated[Path, typer.Argument(help="Folder with lits512/, ct/ and dicom/.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Study folder.")],
    folds: Annotated[Path, typer.Option(help="Fold file.")],
    fold: Annotated[int, typer.Option(help="Which fold to test on.")] = 0,
    alexnet: Annotated[str, typer.Option(help="Weights of CDNN-Alex's encoder.")] = "imagenet",
    resnet18: Annotated[str, typer.Option(help="Weights of CDNN-ResNet18's encoder.")] = "imagenet",
    squeezenet: Annotated[str, typer.Option(help="Weights of CDNN-Squeeze's encoder.")] = "imagenet",
    setting: Annotated[list[str] | None, typer.Option("--set", help="Change the budget: epochs=3.")] = None,
    arm: Annotated[list[str] | None, typer.Option(help="Run only this arm, such as cdnn_alex_with.")] = None,
) -> None:
    """The paper's two networks and CDNN-Squeeze, with and without its preprocessing, on one fold."""
    from hepar.service.console import say, training_listener
    from hepar.study.six_arms import SixArms, six_arms

    weights = {"cdnn_alex": alexnet, "cdnn_resnet18": resnet18, "cdnn_squeeze": squeezenet}
    plan = SixArms(data / "lits512", data / "ct", data / "dicom", folds, fold, weights,
                   tuple(setting or ()), tuple(arm or ()))  # fmt: skip
    with training_listener() as listen:
        six_arms(plan, out, listen, say)


@study.command("predict")
def study_predict(
    source: Annotated[Path, typer.Argument(help="Model folder, or label files that another program predicted.")],
    data: Annotated[Path, typer.Argument(help="Folder with lits512/, slices256/, slices512/, ct/ and dicom/.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the whole cross-validation.")],
    folds: Folds,
    fold: Annotated[int, typer.Option(help="Whose test patients are predicted.")] = 0,
    name: Annotated[str, typer.Option(help="The method's name in tables; default: the model's or folder's.")] = "",
    group: Annotated[list[str] | None, typer.Option(help="Only these cases: 'whole volumes', slices256, ...")] = None,
) -> None:
    """Label a fold's left-out patients, beside their references; finished ones are kept."""
    from hepar.service.console import say
    from hepar.study.left_out import FoldFolder, cases_to_test, fold_of, predict_left_out, take_predictions

    cases, place = cases_to_test(data, fold_of(folds, fold), tuple(group or ())), FoldFolder(out, fold)
    label = predict_left_out if (source / "model.json").is_file() else take_predictions
    made = label(source, name or source.resolve().name, cases, place, say)
    say(f"{made} of {len(cases)} cases labelled now; tables: `hepar study table {out.name}`")


@study.command("table")
def study_table(
    folder: Annotated[Path, typer.Argument(help="Folder of `hepar study predict`.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for table.md, table.json and two CSV files.")],
    method: Annotated[
        list[str] | None, typer.Option(help="Methods in the order of their columns; default: all.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes; 0: one a core.")] = 1,
) -> None:
    """Score all folds and methods; means, medians, lesions, false alarms and paired tests over patients."""
    from hepar.service.console import say
    from hepar.service.cross_validation import TableOrder, cross_validation
    from hepar.service.scoreboard_console import referee_listener

    with referee_listener() as listen:
        cross_validation(TableOrder(folder, tuple(method or ()), workers), out, listen, say)
    say(f"tables are in {out / 'table.md'}")


@study.command("robustness")
def study_robustness(
    model: Annotated[Path, typer.Argument(help="Model folder with its run.json beside or above it.")],
    data: Annotated[Path, typer.Argument(help="Folder with lits512/, ct/ and dicom/.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the table; all folds may share it.")],
    folds: Folds,
    fold: Annotated[int, typer.Option(help="Whose test patients are used.")] = 0,
    condition: Annotated[list[str] | None, typer.Option(help="Only these: 'noise x2', '5 mm slices', ...")] = None,
    patient: Annotated[list[str] | None, typer.Option(help="Only these patients.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the noise.")] = 2018,
) -> None:
    """Dice drop on left-out stacks and volumes: noise, thick slices, windows, contrast, cropping, storage."""
    from hepar.service.console import say
    from hepar.study.left_out import STACKS, VOLUMES, cases_to_test, fold_of
    from hepar.study.robustness import RobustnessOrder, run_robustness

    trials = cases_to_test(data, fold_of(folds, fold), (STACKS, VOLUMES))
    wanted = tuple(trial for trial in trials if not patient or trial.case.patient in patient)
    run_robustness(model, RobustnessOrder(wanted, tuple(condition or ()), seed, fold), out, say)
    say(f"the table is in {out / 'robustness.md'}")


@study.command("gallery")
def study_gallery(
    folder: Annotated[Path, typer.Argument(help="Folder of `hepar study predict`.")],
    data: Annotated[Path, typer.Argument(help="The data that was predicted.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder outside of any repository, for PNG and HTML.")],
    folds: Folds,
    method: Annotated[str, typer.Option(help="Whose results are shown.")],
    each: Annotated[int, typer.Option(help="Cases of each kind: worst liver, worst tumour, false alarms, chance.")] = 3,
    seed: Annotated[int, typer.Option(help="Seed of those by chance.")] = 2018,
    group: Annotated[list[str] | None, typer.Option(help="Only these cases: 'whole volumes', slices256, ...")] = None,
) -> None:
    """Left-out patients with reference and result outlined: both volumes, the worst, and some by chance."""
    from hepar.service.console import say
    from hepar.service.left_out_gallery import GalleryOrder, left_out_gallery
    from hepar.service.scoreboard_console import referee_listener

    order = GalleryOrder(folder, data, folds, method, each, seed, tuple(group or ()))
    with referee_listener() as listen:
        paths = left_out_gallery(order, out, listen)
    say(f"{len(paths) - 1} sheets; open {paths[-1]}")


@study.command("tune")
def study_tune(
    run: Annotated[Path, typer.Argument(help="Run folder of `hepar train` that held patients back.")],
    data: Annotated[list[Path], typer.Argument(help="The data it was trained on.")],
) -> None:
    """Choose temperature, tumour threshold and cleaning on the run's inner patients; its model takes them over."""
    from hepar.datasets import open_cases
    from hepar.service.console import say
    from hepar.study.tuning import tune

    tune(run, [case for folder in data for case in open_cases(folder)], say)
    say(f"every trial is in {run / 'tuning.json'}")


@study.command("tune-across")
def study_tune_across(
    runs: Annotated[list[Path], typer.Argument(help="Run folders of folds 0, 1, 2 ... in this order.")],
    data: Annotated[list[Path], typer.Option(help="The data they were trained on, once an option.")],
    folds: Folds,
    joint: Annotated[
        Path | None, typer.Option(help="File for what all folds choose together: `hepar export --tuning`.")
    ] = None,
) -> None:
    """Choose each fold's temperature, threshold and cleaning on what the other folds' models find in their patients."""
    from hepar.cases import load_folds
    from hepar.datasets import open_cases
    from hepar.service.console import say
    from hepar.study.cross_tuning import tune_across

    cases = [case for folder in data for case in open_cases(folder)]
    tune_across(dict(enumerate(runs)), load_folds(folds), cases, say, joint)


@study.command("seeds")
def study_seeds(
    table: Annotated[Path, typer.Argument(help="Folder of `hepar study table`.")],
    same: Annotated[list[str], typer.Option(help="NAME=METHOD,METHOD,...: methods that differ by their seed only.")],
) -> None:
    """Settings with several seeds: how far seeds differ, and the first setting against each other one; in seeds.md."""
    from hepar.files import write_json, write_text
    from hepar.service.console import say
    from hepar.study.crossval_text import seeds_markdown
    from hepar.study.seeds import parse_settings, read_table, seeds_document

    document = seeds_document(read_table(table), parse_settings(same))
    write_json(table / "seeds.json", document)
    write_text(table / "seeds.md", seeds_markdown(document))
    say(seeds_markdown(document))


@study.command("log")
def study_log(
    runs: Annotated[list[Path], typer.Argument(help="Run folders of `hepar train`, finished or stopped.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for table.md, table.csv and a folder a run.")],
    verdicts: Annotated[Path | None, typer.Option(help='JSON of {"run": "kept, because ..."}.')] = None,
) -> None:
    """What was tried: settings against the first run's, inner figures, why kept or dropped."""
    from hepar.service.console import say
    from hepar.study.experiments import read_verdicts, write_log

    write_log(runs, out, read_verdicts(verdicts) if verdicts else {})
    say(f"the log is in {out / 'table.md'}")


@study.command("couinaud-train")
def study_couinaud_train(
    data: Annotated[Path, typer.Argument(help="lits512, or the folder above it.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Run folder; an interrupted run in it is continued.")],
    folds: Annotated[Path | None, typer.Option(help="Fold file; the test patients of --fold never train.")] = None,
    fold: Annotated[int, typer.Option(help="Which fold of --folds, from 0.")] = 0,
    encoder_weights: Annotated[str, typer.Option(help="imagenet, none, or a weights file.")] = "imagenet",
    epochs: Annotated[int | None, typer.Option(help="Epochs of 60 updates; default: the method's own.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights, order and changes.")] = None,
    hold_back: Annotated[float, typer.Option(help="Share of training patients that judge instead.")] = 0.0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
) -> None:
    """Train the network of Couinaud segments; `hepar export` makes its run a model for `hepar segment`."""
    from hepar.datasets.couinaud import segment_cases
    from hepar.service.console import say, training_listener
    from hepar.study.couinaud import segments_folder
    from hepar.study.left_out import fold_of
    from hepar.training.couinaud_method import cases_without, configured

    method = configured(encoder_weights, epochs, seed, hold_back)
    cases = cases_without(segment_cases(segments_folder(data)), fold_of(folds, fold) if folds else None)
    with training_listener() as listen:
        method.train(cases, out, listen, device)
    say(f"the trained model is in {out / 'model'}; use it with `hepar segment --couinaud-model`, or `hepar export` it")


@study.command("couinaud")
def study_couinaud(
    runs: Annotated[list[Path], typer.Argument(help="Run folders of `hepar study couinaud-train`, one a fold.")],
    data: Annotated[Path, typer.Option(help="lits512, or the folder above it.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for table.md and table.json.")],
    folds: Folds,
    livers: Annotated[
        Path | None, typer.Option(help="Folder of `hepar study predict`: score in its livers too.")
    ] = None,
    method: Annotated[str, typer.Option(help="Whose livers in that folder.")] = "ours",
) -> None:
    """Dice of each Couinaud segment on left-out patients, in the true liver and in a found one."""
    from hepar.files import write_json, write_text
    from hepar.service.console import say
    from hepar.study.couinaud import CouinaudOrder, markdown, score_runs, summary

    document = summary(score_runs(runs, CouinaudOrder(data, folds, livers, method), say))
    write_json(out / "table.json", document)
    write_text(out / "table.md", markdown(document))
    say(markdown(document))
