"""The log of trainings: what changed, what it gave, why it was kept."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from hepar.datasets.phantom import PhantomSettings, phantom_case
from hepar.errors import BadInput
from hepar.nets.cdnn_squeeze import CdnnSqueeze
from hepar.preprocess import InPlaneGrid, Window
from hepar.study.experiments import read_experiment, write_log
from hepar.training.deep_method import DeepMethod
from hepar.training.recipe import Recipe

METHOD = DeepMethod(
    CdnnSqueeze(width=0.1), (Window(-40, 160),), InPlaneGrid(matrix=32),
    Recipe(epochs=2, batch=4, micro_batch=4, optimizer="adam", inner_patients=("b",)), encoder_weights="none",
)  # fmt: skip


class Stopped(Exception):
    pass


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> list[Path]:
    """A finished and tuned run, and one that was stopped in its second epoch."""
    home = tmp_path_factory.mktemp("runs")
    grid = {"shape": (8, 32, 32), "spacing_mm": (20.0, 12.0, 12.0)}
    cases = [phantom_case(PhantomSettings(seed=seed, **grid), patient) for seed, patient in enumerate("ab")]
    METHOD.train(cases, home / "first")
    trial = {"tumour_dice": {"b": 0.5, "c": 0.25}, "false_lesions": {"b": 1, "c": 0}, "merit": 1.0}
    (home / "first" / "tuning.json").write_text(
        json.dumps({"trials": [trial | {"tumour_dice": {}, "merit": 0}, trial]})
    )

    def stop(tick):
        if tick.epoch == 1:
            raise Stopped

    with pytest.raises(Stopped):
        replace(METHOD, recipe=replace(METHOD.recipe, ema=0.9)).train(cases, home / "second", stop)
    return [home / "first", home / "second"]


def test_a_run_tells_what_it_gave(runs):
    first, second = map(read_experiment, runs)
    assert (first.finished, second.finished) == (True, False)
    assert first.inner_patients == second.inner_patients == ("b",)
    assert first.updates == 2 * second.updates > 0
    assert 0 <= first.liver_dice <= 1
    assert (first.tuned_tumour_dice, first.tuned_false_lesions) == (0.375, 0.5)


def test_the_log_names_what_changed_and_why_it_was_dropped(runs, tmp_path):
    write_log(runs, tmp_path, {"second": "dropped: slower"})
    with (tmp_path / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["changed"] == "(the first run)"
    assert rows[1]["changed"] == "ema=0.9"
    assert rows[1]["verdict"] == "stopped early; dropped: slower"
    text = (tmp_path / "table.md").read_text()
    assert "| second |" in text
    assert sorted(p.name for p in (tmp_path / "second").iterdir()) == ["history.json", "run.json"]
    assert not list(tmp_path.rglob("*.safetensors"))


def test_the_command_writes_the_log(hepar_command, runs, tmp_path):
    (tmp_path / "why.json").write_text(json.dumps({"first": "the base"}))
    ended = hepar_command("study", "log", *runs, "-o", tmp_path / "log", "--verdicts", tmp_path / "why.json")
    assert ended.code == 0
    assert "the base" in (tmp_path / "log" / "table.md").read_text()
    (tmp_path / "why.json").write_text("[]")
    ended = hepar_command("study", "log", *runs, "-o", tmp_path / "log", "--verdicts", tmp_path / "why.json")
    assert ended.code == 2


def test_what_is_no_run_is_refused(runs, tmp_path):
    with pytest.raises(BadInput, match=r"run\.json"):
        read_experiment(tmp_path)
    (tmp_path / "run.log").touch()
    with pytest.raises(BadInput, match=r"run\.json"):
        read_experiment(tmp_path / "run.log")
    with pytest.raises(BadInput, match="third"):
        write_log(runs, tmp_path / "log", {"third": "kept"})
