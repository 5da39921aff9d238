"""From what a user typed to a scoreboard on disk."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hepar.errors import BadInput, SomeCasesFailed
from hepar.files import require_writable
from hepar.metrics.protocols import chosen
from hepar.predictions import LabelMapping, Matching
from hepar.report.scoreboard_files import write_board_json, write_cases_csv, write_differences_csv, write_figures_csv
from hepar.report.scoreboard_page import write_page
from hepar.service.confidence import confidence_tables
from hepar.service.referee import Entry, Listener, Options, RefereeOrder, Verdict, judge
from hepar.study.scoreboard import Scoring, scoreboard


@dataclass(frozen=True)
class Outputs:
    """Where results go: `out` takes all of them and the finished cases, the others one file each."""

    out: Path | None = None
    json: Path | None = None
    csv: Path | None = None
    html: Path | None = None

    @property
    def folders(self) -> list[Path]:
        """Every folder that will be written to."""
        files = [path.absolute().parent for path in (self.json, self.csv, self.html) if path]
        return [*files, self.out] if self.out else files


@dataclass(frozen=True)
class Reading:
    """How files read: label mappings as typed, a file of each case's patient, a folder of probabilities a method."""

    mapping: str | None = None
    truth_mapping: str | None = None
    patients: Path | None = None
    probabilities: tuple[Path, ...] = ()


def entries(paths: Sequence[str], reading: Reading) -> tuple[Entry, ...]:
    """`PATH` or `NAME=PATH` as typed; without a name the path's own is used, numbered where it occurs twice.

    Raises BadInput for a path that does not exist.
    """
    read = LabelMapping.parse(reading.mapping) if reading.mapping else None
    folders = reading.probabilities or (None,) * len(paths)
    if len(folders) != len(paths):
        raise BadInput(f"found {len(folders)} folders of probabilities for {len(paths)} methods; give one a method")
    named: dict[str, Entry] = {}
    for typed, probabilities in zip(paths, folders, strict=True):
        name, path = _named(typed)
        unique, again = name, 2
        while unique in named:
            unique, again = f"{name}_{again}", again + 1
        if not path.exists():
            raise BadInput(f"'{path.name}' does not exist; expected predictions: a file, a folder or a .zip")
        named[unique] = Entry(unique, path, read, probabilities)
    return tuple(named.values())


def _named(typed: str) -> tuple[str, Path]:
    name, equals, path = typed.partition("=")
    if equals and name and not Path(typed).exists():
        return name, Path(path)
    return Path(typed).resolve().name.removesuffix(".gz").removesuffix(".zip").removesuffix(".nii"), Path(typed)


def score_predictions(
    truth: Path, found: Sequence[str], reading: Reading, options: Options, outputs: Outputs, listen: Listener
) -> tuple[dict[str, Any], Verdict]:
    """Judge, tabulate and write; the board and the verdict behind it.

    Raises BadInput as `judge` does, OutputError when a result cannot be written.
    """
    truth_mapping = LabelMapping.parse(reading.truth_mapping) if reading.truth_mapping else None
    order = RefereeOrder(Entry("truth", truth, truth_mapping), entries(found, reading), outputs.out, options)
    patients = patients_from(reading.patients)
    for folder in outputs.folders:
        require_writable(folder)
    verdict = judge(order, listen)
    board = board_of(verdict, order, patients, _command(truth, found, reading, options))
    write_outputs(board, outputs)
    return board, verdict


def board_of(verdict: Verdict, order: RefereeOrder, patients: dict[str, str], command: str) -> dict[str, Any]:
    """The scoreboard of a verdict, with what had no partner."""
    methods = tuple(entry.name for entry in order.entries)
    scoring = Scoring(chosen(order.options.protocols), methods, patients, command)
    curves, calibration = {}, {}
    for method in methods:
        facts = [case.confidence for case in verdict.cases if case.method == method and case.confidence]
        if facts:
            curves[method], calibration[method] = confidence_tables(facts)
    return scoreboard(verdict.cases, scoring) | {
        "unmatched": _unmatched(verdict.matchings, order),
        "notes": list(verdict.notes),
        "froc": curves or None,
        "calibration": calibration or None,
    }


def _unmatched(matchings: dict[str, Matching], order: RefereeOrder) -> list[dict[str, Any]]:
    rows = []
    for method, matching in matchings.items():
        lost = () if order.options.missing == "miss" else matching.truth_only
        for side, sources in (("truth", lost), ("found", matching.found_only)):
            rows += [{"side": side, "method": method, "case": s.case, "file": s.file} for s in sources]
        rows += [
            {"side": "ambiguous", "method": method, "case": case, "file": ", ".join(names)}
            for case, names in matching.ambiguous
        ]
    return rows


def write_outputs(board: dict[str, Any], outputs: Outputs) -> None:
    """Every file asked for, each whole or not at all."""
    if outputs.out:
        write_board_json(board, outputs.out / "scores.json")
        write_figures_csv(board, outputs.out / "figures.csv")
        write_cases_csv(board, outputs.out / "cases.csv")
        if board["official_against_corrected"]:
            write_differences_csv(board, outputs.out / "differences.csv")
        write_page(board, outputs.out / "scores.html")
    if outputs.json:
        write_board_json(board, outputs.json)
    if outputs.csv:
        write_cases_csv(board, outputs.csv)
    if outputs.html:
        write_page(board, outputs.html)


def require_all_scored(verdict: Verdict) -> None:
    """Raises the error of a lone case that failed, and SomeCasesFailed when it was one of several."""
    if verdict.failures and len(verdict.cases) == 1:
        raise verdict.failures[0]
    if verdict.failures:
        raise SomeCasesFailed(f"{len(verdict.failures)} of {len(verdict.cases)} cases could not be scored, see above")


def patients_from(path: Path | None) -> dict[str, str]:
    """Patient by case, from a CSV with the columns `case` and `patient`. Raises BadInput for anything else."""
    if path is None:
        return {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
        return {row["case"]: row["patient"] for row in rows}
    except (OSError, KeyError, UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"'{path.name}' cannot be used; expected a CSV with the columns case and patient") from error


def _command(truth: Path, found: Sequence[str], reading: Reading, options: Options) -> str:
    """What was run, with names instead of paths: the document may be shared."""
    words = ["hepar evaluate", truth.name, *(_shown(typed) for typed in found)]
    words += [f"--protocol {name}" for name in options.protocols]
    words += [f"--map {reading.mapping}"] if reading.mapping else []
    words += [f"--map-truth {reading.truth_mapping}"] if reading.truth_mapping else []
    words += [f"--resample {options.resample}"] if options.resample != "none" else []
    words += ["--missing miss"] if options.missing == "miss" else []
    words += ["--union"] if options.labels == "liver_union" else []
    return " ".join(words)


def _shown(typed: str) -> str:
    name, path = _named(typed)
    return path.name if typed == str(path) else f"{name}={path.name}"
