"""A repair writes a new folder, says what it did, and never touches or endangers the originals."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest

from hepar.doctor import Diagnosis, Finding, Remedy, examine, render, repair, rows, to_json
from hepar.doctor.repairing import merged
from hepar.doctor.table import compressed, summary
from hepar.errors import BadInput
from hepar.io import write, write_volume
from layout_folders import bodies, body, write_lits, write_msd, write_nnunet, write_slices


def offset_lits(root, number=2, *, batches=False):
    """Three patients, one of whose scans lies 1024 HU too high."""
    pairs = bodies(1, 2, 3)
    ct, truth = pairs[number]
    pairs[number] = (ct.with_values(ct.values + np.int16(1024)), truth)
    return write_lits(root, pairs, batches=batches)


def test_repairs_are_written_down_with_the_sums_of_their_sources(tmp_path):
    root = offset_lits(tmp_path / "set", batches=True)
    repair(examine(root), tmp_path / "out")
    told = json.loads((tmp_path / "out" / "repairs.json").read_text())
    assert [row["status"] for row in told["cases"]] == ["copied", "repaired", "copied"]
    row = told["cases"][1]
    assert row["done"] == ["add -1024 to every value"]
    assert [source["file"] for source in row["sources"]] == [
        "Training Batch 2/volume-2.nii",
        "Training Batch 2/segmentation-2.nii",
    ]
    sums = [hashlib.sha256((root / source["file"]).read_bytes()).hexdigest() for source in row["sources"]]
    assert [source["sha256"] for source in row["sources"]] == sums
    assert str(tmp_path) not in json.dumps(told)


def test_names_folders_and_notes_of_the_set_are_kept(tmp_path):
    root = offset_lits(tmp_path / "set", batches=True)
    (root / "README.txt").write_text("read me")
    repair(examine(root), tmp_path / "out")
    names = [
        {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
        for folder in (root, tmp_path / "out")
    ]
    assert names[1] - names[0] == {"repairs.json"}
    assert names[0] <= names[1]
    # What needed no repair is the same to the last bit.
    for name in ("Training Batch 1/volume-1.nii", "Training Batch 2/segmentation-2.nii"):
        assert (root / name).read_bytes() == (tmp_path / "out" / name).read_bytes()


def test_a_case_that_cannot_be_read_is_left_out_and_told(tmp_path):
    root = offset_lits(tmp_path / "set")
    (root / "volume-1.nii").write_bytes(b"nothing")
    report = repair(examine(root), tmp_path / "out")
    assert (report.repaired, report.copied, report.left_out) == (("volume-2",), ("volume-3",), ("volume-1",))
    row = json.loads((tmp_path / "out" / "repairs.json").read_text())["cases"][0]
    assert "cannot be read" in row["remaining"][0]
    assert not (tmp_path / "out" / "volume-1.nii").exists()


def test_what_cannot_be_repaired_is_copied_and_told(tmp_path):
    root = offset_lits(tmp_path / "set")
    write(body(3)[1].with_labels(np.zeros_like(body(3)[1].labels)), root / "segmentation-3.nii")
    report = repair(examine(root), tmp_path / "out")
    assert report.copied == ("volume-1", "volume-3")
    row = json.loads((tmp_path / "out" / "repairs.json").read_text())["cases"][2]
    assert row["remaining"] == ["the label is empty: no liver, no tumour"]


def test_not_a_number_stands_in_the_way_of_one_case_only(tmp_path):
    root = offset_lits(tmp_path / "set")
    values = (body(2)[0].values + 1024).astype(np.float32)
    values[0, 0, 0] = np.nan
    write_volume(body(2)[0].with_values(values), root / "volume-2.nii")
    report = repair(examine(root), tmp_path / "out")
    assert report.left_out == ("volume-2",)
    assert report.copied == ("volume-1", "volume-3")


def test_a_clean_set_is_not_copied(tmp_path):
    diagnosis = examine(write_lits(tmp_path / "set", bodies(1, 2)))
    with pytest.raises(BadInput, match="nothing that was found can be repaired"):
        repair(diagnosis, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("where", ["set", "set/within", "."])
def test_a_folder_that_meets_the_originals_is_refused(where, tmp_path):
    diagnosis = examine(offset_lits(tmp_path / "set"))
    with pytest.raises(BadInput, match="lies within the data set or holds it"):
        repair(diagnosis, tmp_path / where)


def test_a_folder_in_use_is_refused(tmp_path):
    diagnosis = examine(offset_lits(tmp_path / "set"))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(BadInput, match="'out' is not empty"):
        repair(diagnosis, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_a_collection_is_not_repaired_as_one(tmp_path):
    offset_lits(tmp_path / "sets" / "a")
    with pytest.raises(BadInput, match="each data set on its own"):
        repair(examine(tmp_path / "sets"), tmp_path / "out")


def test_labels_of_nnunet_keep_their_own_numbers(tmp_path):
    """A header is repaired; that 1 is the tumour here and 2 the liver stays dataset.json's business."""
    ct, truth = body(1)
    swapped = truth.with_labels(np.array([0, 2, 1], np.uint8)[truth.labels])
    moved = replace(swapped, geometry=body(2)[0].slab(0, 99).geometry)
    moved = replace(moved, geometry=type(moved.geometry).from_spacing(ct.geometry.shape, (8, 5, 5)))
    root = write_nnunet(tmp_path / "set", {1: (ct, moved)}, {"background": 0, "tumor": 1, "liver": 2})
    repair(examine(root), tmp_path / "out")
    again = examine(tmp_path / "out").subjects[0].entry
    assert np.array_equal(again.read_label().values, swapped.labels)
    assert np.array_equal(again.case().truth.labels, truth.labels)
    assert again.case().truth.geometry.same_grid(ct.geometry)


