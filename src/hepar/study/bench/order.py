"""What a user asks of a bench, and the cells that it is made of: a method on a fold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hepar import methods
from hepar.errors import BadInput


@dataclass(frozen=True)
class BenchOrder:
    """One bench as a user asks for it.

    `data` None benches `phantoms`. `folds` is a fold file, or a count of folds
    to deal. `budget_minutes` is for the updates of one cell, all of its
    networks together. `weights` is a folder of ImageNet weights, "none", or
    None to look beside the data and in the cache. `matrix` is the largest side
    of a slice network's pictures, None each method's own. `tiny` shrinks every
    method as the contract test does, to try the bench itself.
    """

    data: Path | None
    out: Path
    folds: str = "4"
    budget_minutes: float = 10.0
    weights: str | None = None
    phantoms: int = 0
    matrix: int | None = None
    tiny: bool = False
    seed: int = 2018
    device: str = "auto"

    def facts(self) -> dict[str, Any]:
        """What makes it this bench and no other: a folder holds one. Methods and folds may be added later."""
        return {
            "data": self.data.resolve().name if self.data else f"{self.phantoms} phantoms",
            "phantoms": self.phantoms,
            "folds": self.folds if self.folds.isdigit() else Path(self.folds).name,
            "budget_minutes": self.budget_minutes,
            "matrix": self.matrix,
            "tiny": self.tiny,
            "seed": self.seed,
            "device": self.device,
        }


@dataclass(frozen=True)
class BenchCell:
    """A method, by its name or as name/variant, on one fold."""

    method: str
    fold: int

    @property
    def arm(self) -> str:
        """The method's name as a folder's."""
        return self.method.replace("/", "+")

    @property
    def id(self) -> str:
        return f"{self.arm}/fold{self.fold}"


@dataclass(frozen=True)
class BenchJob:
    """A cell with all that another process needs to run it."""

    cell: BenchCell
    order: BenchOrder

    @property
    def folder(self) -> Path:
        return self.order.out / "cells" / self.cell.id


def cells_of(chosen: Sequence[str], folds: Sequence[int]) -> list[BenchCell]:
    """Fold by fold, so that a bench that is stopped early compares whole folds; () means all methods.

    Raises BadInput for an unknown method or variant.
    """
    for name in chosen:
        methods.get(name)
    return [BenchCell(name, fold) for fold in folds for name in (chosen or methods.names())]


def folds_to_run(asked: Sequence[int], every: bool, count: int) -> list[int]:
    """The folds asked for, each once, or the first one. Raises BadInput for one that is not there."""
    if every:
        return list(range(count))
    if wrong := [fold for fold in asked if not 0 <= fold < count]:
        raise BadInput(f"the fold file has folds 0 to {count - 1}, not {', '.join(map(str, wrong))}")
    return sorted(set(asked)) or [0]
