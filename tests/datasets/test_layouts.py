"""Downloads of the field are read as they unpack: pairs found, masks combined, patients under one name."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from hepar import datasets
from hepar.datasets import chaos, ircadb, lits, msd, nnunet, open_cases, sliver07
from hepar.datasets.layout import any_is_liver, by_numbers, stored_at
from hepar.errors import BadInput
from layout_folders import (
    bodies,
    body,
    write_chaos,
    write_dicom,
    write_ircadb,
    write_lits,
    write_msd,
    write_nnunet,
    write_sliver07,
)

# Writer, module, ids and patients of bodies 1 and 2, and what their labels tell apart.
LAYOUTS = {
    "lits": (write_lits, lits, ["volume-1", "volume-2"], ["lits001", "lits002"], "full"),
    "msd": (write_msd, msd, ["liver_1", "liver_2"], ["lits001", "lits002"], "full"),
    "nnunet": (write_nnunet, nnunet, ["case_001", "case_002"], ["case_001", "case_002"], "full"),
    "ircadb": (write_ircadb, ircadb, ["ircad01", "ircad02"], ["lits028", "lits029"], "full"),
    "sliver07": (write_sliver07, sliver07, ["sliver001", "sliver002"], ["sliver001", "sliver002"], "liver_union"),
    "chaos": (write_chaos, chaos, ["chaos01", "chaos02"], ["chaos01", "chaos02"], "liver_union"),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_each_layout_is_opened_as_what_it_is(name, tmp_path):
    write, module, ids, patients, status = LAYOUTS[name]
    root = write(tmp_path / name, bodies(1, 2))
    known = [other for _, other, *_ in LAYOUTS.values() if other.recognises(root)]
    assert known == [module]
    found = open_cases(root)
    assert [case.id for case in found] == ids
    assert [case.patient for case in found] == patients
    assert {case.labels for case in found} == {status}
    ct, truth = body(1)
    labels = truth.labels if status == "full" else truth.liver.astype(np.uint8)
    assert np.array_equal(found[0].ct.values, ct.values)
    assert np.array_equal(found[0].truth.labels, labels)
    assert found[0].ct.geometry.same_grid(ct.geometry)
    assert found[0].truth.geometry.same_grid(ct.geometry)


def test_an_empty_folder_and_a_folder_of_other_things_are_no_data_set(tmp_path):
    (tmp_path / "notes.txt").write_text("volume-1.nii")
    (tmp_path / "volume-x.nii").touch()
    with pytest.raises(BadInput, match="is not a data set hepar knows"):
        open_cases(tmp_path)


@pytest.mark.parametrize("within", ["", "media/nas/01_Datasets/CT/LITS", "LiTS/media/nas/01_Datasets/CT/LITS"])
def test_lits_is_found_in_the_folders_of_its_archives(tmp_path, within):
    write_lits(tmp_path / within, bodies(1, 2, 3), batches=True)
    assert [case.id for case in open_cases(tmp_path)] == ["volume-1", "volume-2", "volume-3"]


def test_a_lits_pair_may_lie_in_two_folders(tmp_path):
    write_lits(tmp_path / "volumes", bodies(1))
    (tmp_path / "labels").mkdir()
    shutil.move(tmp_path / "volumes" / "segmentation-1.nii", tmp_path / "labels")
    assert np.array_equal(open_cases(tmp_path)[0].truth.labels, body(1)[1].labels)


def test_two_volumes_with_one_number_stay_two_entries(tmp_path):
    for folder in ("Training Batch 1", "Training Batch 2"):
        write_lits(tmp_path / folder, bodies(1))
    found = lits.entries(tmp_path)
    assert [entry.id for entry in found] == ["volume-1", "volume-1_2"]
    assert all(entry.image.parent == entry.label.parent for entry in found)


@pytest.mark.parametrize("name", ["lits", "msd", "nnunet", "sliver07"])
def test_incomplete_pairs_are_entries_but_no_cases(name, tmp_path):
    write, module, ids, *_ = LAYOUTS[name]
    root = write(tmp_path / name, bodies(1, 2, 3))
    first, second = module.entries(root)[:2]
    first.image.unlink()
    second.label.unlink()
    assert [(entry.id, entry.image is None, entry.label is None) for entry in module.entries(root)][:2] == [
        (ids[0], True, False),
        (ids[1], False, True),
    ]
    assert len(module.cases(root)) == 1
    with pytest.raises(BadInput, match="there is no file"):
        module.entries(root)[0].read_image()


def test_zipped_parts_of_ircadb_read_as_folders_do(tmp_path):
    write_ircadb(tmp_path / "folders", bodies(1))
    write_ircadb(tmp_path / "zips", bodies(1), zipped=True)
    one, other = (open_cases(tmp_path / name)[0] for name in ("folders", "zips"))
    assert (tmp_path / "zips" / "3Dircadb1.1" / "MASKS_DICOM.zip").is_file()
    assert np.array_equal(one.truth.labels, other.truth.labels)
    assert np.array_equal(one.ct.values, other.ct.values)


@pytest.mark.parametrize("organ", ["livertumor", "livertumors", "livertumor07", "LiverTumour2", "liver_tumor_1"])
def test_tumours_of_ircadb_go_by_many_names(organ, tmp_path):
    masks = write_ircadb(tmp_path, bodies(1)) / "3Dircadb1.1" / "MASKS_DICOM"
    (masks / "livertumor01").rename(masks / organ)
    assert np.array_equal(open_cases(tmp_path)[0].truth.labels, body(1)[1].labels)


@pytest.mark.parametrize("organ", ["livercyst", "tumor", "leftsurretumor", "livertumorous"])
def test_other_masks_of_ircadb_are_no_tumours(organ, tmp_path):
    masks = write_ircadb(tmp_path, bodies(1)) / "3Dircadb1.1" / "MASKS_DICOM"
    shutil.rmtree(masks / "livercyst")
    (masks / "livertumor01").rename(masks / organ)
    truth = open_cases(tmp_path)[0].truth
    assert not truth.tumour.any()
    assert np.array_equal(truth.liver, body(1)[1].liver)


def test_a_mask_of_ircadb_that_covers_no_slice_is_named(tmp_path):
    masks = write_ircadb(tmp_path, bodies(1)) / "3Dircadb1.1" / "MASKS_DICOM"
    (masks / "liver" / "image_3").rename(masks / "liver" / "image_300")
    with pytest.raises(BadInput, match=r"mask liver/image_300 .* covers no slice"):
        open_cases(tmp_path)[0].read_truth()


def test_ircadb_without_a_liver_or_with_damage_is_refused(tmp_path):
    masks = write_ircadb(tmp_path, bodies(1)) / "3Dircadb1.1" / "MASKS_DICOM"
    (masks / "liver" / "image_3").write_bytes(b"nothing")
    with pytest.raises(BadInput, match="mask file 'image_3' is damaged"):
        open_cases(tmp_path)[0].read_truth()
    shutil.rmtree(masks / "liver")
    with pytest.raises(BadInput, match="no folder 'liver'"):
        open_cases(tmp_path)[0].read_truth()


@pytest.mark.parametrize("headward", [True, False])
def test_masks_of_chaos_follow_the_names_of_the_slices_whichever_way_they_run(headward, tmp_path):
    root = write_chaos(tmp_path, bodies(1), headward=headward)
    case = open_cases(root)[0]
    assert np.array_equal(case.truth.liver, body(1)[1].liver)
    # The twin: pairing by position would be wrong in one of the two.
    assert not np.array_equal(case.truth.liver, body(1)[1].liver[::-1])


def test_a_missing_mask_of_chaos_is_told(tmp_path):
    root = write_chaos(tmp_path, bodies(1))
    (root / "CT" / "1" / "Ground" / "liver_GT_004.png").unlink()
    with pytest.raises(BadInput, match="30 masks and DICOM_anon 31 slices"):
        open_cases(root)[0].read_truth()


def test_slices_of_chaos_belong_together_though_each_has_a_series_of_its_own(tmp_path):
    import pydicom

    root = write_chaos(tmp_path, bodies(1))
    for number, path in enumerate(sorted((root / "CT" / "1" / "DICOM_anon").iterdir())):
        data = pydicom.dcmread(path)
        data.SeriesInstanceUID = f"1.2.3.{number}"
        data.save_as(path)
    assert np.array_equal(open_cases(root)[0].ct.values, body(1)[0].values)


def test_mr_of_chaos_is_not_taken_for_ct(tmp_path):
    ct, _ = body(1)
    write_dicom(ct.values, ct.geometry, tmp_path / "MR" / "1" / "T2SPIR" / "DICOM_anon")
    assert not chaos.recognises(tmp_path)
    assert not chaos.recognises(tmp_path / "MR" / "1")


NAMES = {
    "version 1": ({"0": "background", "1": "liver", "2": "Tumour"}, [0, 1, 2], "full"),
    "regions": ({"background": 0, "liver": [1, 2], "lesion": [2]}, [0, 1, 2], "full"),
    "swapped": ({"background": 0, "liver_cancer": 1, "liver": 2}, [0, 2, 1], "full"),
    "no tumour": ({"background": 0, "spleen": 1, "liver": 2}, [0, 0, 1], "liver_union"),
    "ignore": ({"background": 0, "liver": 1, "tumor": 2, "ignore": 3}, [0, 1, 2], "full"),
}


@pytest.mark.parametrize("names", NAMES)
def test_labels_of_nnunet_mean_what_they_are_called(names, tmp_path):
    labels, meant, status = NAMES[names]
    case = open_cases(write_nnunet(tmp_path, bodies(1), labels))[0]
    assert np.array_equal(case.truth.labels, np.array(meant)[body(1)[1].labels])
    assert case.labels == status


def test_a_number_that_nnunet_does_not_name_is_refused(tmp_path):
    case = open_cases(write_nnunet(tmp_path, bodies(1), {"background": 0, "liver": 1}))[0]
    with pytest.raises(BadInput, match="holds values"):
        case.read_truth()


@pytest.mark.parametrize(
    ("text", "message"),
    [("{}", "'labels'"), ('{"labels": {"spleen": 1}}', "expected a label called liver"), ("[", "'labels'")],
)
def test_a_bad_dataset_json_is_told(text, message, tmp_path):
    write_nnunet(tmp_path, bodies(1))
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(BadInput, match=message):
        open_cases(tmp_path)


def test_conversions_of_known_sets_keep_the_patients_name(tmp_path):
    root = write_nnunet(tmp_path, bodies(1, 2, 3))
    for old, new in (("case_001", "liver_28"), ("case_002", "ircad01"), ("case_003", "somebody")):
        (root / "imagesTr" / f"{old}_0000.nii.gz").rename(root / "imagesTr" / f"{new}_0000.nii.gz")
        (root / "labelsTr" / f"{old}.nii.gz").rename(root / "labelsTr" / f"{new}.nii.gz")
    patients = {case.id: case.patient for case in open_cases(root)}
    assert patients == {"liver_28": "lits028", "ircad01": "lits028", "somebody": "somebody"}


def test_labels_with_a_scale_in_their_header_mean_what_the_scale_says(tmp_path):
    import nibabel

    root = write_sliver07(tmp_path, bodies(1))
    entry = sliver07.entries(root)[0]
    assert any_is_liver(np.array([0, 255, 1])).tolist() == [0, 1, 1]
    image = nibabel.Nifti1Image(np.ones((20, 20, 20), np.uint8), np.diag([2.0, 2, 2, 1]))
    image.header.set_slope_inter(2, -2)
    nibabel.save(image, tmp_path / "label.nii")
    scaled = type(entry)(
        "a", "a", None, None, entry.read_image, lambda: stored_at(tmp_path / "label.nii"), any_is_liver
    )
    assert scaled.read_classes().values.max() in (0, 1)


def test_a_file_of_another_kind_is_named(tmp_path):
    (tmp_path / "volume-1.png").touch()
    with pytest.raises(BadInput, match=r"'volume-1\.png' is of a kind that hepar does not read"):
        stored_at(tmp_path / "volume-1.png")


def test_names_sort_by_their_numbers():
    assert sorted(["image_10", "image_2", "image_1"], key=by_numbers) == ["image_1", "image_2", "image_10"]


def test_every_module_of_the_folder_loads_and_knows_its_cases():
    for name in set(datasets.names()) & set(LAYOUTS):
        assert callable(LAYOUTS[name][1].cases)
    assert set(LAYOUTS) <= set(datasets.names())


def test_dataset_json_of_msd_is_not_needed(tmp_path):
    root = write_msd(tmp_path, bodies(1))
    (root / "dataset.json").unlink()
    assert len(open_cases(root)) == 1
    assert json.dumps([case.id for case in open_cases(root)]) == '["liver_1"]'
