"""The folders of left-out predictions, scored by the referee, to the tables of a cross-validation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hepar.errors import BadInput, HeparError
from hepar.files import require_writable, write_json, write_text
from hepar.metrics.structures import LabelStatus
from hepar.service.referee import Entry, Listener, Options, RefereeOrder, judge
from hepar.study.arms import Say
from hepar.study.crossval_table import FoldCase, crossval_document
from hepar.study.crossval_text import figures_csv, markdown, patients_csv
from hepar.study.left_out import FoldFolder, listed_cases

STATUSES: tuple[LabelStatus, ...] = ("full", "liver_union")


@dataclass(frozen=True)
class TableOrder:
    """Folder of `hepar study predict`, methods in the order of their columns (none: all that are there)."""

    folder: Path
    methods: tuple[str, ...] = ()
    workers: int = 1
    draws: int = 2000


def cross_validation(
    order: TableOrder, out: Path, listen: Listener = lambda *_: None, say: Say = lambda _: None
) -> Any:
    """Write `table.json`, `table.md`, `figures.csv` and `patients.csv`; gives the document.

    Scores are kept beside the predictions, so a second table costs seconds.
    Raises BadInput when a folder or method is missing, and the error of a case that cannot be scored.
    """
    require_writable(out)
    methods = order.methods or methods_of(order.folder)
    document = crossval_document(scored_cases(order, listen, say), methods, order.draws)
    write_json(out / "table.json", document)
    write_text(out / "table.md", markdown(document))
    write_text(out / "figures.csv", figures_csv(document))
    write_text(out / "patients.csv", patients_csv(document))
    return document


def scored_cases(order: TableOrder, listen: Listener = lambda *_: None, say: Say = lambda _: None) -> list[FoldCase]:
    """Every case of every fold and method. Raises BadInput without one."""
    found = []
    for place in folds_in(order.folder):
        listed = listed_cases(place)
        for status in STATUSES:
            for case in _judged(place, status, order, listen, say):
                row = listed.get(case.case)
                if row is None:
                    raise BadInput(f"case {case.case} is not in cases.csv of {place.path.name}; predict the fold again")
                found.append(
                    FoldCase(place.fold, case.case, row["patient"], row["group"], case.method,
                             case.scores["lits"], case.facts)
                )  # fmt: skip
    if not found:
        raise BadInput(f"{order.folder.name} holds no predictions of {', '.join(order.methods) or 'any method'}")
    return found


def folds_in(folder: Path) -> list[FoldFolder]:
    """The folds that were predicted. Raises BadInput when there is none."""
    numbers = sorted(int(m[1]) for path in folder.glob("fold*") if (m := re.fullmatch(r"fold([0-9]+)", path.name)))
    if not numbers:
        raise BadInput(f"{folder.name} holds no fold; make some with `hepar study predict`")
    return [FoldFolder(folder, number) for number in numbers]


def methods_of(folder: Path) -> tuple[str, ...]:
    """Every method with predictions in any fold, in order of name."""
    return tuple(sorted({name for place in folds_in(folder) for s in STATUSES for name in _there(place, s)}))


def _there(place: FoldFolder, status: LabelStatus) -> list[str]:
    parts = [path for path in (place.path / status).glob("*") if path.is_dir()]
    return sorted(path.name for path in parts if path.name not in ("truth", "scores") and any(path.iterdir()))


def _judged(place: FoldFolder, status: LabelStatus, order: TableOrder, listen: Listener, say: Say) -> Sequence[Any]:
    there = _there(place, status)
    names = [name for name in order.methods or there if name in there]
    if missing := set(order.methods) - set(names):
        say(f"fold {place.fold}, {status}: nothing of {', '.join(sorted(missing))}")
    if not names:
        return ()
    entries = tuple(Entry(name, place.found(status, name)) for name in names)
    options = Options(("lits",), status, workers=order.workers, thumbnails=False)
    verdict = judge(RefereeOrder(Entry("truth", place.truth(status)), entries, place.path / status / "scores", options),
                    listen)  # fmt: skip
    if verdict.failures:
        failed = "; ".join(str(error) for error in verdict.failures[:3])
        raise HeparError(f"{len(verdict.failures)} cases could not be scored: {failed}")
    return verdict.cases
