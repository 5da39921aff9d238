"""Score anyone's predictions: cases in parallel processes, finished ones kept, a bad one never stops the rest."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import numpy as np

import hepar
from hepar.errors import BadInput, HeparError
from hepar.files import write_json
from hepar.metrics.figures import ProtocolScores
from hepar.metrics.lesions import find_lesions
from hepar.metrics.pair import LabelPair, pair_of
from hepar.metrics.protocols import PROTOCOLS, chosen
from hepar.metrics.protocols.deviations import deviations
from hepar.metrics.structures import LabelStatus
from hepar.predictions import (
    LabelMapping,
    LabelSource,
    Matching,
    PairOfLabels,
    Resample,
    match,
    open_predictions,
    open_truth,
    read_pair,
)
from hepar.report.thumbnail import error_thumbnail
from hepar.service.confidence import confidence_facts, probability_file, read_probability
from hepar.study.scoreboard import ScoredCase
from hepar.volume import LabelMap

# Raised whenever a scoring change makes kept results worthless.
SCORING = 1
LABELS_HELD = 2
Missing = Literal["list", "miss"]


@dataclass(frozen=True)
class Entry:
    """One method's predictions: the name it is shown under, where they lie, and how their labels read.

    `probabilities` is a folder of its tumour probabilities.
    """

    name: str
    path: Path
    mapping: LabelMapping | None = None
    probabilities: Path | None = None


@dataclass(frozen=True)
class Options:
    """How cases are scored. `workers` 0 takes every core.

    With `missing` "miss", a reference without a prediction is scored as if
    nothing had been found; with "list" it is named and does not count.
    """

    protocols: tuple[str, ...] = ()
    labels: LabelStatus = "full"
    resample: Resample = "none"
    workers: int = 0
    thumbnails: bool = True
    missing: Missing = "list"


@dataclass(frozen=True)
class RefereeOrder:
    """Truth, the entries to score against it, and a folder that keeps finished cases (None: nothing is kept)."""

    truth: Entry
    entries: tuple[Entry, ...]
    out: Path | None = None
    options: Options = field(default_factory=Options)


@dataclass(frozen=True)
class Verdict:
    """Every case of every entry, and what had no partner, by entry."""

    cases: tuple[ScoredCase, ...]
    failures: tuple[HeparError, ...]
    matchings: dict[str, Matching]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Task:
    """What a worker process needs for one case; without `found`, nothing was predicted."""

    case: str
    method: str
    truth: LabelSource
    found: LabelSource | None
    options: Options
    probability: Path | None = None

    @property
    def file(self) -> str:
        """The prediction's file for messages."""
        return self.found.file if self.found else f"no prediction for {self.truth.file}"

    @property
    def key(self) -> str:
        """Changes with the files, the options and the scoring itself; never holds a path."""
        facts: list[Any] = [self.truth.fingerprint(), self.found.fingerprint() if self.found else None]
        facts += [self.options.protocols, self.options.labels]
        if self.probability:
            held = self.probability.stat()
            facts.append([self.probability.name, held.st_size, held.st_mtime_ns])
        told = json.dumps([*facts, self.options.resample, self.options.thumbnails, SCORING, hepar.__version__])
        return hashlib.sha256(told.encode()).hexdigest()


Listener = Callable[[ScoredCase, int, int], None]


def judge(order: RefereeOrder, listen: Listener = lambda *_: None) -> Verdict:
    """Score every case that truth and an entry share.

    With `order.out`, each finished case is kept there and not scored again while
    its files and the options stay the same, so an interrupted run goes on where
    it stopped. A case that fails becomes a row with its error.

    Raises BadInput when a path holds no label map, when no case matches at all,
    or when two entries have one name.
    """
    chosen(order.options.protocols)
    names = [entry.name for entry in order.entries]
    if len(set(names)) < len(names):
        raise BadInput(f"entries are named {', '.join(names)}; give each its own name, as NAME=PATH")
    truth = open_truth(order.truth.path, order.truth.mapping)
    notes = list(truth.notes)
    matchings = {}
    for entry in order.entries:
        found = open_predictions(entry.path, entry.mapping)
        matchings[entry.name] = match(truth, found)
        notes += [f"{entry.name}: {note}" for note in (f"read as {found.layout}", *found.notes)]
        notes += [f"{entry.name}: {note}" for note in matchings[entry.name].notes]
    tasks = [
        Task(case, entry.name, here, there, order.options, _probability(entry, case, there))
        for entry in order.entries
        for case, here, there in matchings[entry.name].pairs
    ]
    if order.options.missing == "miss":
        tasks += [
            Task(source.case, name, source, None, order.options)
            for name, matching in matchings.items()
            for source in matching.truth_only
        ]
    if not tasks:
        raise BadInput(_nothing_matches(matchings))
    cases, failures = _all_scored(tasks, order.out, listen)
    return Verdict(cases, failures, matchings, tuple(notes))


