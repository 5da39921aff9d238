"""A batch: one bad case stops nothing, finished work is kept, nothing of the patient leaks."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

import hepar
from hepar.errors import BadInput, HeparError, OutputError, SomeCasesFailed
from hepar.inference import open_model
from hepar.io import read_labels, write_volume
from hepar.postprocess import DropSmallTumours
from hepar.service import batch
from hepar.service.batch import Job, Listener, Outcome, require_success, segment_batch
from hepar.volume import Volume


@pytest.fixture
def job(tmp_path, threshold_model) -> Job:
    return Job(tmp_path / "out", open_model(threshold_model), reports=False)


def place(ct: Volume, folder: Path, *names: str) -> Path:
    for name in names:
        write_volume(ct, folder / name)
    return folder


def stamps(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Time of writing and content of every file."""
    return {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.iterdir()}


def test_every_scan_of_a_folder_is_segmented(job, small_scan, tmp_path):
    ct, truth = small_scan
    outcomes = segment_batch(place(ct, tmp_path / "in", "a.nii.gz", "b.nii"), job)
    assert [(o.id, o.status) for o in outcomes] == [("a", "segmented"), ("b", "segmented")]
    assert outcomes[0].liver_ml == pytest.approx(truth.volume_ml(1) + truth.volume_ml(2))
    assert outcomes[0].tumour_ml == pytest.approx(truth.volume_ml(2))
    for case in ("a", "b"):
        found = read_labels(job.out / f"{case}.nii.gz")
        assert np.array_equal(found.labels, truth.labels)
        assert found.geometry.same_grid(ct.geometry)


@pytest.mark.parametrize("out", [".", "ct.nii.gz", "../in", "link"])
def test_a_scan_is_never_replaced_by_its_labels(job, small_scan, tmp_path, out):
    scan = place(small_scan[0], tmp_path / "in", "ct.nii.gz") / "ct.nii.gz"
    (tmp_path / "in" / "link").symlink_to(tmp_path / "in")
    before = scan.read_bytes()
    with pytest.raises(BadInput, match=r"would replace a file of the input; give another place"):
        segment_batch(scan, replace(job, out=scan.parent / out))
    assert scan.read_bytes() == before
    assert {p.name for p in scan.parent.iterdir()} == {"ct.nii.gz", "link"}


def test_results_do_not_go_among_the_scans_of_a_folder(job, small_scan, tmp_path):
    folder = place(small_scan[0], tmp_path / "in", "a.nii", "b.nii")
    before = stamps(folder)
    with pytest.raises(BadInput, match="give another folder to -o"):
        segment_batch(folder, replace(job, out=folder))
    with pytest.raises(BadInput, match="holds 2 scans"):
        segment_batch(folder, replace(job, out=folder / "a.nii"))
    assert stamps(folder) == before


def test_results_may_lie_beside_a_scan_of_another_name(job, small_scan, tmp_path):
    scan = place(small_scan[0], tmp_path / "in", "ct.nii") / "ct.nii"
    assert segment_batch(scan, replace(job, out=scan.parent))[0].status == "segmented"
    assert np.array_equal(read_labels(scan.parent / "ct.nii.gz").labels, small_scan[1].labels)


def test_other_steps_around_the_same_weights_are_another_model(job, small_scan, tmp_path):
    folder = place(small_scan[0], tmp_path / "in", "a.nii.gz")
    segment_batch(folder, job)
    pipeline = replace(job.model.pipeline, clean=(*job.model.pipeline.clean, DropSmallTumours(1e9)))
    other = replace(job, model=replace(job.model, pipeline=pipeline))
    assert other.model.id != job.model.id
    assert segment_batch(folder, other)[0].status == "segmented"
    assert not read_labels(job.out / "a.nii.gz").tumour.any()


def test_leftovers_of_a_killed_run_go_and_those_of_a_running_one_stay(job, small_scan, tmp_path):
    job.out.mkdir()
    old, new = job.out / ".writing-old.nii.gz", job.out / ".writing-new.nii.gz"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    segment_batch(place(small_scan[0], tmp_path / "in", "a.nii.gz"), job)
    assert new.exists()
    assert not old.exists()


