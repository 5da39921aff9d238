"""Every layout is known by its files: which cases there are, what their labels mean, what was left out."""

from __future__ import annotations

import numpy as np
import pytest
from label_files import GRID, blob

from hepar.errors import BadInput, GeometryMismatch
from hepar.geometry import Geometry
from hepar.predictions import LabelMapping, open_predictions

NNUNET_2 = {
    "channel_names": {"0": "CT"},
    "labels": {"background": 0, "tumour": 1, "liver": 2},
    "file_ending": ".nii.gz",
}
NNUNET_1 = {"modality": {"0": "CT"}, "labels": {"0": "background", "1": "liver", "2": "cancer"}}
TOTAL = {1: "spleen", 5: "liver", 6: "stomach"}


def labels_of(path, case=None, mapping=None) -> np.ndarray:
    sources = open_predictions(path, LabelMapping.parse(mapping) if mapping else None).sources
    source = sources[case] if case else next(iter(sources.values()))
    return source.read().labels.labels


def reads_as_blob(path, case=None, mapping=None) -> bool:
    return bool((labels_of(path, case, mapping) == blob()).all())


def test_a_flat_folder(files):
    for name in ("b.nii.gz", "a10_seg.nii", "a2.nii.gz"):
        files.save(f"out/{name}")
    files.text("out/notes.txt", "hello")
    files.text("out/._a2.nii.gz", "macOS")
    files.text("out/c.npz", "probabilities")
    found = open_predictions(files.root / "out")
    assert (found.layout, list(found.sources)) == ("a folder of label maps", ["a2", "a10", "b"])
    assert (found.notes, found.single, found.sources["a10"].file) == ((), False, "a10_seg.nii")
    assert reads_as_blob(files.root / "out", "b")


def test_a_single_file(files):
    found = open_predictions(files.save("anything.nii.gz"))
    assert (found.layout, list(found.sources), found.single) == ("a single file", ["anything"], True)


@pytest.mark.parametrize("ending", [".mha", ".nrrd", ".mhd", ".nhdr"])
def test_other_volume_formats(files, ending):
    import SimpleITK

    image = SimpleITK.GetImageFromArray(blob())
    image.SetSpacing(GRID.spacing_mm[::-1])
    SimpleITK.WriteImage(image, str(files.root / f"a{ending}"))
    (source,) = open_predictions(files.root / f"a{ending}").sources.values()
    assert (source.read().labels.labels == blob()).all()
    assert source.read().header_spacing_mm == (5, 2, 1)


def test_lits_leaves_its_scans_out(files):
    for number in (2, 10):
        files.save(f"lits/segmentation-{number}.nii")
        files.save(f"lits/volume-{number}.nii", np.full(GRID.shape, 40, np.int16))
    found = open_predictions(files.root / "lits")
    assert (found.layout, list(found.sources)) == ("LiTS", ["2", "10"])
    assert {s.file for s in found.sources.values()} == {"segmentation-2.nii", "segmentation-10.nii"}
    assert found.notes == ("scans beside the label maps were left out: 2",)


def test_a_lits_submission_names_test_volumes(files):
    files.save("sub/test-segmentation-7.nii")
    assert list(open_predictions(files.root / "sub").sources) == ["7"]


def test_msd_data_set(files):
    files.text("Task03/dataset.json", NNUNET_1)
    files.save("Task03/labelsTr/liver_7.nii.gz")
    files.text("Task03/labelsTr/._liver_7.nii.gz", "macOS")
    files.save("Task03/imagesTr/liver_7.nii.gz", np.full(GRID.shape, 40, np.int16))
    for path in ("Task03", "Task03/labelsTr"):
        found = open_predictions(files.root / path)
        assert (found.layout, list(found.sources)) == ("MSD", ["liver_7"])
        assert reads_as_blob(files.root / path)


def test_msd_labels_alone(files):
    files.save("labels/liver_7.nii.gz")
    assert open_predictions(files.root / "labels").layout == "MSD"


def test_nnunet_predictions_with_labels_by_name(files):
    for name in ("dataset.json", "plans.json", "predict_from_raw_data_args.json"):
        files.text(f"out/{name}", NNUNET_2 if name == "dataset.json" else {})
    files.save("out/case_7.nii.gz", blob(liver=2, tumour=1))
    files.text("out/case_7.npz", "probabilities")
    files.text("out/case_7.pkl", "properties")
    found = open_predictions(files.root / "out")
    assert (found.layout, list(found.sources)) == ("nnU-Net", ["case_7"])
    assert found.notes == (
        "labels by the names in dataset.json: 1 tumour -> tumour, 2 liver -> liver, 1 others -> background",
    )
    assert reads_as_blob(files.root / "out")
    assert labels_of(files.root / "out", mapping="1=1,2=2").max() == 2
    assert not reads_as_blob(files.root / "out", mapping="1=1,2=2")
    assert reads_as_blob(files.root / "out", mapping="liver=1,tumour=2")