def _probability(entry: Entry, case: str, found: LabelSource) -> Path | None:
    return None if entry.probabilities is None else probability_file(entry.probabilities, case, found.file)


def _nothing_matches(matchings: dict[str, Matching]) -> str:
    matching = next(iter(matchings.values()))
    sides = [
        ", ".join(source.file for source in side[:3]) or "none" for side in (matching.truth_only, matching.found_only)
    ]
    return (
        f"no prediction matches a truth by its case id; truth has {sides[0]}, predictions have {sides[1]}; "
        "rename the files alike, or give two single files"
    )


def _all_scored(tasks: Sequence[Task], out: Path | None, listen: Listener) -> tuple[Any, Any]:
    """Cases in the order of the tasks, and the errors of those that failed."""
    done: dict[int, ScoredCase] = {}
    errors: dict[int, HeparError] = {}
    for place, task in enumerate(tasks):
        if kept := _kept(task, out):
            done[place] = kept
            listen(kept, len(done), len(tasks))
    todo = [place for place in range(len(tasks)) if place not in done]
    for place, result in _results([tasks[place] for place in todo], todo):
        if isinstance(result, HeparError):
            errors[place] = result
            done[place] = ScoredCase(tasks[place].case, tasks[place].method, error=str(result))
        else:
            _keep(tasks[place], result, out)
            done[place] = _case_of(tasks[place], result)
        listen(done[place], len(done), len(tasks))
    return tuple(done[place] for place in range(len(tasks))), tuple(errors[place] for place in sorted(errors))


def _results(tasks: Sequence[Task], places: Sequence[int]) -> Iterator[tuple[int, Any]]:
    """Results as they come, in this process for a few cases and in workers for many."""
    workers = min(len(tasks), (tasks[0].options.workers if tasks else 0) or os.cpu_count() or 1)
    if workers <= 1:
        for place, task in zip(places, tasks, strict=True):
            yield place, attempt(task)
        return
    waiting = dict(zip(places, tasks, strict=True))
    yield from _in_workers(waiting, workers)
    # A process that died took its neighbours' cases along: each gets a pool of its own, so that only the culprit fails.
    for place, task in list(waiting.items()):
        alone = {place: task}
        yield from _in_workers(alone, 1)
        if alone:
            died = "the process that scored it died, perhaps for lack of memory; try fewer workers (--workers 1)"
            yield place, HeparError(f"{task.file}: {died}")


