"""The command line translates: every command's words reach Python, and results come back to the user."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

import hepar
from hepar import methods
from hepar.io import read_labels, write, write_volume
from hepar.metrics.protocols import PROTOCOLS
from hepar.volume import LabelMap

COMMANDS = ["segment", "evaluate", "preview-preprocessing", "demo", "methods", "train", "export", "study"]


def test_help_lists_every_command_and_the_disclaimer(hepar_command):
    ended = hepar_command("--help")
    assert ended.code == 0
    assert all(f" {command} " in ended.out for command in COMMANDS)
    assert hepar.DISCLAIMER in ended.out.replace("│ ", "")


@pytest.mark.parametrize("command", [*COMMANDS, "study six-arms"])
def test_every_command_explains_itself(hepar_command, command):
    ended = hepar_command(*command.split(), "--help")
    assert ended.code == 0
    assert "Usage: hepar" in ended.out


@pytest.mark.parametrize("words", [("sgement",), ("segment",), ("segment", "ct.nii", "--colour", "red"), ("demo", "x")])
def test_words_that_are_no_command_end_with_usage_and_code_2(hepar_command, words):
    ended = hepar_command(*words)
    assert ended.code == 2
    assert "Usage:" in ended.err


def test_python_and_the_command_line_give_the_same_labels(hepar_command, tmp_path, threshold_model, small_scan):
    ct, truth = small_scan
    write_volume(ct, tmp_path / "ct.nii.gz")
    ended = hepar_command("segment", tmp_path / "ct.nii.gz", "-o", tmp_path / "found.nii.gz", "-m", threshold_model)
    assert ended.code == 0
    found = read_labels(tmp_path / "found.nii.gz")
    assert np.array_equal(found.labels, hepar.segment(ct, threshold_model).labels)
    assert np.array_equal(found.labels, truth.labels)


def test_segmenting_shows_the_terms_the_volumes_and_the_disclaimer(
    hepar_command, tmp_path, threshold_model, small_scan
):
    ct, truth = small_scan
    write_volume(ct, tmp_path / "ct.nii.gz")
    words = ("segment", tmp_path / "ct.nii.gz", "-o", tmp_path / "out", "-m", threshold_model, "--no-report")
    ended = hepar_command(*words)
    assert "free test weights" in ended.out
    assert hepar.DISCLAIMER in ended.out
    liver_ml = truth.volume_ml(1) + truth.volume_ml(2)
    assert f"segmented ct: liver {liver_ml:.0f} mL, tumour {truth.volume_ml(2):.1f} mL" in ended.out
    assert "skipped ct: already segmented by this model" in hepar_command(*words).out


def test_no_liver_is_a_result_and_said_aloud(hepar_command, tmp_path, threshold_model, small_scan):
    ct, truth = small_scan
    write_volume(ct.with_values(np.where(truth.liver, 0, ct.values).astype(np.int16)), tmp_path / "ct.nii.gz")
    out = tmp_path / "out.nii.gz"
    ended = hepar_command("segment", tmp_path / "ct.nii.gz", "-o", out, "-m", threshold_model)
    assert ended.code == 0
    assert "no liver found" in ended.out
    assert not read_labels(out).labels.any()


def test_scores_are_shown_and_written(hepar_command, tmp_path, small_scan):
    _, truth = small_scan
    shifted = LabelMap(np.roll(truth.labels, 1, axis=2), truth.geometry)
    nothing = LabelMap(np.zeros_like(truth.labels), truth.geometry)
    for case, found in {"same": truth, "shifted": shifted, "nothing": nothing}.items():
        write(truth, tmp_path / "truth" / f"{case}.nii.gz")
        write(found, tmp_path / "found" / f"{case}.nii.gz")
    words = ("evaluate", tmp_path / "truth", tmp_path / "found", "-o", tmp_path / "scores", "--workers", 1)
    ended = hepar_command(*words)
    assert ended.code == 0
    for protocol in PROTOCOLS.values():
        assert f"Empty rule: {' '.join(protocol.empty_rule.split())}" in ended.out
    rows = json.loads((tmp_path / "scores" / "scores.json").read_text())["cases"]
    cases = {row["case"]: row["values"]["lits"] for row in rows}
    assert (cases["same"]["liver_dice"], cases["same"]["liver_assd_mm"]) == (1, 0)
    assert 0.5 < cases["shifted"]["liver_dice"] < 1
    assert cases["nothing"]["tumour_dice"] == 0
    assert cases["nothing"]["tumour_assd_mm"] > cases["shifted"]["tumour_assd_mm"]
    assert hepar_command(*words, "--protocol", "paper").out.count("Empty rule") == 1


def test_union_truth_judges_the_liver_only(hepar_command, tmp_path, small_scan):
    _, truth = small_scan
    write(truth, tmp_path / "found.nii.gz")
    write(LabelMap(np.minimum(truth.labels, 1), truth.geometry), tmp_path / "truth.nii.gz")
    for words, has_tumour in (((), True), (("--union",), False)):
        out = tmp_path / "-".join(["scores", *words])
        hepar_command("evaluate", tmp_path / "truth.nii.gz", tmp_path / "found.nii.gz", "-o", out, *words)
        (case,) = json.loads((out / "scores.json").read_text())["cases"]
        assert case["values"]["lits"]["liver_dice"] == 1
        assert (case["values"]["lits"]["tumour_dice"] is not None) is has_tumour


def test_labels_on_another_grid_are_not_scored(hepar_command, tmp_path, small_scan):
    _, truth = small_scan
    write(truth, tmp_path / "truth.nii.gz")
    cut = LabelMap(truth.labels[1:], type(truth.geometry)((5, 40, 48), truth.geometry.affine))
    write(cut, tmp_path / "found.nii.gz")
    ended = hepar_command("evaluate", tmp_path / "truth.nii.gz", tmp_path / "found.nii.gz")
    assert ended.code == 2  # as `segment` does for a lone bad scan
    assert "--resample nearest" in ended.err


def test_a_lone_case_that_fails_unforeseen_has_the_code_of_its_own_error(
    hepar_command, tmp_path, monkeypatch, small_scan
):
    def broken(*_):
        raise ZeroDivisionError("why")

    write(small_scan[1], tmp_path / "a.nii.gz")
    monkeypatch.setattr("hepar.service.referee.pair_of", broken)
    ended = hepar_command("evaluate", tmp_path / "a.nii.gz", tmp_path / "a.nii.gz")
    assert ended.code == 1  # 2 is for bad input
    assert "ZeroDivisionError: why" in ended.err


def test_names_and_errors_are_whole_on_a_narrow_terminal(hepar_command, tmp_path, monkeypatch, small_scan):
    from hepar.service import console, scoreboard_console

    good, bad = "patient_with_a_long_name_0001", "patient_with_a_long_name_0002"
    _, truth = small_scan
    cut = LabelMap(truth.labels[1:], type(truth.geometry)((5, 40, 48), truth.geometry.affine))
    for case, found in {good: truth, bad: cut}.items():
        write(truth, tmp_path / "truth" / f"{case}.nii.gz")
        write(found, tmp_path / "found" / f"{case}.nii.gz")
    narrow = type(console.console)(width=80, highlight=False)
    for module in (console, scoreboard_console):
        monkeypatch.setattr(module, "console", narrow)
    ended = hepar_command("evaluate", tmp_path / "truth", tmp_path / "found", "--workers", 1)
    lines = ended.lines
    (failed,) = [line for line in lines if line.startswith(f"failed {bad} (found): ")]
    assert "--resample nearest" in failed
    folded = "".join(line[1:].split("│")[0].strip() for line in lines if line.startswith("│"))
    assert good in folded
    assert "…" not in "".join(lines)
    assert f"Empty rule: {PROTOCOLS['lits'].empty_rule}" in lines


def test_the_demo_begins_with_the_model_and_the_terms_of_its_weights(
    hepar_command, tmp_path, monkeypatch, threshold_model
):
    from hepar.inference import open_model

    monkeypatch.setattr("hepar.inference.model.shipped_model", lambda: threshold_model)
    ended = hepar_command("demo", "-o", tmp_path / "out")
    assert ended.code == 0
    assert ended.out.startswith(f"model {open_model(threshold_model).id}; weights: free test weights")
    assert hepar.DISCLAIMER in ended.out


def test_methods_are_listed_and_each_tells_its_variants(hepar_command):
    ended = hepar_command("methods")
    assert ended.code == 0
    assert all(name in ended.out for name in methods.names())
    assert "cdnn_alex/fcn32s" in hepar_command("methods", "cdnn_alex").out


def test_the_stages_of_preprocessing_become_a_picture(hepar_command, tmp_path, small_scan):
    write_volume(small_scan[0], tmp_path / "ct.nii.gz")
    for variant in ("matlab", "cv2"):
        out = tmp_path / f"{variant}.png"
        words = ("preview-preprocessing", tmp_path / "ct.nii.gz", "--slice", 3, "-o", out, "--equalise", variant)
        assert hepar_command(*words).code == 0
        assert out.read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "matlab.png").read_bytes() != (tmp_path / "cv2.png").read_bytes()


def test_a_run_becomes_a_model_folder_that_segments(hepar_command, tmp_path, small_scan):
    from dataclasses import replace

    from hepar.cases import Case
    from hepar.preprocess import InPlaneGrid

    ct, truth = small_scan
    method = methods.get("squeeze_unet")
    recipe = replace(method.recipe, epochs=1, batch=4, samples_per_epoch=8, patch=None, precision="fp32")
    tiny = replace(method, network=replace(method.network, width=0.1), recipe=recipe, encoder_weights="none",
                   grid=InPlaneGrid(pixel_mm=1.0))  # fmt: skip
    tiny.train([Case("a", "a", lambda: ct, lambda: truth)], tmp_path / "run")
    card = {"name": "tiny", "description": "d", "licence": "free", "trained_on": "a blob", "limits": "all"}
    (tmp_path / "card.json").write_text(json.dumps(card))
    ended = hepar_command("export", tmp_path / "run", "-o", tmp_path / "model", "--card", tmp_path / "card.json")
    assert (ended.code, ended.err) == (0, "")
    assert "labels agree" in ended.out
    assert {p.name for p in (tmp_path / "model").iterdir()} == {
        "model.json", "model.onnx", "run.json", "WEIGHTS_LICENSE.txt",
    }  # fmt: skip
    by_torch, by_openvino = (hepar.segment(ct, tmp_path / name, "cpu") for name in ("run/model", "model"))
    assert (by_torch.labels == by_openvino.labels).mean() > 0.999
    (tmp_path / "card.json").write_text('{"name": "tiny"}')
    ended = hepar_command("export", tmp_path / "run", "-o", tmp_path / "model2", "--card", tmp_path / "card.json")
    assert ended.code == 2
    assert "is not a model card" in ended.err
    assert not (tmp_path / "model2").exists()


def test_square_brackets_in_names_are_shown_as_they_are(hepar_command, tmp_path):
    ended = hepar_command("segment", tmp_path / "scan [red] 1.nii", "-m", tmp_path / "model [bold]")
    assert ended.code == 3
    assert "model [bold] holds no model.json" in ended.err


def test_an_interruption_says_what_is_kept(hepar_command, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    # Raised inside a command: what Typer makes of it must not hide our message.
    monkeypatch.setattr("hepar.service.demo.phantom_demo", interrupted)
    ended = hepar_command("demo")
    assert ended.code == 130
    assert "run the command again to go on" in ended.err


def test_the_version_and_usage_errors_have_their_exit_codes(hepar_command):
    assert hepar_command("--version").out == f"hepar {hepar.__version__}"
    for words in (["segmnt"], ["segment"], ["segment", "x", "--no-such-option"]):
        ended = hepar_command(*words)
        assert ended.code == 2
        assert "Usage: hepar" in ended.err


def test_missing_libraries_that_are_nobodys_extra_stay_errors(monkeypatch):
    from hepar.cli import main

    def broken(**_):
        raise ModuleNotFoundError("No module named 'numpy'", name="numpy")

    monkeypatch.setattr("hepar.cli.app", broken)
    with pytest.raises(ModuleNotFoundError):
        main()


def test_the_module_of_the_command_is_what_is_installed():
    code = "import sys; sys.argv = ['hepar', '--help']; from importlib.metadata import entry_points; "
    code += "entry_points(group='console_scripts')['hepar'].load()()"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "segment" in ended.stdout