def test_one_bad_case_never_stops_the_others(job, small_scan, tmp_path):
    folder = place(small_scan[0], tmp_path / "in", "a.nii.gz", "c.nii.gz")
    (folder / "b.nii.gz").write_bytes((folder / "a.nii.gz").read_bytes()[:300])
    outcomes = segment_batch(folder, job)
    assert [o.status for o in outcomes] == ["segmented", "failed", "segmented"]
    assert "truncated" in outcomes[1].message
    assert {p.name for p in job.out.iterdir()} == {"a.nii.gz", "a.json", "c.nii.gz", "c.json"}


def test_even_an_error_that_nobody_foresaw_stops_nothing(job, small_scan, tmp_path, monkeypatch):
    def record(report, *_):
        if report.case.file_name == "a":
            raise ZeroDivisionError("secret of a.nii.gz")
        return ()

    monkeypatch.setattr(batch, "_record", record)
    outcomes = segment_batch(place(small_scan[0], tmp_path / "in", "a.nii.gz", "b.nii.gz"), job)
    assert [o.status for o in outcomes] == ["failed", "segmented"]
    assert outcomes[0].message == "unexpected ZeroDivisionError; run with --verbose and report it"


def test_finished_cases_are_skipped_and_not_touched(job, small_scan, tmp_path):
    folder = place(small_scan[0], tmp_path / "in", "a.nii.gz")
    segment_batch(folder, job)
    before = stamps(job.out)
    place(small_scan[0], folder, "b.nii.gz")
    outcomes = segment_batch(folder, job)
    assert [(o.id, o.status) for o in outcomes] == [("a", "skipped"), ("b", "segmented")]
    assert before.items() <= stamps(job.out).items()


def test_another_model_does_the_work_again(job, eager_model, small_scan, tmp_path):
    folder = place(small_scan[0], tmp_path / "in", "a.nii.gz")
    segment_batch(folder, job)
    before = read_labels(job.out / "a.nii.gz")
    other = replace(job, model=open_model(eager_model))
    assert segment_batch(folder, other)[0].status == "segmented"
    assert json.loads((job.out / "a.json").read_text())["model"]["name"] == other.model.id
    assert read_labels(job.out / "a.nii.gz").liver.sum() > before.liver.sum()


def test_another_scan_of_the_same_name_is_another_case(job, small_scan, tmp_path):
    # `hepar segment one/ct.nii.gz` and then `hepar segment two/ct.nii.gz`: two patients, one output folder.
    ct, truth = small_scan
    other = Volume(np.ascontiguousarray(ct.values[:, ::-1]), ct.geometry)
    place(ct, tmp_path / "one", "ct.nii.gz")
    place(other, tmp_path / "two", "ct.nii.gz")
    assert segment_batch(tmp_path / "one" / "ct.nii.gz", job)[0].status == "segmented"
    assert segment_batch(tmp_path / "two" / "ct.nii.gz", job)[0].status == "segmented"
    assert np.array_equal(read_labels(job.out / "ct.nii.gz").labels, truth.labels[:, ::-1])
    assert segment_batch(tmp_path / "two" / "ct.nii.gz", job)[0].status == "skipped"


@pytest.mark.parametrize("gone", ["a.nii.gz", "a.json", "a.png", "a.html"])
def test_a_case_that_lost_a_file_is_not_finished(job, small_scan, tmp_path, gone):
    with_reports = replace(job, reports=gone.endswith((".png", ".html")))
    source = place(small_scan[0], tmp_path / "in", "a.nii.gz") / "a.nii.gz"
    segment_batch(source, with_reports)
    (job.out / gone).unlink()
    assert segment_batch(source, with_reports)[0].status == "segmented"
    assert segment_batch(source, with_reports)[0].status == "skipped"
    assert (job.out / gone).is_file()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"model": null}', '{"model": {"name": "x"}}'])
def test_a_damaged_record_is_not_finished(job, small_scan, tmp_path, text):
    source = place(small_scan[0], tmp_path / "in", "a.nii.gz") / "a.nii.gz"
    segment_batch(source, job)
    (job.out / "a.json").write_text(text)
    assert segment_batch(source, job)[0].status == "segmented"


