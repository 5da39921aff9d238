"""The peer's benchmark, as far as it goes without nnU-Net: what is packed, what the clock does, what a pixel costs."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from hepar.cases import Case, Fold, save_folds
from hepar.datasets import open_cases
from hepar.errors import BadInput
from hepar.io import read_numbers
from hepar.volume import LabelMap, Volume

HOME = Path(__file__).resolve().parents[1] / "benchmarks" / "nnunet"
PARTS = ("clock", "packing", "union_loss", "run")


@pytest.fixture(scope="module", autouse=True)
def parts() -> Iterator[dict[str, object]]:
    """The benchmark's modules, importable by their bare names as when run.py is started, and only here."""
    sys.path.insert(0, str(HOME))
    yield {name: import_module(name) for name in PARTS}
    sys.path.remove(str(HOME))
    for name in PARTS:
        del sys.modules[name]


def scan(small_scan, id="lits512-lits001", labels="full") -> Case:
    ct, truth = small_scan
    return Case(id, id.split("-")[1], lambda: ct, lambda: truth, labels=labels)


def stored(path: Path) -> np.ndarray:
    return read_numbers(path)[0]


def test_a_packed_case_has_the_values_labels_and_grid_that_hepar_reads(parts, small_scan, tmp_path):
    ct, truth = small_scan
    folder = parts["packing"].pack([scan(small_scan)], tmp_path)
    values, grid = read_numbers(folder / "imagesTr" / "lits512-lits001_0000.nii.gz")
    assert np.array_equal(values, ct.values)
    assert grid.same_grid(ct.geometry)
    assert np.array_equal(stored(folder / "labelsTr" / "lits512-lits001.nii.gz"), truth.labels)


def test_a_packed_set_is_one_that_hepar_reads_again_with_ignored_pixels_unknown(parts, small_scan, tmp_path):
    full, union = scan(small_scan), scan(small_scan, "slices256-lits002", "liver_union")
    folder = parts["packing"].pack([full, union], tmp_path)
    assert {case.id for case in open_cases(folder)} == {full.id, union.id}
    assert json.loads((folder / "dataset.json").read_text())["union_cases"] == [union.id]


def test_in_a_union_case_liver_becomes_the_ignore_label_and_a_painted_tumour_stays(parts, small_scan):
    _, truth = small_scan
    labels = parts["packing"].labels_to_learn(scan(small_scan, labels="liver_union")).values
    assert np.array_equal(labels == 3, truth.labels == 1)
    assert np.array_equal(labels == 2, truth.labels == 2)
    assert not labels[truth.labels == 0].any()
    assert not (parts["packing"].labels_to_learn(scan(small_scan)).values == 3).any()


def test_a_scan_in_any_turn_is_packed_in_the_axial_view(parts, small_scan, tmp_path):
    ct, truth = small_scan
    turned = Volume(np.ascontiguousarray(ct.values[::-1]), flipped(ct)), LabelMap(truth.labels[::-1], flipped(ct))
    folder = parts["packing"].pack([scan(turned)], tmp_path)
    assert np.array_equal(stored(folder / "imagesTr" / "lits512-lits001_0000.nii.gz"), ct.values)


class Threshold:
    """Stands for nnU-Net's predictor: 150 HU and above is liver. Remembers what it was given."""

    def predict_single_npy_array(self, hu, facts):
        self.hu, self.spacing_mm = hu, facts["spacing"]
        return (hu[0] >= 150).astype(np.int64)


def test_found_labels_lie_on_the_scans_own_grid_and_the_network_sees_the_axial_window(parts, oblique_grid):
    values = np.random.default_rng(2).integers(-200, 300, oblique_grid.shape).astype(np.int16)
    ct, predictor = Volume(values, oblique_grid), Threshold()
    found = parts["run"].found_by(predictor, Case("a", "a", lambda: ct))
    assert found.geometry.same_grid(oblique_grid)
    assert np.array_equal(found.labels, values >= 150)
    assert (predictor.hu.dtype, predictor.hu.min(), predictor.hu.max()) == (np.float32, -40, 160)
    axial = ct.axial()
    assert np.array_equal(predictor.hu[0], np.clip(axial.values, -40, 160))
    assert predictor.spacing_mm == pytest.approx(axial.geometry.spacing_mm)


def flipped(ct: Volume):
    from hepar.geometry import Geometry

    affine = ct.geometry.affine.copy()
    affine[:3, 3] = ct.geometry.position_mm((ct.values.shape[0] - 1, 0, 0))
    affine[:3, 0] *= -1
    return Geometry(ct.geometry.shape, affine)


def test_packing_goes_on_where_it_was_stopped(parts, small_scan, tmp_path):
    first, second = scan(small_scan), scan(small_scan, "lits512-lits002")
    folder = parts["packing"].pack([first, second], tmp_path)
    kept = (folder / "labelsTr" / f"{first.id}.nii.gz").stat().st_mtime_ns
    (folder / "labelsTr" / f"{second.id}.nii.gz").unlink()
    parts["packing"].pack([first, second], tmp_path)
    assert (folder / "labelsTr" / f"{first.id}.nii.gz").stat().st_mtime_ns == kept
    assert (folder / "labelsTr" / f"{second.id}.nii.gz").is_file()