def _in_workers(waiting: dict[int, Task], workers: int) -> Iterator[tuple[int, Any]]:
    """Takes finished tasks out of `waiting`; what is left there when a process dies is the caller's."""
    # Forking a process that draws progress with threads can hang; a fresh one cannot.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_deaf_to_interrupts) as pool:
        running: dict[Future[Any], int] = {}
        queue = iter(list(waiting.items()))
        try:
            while True:
                while len(running) < 2 * workers and (following := next(queue, None)):
                    running[pool.submit(attempt, following[1])] = following[0]
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    result = future.result()
                    place = running.pop(future)
                    del waiting[place]
                    yield place, result
        except BrokenProcessPool:
            return
        except (KeyboardInterrupt, GeneratorExit):
            # Nobody waits for the cases in work: they are scored anew. The executor has no public way to end them.
            for process in list(getattr(pool, "_processes", {}).values()):
                process.terminate()
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _deaf_to_interrupts() -> None:
    """Ctrl-C reaches every process of a terminal; it is this one's parent that decides what ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def attempt(task: Task) -> dict[str, Any] | HeparError:
    """One case scored, or the error that kept it from that."""
    try:
        return _scored(task)
    except HeparError as error:
        return error
    except MemoryError:
        return HeparError(f"{task.file} needs more memory than there is; try fewer workers (--workers 1)")
    # Whatever a damaged file provokes in a reader, the other cases must go on.
    except Exception as error:
        return HeparError(f"{task.file}: {type(error).__name__}: {error}")


def _scored(task: Task) -> dict[str, Any]:
    started = time.perf_counter()
    read = read_pair(task.truth, task.found, task.options.resample) if task.found else _nothing_found(task.truth)
    seconds_reading = time.perf_counter() - started
    pair = pair_of(read.truth, read.found, read.header_spacing_mm, task.options.labels)
    scores = {protocol.name: protocol.score(pair) for protocol in chosen(task.options.protocols)}
    said: tuple[str, ...] = ()
    if {"lits", "lits-codalab"} <= scores.keys() and task.options.labels == "full":
        said = deviations(pair, scores["lits-codalab"], scores["lits"])
    confidence = None
    if task.probability:
        probability = read_probability(task.probability, read.found.geometry)
        confidence = confidence_facts(read.truth, read.found, probability)
    picture = error_thumbnail(pair.truth, pair.found) if task.options.thumbnails else None
    return {
        "facts": facts(pair) | {"seconds": time.perf_counter() - started, "seconds_reading": seconds_reading},
        "scores": {name: own.to_json() for name, own in scores.items()},
        "deviations": list(said),
        "notes": list(read.notes),
        "confidence": confidence,
        "thumbnail": base64.b64encode(picture).decode() if picture else None,
    }


def _nothing_found(truth: LabelSource) -> PairOfLabels:
    stored = truth.read()
    empty = stored.labels.with_labels(np.zeros_like(stored.labels.labels))
    note = f"{truth.file}: no prediction, scored as nothing found"
    return PairOfLabels(stored.labels, empty, stored.header_spacing_mm, (*stored.notes, note))


def facts(pair: LabelPair) -> dict[str, Any]:
    """What a table groups and explains cases by: grid, volumes, burden, lesions. None where the truth cannot tell."""
    scan = pair.scan.axial().geometry
    found: dict[str, Any] = {
        "spacing_mm": list(scan.spacing_mm),
        "shape": list(scan.shape),
        "slice_thickness_mm": scan.spacing_mm[0],
    }
    for side, labels in (("truth", pair.truth), ("found", pair.found)):
        found[f"{side}_liver_ml"] = labels.volume_ml(1) + labels.volume_ml(LABELS_HELD)
        if pair.labels == "full":
            found |= _tumour_facts(side, labels)
    if pair.labels == "full":
        lesions = find_lesions(pair.truth).lesions
        found["lesions"] = len(lesions)
        found["largest_lesion_mm"] = max((lesion.diameter_mm for lesion in lesions), default=0.0)
    return found


def _tumour_facts(side: str, labels: LabelMap) -> dict[str, Any]:
    liver, tumour = labels.volume_ml(1) + labels.volume_ml(LABELS_HELD), labels.volume_ml(LABELS_HELD)
    return {f"{side}_tumour_ml": tumour, f"{side}_burden": tumour / liver if liver else None}


def _case_file(task: Task, out: Path) -> Path:
    # The id goes into the name only as far as every file system takes it.
    plain = "".join(c if c.isalnum() or c in "-_." else "_" for c in task.case)[:80]
    tag = hashlib.sha256(task.case.encode()).hexdigest()[:8]
    return out / "cases" / _folder(task.method) / f"{plain}-{tag}.json"


def _folder(method: str) -> str:
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in method)[:80] or "entry"


def _kept(task: Task, out: Path | None) -> ScoredCase | None:
    if out is None:
        return None
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        stored = json.loads(_case_file(task, out).read_text(encoding="utf-8"))
        if stored["key"] == task.key:
            return _case_of(task, stored)
    return None


def _keep(task: Task, result: dict[str, Any], out: Path | None) -> None:
    if out is not None:
        write_json(_case_file(task, out), {"key": task.key, "case": task.case, "method": task.method, **result})


def _case_of(task: Task, stored: dict[str, Any]) -> ScoredCase:
    scores = {name: ProtocolScores.from_json(own) for name, own in stored["scores"].items() if name in PROTOCOLS}
    return ScoredCase(
        task.case,
        task.method,
        scores,
        facts=stored["facts"],
        deviations=tuple(stored["deviations"]),
        notes=tuple(stored["notes"]),
        thumbnail=stored["thumbnail"],
        confidence=stored["confidence"],
    )
