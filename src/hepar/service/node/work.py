"""A job of the node: a received series to SEG and SR in the outbox."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from hepar.errors import BadInput, HeparError
from hepar.inference import EngineOptions, Model, SlabSegmenter, load_segmenter, open_model
from hepar.io import DicomScan, find_scans
from hepar.report.liver.assessment import liver_report
from hepar.service.batch import summary_of
from hepar.service.case_results import SEG, SR, DicomOrder, Origin, maker_of, write_dicom
from hepar.service.jobs import Job, Stopped
from hepar.service.node.audit import Audit
from hepar.service.node.folders import Folders
from hepar.service.node.inbox import Inbox
from hepar.service.node.outbox import Outbox
from hepar.service.node.settings import NodeAddress

Told = Callable[[float, str], None]
CASE = "hepar"


class Segmentation:
    """Segments a job's series. The model is opened at once, so that a bad one stops the start, and loaded at need."""

    def __init__(self, node: NodeAddress, folders: Folders, inbox: Inbox, outbox: Outbox, audit: Audit) -> None:
        """Raises BadModel, BadInput."""
        self._folders = folders
        self._inbox = inbox
        self._outbox = outbox
        self._audit = audit
        self._model: Model = open_model(Path(node.model) if node.model else None)
        self._options = EngineOptions(node.device, threads=node.threads)
        self._segmenter: SlabSegmenter | None = None

    def __call__(self, job: Job, told: Told) -> dict[str, Any]:
        """What a queue's worker runs. Raises HeparError for a series that cannot be segmented."""
        key = str(job.facts["key"])
        if self._outbox.has(job.id):  # ended between keeping the result and noting so
            return {"result": "kept"}
        work = self._folders.work / job.id
        started = time.monotonic()
        try:
            found = self._made(job, key, work, told)
        except Stopped:
            raise
        except Exception as bad:
            why = str(bad) if isinstance(bad, HeparError) else f"unexpected {type(bad).__name__}"
            self._audit.add("segmentation failed", series=key, job=job.id, why=why)
            raise
        finally:
            shutil.rmtree(work, ignore_errors=True)
        self._audit.add("segmented", series=key, job=job.id, seconds=round(time.monotonic() - started, 2), **found)
        return found

    def _made(self, job: Job, key: str, work: Path, told: Told) -> dict[str, Any]:
        shutil.rmtree(work, ignore_errors=True)
        told(0.0, "reading")
        if self._inbox.link(key, work / "slices") != job.facts["print"]:
            # The larger set gets a job of its own.
            return {"result": "superseded"}
        scan = one_scan(work / "slices")
        reading = scan.reading()
        short = lacking(job)
        reading = replace(reading, volume=replace(reading.volume, notes=(*reading.volume.notes, *short)))
        origin = Origin(scan, reading)
        segmenter = self._loaded()
        found = segmenter.find(reading.volume, lambda done, count: told(0.1 + 0.8 * done / count, "segmenting"))
        told(0.9, "writing")
        summary = summary_of(reading.volume, found.labels, self._model)
        report = liver_report(
            replace(summary, file_name=CASE, tumour_probability=found.tumour_probability, phase=origin.phase)
        )
        maker = maker_of(self._model, datetime.fromisoformat(str(job.facts["made"])))
        notes = write_dicom(report, found, origin, DicomOrder(work, CASE, "binary", maker))
        files = [path for path in (work / f"{CASE}{SEG}", work / f"{CASE}{SR}") if path.is_file()]
        facts = {"model": self._model.id, "verdict": report.quality.verdict, "notes": [*short, *notes]}
        if not files:
            return {"result": "nothing found", **facts}
        self._outbox.add(job.id, key, files)
        return {"result": "kept", **facts}

    def _loaded(self) -> SlabSegmenter:
        if self._segmenter is None:
            self._segmenter = load_segmenter(self._model, options=self._options)
        return self._segmenter


def one_scan(folder: Path) -> DicomScan:
    """The series in a folder of one series' slices. Raises BadInput where there is no CT to segment."""
    try:
        scans = find_scans(folder)
    except BadInput:
        raise BadInput("the series holds no CT slices that say where they lie; send the axial series") from None
    if len(scans) != 1 or scans[0].dicom is None:
        raise BadInput(f"one series holds slices of {len(scans)} studies; send it again from its scanner")
    return scans[0].dicom


def lacking(job: Job) -> tuple[str, ...]:
    """A note where the archive counts more slices than came."""
    came, announced = int(job.facts["slices"]), int(job.facts.get("announced", 0))
    return (f"{came} of {announced} slices had arrived when the series was segmented",) if announced > came else ()
