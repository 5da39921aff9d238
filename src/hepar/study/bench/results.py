"""What a bench folder holds, as `cell` and `study` wrote it, finished or not."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hepar import methods
from hepar.errors import BadInput
from hepar.metrics.figures import ProtocolScores
from hepar.study.crossval_table import FoldCase
from hepar.study.reproduce.arm_results import ArmResult
from hepar.study.reproduce.results import CellResult, read_cell


@dataclass(frozen=True)
class BenchResults:
    """All cells of a bench that ended, by method and fold; `facts` is its `study.json`."""

    folder: Path
    facts: dict[str, Any]
    cells: tuple[CellResult, ...]

    @property
    def folds(self) -> int:
        return len(self.facts.get("fold_sizes", ()))

    @cached_property
    def methods(self) -> dict[str, ArmResult]:
        """Every method of the registry and each variant that was tried, by name; its finished cells and failures."""
        there = [str(cell.facts["method"]) for cell in self.cells]
        return {name: self._of(name) for name in [*methods.names(), *sorted(set(there) - set(methods.names()))]}

    def fold_cases(self) -> list[FoldCase]:
        """Every test case of every finished cell, as tables of left-out patients take them."""
        return [
            FoldCase(
                int(cell.facts["fold"]),
                case["case"],
                case["patient"],
                self.facts["group"],
                str(cell.facts["method"]),
                ProtocolScores.from_json(case["conditions"]["all_slices"]["lits"]),
                case["facts"],
            )
            for cell in self.cells
            for case in cell.cases
        ]

    def _of(self, name: str) -> ArmResult:
        mine = sorted((c for c in self.cells if c.facts["method"] == name), key=lambda c: int(c.facts["fold"]))
        done = tuple(cell for cell in mine if cell.finished)
        failed = tuple(str(cell.facts["error"]) for cell in mine if not cell.finished)
        return ArmResult(name, "", name, done, self.folds, failed)


def read_bench(folder: Path) -> BenchResults:
    """What a bench folder holds now. Raises BadInput when it is none."""
    try:
        facts = json.loads((folder / "study.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{folder.name} holds no study.json of a bench; make it with `hepar study bench`") from error
    if "budget_minutes" not in facts.get("order", {}):
        raise BadInput(f"{folder.name} holds another kind of study; expected one of `hepar study bench`")
    cells = [read_cell(path.parent) for path in sorted((folder / "cells").glob("*/fold*/cell.json"))]
    return BenchResults(folder, facts, tuple(cells))