def test_nnunet_data_set_and_either_of_its_label_folders(files):
    files.text("Dataset001/dataset.json", NNUNET_2)
    files.save("Dataset001/labelsTr/a.nii.gz", blob(liver=2, tumour=1))
    files.save("Dataset001/labelsTs/b.nii.gz", blob(liver=2, tumour=1))
    files.save("Dataset001/imagesTr/a_0000.nii.gz", np.full(GRID.shape, 40, np.int16))
    assert list(open_predictions(files.root / "Dataset001").sources) == ["a", "b"]
    assert list(open_predictions(files.root / "Dataset001" / "labelsTs").sources) == ["b"]
    assert reads_as_blob(files.root / "Dataset001" / "labelsTs")


def test_nnunet_regions(files):
    files.text("out/dataset.json", {"labels": {"background": 0, "liver": [1, 2], "tumour": [2]}})
    files.save("out/a.nii.gz")
    assert reads_as_blob(files.root / "out")


def test_nnunet_images_beside_labels_are_no_labels(files):
    files.save("out/a.nii.gz")
    files.save("out/a_0000.nii.gz")
    files.save("out/n_0000.nii.gz")
    files.save("out/n_0001.nii.gz")
    found = open_predictions(files.root / "out")
    assert list(found.sources) == ["a", "n_0000", "n_0001"]
    assert found.notes == ("scans beside the label maps were left out: 1",)


def test_a_dataset_json_that_is_none_is_refused(files):
    files.text("out/dataset.json", "{")
    files.save("out/a.nii.gz")
    with pytest.raises(BadInput, match=r"'dataset.json' is no JSON \(line 1\)"):
        open_predictions(files.root / "out")


def test_totalsegmentator_multilabel_is_read_by_the_names_in_its_header(files):
    files.save("out/P1.nii.gz", np.where(blob() > 0, 5, 1).astype(np.uint8), names=TOTAL)
    files.save("out/P2.nii", np.where(blob() > 0, 5, 6).astype(np.uint8), names=TOTAL)
    found = open_predictions(files.root / "out")
    assert found.notes[0].endswith("5 liver -> liver, 2 others -> background")
    assert all((labels_of(files.root / "out", case) == (blob() > 0)).all() for case in ("P1", "P2"))
    assert (labels_of(files.root / "out", "P1", mapping="spleen=1") == (blob() == 0)).all()


def test_totalsegmentator_lesions_alone_are_tumour(files):
    lesions = (blob() == 2).astype(np.uint8)
    assert (labels_of(files.save("lesions.nii.gz", lesions, names={1: "liver_lesions"})) == 2 * lesions).all()
    # Without the names a 1 is what it is everywhere: liver.
    assert (labels_of(files.save("bare.nii.gz", lesions)) == lesions).all()


def test_labels_whose_names_got_lost_need_a_mapping(files):
    path = files.save("P1.nii.gz", np.where(blob() > 0, 5, 1).astype(np.uint8))
    with pytest.raises(BadInput, match=r"'P1.nii.gz' holds values 1, 5.*--map 5=1"):
        labels_of(path)
    assert (labels_of(path, mapping="5=1") == (blob() > 0)).all()


def test_labels_beside_the_mapping_are_told(files):
    path = files.save("P1.nii.gz", np.where(blob() > 0, 5, 1).astype(np.uint8))
    (source,) = open_predictions(path, LabelMapping.parse("5=1")).sources.values()
    assert source.read().notes == ("P1.nii.gz: labels 1 are not in the mapping and count as background",)


@pytest.mark.parametrize("inner", ["", "segmentations/"])
def test_one_file_a_class_is_joined_and_tumour_wins(files, inner):
    for case in ("s1", "s2"):
        files.save(f"out/{case}/{inner}liver.nii.gz", (blob() > 0).astype(np.uint8))
        files.save(f"out/{case}/{inner}spleen.nii.gz", (blob() == 0).astype(np.uint8))
        files.save(f"out/{case}/{inner}liver_vessels.nii.gz")
    files.save(f"out/s2/{inner}liver_lesions.nii.gz", ((blob() == 2) * 255).astype(np.uint8))
    files.save("out/s2/ct.nii.gz", np.full(GRID.shape, 40, np.int16))
    found = open_predictions(files.root / "out")
    assert (found.layout, list(found.sources)) == ("one file a class", ["s1", "s2"])
    assert found.notes == (
        "one file a class: liver is liver, tumour is liver_lesions",
        "1 of 2 cases have no tumour file; that counts as no tumour found",
    )
    assert reads_as_blob(files.root / "out", "s2")
    assert labels_of(files.root / "out", "s1").max() == 1


