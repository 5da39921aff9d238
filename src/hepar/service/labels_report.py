"""The liver report of labels that were made elsewhere or corrected by hand."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from hepar.errors import BadInput, GeometryMismatch
from hepar.files import require_writable
from hepar.io import find_scans, read_labels
from hepar.metrics import EMPTY_RULE, evaluate
from hepar.report.liver.assessment import liver_report
from hepar.report.measure import require_grid_of
from hepar.report.summary import ModelFacts, SummaryInput
from hepar.service.case_results import Origin, write_pages
from hepar.volume import LabelMap, Volume

GIVEN = ModelFacts(
    "labels as given", "that of whoever made the labels", "not known: the labels came from outside of hepar"
)


def report_labels(source: Path, labels: Path, out: Path, truth: Path | None = None) -> str:
    """Page, picture, CSV and JSON, named after the label file, in the folder `out`; returns the report's headline.

    Raises BadInput where `source` holds no scan or several, or nothing can be
    read, GeometryMismatch for labels of another grid, OutputError.
    """
    if out.suffix.lower() == ".html":
        raise BadInput(f"'{out.name}' looks like a file; -o is the folder that page, picture, CSV and JSON go to")
    scans = find_scans(source)
    if len(scans) != 1:
        raise BadInput(f"'{source.name}' holds {len(scans)} scans; a report is of one, name it")
    (scan,) = scans
    origin = Origin(scan.dicom, scan.dicom.reading()) if scan.dicom else None
    ct = origin.reading.volume if origin else scan.read()
    found = _on_grid(labels, ct)
    reference = _on_grid(truth, ct) if truth else None
    require_writable(out)
    name = labels.name.removesuffix(".gz").removesuffix(".nii")
    case = SummaryInput(
        ct,
        found,
        GIVEN,
        name,
        truth=reference,
        scores={k: asdict(v) for k, v in evaluate(reference, found).structures.items()} if reference else None,
        empty_rule=EMPTY_RULE,
        phase=origin.phase if origin else None,
    )
    report = liver_report(case)
    write_pages(report, out, name)
    return f"{report.headline} Quality gates: {report.quality.verdict}. The report is '{out.name}/{name}.html'."


def _on_grid(path: Path, ct: Volume) -> LabelMap:
    labels = read_labels(path)
    try:
        require_grid_of(ct, labels)
    except GeometryMismatch as error:
        raise GeometryMismatch(f"{path.name}: {error}; give the labels of this very scan") from error
    return labels
