"""Rough sets (Pawlak 1982): what a table tells for certain, by how few of its attributes, and in which rules.

A table is (n, attributes) of small whole numbers; its rows with the same values
cannot be told apart. Where such rows are of several classes, the table is
inconsistent, and rules follow the majority.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepar.errors import BadModel

Floats = NDArray[np.float64]
Table = NDArray[np.int64]
Kinds = NDArray[np.int64]
Mask = NDArray[np.bool_]
Cuts = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Rule:
    """If each attribute (index, value) of `conditions` has its value, it is `kind`, as in `support` tiles."""

    conditions: tuple[tuple[int, int], ...]
    kind: int
    support: int


@dataclass(frozen=True)
class RoughRules:
    """A fitted classifier: where attributes are cut into values, and rules over those of them that count.

    Rules vote with their support. Where no rule fits, those vote that fit in
    the largest share of their conditions. Raises BadModel for rules about
    attributes, values or classes that are not there.
    """

    cuts: Cuts
    rules: tuple[Rule, ...]
    classes: int

    def __post_init__(self) -> None:
        for rule in self.rules:
            sound = all(0 <= a < len(self.cuts) and 0 <= v <= len(self.cuts[a]) for a, v in rule.conditions)
            if not (sound and rule.conditions and 0 <= rule.kind < self.classes and rule.support > 0):
                raise BadModel("a stored rule is about what is not in its table; train the model again")
        if not self.rules:
            raise BadModel("a rule classifier without rules; train the model again")

    def scores(self, features: Floats) -> Floats:
        """(n, classes) that sum to 1: each class's share of the votes."""
        table = cut_into_values(features, self.cuts)
        met = np.zeros((len(table), len(self.rules)))
        for number, rule in enumerate(self.rules):
            fits = [table[:, attribute] == value for attribute, value in rule.conditions]
            met[:, number] = np.mean(fits, axis=0)
        best = met >= met.max(axis=1, keepdims=True) - 1e-9
        votes = np.zeros((len(self.rules), self.classes))
        votes[np.arange(len(self.rules)), [rule.kind for rule in self.rules]] = [rule.support for rule in self.rules]
        found = best @ votes
        return np.asarray(found / found.sum(axis=1, keepdims=True))

    def arrays(self) -> dict[str, Floats]:
        """None: everything is in the settings, for anyone to read."""
        return {}

    def to_json(self) -> dict[str, Any]:
        rules = [
            {"if": [list(pair) for pair in r.conditions], "kind": r.kind, "support": r.support} for r in self.rules
        ]
        return {"cuts": [list(own) for own in self.cuts], "rules": rules, "classes": self.classes}

    @classmethod
    def from_parts(cls, facts: dict[str, Any], arrays: dict[str, Floats]) -> RoughRules:
        """What `to_json` gave; there are no arrays. Raises BadModel."""
        del arrays
        try:
            cuts = tuple(tuple(float(cut) for cut in own) for own in facts["cuts"])
            rules = tuple(
                Rule(tuple((int(a), int(v)) for a, v in row["if"]), int(row["kind"]), int(row["support"]))
                for row in facts["rules"]
            )
            return cls(cuts, rules, int(facts["classes"]))
        except (KeyError, TypeError, ValueError) as error:
            raise BadModel(f"stored rules cannot be read ({error}); train the model again") from error


def equal_frequency_cuts(features: Floats, values: int) -> Cuts:
    """For each column at most `values` - 1 cuts between parts of equal size; fewer where numbers repeat."""
    shares = np.arange(1, values) / values
    # The smallest value would cut off nothing.
    return tuple(
        tuple(cut for cut in np.unique(np.quantile(column, shares)).tolist() if cut > column.min())
        for column in features.T
    )


def cut_into_values(features: Floats, cuts: Cuts) -> Table:
    """(n, attributes): how many cuts lie at or below each number."""
    columns = [np.searchsorted(own, column, side="right") for column, own in zip(features.T, cuts, strict=True)]
    return np.stack(columns, axis=1).astype(np.int64)


def dependency(table: Table, kinds: Kinds, attributes: Sequence[int]) -> float:
    """Share of rows whose class follows for certain from these attributes (Pawlak's degree of dependency)."""
    return _certain(_blocks(table, attributes), kinds)


def quick_reduct(table: Table, kinds: Kinds) -> tuple[int, ...]:
    """Attributes, ascending, on which the classes depend as on all of them, and none of which can be left out.

    Greedy (QuickReduct): the attribute that makes most rows certain comes
    first; where that leaves a tie, the one that leaves the least uncertainty
    (conditional entropy). What became superfluous is dropped at the end.
    """
    every = range(table.shape[1])
    goal = dependency(table, kinds, every)
    chosen: list[int] = []
    blocks = np.zeros(len(table), np.int64)
    while _certain(blocks, kinds) < goal:
        tried = {a: _joined(blocks, table[:, a]) for a in every if a not in chosen}
        best = max(tried, key=lambda a: (_certain(tried[a], kinds), -_entropy(tried[a], kinds), -a))
        chosen.append(best)
        blocks = tried[best]
    for attribute in list(chosen):
        rest = [a for a in chosen if a != attribute]
        if dependency(table, kinds, rest) >= goal:
            chosen = rest
    return tuple(sorted(chosen))


