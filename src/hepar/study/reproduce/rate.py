"""The learning rate, chosen once on inner patients and then the same for all arms.

Every network of the plan's first groups trains briefly with each candidate on
the first fold's training patients, some of them held back. The rate with the
best mean over networks wins: of inner Dice (liver and tumour), then of the
lower training loss. The held-back patients train in the first fold and are
tested in another one, as any patient must be: one number for all arms was
chosen with a look at them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from hepar.cases import Case, Fold
from hepar.errors import TrainingDiverged
from hepar.files import write_json
from hepar.study.arms import Say
from hepar.study.reproduce.order import Decided, StudyOrder, joint_method, name
from hepar.study.reproduce.plan import GROUPS, Arm
from hepar.training.loop import Listener

CANDIDATES = (1e-2, 1e-3, 1e-4)
# Of the first fold's training patients.
INNER_SHARE = 0.2
RULE = "best mean over networks of inner Dice (mean of liver and tumour), ties by the lower training loss"


@dataclass(frozen=True)
class RateTrials:
    """What is tried: rates, and epochs of each trial by arm."""

    rates: tuple[float, ...] = CANDIDATES
    epochs: int = 1


def choose_rate(
    arms: Sequence[Arm],
    order: StudyOrder,
    decided: Decided,
    training: tuple[Fold, Sequence[Case], RateTrials],
    heard: tuple[Listener, Say],
) -> float:
    """The rate, from `rate.json` if it was chosen before; trials that ended are not repeated."""
    path = order.out / "rate.json"
    known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"trials": []}
    if "chosen" in known:
        return float(known["chosen"])
    fold, cases, trials = training
    rows: list[dict[str, Any]] = known["trials"]
    for arm in networks_of(arms):
        for rate in trials.rates:
            if any((row["arm"], row["rate"]) == (name(arm), rate) for row in rows):
                continue
            tried = replace(decided, learning_rate=rate, epochs={name(arm): trials.epochs})
            rows.append(_trial(arm, order, tried, fold.training_cases(cases), heard[0]))
            heard[1](f"rate {rate:g}, {arm.title}: {told(rows[-1])}")
            write_json(path, {"trials": rows})
    chosen = best_rate(rows)
    inner = sorted({patient for row in rows for patient in row["inner_patients"]})
    write_json(path, {"chosen": chosen, "rule": RULE, "inner_patients": inner, "trials": rows})
    return chosen


def networks_of(arms: Sequence[Arm]) -> list[Arm]:
    """One arm for each network of Table 1 and the fair arms that is in the plan, preprocessed where it can be."""
    found: dict[tuple[str, str], Arm] = {}
    main = {arm.key for group in ("table1", "fair") for arm in GROUPS[group]}
    for arm in [one for one in arms if one.key in main] or [one for one in arms if one.after is None][:1]:
        if arm.preprocessing == "with" or (arm.method, arm.encoder) not in found:
            found[arm.method, arm.encoder] = arm
    return list(found.values())


def best_rate(rows: Sequence[dict[str, Any]]) -> float:
    """By `RULE`; a training that diverged counts as Dice 0 and an endless loss."""

    def merit(rate: float) -> tuple[float, float]:
        mine = [row for row in rows if row["rate"] == rate]
        losses = [math.inf if row["loss"] is None else row["loss"] for row in mine]
        return round(fmean(row["dice"] for row in mine), 6), -fmean(losses)

    rates: list[float] = list(dict.fromkeys(row["rate"] for row in rows))
    return max(rates, key=merit)


def told(row: dict[str, Any]) -> str:
    return "diverged" if row["loss"] is None else f"inner Dice {row['dice']:.3f}, loss {row['loss']:.3f}"


def _trial(arm: Arm, order: StudyOrder, decided: Decided, cases: Sequence[Case], listen: Listener) -> dict[str, Any]:
    method = joint_method(arm, order, decided)
    epochs = method.recipe.epochs
    recipe = replace(method.recipe, validation_share=INNER_SHARE, validate_every=epochs, ema=0.0)
    folder = order.out / "rates" / name(arm) / f"{decided.learning_rate:g}"
    row: dict[str, Any] = {"arm": name(arm), "rate": decided.learning_rate, "epochs": epochs}
    try:
        replace(method, recipe=recipe).train(cases, folder, listen, order.device)
    except TrainingDiverged:
        return row | {"dice": 0.0, "loss": None, "inner_patients": []}
    run, last = (json.loads((folder / file).read_text(encoding="utf-8")) for file in ("run.json", "history.json"))
    dice = fmean(last[-1].get(f"dice_{structure}", 0.0) for structure in ("liver", "tumour"))
    inner = run["inner_validation_patients"]
    return row | {"dice": dice, "loss": last[-1]["loss"], "updates": run["updates"], "inner_patients": inner}
