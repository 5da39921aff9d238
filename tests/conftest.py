"""Shared fixtures. Real-data tests skip, with a reason, where the data is not at hand."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from hepar.geometry import Geometry
from hepar.volume import LabelMap, Volume

# One thread a test process: for tiny networks starting more takes longer than the work, and workers run side by side.
os.environ["OMP_NUM_THREADS"] = "1"

# Tiny arrays gain nothing from threads, and lose much where tests run in parallel. Set before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real CT beside the checkout."""
    if not SHARED_DATA.is_dir():
        pytest.skip("real data (../shared/data) is not on this machine")
    return SHARED_DATA


@pytest.fixture
def oblique_grid() -> Geometry:
    """A tiny grid that forgives nothing: tilted, flipped, swapped and anisotropic."""
    angle = np.deg2rad(20)
    tilt = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    # Array axes follow posterior, inferior and left: swapped and one reversed.
    axes = np.array([[0, 0, 1], [1, 0, 0], [0, -1, 0]], dtype=float)
    affine = np.eye(4)
    affine[:3, :3] = tilt @ axes * np.array([0.8, 3.0, 0.7])
    affine[:3, 3] = (-120.0, 35.5, 410.25)
    return Geometry((10, 7, 12), affine)


@pytest.fixture(scope="session")
def threshold_model(tmp_path_factory) -> Path:
    """An ONNX model folder that anyone can follow: 120 HU and above is liver, 200 HU and above tumour, at 1 mm."""
    return save_threshold_model(tmp_path_factory.mktemp("models") / "threshold")


@pytest.fixture(scope="session")
def eager_model(tmp_path_factory) -> Path:
    """The same with liver from 30 HU: another model, which sees more."""
    return save_threshold_model(tmp_path_factory.mktemp("models") / "eager", liver_hu=30.0)


def save_threshold_model(folder: Path, liver_hu: float = 120.0) -> Path:
    """A 1x1 convolution: logits 0, g - liver_hu and 2 g - liver_hu - 200 of grey g, which is HU from 0 to 255."""
    import torch

    from hepar.inference import ModelCard, Pipeline, save_model
    from hepar.preprocess import InPlaneGrid, Window
    from hepar.training.export import write_onnx

    network = torch.nn.Conv2d(1, 3, 1)
    with torch.no_grad():
        network.weight[:] = torch.tensor([0.0, 1.0, 2.0]).view(3, 1, 1, 1)
        # Half a grey value: a threshold between whole numbers has no ties.
        network.bias[:] = torch.tensor([0.0, 0.5 - liver_hu, 1.0 - liver_hu - 200.0])
    folder.mkdir(parents=True)
    write_onnx(network.eval(), folder / "model.onnx")
    card = ModelCard("threshold", "thresholds", "free test weights", "nothing", "for tests only")
    pipeline = Pipeline((Window(0, 255),), InPlaneGrid(pixel_mm=1.0))
    save_model(folder, card, pipeline, folder / "model.onnx", {"network": "none"})
    return folder


def blob_scan(shape=(6, 40, 48), at=(3, 20, 12)) -> tuple[Volume, LabelMap]:
    """Soft tissue with a liver of 150 HU, 8 mm in radius, and in it a tumour of 220 HU, 3 mm; 2 x 1 x 1 mm, axial."""
    z, y, x = np.mgrid[: shape[0], : shape[1], : shape[2]]
    away_mm = np.sqrt((2 * (z - at[0])) ** 2 + (y - at[1]) ** 2 + (x - at[2]) ** 2)
    labels = (away_mm <= 8).astype(np.uint8) + (away_mm <= 3).astype(np.uint8)
    noise = np.random.default_rng(4).integers(-60, 61, shape)
    values = np.where(labels == 0, noise, np.where(labels == 1, 150, 220)).astype(np.int16)
    grid = Geometry.from_spacing(shape, (2, 1, 1), (-700, -20, -30))
    return Volume(values, grid), LabelMap(labels, grid)


@pytest.fixture
def small_scan() -> tuple[Volume, LabelMap]:
    return blob_scan()


@dataclass(frozen=True)
class Finished:
    """What a command left behind: exit code and what it said, with line breaks as spaces."""

    code: int
    out: str
    err: str
    lines: tuple[str, ...] = ()


@pytest.fixture
def hepar_command(monkeypatch, capsys):
    """Runs `hepar ...` in this process, through the same entry point as the installed command."""
    from hepar.cli import main

    def run(*words: object) -> Finished:
        monkeypatch.setattr(sys, "argv", ["hepar", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        shown = capsys.readouterr()
        code = int(left.value.code or 0)
        return Finished(code, " ".join(shown.out.split()), " ".join(shown.err.split()), tuple(shown.out.splitlines()))

    return run