def majority(table: Table, kinds: Kinds) -> Kinds:
    """Each row's class, or that of most rows like it; at a tie the class that is rarer in the table."""
    blocks = _blocks(table, range(table.shape[1]))
    counts = _counts(blocks, kinds)
    rare = -np.bincount(kinds, minlength=counts.shape[1]) / (len(kinds) + 1)
    return np.asarray((counts + rare)[blocks].argmax(axis=1) if len(kinds) else kinds)


def induced_rules(table: Table, kinds: Kinds, attributes: Sequence[int]) -> tuple[Rule, ...]:
    """Minimal rules by `attributes` that fit every row (LEM2, Grzymala-Busse 1992), the strongest first.

    Inconsistent rows are taken as `majority` has them. A rule's support is the
    number of rows that it is right about.
    """
    chosen = list(attributes)
    settled = majority(table[:, chosen], kinds)
    pairs = [(a, int(v)) for a in chosen for v in np.unique(table[:, a])]
    fits = np.stack([table[:, a] == v for a, v in pairs]) if pairs else np.zeros((0, len(table)), bool)
    rules = []
    for kind in np.unique(settled).tolist():
        concept = settled == kind
        for picked in _local_covering(fits, [a for a, _ in pairs], concept):
            covered = fits[picked].all(axis=0)
            support = int((covered & (kinds == kind)).sum())
            rules.append(Rule(tuple(pairs[p] for p in picked), kind, max(1, support)))
    return tuple(sorted(rules, key=lambda rule: (-rule.support, rule.kind, rule.conditions)))


def _local_covering(fits: Mask, owner: list[int], concept: Mask) -> list[list[int]]:
    """Sets of pairs (rows of `fits`), each true of rows of `concept` only, together true of all of them."""
    sizes, attribute = fits.sum(axis=1), np.asarray(owner)
    weights = fits.astype(np.float32)
    found, left = [], concept.copy()
    while left.any():
        picked: list[int] = []
        goal, covered = left.copy(), np.ones_like(left)
        while not picked or (covered & ~concept).any():
            reach = weights @ goal.astype(np.float32)
            reach[np.isin(attribute, attribute[picked])] = -1
            best = int(np.lexsort((sizes, -reach))[0])
            picked.append(best)
            goal &= fits[best]
            covered &= fits[best]
        for pair in list(picked):
            rest = [p for p in picked if p != pair]
            if rest and not (fits[rest].all(axis=0) & ~concept).any():
                picked = rest
        found.append(sorted(picked))
        left &= ~fits[picked].all(axis=0)
    return _without_superfluous(fits, found)


def _without_superfluous(fits: Mask, found: list[list[int]]) -> list[list[int]]:
    """Without the sets whose rows others cover too, the smallest first."""
    covers = [fits[picked].all(axis=0) for picked in found]
    times = np.sum(covers, axis=0)
    kept = set(range(len(found)))
    for number in sorted(kept, key=lambda k: int(covers[k].sum())):
        if (times[covers[number]] > 1).all():
            kept.remove(number)
            times = times - covers[number]
    return [found[number] for number in sorted(kept)]


def _blocks(table: Table, attributes: Sequence[int]) -> Table:
    """(n,) number of the block of rows that look the same to `attributes`."""
    blocks = np.zeros(len(table), np.int64)
    for attribute in attributes:
        blocks = _joined(blocks, table[:, attribute])
    return blocks


def _joined(blocks: Table, values: Table) -> Table:
    return np.asarray(np.unique(blocks * (int(values.max(initial=0)) + 1) + values, return_inverse=True)[1])


def _counts(blocks: Table, kinds: Kinds) -> Table:
    """(blocks, classes) rows of each."""
    classes = int(kinds.max(initial=0)) + 1
    size = (int(blocks.max(initial=0)) + 1) * classes
    return np.bincount(blocks * classes + kinds, minlength=size).reshape(-1, classes)


def _certain(blocks: Table, kinds: Kinds) -> float:
    counts = _counts(blocks, kinds)
    return float(counts[(counts > 0).sum(axis=1) == 1].sum() / max(1, len(kinds)))


def _entropy(blocks: Table, kinds: Kinds) -> float:
    """Bits that the class still has, on average over rows, when the block is known."""
    counts = _counts(blocks, kinds)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    bits = -(counts * np.log2(np.where(shares > 0, shares, 1))).sum()
    # Rounded, so that a tie does not depend on the order of a sum.
    return round(float(bits) / max(1, len(kinds)), 9)
