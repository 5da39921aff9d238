"""Segment whatever a path holds: finished cases are skipped, a bad case never stops the others."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import hepar
from hepar.errors import BadInput, HeparError, OutputError
from hepar.files import replace_whole, write_json
from hepar.inference import Model, SlabSegmenter, load_segmenter
from hepar.io import Scan, find_scans, write
from hepar.metrics import EMPTY_RULE, evaluate
from hepar.preprocess import steps_to_json
from hepar.report.contact_sheet import contact_sheet
from hepar.report.measure import volumes
from hepar.report.summary import ModelFacts, SummaryInput, summary_json, write_summary
from hepar.volume import LabelMap, Volume

log = logging.getLogger("hepar")


@dataclass(frozen=True)
class Outcome:
    """What became of one case; `message` says why it failed or was skipped."""

    id: str
    status: Literal["segmented", "skipped", "failed"]
    message: str = ""
    liver_ml: float | None = None
    tumour_ml: float | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Listener:
    """Called while a batch runs: a case starts (number, count, id), slices pass (done, count), a case ends."""

    started: Callable[[int, int, str], None] = lambda *_: None
    slices: Callable[[int, int], None] = lambda *_: None
    ended: Callable[[Outcome], None] = lambda *_: None


@dataclass(frozen=True)
class Job:
    """Where a batch's results go, and what makes them."""

    out: Path
    model: Model
    device: str = "auto"
    reports: bool = True
    listener: Listener = field(default_factory=Listener)

    @property
    def single_file(self) -> bool:
        """True when `out` names one label file instead of a folder."""
        return self.out.name.endswith((".nii", ".nii.gz"))

    def labels_of(self, case: str) -> Path:
        return self.out if self.single_file else self.out / f"{case}.nii.gz"


def segment_batch(source: Path, job: Job) -> list[Outcome]:
    """Segment every scan that `source` holds.

    An output folder receives `ID.nii.gz`, `ID.json` and with `reports` also
    `ID.html` and `ID.png` for each scan. A case whose `ID.json` names the same
    model and whose labels are there is skipped.

    Raises BadInput when `source` holds no scan, or several for one label file.
    """
    scans = find_scans(source)
    if job.single_file and len(scans) > 1:
        raise BadInput(f"'{source.name}' holds {len(scans)} scans but '{job.out.name}' is one file; give a folder")
    if not job.single_file and job.out.exists() and not job.out.is_dir():
        raise OutputError(f"'{job.out.name}' is a file; give a folder, or a name that ends in .nii or .nii.gz")
    segmenter: SlabSegmenter | None = None
    outcomes = []
    for number, scan in enumerate(scans):
        job.listener.started(number, len(scans), scan.id)
        if not job.single_file and _finished(scan.id, job):
            outcome = Outcome(scan.id, "skipped", "already segmented by this model")
        else:
            # Loaded once, and only if there is something to do.
            segmenter = segmenter or load_segmenter(job.model, job.device)
            outcome = _one_case(scan, job, segmenter)
        job.listener.ended(outcome)
        outcomes.append(outcome)
    return outcomes


def write_case(case: SummaryInput, folder: Path, name: str) -> None:
    """Pictures, page and numbers of one case; the JSON comes last, since it marks the case as finished."""
    with replace_whole(folder / f"{name}.png") as temporary:
        contact_sheet(case.ct, case.labels, case.truth).save(temporary, format="PNG")
    write_summary(case, folder / f"{name}.html")
    write_json(folder / f"{name}.json", summary_json(case))


def summary_of(ct: Volume, found: LabelMap, model: Model, truth: LabelMap | None = None) -> SummaryInput:
    """What the report shows of one segmented scan; scores where the truth is known."""
    scores = None if truth is None else evaluate(truth, found)
    return SummaryInput(
        ct=ct,
        labels=found,
        model=ModelFacts(model.id, model.card.licence, model.card.trained_on),
        file_name="",
        truth=truth,
        scores=None if scores is None else {k: asdict(v) for k, v in scores.structures.items()},
        empty_rule="" if scores is None else EMPTY_RULE,
        settings={
            "prepare": steps_to_json(model.pipeline.prepare),
            "grid": repr(model.pipeline.grid),
            "clean": [repr(step) for step in model.pipeline.clean],
        },
    )


def _one_case(scan: Scan, job: Job, segmenter: SlabSegmenter) -> Outcome:
    started = time.monotonic()
    try:
        ct = scan.read()
        read_s = time.monotonic() - started
        found = segmenter.segment(ct, job.listener.slices)
        seconds = {"read": round(read_s, 2), "segment": round(time.monotonic() - started - read_s, 2)}
        write(found, job.labels_of(scan.id))
        if not job.single_file:
            _record(scan.id, ct, found, job, seconds)
    except HeparError as error:
        return Outcome(scan.id, "failed", str(error))
    except Exception as error:  # whatever one case provokes, the others must go on
        log.debug("a case failed", exc_info=True)
        return Outcome(scan.id, "failed", f"unexpected {type(error).__name__}; run with --verbose and report it")
    measured = volumes(found)
    return Outcome(scan.id, "segmented", "", measured.liver_ml, measured.tumour_ml, time.monotonic() - started)


def _record(case: str, ct: Volume, found: LabelMap, job: Job, seconds: dict[str, float]) -> None:
    from dataclasses import replace

    if job.reports:
        summary = replace(summary_of(ct, found, job.model), file_name=case, seconds=seconds)
        write_case(summary, job.out, case)
        return
    facts = {"hepar": hepar.__version__, "disclaimer": hepar.DISCLAIMER, "model": {"name": job.model.id}}
    write_json(job.out / f"{case}.json", facts | {"volumes": asdict(volumes(found)), "seconds": seconds})


def _finished(case: str, job: Job) -> bool:
    """True when this model's labels of the case are complete."""
    facts = job.out / f"{case}.json"
    if not (job.labels_of(case).is_file() and facts.is_file()):
        return False
    try:
        made_by: Any = json.loads(facts.read_text(encoding="utf-8"))["model"]["name"]
    except (ValueError, KeyError, TypeError):
        return False
    return bool(made_by == job.model.id)