def test_remedies_of_one_case_add_up():
    both = merged(
        [
            Finding("a", "x", "error", "m", remedy=Remedy(turn=(True, False, False), add_hu=-1024)),
            Finding("a", "y", "error", "m"),
            Finding("a", "z", "error", "m", remedy=Remedy(turn=(False, False, True), label_takes_grid=True)),
        ]
    )
    assert (both.turn, both.add_hu, both.label_takes_grid) == ((True, False, True), -1024, True)


def test_two_defects_of_one_case_are_both_repaired(tmp_path):
    from hepar.doctor.place import flipped

    ct, truth = body(2)
    grid = flipped(ct.geometry, (True, False, True))
    wrong = replace(ct, values=ct.values + np.int16(1024), geometry=grid)
    root = write_msd(tmp_path / "set", {1: body(1), 2: (wrong, replace(truth, geometry=grid))})
    diagnosis = examine(root)
    assert [f.kind for f in diagnosis.findings if f.severity != "note"] == ["hu-offset", "orientation"]
    repair(diagnosis, tmp_path / "out")
    again = examine(tmp_path / "out")
    assert again.findings == ()
    assert np.array_equal(again.subjects[1].entry.case().ct.values, ct.values)


@pytest.mark.parametrize(
    ("cases", "shown"),
    [
        ([], ""),
        (["volume-1"], "volume-1"),
        (["volume-1", "volume-2", "volume-3"], "volume-1..3 (3)"),
        (["volume-9", "volume-10", "volume-12"], "volume-9..10, 12 (3)"),
        (["lits028", "lits029", "p7"], "lits028..029, p7 (3)"),
        (["a", "b"], "a, b"),
        (["x1-u", "x2-u", "x4-u"], "x1..2-u, 4 (3)"),
        (["a", "a"], "a"),
    ],
)
def test_many_cases_are_told_in_few_words(cases, shown):
    assert compressed(cases) == shown


def test_one_kind_of_finding_is_one_row_however_many_cases(tmp_path):
    root = tmp_path
    findings = [Finding(f"volume-{n}", "identity-affine", "error", "lost", f"grid {n}", "none") for n in range(28, 48)]
    findings += [Finding("", "overlap", "note", "shared", "3 of 4")]
    told = rows(Diagnosis(root, "lits", (), tuple(findings), 131))
    assert [(row.severity, row.cases) for row in told] == [("error", "volume-28..47 (20)"), ("note", "")]
    assert told[0].message.endswith("volume-30: grid 30; and 17 more)")
    assert told[1].message == "shared: 3 of 4"


def test_the_table_names_what_is_wrong_and_what_to_type(tmp_path):
    from rich.console import Console

    diagnosis = examine(offset_lits(tmp_path / "set"))
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(render(diagnosis))
    shown = " ".join(console.export_text().split())
    console.file.close()
    assert "lits: 3 cases of 3 patients; 1 error, 0 warnings, 0 notes; 1 can be repaired (--repair FOLDER)" in shown
    for words in ("hu-offset", "volume-2", "add -1024"):
        assert words in shown


def test_a_clean_set_has_one_line(tmp_path):
    diagnosis = examine(write_lits(tmp_path, bodies(1)))
    assert summary(diagnosis) == "lits: 1 case of 1 patient; nothing found"
    assert rows(diagnosis) == []


def test_the_diagnosis_as_json_names_cases_and_no_paths(tmp_path):
    told = to_json(examine(offset_lits(tmp_path / "set")))
    assert json.loads(json.dumps(told)) == told
    assert (told["data_set"], told["layout"], told["cases"], told["patients"]) == ("set", "lits", 3, 3)
    assert [(f["case"], f["kind"], f["repairable"]) for f in told["findings"]] == [("volume-2", "hu-offset", True)]
    assert str(tmp_path) not in json.dumps(told)


def test_findings_of_slices_are_never_repaired(tmp_path):
    root = write_slices(tmp_path / "slices", bodies(1))
    assert examine(root).repairable == []