def test_one_case_in_one_file_a_class(files):
    files.save("P7/liver.nii.gz", (blob() > 0).astype(np.uint8))
    files.save("P7/liver_tumor.nii.gz", (blob() == 2).astype(np.uint8))
    found = open_predictions(files.root / "P7")
    assert list(found.sources) == ["P7"]
    assert found.sources["P7"].file == "liver.nii.gz+liver_tumor.nii.gz"
    assert reads_as_blob(files.root / "P7")
    assert (labels_of(files.root / "P7", mapping="liver=1") == (blob() > 0)).all()
    with pytest.raises(BadInput, match="map them by name"):
        labels_of(files.root / "P7", mapping="1=1")
    with pytest.raises(BadInput, match="no file of 'P7' bears a name of the mapping lung=1"):
        labels_of(files.root / "P7", mapping="lung=1")


def test_tumour_wins_whatever_the_order_of_the_files(files):
    files.save("P7/cancer.nii.gz", (blob() == 2).astype(np.uint8))
    files.save("P7/liver.nii.gz", (blob() > 0).astype(np.uint8))
    assert reads_as_blob(files.root / "P7")


def test_many_files_of_a_case_are_named_in_short(files):
    for number in range(1, 9):
        files.save(f"P7/liver_segment_{number}.nii.gz", (blob() > 0).astype(np.uint8))
    (source,) = open_predictions(files.root / "P7").sources.values()
    assert source.file == "liver_segment_1.nii.gz+liver_segment_2.nii.gz+6 more"
    assert (source.read().labels.labels == (blob() > 0)).all()


def test_classes_of_one_case_must_share_a_grid(files):
    files.save("P7/liver.nii.gz", (blob() > 0).astype(np.uint8))
    files.save("P7/liver_tumor.nii.gz", (blob() == 2).astype(np.uint8), Geometry.from_spacing(GRID.shape, (5, 2, 2)))
    with pytest.raises(GeometryMismatch, match=r"'liver_tumor.nii.gz' lies on"):
        labels_of(files.root / "P7")


@pytest.mark.parametrize("written", ["_seg", "_trans"])
def test_monai_has_one_folder_a_case(files, written):
    for case in ("liver_7", "liver_8_0000"):
        files.save(f"out/{case}/{case}{written}.nii.gz")
    files.save("out/liver_7/liver_7.nii.gz", np.full(GRID.shape, 40, np.int16))
    found = open_predictions(files.root / "out")
    assert (found.layout, list(found.sources)) == ("MONAI (one folder a case)", ["liver_7", "liver_8"])
    assert found.notes == ("scans beside the label maps were left out: 1",)


def test_folders_name_cases_where_files_do_not(files):
    files.save("out/P1/prediction.nii.gz")
    files.save("out/P2/prediction.nii.gz")
    files.save("out/P3/result/x.nii.gz")
    assert list(open_predictions(files.root / "out").sources) == ["P1", "P2", "x"]


def test_the_same_case_twice_is_ambiguous(files):
    files.save("out/a.nii.gz")
    files.save("out/a_seg.nii.gz")
    files.save("out/b.nii.gz")
    found = open_predictions(files.root / "out")
    assert list(found.sources) == ["b"]
    assert found.ambiguous == (("a", ("a.nii.gz", "a_seg.nii.gz")),)


def test_the_same_case_of_two_folds_is_ambiguous(files):
    for fold, cases in enumerate(("ab", "ac")):
        for case in cases:
            files.save(f"out/fold_{fold}/{case}.nii.gz")
    found = open_predictions(files.root / "out")
    assert list(found.sources) == ["b", "c"]
    assert found.ambiguous == (("a", ("a.nii.gz", "a.nii.gz")),)


def test_a_path_that_holds_nothing_is_refused(files):
    (files.root / "empty").mkdir()
    files.text("text/notes.txt", "hello")
    for name in ("empty", "text"):
        with pytest.raises(BadInput, match=f"folder {name} holds no label map; expected files ending in .nii.gz"):
            open_predictions(files.root / name)
    with pytest.raises(BadInput, match=r"'notes.txt' holds no label map"):
        open_predictions(files.root / "text" / "notes.txt")
    with pytest.raises(BadInput, match=r"^'missing' does not exist"):
        open_predictions(files.root / "missing")


def test_the_scan_itself_is_no_label_map(files):
    path = files.save("ct.nii.gz", np.linspace(-1000, 400, GRID.shape[0] * 48).reshape(GRID.shape).astype(np.int16))
    with pytest.raises(BadInput, match=r"labels are not negative\. Pass the label map, not the scan"):
        labels_of(path)


def test_the_headers_own_spacing_is_kept_beside_the_grids(files):
    import nibabel

    image = nibabel.Nifti1Image(blob().T, np.eye(4))
    image.header["pixdim"][1:4] = (0.7, 0.7, 2.5)
    nibabel.save(image, files.root / "a.nii.gz")
    (source,) = open_predictions(files.root / "a.nii.gz").sources.values()
    read = source.read()
    assert read.labels.geometry.spacing_mm == (1, 1, 1)
    assert read.header_spacing_mm == (2.5, float(np.float32(0.7)), float(np.float32(0.7)))
