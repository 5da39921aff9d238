"""Segment whatever a path holds: finished cases are skipped, a bad case never stops the others."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hepar.errors import BadInput, BadModel, HeparError, SomeCasesFailed
from hepar.files import require_writable, write_json
from hepar.inference import Finding, Model, SlabSegmenter, load_segmenter
from hepar.inference.couinaud import CouinaudSegmenter, SegmentFinding, gives_segments, load_couinaud
from hepar.inference.engine import EngineOptions
from hepar.io import Scan, find_scans, write
from hepar.io.nifti import write_voxels
from hepar.metrics import EMPTY_RULE, evaluate
from hepar.report.liver.assessment import LiverReport, liver_report
from hepar.report.liver.tables import report_json
from hepar.report.measure import volumes
from hepar.report.segments import segment_report
from hepar.report.summary import ModelFacts, SummaryInput
from hepar.service.case_results import (
    PROBABILITY,
    SEG,
    SR,
    DicomOrder,
    Origin,
    SegKind,
    maker_of,
    write_dicom,
    write_pages,
)
from hepar.volume import LabelMap, Volume

log = logging.getLogger("hepar")


@dataclass(frozen=True)
class Outcome:
    """What became of one case; `message` says why it failed or was skipped, `error` is what failed it.

    `notes` are the reader's: which series was picked, what was repaired.
    """

    id: str
    status: Literal["segmented", "skipped", "failed"]
    message: str = ""
    error: HeparError | None = None
    liver_ml: float | None = None
    tumour_ml: float | None = None
    seconds: float = 0.0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Listener:
    """Called while a batch runs: a case starts (number, count, id), slices pass (done, count), a case ends."""

    started: Callable[[int, int, str], None] = lambda *_: None
    slices: Callable[[int, int], None] = lambda *_: None
    ended: Callable[[Outcome], None] = lambda *_: None


@dataclass(frozen=True)
class Job:
    """Where a batch's results go, and what makes them; `couinaud` is the model of segments, where they are wanted.

    `seg` is how results of DICOM scans are written as DICOM, which a single label file is not.
    """

    out: Path
    model: Model
    engine: EngineOptions = field(default_factory=EngineOptions)
    reports: bool = True
    listener: Listener = field(default_factory=Listener)
    couinaud: Model | None = None
    seg: SegKind = "binary"

    @property
    def single_file(self) -> bool:
        """True when `out` names one label file instead of a folder."""
        return self.out.name.endswith((".nii", ".nii.gz"))

    def labels_of(self, case: str) -> Path:
        return self.out if self.single_file else self.out / f"{case}.nii.gz"

    def segments_of(self, case: str) -> Path:
        """`ID_couinaud.nii.gz`, or beside a single label file under its name with `_couinaud`."""
        labels = self.labels_of(case)
        stem, dot, ending = labels.name.rpartition(".nii")
        return labels.with_name(f"{stem}_couinaud{dot}{ending}")


@dataclass(frozen=True, eq=False)
class Engines:
    """What labels a scan: liver and tumours, and segments where they are wanted."""

    liver: SlabSegmenter
    couinaud: CouinaudSegmenter | None


def segment_batch(source: Path, job: Job) -> list[Outcome]:
    """Segment every scan that `source` holds.

    An output folder receives `ID.nii.gz`, `ID.json` and with `reports` also
    `ID.html`, `ID.csv` and `ID.png` for each scan, with a model of segments
    `ID_couinaud.nii.gz`, of a DICOM scan `ID_seg.dcm` and `ID_sr.dcm`. A case is skipped when its `ID.json`
    names the same model and the same voxels, and its other files are there.

    Raises BadInput when `source` holds no scan, several for one label file, or
    a file that a result would replace, and OutputError when nothing can be
    written to `out`.
    """
    scans, engines = opened_batch(source, job)
    outcomes = []
    for number, scan in enumerate(scans):
        job.listener.started(number, len(scans), scan.id)
        outcome = segment_one(scan, job, engines)
        job.listener.ended(outcome)
        outcomes.append(outcome)
    return outcomes


def opened_batch(source: Path, job: Job) -> tuple[list[Scan], Engines]:
    """The scans of `source` and what labels them, once nothing stands against either. Raises as `segment_batch`."""
    scans = find_scans(source)
    if job.single_file and len(scans) > 1:
        raise BadInput(f"'{source.name}' holds {len(scans)} scans but '{job.out.name}' is one file; give a folder")
    _require_inputs_untouched(source, scans, job)
    _require_names_apart(scans, job)
    if gives_segments(job.model):
        raise BadModel(f"{job.model.card.name} gives Couinaud segments, no liver; name it with --couinaud-model")
    engines = Engines(
        load_segmenter(job.model, options=job.engine),
        load_couinaud(job.couinaud, job.engine.device) if job.couinaud else None,
    )
    require_writable(job.out.parent if job.single_file else job.out)
    _sweep(job.out.parent if job.single_file else job.out)
    return scans, engines


def require_success(outcomes: Sequence[Outcome]) -> None:
    """Raises the error of a lone case that failed, and SomeCasesFailed when it was one of several."""
    failed = [outcome.error for outcome in outcomes if outcome.error]
    if failed and len(outcomes) == 1:
        raise failed[0]
    if failed:
        raise SomeCasesFailed(f"{len(failed)} of {len(outcomes)} cases failed, see above; the others are done")


def summary_of(ct: Volume, found: LabelMap, model: Model, truth: LabelMap | None = None) -> SummaryInput:
    """What the report shows of one segmented scan; scores where the truth is known."""
    scores = None if truth is None else evaluate(truth, found)
    return SummaryInput(
        ct=ct,
        labels=found,
        model=ModelFacts(
            model.id,
            model.card.licence,
            model.card.trained_on,
            model.card.description,
            model.card.limits,
            model.card.figures,
        ),
        file_name="",
        truth=truth,
        scores=None if scores is None else {k: asdict(v) for k, v in scores.structures.items()},
        empty_rule="" if scores is None else EMPTY_RULE,
        settings={
            "preparation": _listed(model.pipeline.prepare),
            "network's pixels": repr(model.pipeline.grid),
            "cleaning": _listed(model.pipeline.clean),
        },
    )


def _require_inputs_untouched(source: Path, scans: Sequence[Scan], job: Job) -> None:
    """A label map named like its scan must not take the scan's place, nor be taken for a scan the next time."""
    if source.is_dir() and not job.single_file and job.out.resolve() == source.resolve():
        raise BadInput("the results would go among the scans and could replace them; give another folder to -o")
    inputs = [source] if source.is_file() else [path for path in source.iterdir() if path.is_file()]
    # By file rather than by name: links, and systems that take CT.nii.gz and ct.nii.gz for one.
    files = {(found.st_dev, found.st_ino) for found in (path.stat() for path in inputs)}
    ends = () if job.single_file else (".json", ".html", ".png", ".csv", SEG, SR, PROBABILITY)
    for scan in scans:
        labels = (job.labels_of(scan.id), *([job.segments_of(scan.id)] if job.couinaud else []))
        for target in (*labels, *(job.out / f"{scan.id}{end}" for end in ends)):
            if target.is_file() and (target.stat().st_dev, target.stat().st_ino) in files:
                raise BadInput(f"'{target.name}' would replace a file of the input; give another place to -o")