def test_a_case_of_another_fold_in_the_folder_is_refused(parts, small_scan, tmp_path):
    parts["packing"].pack([scan(small_scan), scan(small_scan, "lits512-lits009")], tmp_path)
    with pytest.raises(BadInput, match="lits512-lits009, not of this fold"):
        parts["packing"].pack([scan(small_scan)], tmp_path)


def order(tmp_path: Path, scans: list[list[str]]) -> argparse.Namespace:
    save_folds([Fold(("lits001",), ("lits034",))], tmp_path / "folds.json")
    return argparse.Namespace(folds=tmp_path / "folds.json", fold=0, data=[], scan=scans)


def test_a_whole_scan_of_a_training_patient_is_not_tested(parts, tmp_path):
    with pytest.raises(BadInput, match="scan a is of a training patient of fold 0"):
        parts["run"].scans_to_test(order(tmp_path, [["a", "lits001", "a.nii", "b.nii"]]))
    assert [c.id for c in parts["run"].scans_to_test(order(tmp_path, [["b", "lits034", "a.nii", "b.nii"]]))] == ["b"]


def test_two_trainings_do_not_share_a_work_folder(parts, tmp_path):
    first = parts["run"].held(tmp_path / "train.lock")
    with pytest.raises(BadInput, match="already runs"):
        parts["run"].held(tmp_path / "train.lock")
    first.close()
    parts["run"].held(tmp_path / "train.lock").close()


class Watch:
    """A clock to set by hand: the wall's seconds; the processor works half of them."""

    def __init__(self) -> None:
        self.wall = 100.0

    def __call__(self) -> tuple[float, float]:
        return self.wall, self.wall / 2


def test_the_clock_counts_over_pieces_and_what_a_killed_piece_lost_does_not_count(parts, tmp_path):
    watch = Watch()
    first = parts["clock"].Clock(60, piece_s=40, now=watch)
    watch.wall += 500
    first.start()
    watch.wall += 30
    first.save(tmp_path / "clock.json")
    assert (first.spent_s, first.piece_over) == (30, False)
    watch.wall += 10
    assert first.piece_over
    assert not first.over
    second = parts["clock"].Clock(60, now=watch)
    second.resume(tmp_path / "clock.json")
    second.start()
    watch.wall += 15
    assert (second.spent_s, second.worked_s, second.share) == (45, 22.5, 0.75)
    watch.wall += 15
    assert second.over


def test_minutes_that_the_processor_worked_may_count_instead(parts):
    watch = Watch()
    clock = parts["clock"].Clock(60, counts="worked", now=watch)
    clock.start()
    watch.wall += 60
    assert (clock.spent_s, clock.wall_s, clock.over) == (30, 60, False)


def test_the_rate_is_the_polynomial_one_and_ends_with_the_time(parts):
    rate = parts["clock"].poly_rate
    assert [rate(0.01, share) for share in (0.0, 0.5, 1.0)] == pytest.approx([0.01, 0.01 * 0.5**0.9, 0.0])


def test_an_epoch_takes_about_two_minutes_and_never_fewer_than_two_iterations(parts):
    assert [parts["clock"].iterations_per_epoch(s) for s in (1.0, 11.5, 400.0)] == [120, 10, 2]


def loss_of(parts, logits, target):
    """UnionLoss around plain cross-entropy and a Dice term that tells what it was shown."""
    torch = pytest.importorskip("torch")
    seen = []

    class Plain(torch.nn.Module):
        ce = staticmethod(torch.nn.CrossEntropyLoss(ignore_index=3))

        @staticmethod
        def dc(_logits, target, loss_mask):
            seen.append((target, loss_mask))
            return torch.zeros(())

    return float(parts["union_loss"].UnionLoss(Plain())(logits, target)), seen[0]


def test_a_pixel_liver_or_tumour_costs_the_logarithm_of_both(parts):
    torch = pytest.importorskip("torch")
    logits = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(3))
    target = torch.randint(0, 4, (2, 1, 4, 5), generator=torch.Generator().manual_seed(5))
    p = torch.softmax(logits, 1)
    one = torch.where(target[:, 0] == 3, p[:, 1] + p[:, 2], p.gather(1, target.clamp(max=2))[:, 0])
    cost, (shown, mask) = loss_of(parts, logits, target)
    assert cost == pytest.approx(float(-one.log().mean()), rel=1e-5)
    assert torch.equal(mask, target != 3)
    assert int(shown.max()) <= 2


def test_without_union_pixels_the_loss_is_the_plain_one_and_with_nothing_else_it_is_finite(parts):
    torch = pytest.importorskip("torch")
    logits = torch.randn(1, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    plain = torch.randint(0, 3, (1, 1, 4, 4), generator=torch.Generator().manual_seed(2))
    expected = float(torch.nn.functional.cross_entropy(logits, plain[:, 0]))
    assert loss_of(parts, logits, plain)[0] == pytest.approx(expected, rel=1e-5)
    everywhere = loss_of(parts, logits, torch.full((1, 1, 4, 4), 3))[0]
    assert 0 < everywhere < float("inf")
    assert everywhere != pytest.approx(expected)
