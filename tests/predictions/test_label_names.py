"""Names tell the case and the structure; what is not liver or its tumour never becomes one."""

from __future__ import annotations

import pytest

from hepar.predictions.names import LabelNames, case_id, is_class_name, natural_order, structure_of


@pytest.mark.parametrize(
    ("name", "case"),
    [
        ("segmentation-7.nii", "7"),
        ("volume-7.nii.gz", "7"),
        ("test-segmentation-12.nii.gz", "12"),
        ("ircad01_label.nii.gz", "ircad01"),
        ("ircad01_ct_seg.nii.gz", "ircad01"),
        ("ircad01_ct.mha", "ircad01"),
        ("liver_001.nii.gz", "liver_001"),
        ("liver_7_trans.nii.gz", "liver_7"),
        ("patient.one_seg.nrrd", "patient.one"),
        ("patient.one.dcm", "patient.one"),
        ("_seg.nii", "_seg"),
    ],
)
def test_a_files_case_is_its_name_without_what_tools_put_around_it(name, case):
    assert case_id(name) == case


def test_different_cases_keep_different_ids():
    names = ["segmentation-1.nii", "segmentation-11.nii", "liver_1.nii", "liver_01.nii", "segmentation-01.nii"]
    assert len({case_id(name) for name in names}) == 5


def test_cases_stand_in_natural_order():
    cases = ["liver_10", "10", "2", "b", "liver_2", "a10x", "a2x", "02"]
    assert sorted(cases, key=natural_order) == ["02", "2", "10", "a2x", "a10x", "b", "liver_2", "liver_10"]


LIVER = [
    "liver",
    "Liver",
    "hepatic parenchyma",
    "liver_segment_3",
    "liver incl. tumour",
    "liver and tumor",
    "whole liver",
]
TUMOUR = [
    "tumour", "tumor", "cancer", "lesion", "liver_lesions", "liver_tumor", "hepatic tumor", "Liver-Metastasis", "HCC",
    "livertumors01", "LiverTumor", "mass", "Neoplasm", "liver metastasis of colon cancer",
]  # fmt: skip
NEITHER = [
    "background", "liver_vessels", "hepatic vessel", "portal_vein_and_splenic_vein", "spleen", "liver cyst",
    "livercyst", "liverkyst", "kidney_tumor", "lung lesion", "colon cancer primaries", "pancreatic-tumour",
    "gallbladder", "hepatic flexure", "non-liver", "body without liver", "bile duct", "oliver", "ignore", "class_1", "",
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "label"), [(n, 1) for n in LIVER] + [(n, 2) for n in TUMOUR] + [(n, 0) for n in NEITHER]
)
def test_a_labels_name_says_liver_tumour_or_neither(name, label):
    assert structure_of(name) == label


def test_only_a_bare_class_name_is_one_class_of_a_case():
    assert all(is_class_name(name) for name in ("liver", "liver_lesions", "liver_tumor", "tumour", "liver_segment_8"))
    assert not any(is_class_name(name) for name in ("liver_7", "liver_vessels", "P1_liver", "spleen", "lesion_3"))


def test_a_value_of_several_regions_is_the_innermost():
    names = LabelNames(((1, "liver"), (2, "liver"), (2, "tumour"), (3, "spleen")))
    assert names.structures() == {1: 1, 2: 2, 3: 0}


def test_names_without_liver_or_tumour_say_nothing():
    assert LabelNames(((1, "class_1"), (2, "class_2"))).structures() == {}
