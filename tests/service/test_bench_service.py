"""A bench on the terminal, as page and as pictures: from made-up cells, on phantoms."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import invented_bench as invented
from hepar import methods
from hepar.cases import Case
from hepar.cli import app
from hepar.errors import BadInput, SomeCasesFailed
from hepar.service import bench_listener as listener_module
from hepar.service.bench_listener import bench_listener, show_bench_plan
from hepar.service.bench_pictures import choose, largest_slice, write_pictures
from hepar.service.bench_report import write_bench
from hepar.study.bench.order import BenchOrder
from hepar.study.bench.study import prepare_bench
from hepar.study.reproduce.runner import Happened
from hepar.volume import LabelMap
from tiny_bench import own_method

NAMES = {"bench.html", "bench.json", "bench.csv", "bench.md", "bench_patients.csv"}


@pytest.fixture(scope="module")
def bench(tmp_path_factory) -> Path:
    out = invented.write_study(tmp_path_factory.mktemp("bench"))
    invented.write_cell(out, "vorontsov", 0, pixels=2)
    invented.write_cell(out, "hu", 0, kind="3D network and surface, liver only", converged=True)
    invented.write_failed(out, "gruber", "no liver in any training case")
    return out


def test_page_and_tables_land_beside_the_cells_or_where_asked(bench, tmp_path):
    page = write_bench(bench, tmp_path / "out")
    assert page == tmp_path / "out" / "bench.html"
    assert {path.name for path in page.parent.iterdir()} == NAMES
    text = page.read_text()
    assert "Every method side by side: 4 phantoms, folds by patient" in text
    assert "bench.json, bench.md, bench.csv, bench_patients.csv" in text
    assert write_bench(bench) == bench / "bench.html"


def test_an_unfinished_bench_has_a_page_that_says_not_run(tmp_path):
    page = write_bench(invented.write_study(tmp_path / "empty"))
    assert page.read_text().count("not run") > len(methods.names())


def test_the_page_is_a_command(bench, tmp_path):
    done = CliRunner().invoke(app, ["study", "bench-page", str(bench), "-o", str(tmp_path / "there")])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "there" / "bench.html").is_file()
    assert "bench.html" in done.output


def case_of(patient: str, *areas: tuple[int, int]) -> Case:
    """A case whose slices have so many liver and tumour pixels."""
    values = np.zeros((len(areas), 20, 20), np.uint8)
    for z, (liver, tumour) in enumerate(areas):
        values[z].ravel()[: liver + tumour] = 1
        values[z].ravel()[:tumour] = 2
    grid = invented.upright(values.shape)
    return Case(f"{patient}_a", patient, lambda: None, lambda: LabelMap(values, grid))  # type: ignore[arg-type, return-value]


def test_the_largest_tumour_slice_is_shown_else_the_largest_liver_slice():
    assert largest_slice(case_of("a", (50, 1), (40, 9), (60, 3)).truth) == (36.0, 1)
    assert largest_slice(case_of("a", (50, 0), (70, 0)).truth) == (0.0, 1)
    assert largest_slice(case_of("a", (0, 0), (0, 0)).truth) == (0.0, 1)


def test_six_slices_of_six_patients_from_small_to_large_tumours():
    cases = [case_of(f"p{n}", (50, n)) for n in range(10)]
    chosen = choose(cases)
    assert [case.patient for case, _, _ in chosen] == ["p0", "p1", "p3", "p5", "p7", "p9"]
    assert chosen[0][2] == "p0_a: no tumour"
    assert chosen[-1][2] == "p9_a: tumour 0.4 cm2"
    # Whatever a method finds, and in whatever order cases come, slices stay.
    assert [case.id for case, _, _ in choose(cases[::-1])] == [case.id for case, _, _ in chosen]


def test_a_patient_is_shown_once_by_the_largest_tumour():
    small, large = case_of("a", (50, 2)), case_of("a", (50, 8))
    assert choose([small, large, case_of("b", (50, 4))])[-1][0] is large
    assert len(choose([small, large])) == 1


def test_tumour_free_patients_fill_what_is_left():
    cases = [case_of("a", (50, 3)), *(case_of(f"f{n}", (50 + n, 0)) for n in range(9))]
    assert len(choose(cases)) == 6
    assert sum("no tumour" in title for _, _, title in choose(cases)) == 5


def test_the_matrix_shows_what_was_run_and_names_what_was_not(bench, tmp_path, monkeypatch):
    told: list[tuple[str, ...]] = []
    rows: list[Any] = []
    from hepar.service import bench_pictures as module

    real = module.picture_matrix

    def seen(columns, shown, words):
        told.append(words)
        rows.extend(shown)
        return real(columns, shown, words)

    monkeypatch.setattr(module, "picture_matrix", seen)
    path = write_pictures(bench, None, tmp_path / "matrix.png")
    with Image.open(path) as picture:
        assert picture.width > 400
    assert [row.title for row in rows] == ["hu", "vorontsov"]
    assert [row.liver_only for row in rows] == [True, False]
    assert rows[1].note == "2D joint, not converged"
    ((heading, never, failed),) = told
    assert heading == "4 phantoms, folds by patient, fold 0: the same 2 slices for every method"
    assert "unet" in never
    assert never.startswith("not run: ")
    assert failed == "failed: gruber"


def test_labels_that_are_gone_leave_an_empty_place(tmp_path):
    out = invented.write_study(tmp_path / "bench")
    folder = invented.write_cell(out, "vorontsov", 0)
    for path in (folder / "predictions").iterdir():
        path.unlink()
    assert write_pictures(out, None, tmp_path / "matrix.png").is_file()


def test_pictures_of_a_fold_that_nobody_ran_are_refused(bench, tmp_path):
    with pytest.raises(BadInput, match="no method has finished fold 1"):
        write_pictures(bench, None, tmp_path / "x.png", fold=1)


def test_real_ct_stays_out_of_repositories_and_data_must_be_the_benchs(bench, tmp_path):
    (tmp_path / "repository" / ".git").mkdir(parents=True)
    with pytest.raises(BadInput, match="git repository"):
        write_pictures(bench, tmp_path, tmp_path / "repository" / "x.png")
    with pytest.raises(BadInput, match="the bench is of 4 phantoms"):
        write_pictures(bench, tmp_path, tmp_path / "x.png")
    assert not (tmp_path / "x.png").exists()


def test_pictures_are_a_command(bench, tmp_path):
    done = CliRunner().invoke(app, ["study", "bench-pictures", str(bench), "-o", str(tmp_path / "m.png")])
    assert done.exit_code == 0, done.output
    with Image.open(tmp_path / "m.png") as picture:
        assert picture.height > 400


@pytest.fixture
def prepared(tmp_path):
    order = BenchOrder(None, tmp_path / "bench", "2", 30.0, "none", phantoms=4, tiny=True, device="cpu")
    return prepare_bench(order, ("unet", "hu"), (0, 1))


def test_the_plan_says_hours_and_what_they_leave_out(prepared, capsys):
    show_bench_plan(prepared)
    told = " ".join(capsys.readouterr().out.split())
    assert "unet" in told
    assert "4 cells to run, 0 finished; 30 minutes each for training; about 2.0 h with the machine to itself" in told
    assert "labelling comes on top for what was never measured: unet, hu" in told
    show_bench_plan(prepared, workers=4)
    assert "about 0.5 h with 4 cells at a time" in " ".join(capsys.readouterr().out.split())


def test_real_data_get_a_word_about_stacks(prepared, capsys, tmp_path):
    from dataclasses import replace

    show_bench_plan(replace(prepared, order=replace(prepared.order, data=tmp_path)))
    assert "gets the slices of a scan as one stack" in " ".join(capsys.readouterr().out.split())


def test_without_a_terminal_each_cell_that_ends_is_a_line(prepared, capsys):
    with bench_listener(prepared) as listen:
        listen(Happened("unet/fold0", "training", "1 of 8"))
        listen(Happened("unet/fold0", "finished", "0.910 / 0.500"))
        listen(Happened("hu/fold0", "failed", "no luck"))
    assert capsys.readouterr().out.split("\n")[:2] == [
        "finished  unet/fold0: 0.910 / 0.500",
        "failed    hu/fold0: no luck",
    ]


def test_a_terminal_shows_a_live_table(prepared, monkeypatch):
    from rich.console import Console

    screen = Console(force_terminal=True, width=120, record=True, highlight=False)
    monkeypatch.setattr(listener_module, "console", screen)
    with bench_listener(prepared) as listen:
        listen(Happened("unet/fold0", "training", "1.5 of 8, loss 0.4"))
        listen(Happened("hu/fold1", "failed", "no [luck]"))
    told = screen.export_text()
    assert "1.5 of 8, loss 0.4" in told
    assert "failed" in told
    assert "waiting" in told


def test_the_bench_is_a_command_that_refuses_what_it_cannot_do(tmp_path):
    run = CliRunner().invoke
    neither = run(app, ["study", "bench", "-o", str(tmp_path / "a")])
    assert neither.exit_code != 0
    assert "give either --data FOLDER or --phantoms N" in str(neither.exception or neither.output)
    plan = run(app, ["study", "bench", "-o", str(tmp_path / "b"), "--phantoms", "4", "--folds", "2", "--tiny",
                     "--method", "unet", "--all-folds", "--budget", "30min", "--plan"])  # fmt: skip
    assert plan.exit_code == 0, plan.output
    assert "2 cells to run" in " ".join(plan.output.split())
    assert not (tmp_path / "b" / "cells").exists()
    assert json.loads((tmp_path / "b" / "study.json").read_text())["order"]["budget_minutes"] == 30.0


@pytest.fixture
def threshold(tmp_path, monkeypatch) -> Iterator[None]:
    """A user's own method without a network: its cells take no time."""
    monkeypatch.setenv("HEPAR_METHODS", str(own_method(tmp_path / "methods")))
    yield
    sys.modules.pop("hepar.methods.threshold", None)


