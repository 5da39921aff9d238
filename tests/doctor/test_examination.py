"""A clean data set is found clean in every layout; each planted defect is found alone, and repaired where it can be."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from hepar.doctor import Options, examine, repair
from hepar.doctor.place import flipped
from hepar.geometry import Geometry
from hepar.io import write, write_volume
from hepar.io.nifti import write_voxels
from hepar.volume import LabelMap, Volume
from layout_folders import (
    Pair,
    bodies,
    body,
    write_chaos,
    write_ircadb,
    write_lits,
    write_msd,
    write_nnunet,
    write_slices,
    write_sliver07,
)

LABEL_2 = "segmentation-2.nii"
WRITERS = {
    "lits": write_lits,
    "msd": write_msd,
    "nnunet": write_nnunet,
    "sliver07": write_sliver07,
    "ircadb": write_ircadb,
    "chaos": write_chaos,
    "slice_folder": write_slices,
}


@pytest.mark.parametrize("layout", WRITERS)
def test_a_clean_data_set_is_found_clean_in_every_layout(layout, tmp_path):
    diagnosis = examine(WRITERS[layout](tmp_path / layout, bodies(1, 2, 3)))
    assert diagnosis.layout == layout
    assert (len(diagnosis.subjects), diagnosis.patients) == (3, 3)
    assert [f"{f.case} {f.kind} {f.detail}" for f in diagnosis.findings if f.severity != "note"] == []


@dataclass(frozen=True)
class Defect:
    """What is done to volume-2 of three, what must be found of it, and whether a repair makes it clean."""

    plant: Callable[[Volume, LabelMap], Pair]
    kind: str
    severity: str = "error"
    repairable: bool = False
    told: str = ""


def header(ct: Volume, truth: LabelMap, grid: Geometry) -> Pair:
    return replace(ct, geometry=grid), replace(truth, geometry=grid)


def turned(*axes: bool) -> Callable[[Volume, LabelMap], Pair]:
    """Both headers reverse these axes of the array, which stays as it is: what a careless converter does."""
    return lambda ct, truth: header(ct, truth, flipped(ct.geometry, axes))


def label_header(change: Callable[[Geometry], Geometry]) -> Callable[[Volume, LabelMap], Pair]:
    return lambda ct, truth: (ct, replace(truth, geometry=change(truth.geometry)))


def labels(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Volume, LabelMap], Pair]:
    return lambda ct, truth: (ct, truth.with_labels(change(truth.labels.copy()).astype(np.uint8)))


def values(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Volume, LabelMap], Pair]:
    return lambda ct, truth: (ct.with_values(change(ct.values.copy())), truth)


def identity(grid: Geometry) -> Geometry:
    return Geometry.from_spacing(grid.shape, (1, 1, 1))


def larger(factor: float) -> Callable[[Volume, LabelMap], Pair]:
    def plant(ct: Volume, truth: LabelMap) -> Pair:
        spacing = tuple(factor * s for s in ct.geometry.spacing_mm)
        return header(ct, truth, Geometry.from_spacing(ct.geometry.shape, spacing, (5, 5, 5)))

    return plant


def other_axes(ct: Volume, truth: LabelMap) -> Pair:
    """The label is stored head first and left to right, and its header says so."""
    grid = flipped(truth.geometry, (True, False, True))
    return ct, LabelMap(np.ascontiguousarray(truth.labels[::-1, :, ::-1]), grid)


def padded(ct: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[: ct.shape[1], : ct.shape[2]]
    ct[:, np.hypot(y - 39.5, x - 39.5) > 41] = -2000
    return ct


def with_nan(ct: np.ndarray) -> np.ndarray:
    ct = ct.astype(np.float32)
    ct[0, :2, :3] = np.nan
    return ct


def apart(found: np.ndarray) -> np.ndarray:
    """A tumour of 3 x 4 x 4 voxels in the patient's left back, far from the liver."""
    found[4:7, 52:56, 56:60] = 2
    found[(found == 2) & (np.arange(len(found)) > 6)[:, None, None]] = 1
    return found


