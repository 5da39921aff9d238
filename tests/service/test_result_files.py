"""Labels as files of other kinds: all of one report, on the slices of the series, or a reason why not."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from test_batch import plant_series

from hepar.errors import BadInput, GeometryMismatch, OutputError
from hepar.geometry import Geometry
from hepar.io import read, read_labels, read_numbers, write, write_volume
from hepar.io.exports.mesh import enclosed_ml, is_closed
from hepar.io.exports.mesh_files import read_mesh
from hepar.service.result_files import FORMATS, export_labels
from hepar.volume import LIVER, TUMOUR, LabelMap, Volume

pytest.importorskip("highdicom", reason="the extra hepar[dicom] is not installed")


@pytest.fixture
def given(small_scan, tmp_path):
    """A DICOM series and labels on its grid."""
    folder = plant_series(small_scan[0], tmp_path / "scan")
    write(LabelMap(small_scan[1].labels, read(folder).geometry), tmp_path / "found.nii.gz")
    return folder, tmp_path / "found.nii.gz"


def test_every_format_is_written_and_named_after_the_labels(given, tmp_path):
    paths = export_labels(*given, FORMATS, tmp_path / "out")
    assert sorted({path.name for path in paths}) == sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "found.glb", "found_liver.ply", "found_liver.stl", "found_rtstruct.dcm", "found_sc_1.dcm", "found_seg.dcm",
        "found_sr.dcm", "found_tumour_1.ply", "found_tumour_1.stl",
    ]  # fmt: skip
    modalities = {path.name: pydicom.dcmread(path).Modality for path in (tmp_path / "out").glob("*.dcm")}
    assert modalities == {
        "found_rtstruct.dcm": "RTSTRUCT", "found_sc_1.dcm": "OT", "found_seg.dcm": "SEG", "found_sr.dcm": "SR",
    }  # fmt: skip
    studies = {pydicom.dcmread(path).StudyInstanceUID for path in (tmp_path / "out").glob("*.dcm")}
    assert studies == {pydicom.dcmread(next(given[0].iterdir())).StudyInstanceUID}


def test_meshes_lie_on_the_labels_in_the_patient(given, tmp_path):
    export_labels(*given, ["stl", "glb"], tmp_path / "out")
    labels = read_labels(given[1])
    for shape, mask in zip(read_mesh(tmp_path / "out" / "found.glb"), (labels.liver, labels.tumour), strict=True):
        vertices, triangles = shape
        assert is_closed(triangles)
        expected_ml = mask.sum() * labels.geometry.voxel_volume_mm3 / 1000
        assert enclosed_ml(vertices, triangles) == pytest.approx(expected_ml, rel=0.03)
        centre = labels.geometry.position_mm(np.argwhere(mask)).mean(axis=0)
        assert vertices.mean(axis=0) == pytest.approx(centre, abs=0.5)


def test_equal_labels_have_equal_identifiers_and_others_do_not(given, tmp_path):
    for out in ("a", "b"):
        export_labels(*given, ["rtstruct", "seg"], tmp_path / out)
    for name in ("found_rtstruct.dcm", "found_seg.dcm"):
        a, b = (pydicom.dcmread(tmp_path / out / name) for out in "ab")
        assert a.SOPInstanceUID == b.SOPInstanceUID
    labels = read_labels(given[1])
    other = labels.labels.copy()
    other[labels.tumour] = LIVER
    write(labels.with_labels(other), given[1])
    export_labels(*given, ["rtstruct"], tmp_path / "c")
    assert (
        pydicom.dcmread(tmp_path / "c" / "found_rtstruct.dcm").SOPInstanceUID
        != pydicom.dcmread(tmp_path / "a" / "found_rtstruct.dcm").SOPInstanceUID
    )


def test_a_scan_without_dicom_has_meshes_and_no_dicom(small_scan, tmp_path):
    ct, labels = small_scan
    write_volume(ct, tmp_path / "ct.nii.gz")
    write(labels, tmp_path / "found.nii.gz")
    pair = (tmp_path / "ct.nii.gz", tmp_path / "found.nii.gz")
    assert [path.name for path in export_labels(*pair, ["glb"], tmp_path / "out")] == ["found.glb"]
    with pytest.raises(BadInput, match="no DICOM series, so there are no slices"):
        export_labels(*pair, ["rtstruct"], tmp_path / "out")
    with pytest.raises(BadInput, match="found format obj; expected some of seg, sr, rtstruct, sc, stl, ply, glb"):
        export_labels(*pair, ["glb", "obj"], tmp_path / "out")
    with pytest.raises(BadInput, match="found format none"):
        export_labels(*pair, [], tmp_path / "out")
    write(LabelMap(labels.labels, Geometry.from_spacing(labels.labels.shape, (1, 1, 1))), tmp_path / "found.nii.gz")
    with pytest.raises(GeometryMismatch):
        export_labels(*pair, ["glb"], tmp_path / "out")


def test_without_a_liver_there_is_nothing_to_write(small_scan, tmp_path):
    ct, labels = small_scan
    write_volume(ct, tmp_path / "ct.nii.gz")
    write(labels.with_labels(np.zeros_like(labels.labels)), tmp_path / "found.nii.gz")
    with pytest.raises(OutputError, match="neither liver nor tumour was found"):
        export_labels(tmp_path / "ct.nii.gz", tmp_path / "found.nii.gz", ["stl"], tmp_path / "out")


def unenhanced(small_scan) -> Volume:
    """The same liver without contrast, with something bright where the tumour is."""
    ct, labels = small_scan
    return ct.with_values(np.where(labels.labels == LIVER, 50, ct.values).astype(np.int16))


def test_in_an_unenhanced_scan_every_export_says_that_tumours_were_not_assessed(small_scan, tmp_path):
    folder = plant_series(unenhanced(small_scan), tmp_path / "scan")
    write(LabelMap(small_scan[1].labels, read(folder).geometry), tmp_path / "found.nii.gz")
    export_labels(folder, tmp_path / "found.nii.gz", ["seg", "sr", "rtstruct", "glb"], tmp_path / "out")
    require_not_assessed(tmp_path / "out" / "found_seg.dcm", tmp_path / "out" / "found_sr.dcm")
    contours = pydicom.dcmread(tmp_path / "out" / "found_rtstruct.dcm")
    assert [one.ROIName for one in contours.StructureSetROISequence] == ["Liver"]
    assert "Tumour not assessed: native phase" in contours.StructureSetROISequence[0].ROIDescription
    assert len(read_mesh(tmp_path / "out" / "found.glb")) == 1


def test_segmenting_an_unenhanced_series_says_so_in_seg_and_sr(small_scan, tmp_path, eager_model, hepar_command):
    folder = plant_series(unenhanced(small_scan), tmp_path / "scan")
    ended = hepar_command("segment", folder, "-o", tmp_path / "out", "--model", eager_model, "--seg", "fractional")
    assert ended.code == 0, ended.err
    assert (read_labels(tmp_path / "out" / "scan.nii.gz").labels == TUMOUR).any(), "the model marked a tumour"
    require_not_assessed(tmp_path / "out" / "scan_seg.dcm", tmp_path / "out" / "scan_sr.dcm")
    assert not (tmp_path / "out" / "scan_probability_seg.dcm").exists()


def require_not_assessed(seg, sr) -> None:
    data = pydicom.dcmread(seg)
    assert [one.SegmentLabel for one in data.SegmentSequence] == ["Liver"]
    assert "Tumour not assessed: native phase" in data.SegmentSequence[0].SegmentDescription
    report = pydicom.dcmread(sr)
    texts = " ".join(str(item.value) for item in report.iterall() if item.keyword in ("TextValue", "CodeMeaning"))
    assert "Not assessed" in texts and "Tumour not assessed." in texts and "tumours are not assessed" in texts


def dcmqi_reader() -> str:
    program = shutil.which("segimage2itkimage")
    if program is None:
        beside = Path(sys.executable).with_name("segimage2itkimage")
        program = str(beside) if beside.exists() else None
    if program is None:
        pytest.skip("dcmqi's segimage2itkimage (PyPI dcmqi) is not installed")
    return program


def test_dcmqis_reader_counts_the_same_voxels(given, tmp_path):
    program = dcmqi_reader()
    export_labels(*given, ["seg"], tmp_path / "out")
    read_back = tmp_path / "dcmqi"
    read_back.mkdir()
    seg = str(tmp_path / "out" / "found_seg.dcm")
    command = [program, "--inputDICOM", seg, "--outputDirectory", str(read_back), "-t", "nii"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    facts = json.loads(next(read_back.glob("*meta.json")).read_text(encoding="utf-8"))
    names = [one["SegmentLabel"] for group in facts["segmentAttributes"] for one in group]
    assert names == ["Liver", "Tumour 1"]
    counts = {path.stem: int((read_numbers(path)[0] > 0).sum()) for path in read_back.glob("*.nii*")}
    labels = read_labels(given[1])
    assert sorted(counts.values()) == sorted([int(labels.liver.sum()), int(labels.tumour.sum())])
