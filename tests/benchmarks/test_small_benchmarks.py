"""Preparation, readers, writers and start-up: each benchmark runs at a small size, and refuses another result."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from hepar.geometry import Geometry
from hepar.io import write
from hepar.volume import LabelMap, Volume


@pytest.fixture(scope="module")
def preprocessing(benchmark_named):
    return benchmark_named("preprocessing")


@pytest.fixture(scope="module")
def files(benchmark_named):
    return benchmark_named("readers_writers")


@pytest.fixture(scope="module")
def start_up(benchmark_named):
    return benchmark_named("start_up")


@pytest.fixture
def disagreement(benchmark_named):
    return benchmark_named("pairs").Disagreement


def grey(slices: int = 3, side: int = 12) -> Volume:
    values = np.random.default_rng(3).integers(0, 256, (slices, side, side)).astype(np.float32)
    return Volume(values, Geometry.from_spacing(values.shape, (2, 1, 1)))


def test_all_programs_prepare_alike_and_seconds_are_per_slice(preprocessing):
    timed = preprocessing.measured(grey(), rounds=2)
    assert set(timed.seconds) == {"hepar", "scikit-image", "scipy", "OpenCV", "loops"}
    assert len(timed.results["loops"]) == 1  # so slow that one slice is enough
    assert len(timed.results["scipy"]) == 3
    assert all(len(seconds) == 2 for seconds in timed.seconds.values())


@pytest.mark.parametrize("name", ["loops", "scipy", "OpenCV", "scikit-image"])
def test_a_program_that_prepares_otherwise_is_refused(preprocessing, disagreement, monkeypatch, name):
    right = preprocessing.PROGRAMS[name]

    def wrong(values):
        found = right(values).copy()
        found[0, 5, 5] = found[0, 5, 5] + (0.01 if name == "scikit-image" else 1)
        return found

    monkeypatch.setitem(preprocessing.PROGRAMS, name, wrong)
    with pytest.raises(disagreement, match=name):
        preprocessing.measured(grey(), rounds=1)


def test_rounding_alone_is_not_a_difference(preprocessing, disagreement):
    preprocessing.require_rounded(np.array([100.0]), np.array([100.49 / 255]))
    with pytest.raises(disagreement, match=r"0\.600 grey values"):
        preprocessing.require_rounded(np.array([100.0]), np.array([100.6 / 255]))


def scan_and_labels() -> tuple[Volume, LabelMap]:
    rng = np.random.default_rng(5)
    grid = Geometry.from_spacing((4, 10, 12), (2, 1, 1))
    values = rng.integers(-1000, 1000, grid.shape).astype(np.int16)
    return Volume(values, grid), LabelMap(rng.integers(0, 3, grid.shape).astype(np.uint8), grid)


def test_every_reader_and_writer_gives_the_same_numbers(files, tmp_path):
    timed = files.measured(*scan_and_labels(), tmp_path, rounds=1)
    assert list(timed) == ["read .nii.gz", "read .nii", "read .mha", "write labels .nii.gz"]
    assert set(timed["read .nii.gz"].seconds) == {"hepar", "nibabel get_fdata", "nibabel dataobj", "SimpleITK"}
    assert set(timed["write labels .nii.gz"].seconds) == {"hepar", "nibabel", "SimpleITK"}


def test_a_reader_with_other_numbers_is_refused(files, disagreement, monkeypatch, tmp_path):
    itk = files.READERS[".nii"]["SimpleITK"]
    monkeypatch.setitem(files.READERS[".nii"], "SimpleITK", lambda file: itk(file) + 1)
    with pytest.raises(disagreement, match=r"SimpleITK reading \.nii: 480 of 480 values"):
        files.measured(*scan_and_labels(), tmp_path, rounds=1)


def test_a_writer_that_loses_a_label_is_refused(files, disagreement, monkeypatch, tmp_path):
    lossy = lambda labels, file: write(labels.with_labels(np.minimum(labels.labels, 1)), file)  # noqa: E731
    monkeypatch.setitem(files.WRITERS, "nibabel", lossy)
    with pytest.raises(disagreement, match="nibabel writing labels"):
        files.measured(*scan_and_labels(), tmp_path, rounds=1)


def test_reader_and_writer_are_judged_by_their_own_peers(files, benchmark_named):
    timed = benchmark_named("pairs").Timed
    reading = timed({"hepar": [1.0], "nibabel get_fdata": [2.6], "SimpleITK": [1.1]}, {})
    writing = timed({"hepar": [1.0], "nibabel": [3.9], "SimpleITK": [9.0]}, {})
    assert files.judged({"read .nii.gz": reading, "write labels .nii.gz": writing}) == {
        "read .nii.gz: 2.5 times nibabel get_fdata": True,
        "write labels .nii.gz: 4 times nibabel": False,
    }


def test_the_command_writes_its_three_files(files, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(files, "scan", lambda *_: scan_and_labels())
    monkeypatch.setattr(sys, "argv", ["readers_writers.py", "-o", str(tmp_path), "--quick", "--rounds", "2"])
    files.main()
    kept = json.loads((tmp_path / "results.json").read_text())
    assert kept["command"] == "python benchmarks/readers_writers.py -o OUT --quick --rounds 2"
    assert kept["table"][0].keys() == {"task", "program", "median_s", "rounds", "times_as_long"}
    assert str(tmp_path) not in (tmp_path / "results.json").read_text()
    assert "task,program,median_s" in capsys.readouterr().out


def test_peers_that_are_not_here_are_named_and_not_started(start_up, monkeypatch, tmp_path):
    monkeypatch.setattr(start_up.importlib.util, "find_spec", lambda name: None if name == "monai" else object())
    wanted = start_up.commands(tmp_path, None)
    assert [title for title, words in wanted.items() if words is None] == [
        "import monai", "import nnunetv2", "nnUNetv2_predict -h",
    ]  # fmt: skip
    few = {title: wanted[title] for title in ("python -c pass", "import monai")}
    timed, missing = start_up.measured(few, rounds=1)
    assert (list(timed.seconds), missing) == (["python -c pass"], ["import monai"])


def test_nnunets_program_is_looked_for_beside_its_python(start_up, tmp_path):
    assert start_up.commands(tmp_path, tmp_path / "python")["nnUNetv2_predict -h"] is None
    (tmp_path / "nnUNetv2_predict").touch()
    words = start_up.commands(tmp_path, tmp_path / "python")["nnUNetv2_predict -h"]
    assert words == [str(tmp_path / "nnUNetv2_predict"), "-h"]


def test_a_program_that_fails_to_start_is_no_measurement(start_up):
    with pytest.raises(RuntimeError, match="ended with 3: no such thing"):
        start_up.started([sys.executable, "-c", "import sys; print('no such thing', file=sys.stderr); sys.exit(3)"])


def test_a_first_slice_without_liver_is_no_segmentation(start_up, tmp_path):
    _, labels = scan_and_labels()
    write(labels, tmp_path / "labels.nii.gz")
    start_up.require_labels(tmp_path)
    write(labels.with_labels(labels.labels * 0), tmp_path / "labels.nii.gz")
    with pytest.raises(RuntimeError, match="shows no liver"):
        start_up.require_labels(tmp_path)