def _require_names_apart(scans: Sequence[Scan], job: Job) -> None:
    labels = {job.labels_of(scan.id): scan.id for scan in scans}
    taken = [scan.id for scan in scans if job.couinaud and job.segments_of(scan.id) in labels]
    if taken:
        raise BadInput(f"segments of {taken[0]} would have the file name of another scan's labels; rename one of them")


def _sweep(folder: Path) -> None:
    """Remove what a killed run left half-written; an hour spares writers at work beside this one."""
    for left in folder.glob(".writing-*"):
        # A writer beside this one may finish its file meanwhile; what cannot be removed harms nobody.
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > 3600:
                left.unlink()


def _listed(steps: Sequence[object]) -> str:
    return ", then ".join(repr(step) for step in steps) or "none"


def segment_one(scan: Scan, job: Job, engines: Engines) -> Outcome:
    """Segment and write one scan, or pass it over where that was done; raises nothing, the outcome tells."""
    started = time.monotonic()
    try:
        origin = Origin(scan.dicom, scan.dicom.reading()) if scan.dicom else None
        ct = origin.reading.volume if origin else scan.read()
        read_s = time.monotonic() - started
        voxels, notes = _fingerprint(ct), ct.notes
        if not job.single_file and _finished(scan.id, voxels, job, engines.liver.engine):
            return Outcome(scan.id, "skipped", "already segmented by this model")
        found = engines.liver.find(ct, job.listener.slices)
        placed = engines.couinaud.segment(ct, found.labels) if engines.couinaud else None
        seconds = {"read": round(read_s, 2), "segment": round(time.monotonic() - started - read_s, 2)}
        # Until the case is complete nothing may say so: an older JSON would vouch for newer labels.
        if not job.single_file:
            _facts_of(scan.id, job).unlink(missing_ok=True)
            # Segments of another liver must not stay beside the new one.
            job.segments_of(scan.id).unlink(missing_ok=True)
        write(found.labels, job.labels_of(scan.id))
        if placed:
            write_voxels(placed.segments.labels, placed.segments.geometry, job.segments_of(scan.id))
        if not job.single_file:
            facts = {"voxels": voxels, "labels": label_fingerprint(found.labels), "seconds": seconds}
            facts["engine"] = engines.liver.engine
            summary = _summary(scan.id, (ct, origin), (found, placed), job, facts)
            notes += _record(liver_report(summary), (found, origin), job, facts)
    except HeparError as error:
        return Outcome(scan.id, "failed", str(error), error)
    except Exception as error:  # whatever one case provokes, the others must go on
        log.debug("a case failed", exc_info=True)
        message = f"unexpected {type(error).__name__}; run with --verbose and report it"
        return Outcome(scan.id, "failed", message, HeparError(message))
    measured = volumes(found.labels)
    seconds_all = time.monotonic() - started
    return Outcome(scan.id, "segmented", "", None, measured.liver_ml, measured.tumour_ml, seconds_all, notes)


