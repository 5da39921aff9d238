"""The main job on one scan, end to end: labels, pictures, a page, and scores where the truth is known."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

from hepar.inference import Model, load_segmenter
from hepar.io import write, write_volume
from hepar.report.liver.assessment import liver_report
from hepar.report.summary import SummaryInput
from hepar.service.batch import summary_of
from hepar.service.case_results import write_pages


@dataclass(frozen=True)
class DemoResult:
    """Files that the demo wrote, and what they show."""

    summary: SummaryInput
    files: tuple[Path, ...]


def phantom_demo(out: Path, model: Model) -> DemoResult:
    """Segment the built-in phantom with `model` into `out`.

    The phantom's seed and shape family were not used in training, and it is no patient.
    """
    from hepar.datasets.phantom import DEMO, make_phantom

    segmenter = load_segmenter(model)
    ct, truth = make_phantom(DEMO)
    write_volume(ct, out / "phantom_ct.nii.gz")
    write(truth, out / "phantom_label.nii.gz")
    started = time.monotonic()
    finding = segmenter.find(ct)
    found = finding.labels
    seconds = {"segment": round(time.monotonic() - started, 2)}
    write(found, out / "phantom.nii.gz")
    summary = summary_of(ct, found, model, truth)
    summary = replace(
        summary,
        file_name="phantom_ct.nii.gz",
        evidence="phantom",
        seconds=seconds,
        tumour_probability=finding.tumour_probability,
    )
    write_pages(liver_report(summary), out, "phantom")
    names = (
        "phantom_ct.nii.gz",
        "phantom_label.nii.gz",
        "phantom.nii.gz",
        "phantom.png",
        "phantom.html",
        "phantom.csv",
        "phantom.json",
    )
    return DemoResult(summary, tuple(out / name for name in names))
