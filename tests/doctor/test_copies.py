"""The same scan is recognised under any name, header, file format and windowing; another scan is not."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepar.doctor import Options, examine, repair
from hepar.doctor.fingerprint import SAME, fingerprint, likeness, same_voxels
from hepar.doctor.intensity import Scale
from hepar.doctor.listing import canonical
from hepar.doctor.place import flipped
from hepar.errors import BadInput
from hepar.geometry import Geometry
from hepar.io import write, write_volume
from hepar.volume import Volume
from layout_folders import bodies, body, write_lits, write_msd, write_nnunet, write_slices


def prints(*volumes: Volume) -> list:
    return [fingerprint(ct.values, ct.geometry, Scale()) for ct in volumes]


def reoriented(ct: Volume, order: tuple[int, int, int], flips: tuple[bool, bool, bool]) -> Volume:
    """The same scan as another converter stores it: axes in another order, header true."""
    values = np.transpose(ct.values, order)
    grid = Geometry(values.shape, ct.geometry.affine[:, [*order, 3]])
    return Volume(np.flip(values, tuple(np.flatnonzero(flips))).copy(), flipped(grid, flips))


def mistaken(ct: Volume) -> Volume:
    """The same voxels with a header that knows nothing."""
    return replace(ct, geometry=Geometry.from_spacing(ct.geometry.shape, (1, 1, 1)))


def test_no_two_bodies_are_alike_and_each_is_like_itself():
    everyone = prints(*(body(number)[0] for number in range(1, 9)))
    alike = likeness(everyone, everyone)
    assert alike.diagonal() == pytest.approx(1, abs=2e-3)
    assert (alike - np.eye(8) * 2).max() < SAME


@settings(max_examples=25, deadline=None)
@given(
    order=st.permutations([0, 1, 2]).map(tuple),
    flips=st.tuples(st.booleans(), st.booleans(), st.booleans()),
)
def test_a_scan_stays_the_same_however_its_axes_are_stored(order, flips):
    ct = body(1)[0]
    other = reoriented(ct, order, flips)
    (mine,), (theirs,) = prints(other), prints(ct)
    assert likeness([mine], [theirs])[0, 0] > 0.999
    grid = same_voxels(mine, theirs)
    assert grid is not None and grid.same_grid(other.geometry)


@pytest.mark.parametrize("flips", [(bool(n & 4), bool(n & 2), bool(n & 1)) for n in range(8)])
@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1)])
def test_a_lost_header_comes_back_however_the_voxels_are_turned(order, flips):
    ct = body(1)[0]
    other = reoriented(ct, order, flips)
    grid = same_voxels(*prints(mistaken(other), ct))
    assert grid is not None and grid.same_grid(other.geometry)


COPIES = {
    "cut to a window": lambda v: np.clip(v, -100, 200),
    "8 bit of a window": lambda v: np.round((np.clip(v, -40, 160) + 40) / 200 * 255) / 255 * 200 - 40,
    "noise of a codec": lambda v: v + np.random.default_rng(1).normal(0, 8, v.shape),
    "every second slice": lambda v: v[::2],
    "three slices": lambda v: v[[12, 15, 18]],
    "head first": lambda v: v[::-1],
    "half the pixels": lambda v: v.reshape(len(v), 40, 2, 40, 2).mean(axis=(2, 4)),
}


@pytest.mark.parametrize("name", COPIES)
def test_a_scan_stays_the_same_through(name):
    ct = body(1)[0]
    values = COPIES[name](ct.values).astype(np.float32)
    copy = Volume(values, Geometry.from_spacing(values.shape, (2, 2, 2)))
    others = [body(number)[0] for number in (1, 3, 5, 7)]
    alike = likeness(prints(copy), prints(*others))[0]
    assert alike[0] > SAME
    assert alike[1:].max() < SAME


def test_empty_slices_are_like_nothing():
    nothing = Volume(np.full((4, 32, 32), -1000, np.int16), Geometry.from_spacing((4, 32, 32), (2, 2, 2)))
    assert likeness(prints(nothing), prints(nothing, body(1)[0])).max() == 0
    assert likeness([], prints(nothing)).shape == (0, 1)


def test_only_whole_copies_give_their_grid():
    ct = body(1)[0]
    part = ct.slab(0, 20)
    assert same_voxels(*prints(part, ct)) is None
    assert same_voxels(*prints(body(3)[0], ct)) is None
    assert same_voxels(*prints(mistaken(ct), ct)).same_grid(ct.geometry)


def test_one_scan_under_two_patients_is_an_error(tmp_path):
    pairs = bodies(1, 2)
    ct, truth = pairs[1]
    write_lits(tmp_path, pairs)
    write_volume(reoriented(ct, (0, 1, 2), (True, False, True)), tmp_path / "volume-7.nii.gz")
    write(replace(truth, labels=truth.labels[::-1, :, ::-1].copy(), geometry=flipped(ct.geometry, (True, False, True))),
          tmp_path / "segmentation-7.nii.gz")  # fmt: skip
    found = [f for f in examine(tmp_path).findings if f.severity != "note"]
    assert [(f.case, f.kind, f.detail) for f in found] == [("volume-1", "two-names", "the same as volume-7")]


def test_the_same_patients_in_a_second_set_are_told_once(tmp_path):
    """LiTS and MSD by name; a set of nnU-Net that calls them something else."""
    root = write_lits(tmp_path / "lits", bodies(1, 2, 3))
    other = write_msd(tmp_path / "msd", bodies(2, 3, 4))
    found = [f for f in examine(root, Options(against=other)).findings if f.kind != "padding"]
    assert [(f.kind, f.severity) for f in found] == [("overlap", "note")]
    assert found[0].detail == "2 of 3 scans by their content, 2 patients by name"
    renamed = write_nnunet(tmp_path / "nnunet", bodies(3))
    found = examine(root, Options(against=renamed)).findings
    assert [(f.case, f.kind) for f in found] == [("volume-3", "two-names"), ("", "overlap")]
    assert found[0].detail == "patient lits003 here, case_003 there"


def test_another_scan_under_the_same_name_is_told(tmp_path):
    root = write_lits(tmp_path / "lits", bodies(1, 2))
    other = write_msd(tmp_path / "msd", {1: body(1), 2: body(5)})
    found = examine(root, Options(against=other)).findings
    assert [(f.case, f.kind) for f in found if f.severity != "note"] == [("volume-2", "other-scan")]


def test_sets_without_a_common_patient_are_told_nothing(tmp_path):
    root = write_lits(tmp_path / "lits", bodies(1, 2))
    assert examine(root, Options(against=write_msd(tmp_path / "msd", bodies(3, 4)))).findings == ()


@pytest.mark.parametrize("flips", [(False, False, False), (False, True, True), (True, False, True)])
def test_a_lost_place_comes_back_from_a_second_set(flips, tmp_path):
    """LiTS 28 to 47: identity affine; MSD holds the same voxels, perhaps turned, with their place."""
    ct, truth = body(28)
    root = write_lits(
        tmp_path / "lits", {28: (mistaken(ct), replace(truth, geometry=mistaken(ct).geometry)), 3: body(3)}
    )
    turned = reoriented(ct, (0, 1, 2), flips)
    labels = reoriented(Volume(truth.labels.astype(np.int16), truth.geometry), (0, 1, 2), flips)
    other = write_msd(tmp_path / "msd", {28: (turned, replace(truth, labels=labels.values.astype(np.uint8),
                                                              geometry=labels.geometry))})  # fmt: skip
    alone = [f for f in examine(root).findings if f.kind == "identity-affine"]
    assert [f.repairable for f in alone] == [False]
    assert "--against" in alone[0].repair
    diagnosis = examine(root, Options(against=other))
    assert "the same voxels: 8 x 5 x 5 mm" in next(f for f in diagnosis.findings if f.kind == "identity-affine").repair
    repair(diagnosis, tmp_path / "repaired")
    again = examine(tmp_path / "repaired")
    assert [f.kind for f in again.findings if f.severity != "note"] == []
    case = again.subjects[1].entry.case()
    assert case.ct.geometry.same_grid(ct.geometry)
    assert np.array_equal(case.truth.labels, truth.labels)


def test_a_second_set_whose_place_is_lost_too_helps_nobody(tmp_path):
    ct, truth = body(28)
    pair = (mistaken(ct), replace(truth, geometry=mistaken(ct).geometry))
    root, other = write_lits(tmp_path / "lits", {28: pair}), write_msd(tmp_path / "msd", {28: pair})
    found = examine(root, Options(against=other)).findings
    assert [f.repairable for f in found if f.kind == "identity-affine"] == [False]


def test_slices_of_a_scan_are_found_in_the_whole_scan(tmp_path):
    root = write_lits(tmp_path / "lits", bodies(1, 2, 3))
    slices = write_slices(tmp_path / "slices", bodies(2))
    found = [f for f in examine(slices, Options(against=root)).findings if f.severity == "error"]
    assert [(f.kind, f.detail) for f in found] == [("two-names", "patient patient2 here, lits002 there")]


def test_a_folder_of_data_sets_is_examined_as_a_collection(tmp_path):
    write_lits(tmp_path / "a", bodies(1, 2))
    write_msd(tmp_path / "b", bodies(2, 3))
    (tmp_path / "notes").mkdir()
    diagnosis = examine(tmp_path)
    assert diagnosis.layout == "collection"
    assert [one.id for one in diagnosis.subjects] == ["a/volume-1", "a/volume-2", "b/liver_2", "b/liver_3"]
    told = {f.kind: f.detail for f in diagnosis.findings}
    assert told["same-patient"] == "a, b: lits002"
    assert told["copy"] == "the same as b/liver_2"
    assert told["passed-over"] == "notes"
    with pytest.raises(BadInput, match="is no data set hepar knows"):
        examine(tmp_path / "notes")


SPLITS = {
    "clean": ([{"train": ["lits001", "lits002"], "test": ["lits003"]}], []),
    "case names": ([{"train": ["volume-1", "volume-3"], "test": ["volume-2"]}], []),
    "one patient twice": ([{"train": ["lits001"], "test": ["lits001"]}], ["split"]),
    "a patient and its volume": ([{"train": ["lits001"], "test": ["volume-1"]}], ["split"]),
    "msd and lits": ([{"train": ["liver_2"], "val": ["lits002"]}], ["split"]),
    "one scan, two patients": ([{"train": ["lits003"], "test": ["lits001", "lits009"]}], ["split"]),
    "one scan, one side": ([{"train": ["lits003", "lits009"], "test": ["lits001"]}], []),
    "ircadb and lits": ([{"train": ["3Dircadb1.1"], "test": ["lits028"]}], ["split"]),
}


@pytest.mark.parametrize("name", SPLITS)
def test_the_same_patient_on_both_sides_of_a_split_is_an_error(name, tmp_path):
    rows, kinds = SPLITS[name]
    root = write_lits(tmp_path / "lits", bodies(1, 2, 3) | {9: body(3)})
    folds = tmp_path / "folds.json"
    folds.write_text(json.dumps(rows))
    found = examine(root, Options(folds=folds)).findings
    assert [f.kind for f in found if f.severity == "error" and f.kind != "two-names"] == kinds
    assert all("folds.json" in f.detail for f in found if f.kind == "split")


def test_names_that_are_in_no_data_are_told(tmp_path):
    root = write_lits(tmp_path / "lits", bodies(1))
    folds = tmp_path / "folds.json"
    folds.write_text(json.dumps([{"train": ["lits001"], "test": ["lits050", "lits051"]}]))
    found = examine(root, Options(folds=folds)).findings
    assert [(f.kind, f.detail) for f in found] == [("split-names", "lits050, lits051")]


@pytest.mark.parametrize("text", ["", "{}", "[]", '[{"train": []}]', '[{"train": [1], "test": []}]', "[3]"])
def test_a_file_of_no_folds_is_refused(text, tmp_path):
    root = write_lits(tmp_path / "lits", bodies(1))
    (tmp_path / "folds.json").write_text(text)
    with pytest.raises(BadInput, match=r"folds\.json is not a list"):
        examine(root, Options(folds=tmp_path / "folds.json"))


def test_a_missing_file_of_folds_is_refused(tmp_path):
    with pytest.raises(BadInput, match="cannot be read as a fold file"):
        examine(write_lits(tmp_path / "lits", bodies(1)), Options(folds=tmp_path / "none.json"))


@pytest.mark.parametrize(
    ("name", "patient"),
    [
        ("volume-28", "lits028"),
        ("liver_3", "lits003"),
        ("liver_3_0000", "lits003"),
        ("lits130", "lits130"),
        ("ircad01", "lits028"),
        ("3Dircadb1.20", "lits047"),
        ("ircad21", "ircad21"),
        ("somebody", "somebody"),
    ],
)
def test_a_patient_has_one_name_whatever_a_list_calls_him(name, patient):
    assert canonical(name) == patient
