"""Files are paired by case id; what has no partner, or several, is listed."""

from __future__ import annotations

import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
from label_files import blob

from hepar.predictions import LabelMapping, LabelSource, match, open_predictions, open_truth


def matched(files, truth: str = "truth", found: str = "found"):
    return match(open_truth(files.root / truth), open_predictions(files.root / found))


def save(files, folder: str, *names: str) -> None:
    for name in names:
        files.save(f"{folder}/{name}")


def shown(sources) -> list[str]:
    return [source.file for source in sources]


def test_pairs_stand_in_natural_order(files):
    save(files, "truth", "segmentation-10.nii", "segmentation-2.nii")
    save(files, "found", "volume-10.nii.gz", "2_pred.nii.gz")
    found = matched(files)
    assert [(case, a.file, b.file) for case, a, b in found.pairs] == [
        ("2", "segmentation-2.nii", "2_pred.nii.gz"),
        ("10", "segmentation-10.nii", "volume-10.nii.gz"),
    ]
    assert (found.truth_only, found.found_only, found.ambiguous, found.notes) == ((), (), (), ())


def test_what_has_no_partner_is_listed_by_side(files):
    save(files, "truth", "a.nii", "b.nii", "c.nii")
    save(files, "found", "a.nii", "x.nii", "c.nii", "c_seg.nii")
    found = matched(files)
    assert [case for case, *_ in found.pairs] == ["a"]
    assert (shown(found.truth_only), shown(found.found_only)) == (["b.nii"], ["x.nii"])
    # A case with two predictions is neither scored nor said to have none.
    assert found.ambiguous == (("c", ("c.nii", "c_seg.nii")),)


def test_two_single_files_match_whatever_their_names(files):
    save(files, "one", "truth.nii")
    save(files, "two", "elsewhere.nii")
    found = matched(files, "one/truth.nii", "two/elsewhere.nii")
    assert [(case, b.file) for case, _, b in found.pairs] == [("truth", "elsewhere.nii")]


def test_a_single_file_asks_about_its_case_only(files):
    save(files, "truth", "a.nii", "b.nii", "c.nii", "c_seg.nii")
    save(files, "found", "b_pred.nii", "c.nii", "lost.nii")
    found = matched(files, found="found/b_pred.nii")
    assert [case for case, *_ in found.pairs] == ["b"]
    assert (found.truth_only, found.found_only, found.ambiguous) == ((), (), ())
    turned = matched(files, truth="truth/b.nii")
    assert [case for case, *_ in turned.pairs] == ["b"]
    assert (turned.truth_only, turned.found_only, turned.ambiguous) == ((), (), ())
    assert matched(files, found="found/c.nii").ambiguous == (("c", ("c.nii", "c_seg.nii")),)
    assert shown(matched(files, found="found/lost.nii").found_only) == ["lost.nii"]


@pytest.mark.parametrize("turned", [False, True])
def test_msd_and_lits_numbers_are_the_same_scans(files, turned):
    save(files, "lits", "segmentation-7.nii", "segmentation-8.nii")
    save(files, "msd", "liver_7.nii.gz", "liver_10.nii.gz")
    found = matched(files, *(("msd", "lits") if turned else ("lits", "msd")))
    assert [(a.case, b.case) for _, a, b in found.pairs] == [("liver_7", "7") if turned else ("7", "liver_7")]
    assert "1 cases were matched across data sets" in found.notes[0]
    assert {s.case for s in (*found.truth_only, *found.found_only)} == {"8", "liver_10"}


def test_equal_names_come_before_shared_numbers(files):
    save(files, "truth", "7.nii", "liver_7.nii")
    save(files, "found", "liver_7.nii")
    found = matched(files)
    assert [(a.case, b.case) for _, a, b in found.pairs] == [("liver_7", "liver_7")]
    assert (shown(found.truth_only), found.notes) == (["7.nii"], ())


@pytest.mark.parametrize(
    ("truth", "found"), [("liver_131.nii", "131.nii"), ("liver_7.nii", "test-segmentation-7.nii"), ("7.nii", "007.mha")]
)
def test_other_numbers_are_other_scans(files, truth, found):
    if found.endswith(".mha"):
        save(files, "found", "liver_70.nii")
    else:
        save(files, "found", found)
    save(files, "truth", truth)
    assert matched(files).pairs == ()


def read_elsewhere(packed: bytes) -> tuple[str, int]:
    source = pickle.loads(packed)
    return source.case, int(source.read().labels.labels.sum())


def test_sources_can_be_read_in_other_processes(files):
    files.save("out/a.nii.gz", blob(liver=5, tumour=3))
    files.save("sub/segmentation-1.nii", blob(liver=5, tumour=3))
    files.pack("sub.zip", "sub/segmentation-1.nii")
    mapping = LabelMapping.parse("5=1,3=2")
    sources = [
        source
        for name in ("out", "sub.zip")
        for source in open_predictions(files.root / name, mapping).sources.values()
    ]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        found = list(pool.map(read_elsewhere, map(pickle.dumps, sources)))
    assert found == [("a", int(blob().sum())), ("1", int(blob().sum()))]


def test_a_fingerprint_changes_with_the_file_and_its_reading_and_tells_no_folder(files):
    path = files.save("secret/a.nii")
    (plain,) = open_predictions(path).sources.values()
    (renamed,) = open_predictions(path, LabelMapping.parse("1=2")).sources.values()
    before = plain.fingerprint()
    assert before == plain.fingerprint() != renamed.fingerprint()
    assert "secret" not in before
    path.write_bytes(path.read_bytes() + b"x")
    assert plain.fingerprint() != before
    assert isinstance(plain, LabelSource)