def _summary(
    case: str,
    read: tuple[Volume, Origin | None],
    results: tuple[Finding, SegmentFinding | None],
    job: Job,
    facts: dict[str, Any],
) -> SummaryInput:
    found, placed = results
    ct, origin = read
    segments = None
    if placed and job.couinaud:
        segments = segment_report(found.labels, placed.segments, job.couinaud.id, placed.notes)
    plain = summary_of(ct, found.labels, job.model)
    return replace(
        plain,
        settings={**plain.settings, "engine": facts["engine"]},
        file_name=case,
        seconds=facts["seconds"],
        tumour_probability=found.tumour_probability,
        segments=segments,
        phase=origin.phase if origin else None,
    )


def _record(
    report: LiverReport, results: tuple[Finding, Origin | None], job: Job, facts: dict[str, Any]
) -> tuple[str, ...]:
    """DICOM where the scan was DICOM, pictures and page where wanted, then the JSON; notes on what was written."""
    found, origin = results
    case = report.case.file_name
    if origin:
        order = DicomOrder(job.out, case, job.seg, maker_of(job.model, datetime.now()))
        report = replace(report, notes=write_dicom(report, found, origin, order))
    if job.reports:
        write_pages(report, job.out, case, facts)
    else:
        write_json(_facts_of(case, job), report_json(report) | facts)
    return report.notes


def _fingerprint(ct: Volume) -> str:
    """Tells scans apart that share a name: two patients' files are often both called ct.nii.gz."""
    hashed = hashlib.sha256(ct.geometry.affine.tobytes())
    for part in ct.values:
        hashed.update(part.tobytes())
    return hashed.hexdigest()[:16]


def label_fingerprint(found: LabelMap) -> str:
    """Tells whether two machines found the same: labels and where they lie."""
    hashed = hashlib.sha256(found.geometry.affine.tobytes())
    hashed.update(np.ascontiguousarray(found.labels).tobytes())
    return hashed.hexdigest()[:16]


def _facts_of(case: str, job: Job) -> Path:
    return job.out / f"{case}.json"


def _finished(case: str, voxels: str, job: Job, engine: str) -> bool:
    """True when this model's results for these voxels are complete, in the same precision."""
    wanted = [job.labels_of(case)] + ([job.segments_of(case)] if job.couinaud else [])
    wanted += [job.out / f"{case}{end}" for end in (".html", ".png", ".csv") if job.reports]
    if not all(path.is_file() for path in wanted):
        return False
    try:
        facts: Any = json.loads(_facts_of(case, job).read_text(encoding="utf-8"))
        same_segments = job.couinaud is None or facts["couinaud"]["model"] == job.couinaud.id
        # Another version of the same engine is no reason to begin a cohort anew, another precision is.
        same_precision = facts["engine"].rpartition(", ")[2] == engine.rpartition(", ")[2]
        same_model = facts["model"]["name"] == job.model.id and facts["voxels"] == voxels
        return bool(same_model and same_segments and same_precision)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