def test_a_record_never_vouches_for_labels_of_another_model(job, eager_model, small_scan, tmp_path, monkeypatch):
    source = place(small_scan[0], tmp_path / "in", "a.nii.gz") / "a.nii.gz"
    segment_batch(source, job)
    other = replace(job, model=open_model(eager_model))

    def disk_full(*_):
        raise OutputError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(batch, "_record", disk_full)
        assert segment_batch(source, other)[0].status == "failed"
    # The labels are the other model's now; the first model must not call them its own.
    assert segment_batch(source, job)[0].status == "segmented"
    assert np.array_equal(read_labels(job.out / "a.nii.gz").labels, small_scan[1].labels)


def test_one_scan_can_go_to_one_file(job, small_scan, tmp_path):
    source = place(small_scan[0], tmp_path / "in", "a.nii.gz") / "a.nii.gz"
    for name in ("labels.nii.gz", "labels.nii"):
        alone = replace(job, out=tmp_path / "deep" / name, reports=True)
        assert segment_batch(source, alone)[0].status == "segmented"
        assert np.array_equal(read_labels(alone.out).labels, small_scan[1].labels)
    assert {p.name for p in (tmp_path / "deep").iterdir()} == {"labels.nii.gz", "labels.nii"}


def test_several_scans_do_not_fit_into_one_file(job, small_scan, tmp_path):
    folder = place(small_scan[0], tmp_path / "in", "a.nii.gz", "b.nii.gz")
    with pytest.raises(BadInput, match=r"'in' holds 2 scans but 'labels\.nii\.gz' is one file; give a folder"):
        segment_batch(folder, replace(job, out=tmp_path / "labels.nii.gz"))
    assert not (tmp_path / "labels.nii.gz").exists()


def test_a_listener_hears_every_case_and_slice(job, small_scan, tmp_path):
    heard: list[object] = []
    listener = Listener(
        started=lambda number, count, case: heard.append((number, count, case)),
        slices=lambda done, count: heard.append((done, count)),
        ended=lambda outcome: heard.append(outcome.status),
    )
    segment_batch(place(small_scan[0], tmp_path / "in", "a.nii.gz", "b.nii.gz"), replace(job, listener=listener))
    assert heard == [(0, 2, "a"), (6, 6), "segmented", (1, 2, "b"), (6, 6), "segmented"]


def test_success_is_required_only_of_what_failed():
    bad = Outcome("b", "failed", "why", BadInput("why"))
    require_success([Outcome("a", "segmented"), Outcome("b", "skipped")])
    require_success([])
    with pytest.raises(BadInput, match=r"^why$"):
        require_success([bad])
    with pytest.raises(SomeCasesFailed, match="1 of 2 cases failed"):
        require_success([bad, Outcome("a", "segmented")])
    with pytest.raises(SomeCasesFailed, match="2 of 2"):
        require_success([bad, Outcome("c", "failed", "why", HeparError("why"))])


SECRETS = {
    "PatientName": "Quisling^Leonora", "PatientID": "MRN-4711-08", "PatientBirthDate": "19610317",
    "AccessionNumber": "ACC99887", "InstitutionName": "Klinik Hinterwald", "StudyDate": "20190823",
    "ReferringPhysicianName": "Wunderlich^Ottokar", "PatientComments": "SecretComment",
    "StudyDescription": "RemarkableStudy", "SeriesDescription": "PeculiarSeries",
}  # fmt: skip


def plant_series(ct: Volume, folder: Path) -> Path:
    """The scan as a DICOM series with everything about its patient that must not come out again."""
    folder.mkdir()
    study, series = generate_uid(), generate_uid()
    for k, pixels in enumerate(ct.values):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        data = FileDataset("slice", {}, file_meta=meta, preamble=bytes(128))
        for name, value in SECRETS.items():
            setattr(data, name, value)
        data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        data.StudyInstanceUID, data.SeriesInstanceUID, data.SeriesNumber = study, series, 2
        data.Modality, data.InstanceNumber = "CT", k + 1
        data.Rows, data.Columns = pixels.shape
        data.PixelSpacing, data.ImageOrientationPatient = [1, 1], [1, 0, 0, 0, 1, 0]
        data.ImagePositionPatient = ct.geometry.position_mm((k, 0, 0)).tolist()
        data.RescaleSlope, data.RescaleIntercept = 1, -1024
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
        data.PixelData = (pixels.astype(np.int32) + 1024).astype(np.uint16).tobytes()
        pydicom.dcmwrite(folder / f"I{k:04d}", data, enforce_file_format=True)
    return folder