def into_the_air(found: np.ndarray) -> np.ndarray:
    """From the liver out through the right flank."""
    z = int(np.argmax((found > 0).sum(axis=(1, 2))))
    y = int(np.median(np.nonzero(found[z])[0]))
    found[z - 1 : z + 2, y - 5 : y + 6, : int(np.nonzero(found[z, y])[0].min()) + 1] = 1
    return found


def cut_in_two(found: np.ndarray) -> np.ndarray:
    heights = np.flatnonzero((found > 0).any(axis=(1, 2)))
    found[int(np.median(heights))] = 0
    return found


def eight_bit(ct: np.ndarray) -> np.ndarray:
    low, high = ct.min(axis=(1, 2), keepdims=True).astype(float), ct.max(axis=(1, 2), keepdims=True).astype(float)
    return ((ct - low) * 255 / (high - low)).round().astype(np.int16)


DEFECTS = {
    "voxels of ten times the size": Defect(larger(10), "spacing", told="field of view of 4000 x 4000"),
    "identity affine": Defect(lambda ct, truth: header(ct, truth, identity(ct.geometry)), "identity-affine"),
    "identity affine of the label": Defect(label_header(identity), "grid-place", repairable=True, told="identity"),
    "label moved by its header": Defect(
        label_header(lambda g: Geometry.from_spacing(g.shape, g.spacing_mm, (9, 9, 9))),
        "grid-place",
        repairable=True,
        told="first voxels .* mm apart",
    ),
    "label turned by its header": Defect(
        label_header(lambda g: Geometry(g.shape, g.affine @ np.diag([1, 1, -1, 1]))),
        "grid-place",
        repairable=True,
        told="axes LPS against RPS",
    ),
    "label along other axes": Defect(other_axes, "label-axes", "warning", repairable=True, told="RPI"),
    "label of another shape": Defect(
        lambda ct, truth: (ct, replace(truth, labels=truth.labels[1:], geometry=ct.slab(1, 99).geometry)),
        "grid-shape",
        told="31 x 80 x 80, label 30 x 80 x 80",
    ),
    "left and right": Defect(turned(False, False, True), "orientation", repairable=True, told="left and right swapped"),
    "front and back": Defect(turned(False, True, False), "orientation", repairable=True, told="front and back swapped"),
    "head and feet": Defect(turned(True, False, False), "orientation", repairable=True, told="head and feet swapped"),
    "half a turn": Defect(turned(False, True, True), "orientation", repairable=True, told="front and back and left"),
    "all three": Defect(turned(True, True, True), "orientation", repairable=True, told="head and feet and front"),
    "label mirrored": Defect(
        labels(lambda found: found[:, :, ::-1]), "label-reversed", repairable=True, told="left and right"
    ),
    "label front to back": Defect(
        labels(lambda found: found[:, ::-1]), "label-reversed", repairable=True, told="front and back"
    ),
    "intercept left out": Defect(
        values(lambda ct: ct + np.int16(1024)), "hu-offset", repairable=True, told=r"0\.\.1663"
    ),
    "intercept twice": Defect(values(lambda ct: ct - np.int16(1024)), "hu-offset", repairable=True, told="-20"),
    "8 bit": Defect(values(eight_bit), "not-hu", told="each slice spans 0..255"),
    "one 8-bit window": Defect(values(lambda ct: np.clip(ct, 0, 250)), "not-hu", told=r"0\.\.250"),
    "no units": Defect(values(lambda ct: ct * np.int16(9) + np.int16(3000)), "not-hu", "warning"),
    "not a number": Defect(values(with_nan), "nan", told="6 of 198,400 voxels"),
    "padding": Defect(values(padded), "padding", "note", told="-2000 in"),
    "windowed": Defect(values(lambda ct: np.clip(ct, -200, 250)), "windowed", "note", told=r"-200\.\.250 HU"),
    "no label": Defect(labels(lambda found: found * 0), "empty-label"),
    "a tumour apart": Defect(labels(apart), "tumour-apart", "warning", told="100% of the tumour"),
    "label in the air": Defect(labels(into_the_air), "outside-body", "warning", told="% of it"),
    "liver cut in two": Defect(labels(cut_in_two), "liver-pieces", "warning"),
    "a tiny liver": Defect(lambda *_: body(2, lesions=1, liver_ml=260), "liver-volume", "warning", told=" mL"),
    "no tumour": Defect(lambda *_: body(2, lesions=0), "tumour-list", "warning"),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_each_planted_defect_is_found_alone_and_repaired_where_it_can_be(name, tmp_path):
    defect = DEFECTS[name]
    root = write_lits(tmp_path / "set", bodies(1, 3))
    ct, truth = defect.plant(*body(2))
    write_volume(ct, root / "volume-2.nii")
    write(truth, root / LABEL_2)
    before = {path.name: path.read_bytes() for path in root.iterdir()}
    diagnosis = examine(root)
    found = [finding for finding in diagnosis.findings if finding.severity != "note" or finding.kind == defect.kind]
    assert [(f.case, f.kind, f.severity, f.repairable) for f in found] == [
        ("volume-2", defect.kind, defect.severity, defect.repairable)
    ], [f.detail for f in found]
    assert re.search(defect.told, found[0].detail), found[0].detail
    if defect.repairable:
        report = repair(diagnosis, tmp_path / "repaired")
        assert (report.repaired, report.copied, report.left_out) == (("volume-2",), ("volume-1", "volume-3"), ())
        again = examine(tmp_path / "repaired")
        assert [f"{f.kind} {f.detail}" for f in again.findings if f.severity != "note"] == []
        clean_ct, clean_truth = body(2)
        repaired = again.subjects[1].entry.case()
        assert repaired.ct.geometry.same_grid(clean_ct.geometry)
        assert np.array_equal(repaired.ct.values, clean_ct.values)
        assert np.array_equal(repaired.truth.labels, clean_truth.labels)
        assert repaired.truth.geometry.same_grid(clean_ct.geometry)
    assert {path.name: path.read_bytes() for path in root.iterdir()} == before


def test_files_that_are_missing_or_damaged_are_findings_and_the_rest_go_on(tmp_path):
    root = write_lits(tmp_path, bodies(1, 2, 3, 4))
    (root / "volume-1.nii").unlink()
    (root / "segmentation-2.nii").unlink()
    whole = (root / "volume-3.nii").read_bytes()
    (root / "volume-3.nii").write_bytes(whole[: len(whole) // 2])
    diagnosis = examine(root)
    assert [(f.case, f.kind) for f in diagnosis.findings if f.severity != "note"] == [
        ("volume-1", "no-image"),
        ("volume-3", "unreadable"),
        ("volume-2", "no-label"),
    ]
    assert "volume-3.nii" in diagnosis.of("volume-3")[0].detail
    assert str(tmp_path) not in "".join(f.detail for f in diagnosis.findings)


@pytest.mark.parametrize("number", [3, 7, 255])
def test_numbers_that_mean_nothing_are_named(number, tmp_path):
    root = write_lits(tmp_path, bodies(1, 2))
    truth = body(2)[1]
    write_voxels(np.where(truth.labels == 2, number, truth.labels).astype(np.uint8), truth.geometry, root / LABEL_2)
    found = [f for f in examine(root).findings if f.severity != "note"]
    assert [(f.case, f.kind, f.detail) for f in found] == [("volume-2", "label-numbers", str(number))]


def test_a_damaged_label_does_not_hide_what_is_wrong_with_the_image(tmp_path):
    root = write_lits(tmp_path, bodies(1))
    write_volume(values(lambda ct: ct + np.int16(1024))(*body(1))[0], root / "volume-1.nii")
    (root / "segmentation-1.nii").write_bytes(b"nothing")
    assert {f.kind for f in examine(root).findings} == {"unreadable", "hu-offset"}


def test_a_label_beside_the_liver_is_not_taken_for_liver(tmp_path):
    """Moved up into the lungs: no turn of it would fit better, so nothing is offered."""
    root = write_lits(tmp_path, bodies(1))
    write(body(1)[1].with_labels(np.roll(body(1)[1].labels, 9, axis=0)), root / "segmentation-1.nii")
    found = {f.kind for f in examine(root).findings if f.severity != "note"}
    assert found & {"liver-hu", "outside-body", "label-reversed"}


def test_a_stomach_full_of_contrast_medium_is_not_taken_for_the_spine(tmp_path):
    """As bright as bone and in front: the liver, which lies in front as well, contradicts."""
    ct, truth = body(1)
    values = ct.values.copy()
    values[8:26, 22:36, 44:58] = 700
    root = write_lits(tmp_path, {1: (ct.with_values(values), truth)})
    assert [f.kind for f in examine(root).findings if f.severity != "note"] == []
    bone = np.argwhere(values > 300)[:, 1].mean()
    assert bone < np.argwhere(values > -300)[:, 1].mean() - 3


TUMOUR_FREE = {"lits032": (3, ["tumour-list"]), "tumour-free as listed": (0, [])}


@pytest.mark.parametrize("case", TUMOUR_FREE)
def test_the_labels_are_held_against_the_list_of_tumour_free_patients(case, tmp_path):
    lesions, kinds = TUMOUR_FREE[case]
    root = write_lits(tmp_path, {32: body(32, lesions=lesions)})
    assert [f.kind for f in examine(root).findings if f.severity != "note"] == kinds


def test_known_facts_are_told_only_where_their_patients_are(tmp_path):
    kinds = {f.kind for f in examine(write_lits(tmp_path / "few", bodies(1, 2))).findings}
    assert not kinds & {"ircadb", "lits39", "turned"}
    there = examine(write_lits(tmp_path / "many", bodies(28, 39, 70)))
    told = {f.kind: f for f in there.findings if not f.case}
    assert set(told) == {"ircadb", "lits39", "turned"}
    assert told["ircadb"].detail == "2 of them here"
    assert told["turned"].detail == "0 of 1 contradict their header"


def test_progress_is_told_of_every_case(tmp_path):
    told = []
    root = write_lits(tmp_path / "set", bodies(1, 2))
    other = write_msd(tmp_path / "other", bodies(3))
    examine(root, Options(against=other, progress=lambda done, count, case: told.append((done, count, case))))
    assert told == [(0, 3, "volume-1"), (1, 3, "volume-2"), (2, 3, "liver_3")]


def test_a_repaired_copy_of_dicom_is_read_as_what_it_was(tmp_path):
    """Patient names and what the labels mean survive the change of layout."""
    pairs = bodies(1, 2)
    ct, truth = pairs[1]
    pairs[1] = (replace(ct, values=ct.values + np.int16(1024)), truth)
    repair(examine(write_ircadb(tmp_path / "dicom", pairs)), tmp_path / "repaired")
    again = examine(tmp_path / "repaired")
    assert [f.kind for f in again.findings if f.severity != "note"] == []
    assert again.layout == "nnunet"
    assert [one.patient for one in again.subjects] == ["lits028", "lits029"]
    assert {one.entry.labels for one in again.subjects} == {"full"}
    assert np.array_equal(again.subjects[0].entry.case().truth.labels, truth.labels)
    assert np.array_equal(again.subjects[0].entry.case().ct.values, ct.values)


def test_union_labels_stay_union_through_a_repair(tmp_path):
    ct, truth = body(1)
    root = write_sliver07(tmp_path / "sliver", {1: (replace(ct, values=ct.values + np.int16(1024)), truth)})
    repair(examine(root), tmp_path / "repaired")
    again = examine(tmp_path / "repaired").subjects[0].entry
    assert again.labels == "liver_union"
    assert np.array_equal(again.case().truth.labels, truth.liver.astype(np.uint8))
    assert not (tmp_path / "repaired" / Path("liver-orig001.mhd")).exists()
