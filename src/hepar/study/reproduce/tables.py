"""Table 1 and Table 2: published, ours here, and their difference, side by side and never in one column.

The two columns answer different questions whenever the data are not LiTS: the
difference is printed because the issue of this study is how far apart they are,
not because it should be zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hepar.study.reproduce.arm_results import MEASURES, NO_VALUE, ArmResult, Value, compared
from hepar.study.reproduce.plan import LITERAL, WITH, WITHOUT
from hepar.study.reproduce.published import TABLE1, TABLE2
from hepar.study.statistics import PairedTest, with_holm

Arms = Mapping[tuple[str, str], ArmResult]
NOT_RUN_HERE = "not run in this study; see `hepar methods`"


@dataclass(frozen=True)
class TableRow:
    """One arm: what was published (None: nothing), what was measured here, and on how many patients.

    `published` and `ours` are by measure; `protocol` says how ours was trained,
    `correction` what the sources say against the printed figure.
    """

    title: str
    preprocessing: str
    published: dict[str, float | None]
    ours: dict[str, Value]
    state: str
    patients: int
    protocol: str
    split: str = ""
    correction: str = ""

    def difference(self, measure: str) -> float:
        """Ours less published; NaN where either is missing."""
        printed = self.published.get(measure)
        return math.nan if printed is None else self.ours.get(measure, NO_VALUE).value - printed

    def to_json(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "preprocessing": self.preprocessing,
            "split": self.split,
            "state": self.state,
            "patients": self.patients,
            "protocol": self.protocol,
            "correction": self.correction,
            "published": self.published,
            "ours": {name: value.to_json() for name, value in self.ours.items()},
            "difference": {name: self.difference(name) for name in self.published},
        }


@dataclass(frozen=True)
class Comparison:
    """First minus second under one measure, paired over patients; `p` is Holm's over its table."""

    first: str
    second: str
    measure: str
    test: PairedTest
    p: float

    def to_json(self) -> dict[str, Any]:
        return {
            "first": self.first,
            "second": self.second,
            "measure": self.measure,
            **self.test.row(),
            "holm_p": self.p,
        }


@dataclass(frozen=True)
class PaperTable:
    """A table of the paper, with the paired tests below it."""

    title: str
    rows: tuple[TableRow, ...]
    tests: tuple[Comparison, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "rows": [row.to_json() for row in self.rows],
            "tests": [test.to_json() for test in self.tests],
        }


def table1(arms: Arms) -> PaperTable:
    """The four arms, the literal recipe as one row more, and with against without preprocessing."""
    rows = [_row(arms[row.arm, row.preprocessing], row.title, dict(row.values)) for row in TABLE1]
    rows.append(_row(arms[LITERAL.key], f"{arms[LITERAL.key].title}, fold 0", {}))
    pairs = [(arms[arm, WITH], arms[arm, WITHOUT]) for arm in ("cdnn_resnet18", "cdnn_alex")]
    return PaperTable("Table 1", tuple(rows), comparisons(pairs))


def table2(arms: Arms) -> PaperTable:
    """The paper's comparison with others. What others published stays theirs; only Korabelnikov is re-run here."""
    rows = []
    for row in TABLE2:
        printed = {"liver_dice": row.liver_dice, "tumour_dice": row.tumour_dice}
        if row.arm is None:
            rows.append(TableRow(row.title, "", printed, {}, NOT_RUN_HERE, 0, "", row.split, row.correction))
            continue
        ours = _row(arms[row.arm], row.title, printed)
        rows.append(
            TableRow(row.title, ours.preprocessing, printed, ours.ours, ours.state, ours.patients, ours.protocol,
                     row.split, row.correction)
        )  # fmt: skip
    pair = (arms["cdnn_alex", WITH], arms["korabelnikov", WITHOUT])
    return PaperTable("Table 2", tuple(rows), comparisons([pair]))


def comparisons(pairs: list[tuple[ArmResult, ArmResult]]) -> tuple[Comparison, ...]:
    """Every measure of every pair that both ran, Holm-corrected over all of them."""
    tests = [
        (first, second, measure, compared(first, second, measure))
        for first, second in pairs
        if first.cells and second.cells
        for measure in MEASURES
    ]
    corrected = with_holm([test.row() for *_, test in tests])
    return tuple(
        Comparison(_name(first), _name(second), measure.name, test, row["wilcoxon_holm"])
        for (first, second, measure, test), row in zip(tests, corrected, strict=True)
    )


def _row(arm: ArmResult, title: str, printed: dict[str, float | None]) -> TableRow:
    ours = {measure.name: arm.value(measure) for measure in MEASURES} if arm.cells else {}
    return TableRow(title, arm.preprocessing, printed, ours, arm.state, arm.patients, arm.protocol)


def _name(arm: ArmResult) -> str:
    return f"{arm.title} ({arm.preprocessing} preprocessing)"