def leaks(text: str, secrets: set[str]) -> set[str]:
    return {secret for secret in secrets if secret.lower() in text.lower()}


def test_nothing_of_the_patient_and_no_path_is_in_any_output_or_log(
    small_scan, tmp_path, threshold_model, hepar_command, caplog
):
    ct, truth = small_scan
    folder = plant_series(ct, tmp_path / "scan")
    secrets = {part for value in SECRETS.values() for part in value.split("^")} | {str(tmp_path), tmp_path.name}
    assert leaks((folder / "I0000").read_bytes().decode("latin-1"), secrets) >= {"Quisling", "MRN-4711-08", "ACC99887"}
    with caplog.at_level(logging.DEBUG):
        ended = hepar_command("--verbose", "segment", folder, "-o", tmp_path / "out", "--model", threshold_model)
    assert ended.code == 0, ended.err
    assert leaks(ended.out + ended.err + caplog.text, secrets) == set()
    results = {path.name: path for path in (tmp_path / "out").iterdir()}
    files = {"scan.nii.gz", "scan.json", "scan.html", "scan.png", "scan.csv"}
    assert results.keys() == files | {"scan_seg.dcm", "scan_sr.dcm"}
    for name in files:
        assert leaks(results[name].read_bytes().decode("latin-1"), secrets) == set()
    # DICOM results belong to the patient's study and must say so, as every object in an archive.
    for name in ("scan_seg.dcm", "scan_sr.dcm"):
        header = pydicom.dcmread(results[name])
        assert (header.PatientID, str(header.PatientName)) == ("MRN-4711-08", "Quisling^Leonora")
        assert not leaks(results[name].read_bytes().decode("latin-1"), {"SecretComment", str(tmp_path)})
    assert np.array_equal(read_labels(results["scan.nii.gz"]).labels, truth.labels)


def test_messages_about_a_bad_series_name_no_patient(small_scan, tmp_path, threshold_model, hepar_command, caplog):
    folder = plant_series(small_scan[0], tmp_path / "scan")
    for missing in ("I0002", "I0003", "I0004"):  # too wide a gap to fill
        (folder / missing).unlink()
    secrets = {part for value in SECRETS.values() for part in value.split("^")} | {str(tmp_path)}
    with caplog.at_level(logging.DEBUG):
        ended = hepar_command("--verbose", "segment", folder, "-o", tmp_path / "out", "--model", threshold_model)
    assert ended.code == 2
    assert leaks(ended.out + ended.err + caplog.text, secrets) == set()


def test_page_numbers_and_picture_say_what_they_are(job, small_scan, tmp_path):
    ct, truth = small_scan
    segment_batch(place(ct, tmp_path / "in", "a.nii.gz"), replace(job, reports=True))
    page = (job.out / "a.html").read_text(encoding="utf-8")
    facts = json.loads((job.out / "a.json").read_text(encoding="utf-8"))
    assert hepar.DISCLAIMER in page
    assert "free test weights" in page  # the licence of the weights
    assert facts["disclaimer"] == hepar.DISCLAIMER
    assert facts["model"]["name"] == job.model.id
    assert facts["model"]["licence"] == "free test weights"
    assert facts["volumes"]["tumour_ml"] == pytest.approx(truth.volume_ml(2))
    assert len(facts["tumours"]) == 1
    assert (job.out / "a.png").read_bytes().startswith(b"\x89PNG")


def test_without_reports_the_record_is_still_complete(job, small_scan, tmp_path):
    segment_batch(place(small_scan[0], tmp_path / "in", "a.nii.gz"), job)
    facts = json.loads((job.out / "a.json").read_text(encoding="utf-8"))
    assert facts["disclaimer"] == hepar.DISCLAIMER
    assert facts["evidence"] == "unknown"
    assert {"model", "volumes", "voxels", "seconds", "settings"} <= facts.keys()
    assert {p.name for p in job.out.iterdir()} == {"a.nii.gz", "a.json"}
