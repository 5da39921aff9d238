"""How many epochs a budget leaves, and how many hours a study will take: measured, then kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any

from hepar.cases import Fold
from hepar.files import write_json
from hepar.study.reproduce.order import Decided, StudyOrder, epochs_asked, joint_method, name
from hepar.study.reproduce.plan import Arm, Cell
from hepar.study.reproduce.protocol import CaseSurvey
from hepar.training.deep_method import DeepMethod
from hepar.training.pace import Pace, measure_pace

# Reading, preparing, storing and scoring a test case, beside the network: measured on some 110 slices of 512x512.
SCORING_SECONDS = 15.0
Measure = Callable[[DeepMethod, str], Pace]


def epochs_of(
    arms: Sequence[Arm],
    order: StudyOrder,
    decided: Decided,
    where: tuple[dict[str, CaseSurvey], Sequence[Fold]],
    measure: Measure = measure_pace,
) -> dict[str, dict[str, Any]]:
    """By arm: epochs asked and used, updates an epoch, seconds an epoch and a slice; kept in `timing.json`.

    A budget scales epochs down to what fits, at least one, and never up. All
    folds of an arm get the same number. What was kept is not measured again,
    so a study goes on with the epochs it began with.
    """
    path = order.out / "timing.json"
    kept: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    paces: dict[tuple[str, str | None], Pace] = {}
    for arm in arms:
        if arm.after or name(arm) in kept:
            continue
        method = joint_method(arm, order, decided)
        network = (arm.method, arm.recipe)
        if network not in paces:
            paces[network] = measure(method, order.device)
        pace, updates = paces[network], fmean(updates_an_epoch(method, fold, where[0]) for fold in where[1])
        asked = epochs_asked(arm, order, decided)
        seconds = max(1e-6, updates * pace.update)
        fits = asked if order.budget_minutes is None else int(order.budget_minutes * 60 // seconds)
        kept[name(arm)] = {
            "epochs_asked": asked,
            "epochs_used": min(asked, max(1, fits)),
            "updates_an_epoch": round(updates, 1),
            "seconds_an_epoch": round(seconds, 3),
            "seconds_a_slice": round(pace.slice, 4),
            "pace": asdict(pace),
        }
        write_json(path, kept)
    return kept


def updates_an_epoch(method: DeepMethod, fold: Fold, surveyed: dict[str, CaseSurvey]) -> int:
    """Updates of one epoch on the fold's training patients."""
    recipe = method.recipe
    mine = [row for row in surveyed.values() if row.patient in set(fold.train)]
    slices = sum(row.labelled if recipe.slices == "any_label" else row.slices for row in mine)
    if recipe.samples_per_epoch:
        drawn = recipe.samples_per_epoch
        slices = min(slices, drawn) if recipe.sampling == "shuffle" else drawn
    whole = slices // recipe.batch
    return whole if recipe.drop_last and whole else -(-slices // recipe.batch)


def hours_left(
    cells: Iterable[Cell],
    timing: dict[str, dict[str, Any]],
    where: tuple[dict[str, CaseSurvey], Sequence[Fold]],
    workers: int,
) -> float:
    """An estimate for cells that are not finished, on a machine with nothing else to do."""
    surveyed, folds = where
    seconds = 0.0
    for cell in cells:
        tested = [row for row in surveyed.values() if row.patient in set(folds[cell.fold].test)]
        seconds += SCORING_SECONDS * len(tested)
        own = timing.get(name(cell.arm))
        networks = 2 if cell.arm.stages == "cascade" else 1
        if own:
            seconds += networks * own["epochs_used"] * own["seconds_an_epoch"]
        # A cell that takes a network over still labels with it, unless it takes over the labels as well.
        slices = own or timing.get("/".join(cell.arm.after or ()))
        if slices and cell.arm.finish != "largest_component":
            seconds += networks * slices["seconds_a_slice"] * sum(row.slices for row in tested)
    return seconds / 3600 / max(1, workers)