def test_the_command_runs_cells_writes_the_page_and_ends_with_a_code_where_one_failed(threshold, tmp_path):
    out = tmp_path / "bench"
    options = ["study", "bench", "-o", str(out), "--phantoms", "4", "--folds", "2", "--tiny", "--budget", "5s"]
    done = CliRunner().invoke(app, [*options, "--method", "threshold", "--method", "threshold/broken"])
    assert isinstance(done.exception, SomeCasesFailed)
    assert done.exception.exit_code == 5
    told = " ".join(done.output.split())
    assert "finished threshold/fold0: " in told
    assert "failed threshold+broken/fold0: RuntimeError: no luck in x.nii" in told
    assert "bench.html" in told
    page = (out / "bench.html").read_text()
    assert "1 of 2 folds" in page
    assert "failed: RuntimeError: no luck in x.nii" in page
    stored = json.loads((out / "bench.json").read_text())
    rows = {row["method"]: row for row in stored["methods"]}
    assert rows["threshold"]["figures"]["liver_dice"]["patients"] == 2
    # A file without a card has no figures of others beside its own.
    other = next(row for row in stored["others"] if row["method"] == "threshold")
    assert other["published"] == []
    assert "5s" not in rows["threshold"]["differs"]
    # Nothing tells whose machine it was.
    assert str(tmp_path) not in (out / "bench.json").read_text()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--method", "u_net"], "no method is called u_net"),
        (["--fold", "7"], "has folds 0 to 1, not 7"),
        (["--budget", "soon"], "is no time"),
    ],
)
def test_mistakes_are_told_before_anything_runs(wrong, message, tmp_path):
    options = ["study", "bench", "-o", str(tmp_path / "bench"), "--phantoms", "4", "--folds", "2", "--tiny"]
    done = CliRunner().invoke(app, [*options, *wrong])
    assert isinstance(done.exception, BadInput)
    assert message in str(done.exception)
    assert not (tmp_path / "bench" / "cells").exists()
