"""`hepar segment --couinaud`: a second label file, volumes and lesions in JSON and page; a clear word without it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hepar.errors import BadInput
from hepar.inference import open_model
from hepar.inference.couinaud import open_couinaud
from hepar.io import read_labels, read_numbers, write_volume
from hepar.service.batch import Job, segment_batch
from segmented_liver import save_bands_model


@pytest.fixture(scope="module")
def bands(tmp_path_factory) -> Path:
    return save_bands_model(tmp_path_factory.mktemp("models") / "bands")


@pytest.fixture
def job(tmp_path, threshold_model, bands) -> Job:
    return Job(tmp_path / "out", open_model(threshold_model), couinaud=open_couinaud(bands))


@pytest.fixture
def scan(small_scan, tmp_path) -> Path:
    write_volume(small_scan[0], tmp_path / "in" / "ct.nii.gz")
    return tmp_path / "in" / "ct.nii.gz"


def test_segments_lie_inside_the_found_liver_on_the_scans_grid(job, scan, small_scan):
    (outcome,) = segment_batch(scan, job)
    assert outcome.status == "segmented"
    segments, grid = read_numbers(job.out / "ct_couinaud.nii.gz")
    assert grid.same_grid(small_scan[0].geometry)
    assert np.array_equal(segments > 0, read_labels(job.out / "ct.nii.gz").liver)
    # Eighths of the height, from the feet up.
    means = [segments[z][segments[z] > 0].mean() for z in range(len(segments)) if segments[z].any()]
    assert means == sorted(means)
    # Smoothing over 4 mm pulls the ends of this tiny liver in.
    assert means[0] < 3
    assert means[-1] > 6


def test_volumes_and_the_segments_of_lesions_are_in_json_and_page(job, scan):
    segment_batch(scan, job)
    facts = json.loads((job.out / "ct.json").read_text())
    told = facts["couinaud"]
    assert sum(told["segments_ml"].values()) == pytest.approx(facts["volumes"]["liver_ml"])
    assert list(told["segments_ml"]) == [str(s) for s in range(1, 9)]
    assert [row["number"] for row in told["tumours"]] == [row["number"] for row in facts["tumours"]]
    assert told["tumours"][0]["segments"]
    assert told["model"].startswith("bands@")
    page = (job.out / "ct.html").read_text()
    assert "<h2>Couinaud segments</h2>" in page
    assert "<td>VIII</td>" in page
    assert '<th scope="col">Segment</th>' in page


def test_without_the_option_nothing_is_said_of_segments(job, scan):
    segment_batch(scan, replace(job, couinaud=None))
    assert not (job.out / "ct_couinaud.nii.gz").exists()
    assert "couinaud" not in json.loads((job.out / "ct.json").read_text())
    assert "Couinaud" not in (job.out / "ct.html").read_text()


def test_a_finished_case_is_done_again_only_when_segments_are_missing_or_of_another_model(job, scan, tmp_path):
    plain = replace(job, couinaud=None)
    assert segment_batch(scan, plain)[0].status == "segmented"
    assert segment_batch(scan, job)[0].status == "segmented"
    assert segment_batch(scan, job)[0].status == "skipped"
    assert segment_batch(scan, plain)[0].status == "skipped"
    other = open_couinaud(save_bands_model(tmp_path / "other", "other"))
    assert segment_batch(scan, replace(job, couinaud=other))[0].status == "segmented"
    (job.out / "ct_couinaud.nii.gz").unlink()
    assert segment_batch(scan, replace(job, couinaud=other))[0].status == "segmented"


def test_segments_of_another_liver_do_not_stay(job, scan, eager_model):
    segment_batch(scan, job)
    segment_batch(scan, replace(job, model=open_model(eager_model), couinaud=None))
    assert not (job.out / "ct_couinaud.nii.gz").exists()


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_one_label_file_has_its_segments_beside_it(job, scan, tmp_path, ending):
    out = tmp_path / f"liver{ending}"
    segment_batch(scan, replace(job, out=out))
    assert read_numbers(tmp_path / f"liver_couinaud{ending}")[0].max() >= 6


def test_two_scans_whose_results_would_share_a_name_are_refused(job, scan):
    (scan.parent / "ct_couinaud.nii.gz").write_bytes(scan.read_bytes())
    with pytest.raises(BadInput, match="segments of ct would have the file name"):
        segment_batch(scan.parent, job)
    assert len(segment_batch(scan.parent, replace(job, couinaud=None))) == 2


def test_a_scan_is_never_replaced_by_its_segments(job, scan):
    own = scan.rename(scan.parent / "ct_couinaud.nii.gz")
    with pytest.raises(BadInput, match="would replace a file of the input"):
        segment_batch(own, replace(job, out=scan.parent / "ct.nii.gz"))


def test_the_command_writes_segments_with_the_shipped_model_or_another(
    hepar_command, scan, tmp_path, threshold_model, bands
):
    words = ("segment", scan, "-o", tmp_path / "out", "-m", threshold_model, "--no-report")
    ended = hepar_command(*words, "--couinaud")
    assert ended.code == 0, ended.err
    assert json.loads((tmp_path / "out" / "ct.json").read_text())["couinaud"]["model"] == open_couinaud().id
    ended = hepar_command(*words, "--couinaud", "--couinaud-model", bands)
    assert ended.code == 0, ended.err
    assert (tmp_path / "out" / "ct_couinaud.nii.gz").is_file()
    swapped = hepar_command("segment", scan, "-o", tmp_path / "other", "-m", bands)
    assert swapped.code == 3
    assert "name it with --couinaud-model" in swapped.err
    wrong = hepar_command(*words, "--couinaud-model", threshold_model)
    assert wrong.code == 3
    assert "no model of Couinaud segments" in wrong.err
