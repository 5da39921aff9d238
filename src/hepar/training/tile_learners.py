"""How a classifier of tiles is chosen and fitted; what it reports was measured on patients that did not teach it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from hepar.cases import Fold
from hepar.classical.kernel_machine import KernelMachine, fit_kernel_machine
from hepar.classical.rough_sets import (
    RoughRules,
    cut_into_values,
    dependency,
    equal_frequency_cuts,
    induced_rules,
    quick_reduct,
)
from hepar.classical.tile_figures import accuracies, figures
from hepar.errors import BadInput
from hepar.inference.classical import TileClassifier
from hepar.training.tile_tables import Floats, TileTable

Fit = Callable[[TileTable], TileClassifier]


@dataclass(frozen=True)
class SupportVectors:
    """A support vector machine with a Gaussian kernel, its two numbers chosen on inner folds over patients.

    `c`: what a wrong tile costs; `gamma`: the kernel's, times the number of
    features. The choice sees `search_tiles` tiles or fewer; the machine then
    learns from all. Without inner folds to judge by, both are the middle one of their list.
    Raises BadInput for empty lists.
    """

    c: tuple[float, ...] = (1.0, 10.0, 100.0)
    gamma: tuple[float, ...] = (0.25, 1.0, 4.0)
    search_tiles: int = 6000

    def __post_init__(self) -> None:
        if not (self.c and self.gamma and min(*self.c, *self.gamma) > 0):
            raise BadInput(f"c is {self.c}, gamma {self.gamma}; expected at least one of each, all above 0")

    def fit(self, table: TileTable, folds: Sequence[Fold], seed: int) -> tuple[KernelMachine, dict[str, Any]]:
        """The machine, and what run.json says of the choice."""
        few = table.drawn(self.search_tiles, seed)
        if not usable(few, folds):
            chosen = (self.c[len(self.c) // 2], self.gamma[len(self.gamma) // 2])
            return fit_kernel_machine(table.features, table.kinds, *chosen), {"c": chosen[0], "gamma": chosen[1]}
        tried = []
        for c, gamma in product(self.c, self.gamma):
            kinds, scores = out_of_fold(few, folds, lambda part, c=c, gamma=gamma: _machine(part, c, gamma))  # type: ignore[misc]
            tried.append((accuracies(scores.argmax(axis=1), kinds)[1], c, gamma, figures(scores, kinds)))
        # At a tie the first one, which is the smoothest.
        best = max(tried, key=lambda one: one[0])
        rows = [{"c": c, "gamma": gamma, "balanced_accuracy": round(value, 4)} for value, c, gamma, _ in tried]
        facts = {"c": best[1], "gamma": best[2], "out_of_fold": best[3], "tried": rows}
        return fit_kernel_machine(table.features, table.kinds, *best[1:3]), facts


@dataclass(frozen=True)
class RoughSets:
    """Rules over a reduct: each feature is cut into `values` parts of equal frequency, and few of them are kept.

    Nothing is chosen on inner folds; they only say how well rules of other
    patients tell tiles apart. Raises BadInput below 2 values.
    """

    values: int = 4

    def __post_init__(self) -> None:
        if self.values < 2:
            raise BadInput(f"features cut into {self.values} values; expected 2 or more")

    def fit(self, table: TileTable, folds: Sequence[Fold], seed: int) -> tuple[RoughRules, dict[str, Any]]:
        """The rules, and what run.json says of them; `seed` is not needed."""
        del seed
        rules, reduct, certain = self._rules(table)
        facts: dict[str, Any] = {"reduct": list(reduct), "rules": len(rules.rules), "dependency": round(certain, 4)}
        if usable(table, folds):
            kinds, scores = out_of_fold(table, folds, lambda part: self._rules(part)[0])
            facts["out_of_fold"] = figures(scores, kinds)
        return rules, facts

    def _rules(self, table: TileTable) -> tuple[RoughRules, tuple[int, ...], float]:
        """Rules, the features they are about, and the share of tiles whose class follows from these for certain."""
        cuts = equal_frequency_cuts(table.features, self.values)
        values = cut_into_values(table.features, cuts)
        # Where nothing is certain, nothing can be lost, and the reduct is empty.
        reduct = quick_reduct(values, table.kinds) or tuple(range(values.shape[1]))
        rules = induced_rules(values, table.kinds, reduct)
        classes = int(table.kinds.max(initial=0)) + 1
        return RoughRules(cuts, rules, classes), reduct, dependency(values, table.kinds, reduct)


def out_of_fold(table: TileTable, folds: Sequence[Fold], fit: Fit) -> tuple[Any, Floats]:
    """Class (n,) and scores (n, classes) of every tile by a classifier that saw none of its patient.

    Folds that are not `usable` are left out.
    """
    classes = int(table.kinds.max(initial=0)) + 1
    kinds, scores = [np.zeros(0, np.int64)], [np.zeros((0, classes))]
    for fold in usable(table, folds):
        teach, judge = table.of(fold.train), table.of(fold.test)
        assert not set(teach.patients) & set(judge.patients), "a patient teaches and judges"
        kinds.append(judge.kinds)
        scores.append(fit(teach).scores(judge.features))
    return np.concatenate(kinds), np.concatenate(scores)


def usable(table: TileTable, folds: Sequence[Fold]) -> list[Fold]:
    """The folds whose training tiles have every class, and whose test patients have tiles."""
    classes = len(np.unique(table.kinds))
    return [
        fold for fold in folds if len(np.unique(table.of(fold.train).kinds)) == classes and len(table.of(fold.test))
    ]


def _machine(table: TileTable, c: float, gamma: float) -> KernelMachine:
    return fit_kernel_machine(table.features, table.kinds, c, gamma)
