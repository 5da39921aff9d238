"""A mini folder of each layout of the field is read, trained on and evaluated by the study."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import layout_folders as layouts
from hepar.study.reproduce.order import StudyOrder
from hepar.study.reproduce.plan import GROUPS
from hepar.study.reproduce.results import read_study
from hepar.study.reproduce.study import prepare_study, run_study

WRITERS = {
    "LiTS": layouts.write_lits,
    "MSD": layouts.write_msd,
    "nnU-Net": layouts.write_nnunet,
    "3D-IRCADb": layouts.write_ircadb,
    "SLIVER07": layouts.write_sliver07,
    "CHAOS": layouts.write_chaos,
    "slices": layouts.write_slices,
}
LIVER_ONLY = ("SLIVER07", "CHAOS")


@pytest.fixture(autouse=True)
def one_arm_and_one_thread(monkeypatch):
    monkeypatch.setitem(GROUPS, "fair", GROUPS["fair"][1:])
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("layout", WRITERS)
def test_a_folder_of_each_layout_is_read_trained_and_evaluated(layout, tmp_path: Path):
    data = WRITERS[layout](tmp_path / "data", layouts.bodies(1, 2, 3))
    order = StudyOrder(
        data, tmp_path / "study", ("fair",), split="99/30", matrix=64, width=0.05, weights="none",
        settings=("epochs=1", "batch=8", "micro_batch=8"),
    )  # fmt: skip
    run_study(prepare_study(order))
    study = read_study(order.out)
    (cell,) = study.cells
    assert cell.finished
    assert len(cell.cases) == 1
    assert study.facts["fold_sizes"] == [[2, 1]]
    terms = cell.cases[0]["conditions"]["all_slices"]["lits"]["terms"]
    assert terms["liver_dice"][1] == 1
    # A set without tumour labels is never judged by tumours.
    assert ("tumour_dice" in terms) == (layout not in LIVER_ONLY)
    assert cell.facts["window_hu"]["testable"] == (layout != "slices")
