"""What the networks of a run folder were trained for, read from their histories, however deep they lie."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hepar.study.bench.scaling import CellPlan
from hepar.study.reproduce.convergence import Convergence, of_all


@dataclass(frozen=True)
class TrainedNetwork:
    """One training inside a method's: its folder below the run's, its updates, minutes and mean loss by epoch."""

    name: str
    updates: int
    minutes: float
    loss: tuple[float, ...]


def networks_in(run: Path) -> list[TrainedNetwork]:
    """Every network that was trained in `run`, those of inner folds included."""
    found = []
    for path in sorted(run.rglob("history.json")):
        rows = json.loads(path.read_text(encoding="utf-8"))
        minutes = sum(row["seconds"] for row in rows) / 60
        name = path.parent.relative_to(run).as_posix()
        losses = tuple(round(float(row["loss"]), 5) for row in rows)
        found.append(TrainedNetwork("joint" if name == "." else name, rows[-1]["updates"], round(minutes, 3), losses))
    return found


def convergence_of(networks: Sequence[TrainedNetwork], plan: CellPlan) -> Convergence:
    """Whether a cell's networks have converged: none was cut short below its own epochs, and all losses flattened."""
    if not networks:
        return Convergence(True, "no epochs: fitted to its end")
    pieces = [stage for stage in plan.stages if not stage.whole and stage.updates < stage.updates_asked]
    if pieces:
        done, asked = sum(one.updates for one in pieces), sum(one.updates_asked for one in pieces)
        return Convergence(False, f"the budget ended it after {done} of {asked} updates of its recipe")
    return of_all([network.loss for network in networks])
