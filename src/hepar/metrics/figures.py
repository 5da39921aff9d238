"""What a protocol reports: figures, each a ratio of sums over cases.

A mean over cases, a global Dice, a pooled precision and a root mean square all
are `finish(sum of numerators / sum of denominators)`. Kept that way, a figure
can be taken over any subset or resampling of patients without a second rule,
and the cases that do not count (denominator 0) can be told beside it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Finish = Literal["ratio", "root", "max"]
Term = tuple[float, float]
NOTHING: Term = (0.0, 0.0)


@dataclass(frozen=True)
class FigureSpec:
    """One figure of a protocol.

    `better` tells which way is good (None: neither, such as a signed
    difference). `when_empty` is the value over no counting case at all; the
    official scorer has numbers there. `main` figures are the ones a terminal
    shows.
    """

    name: str
    title: str
    unit: str = ""
    better: Literal["high", "low"] | None = "high"
    finish: Finish = "ratio"
    when_empty: float = math.nan
    main: bool = False


@dataclass(frozen=True)
class ProtocolScores:
    """One case under one protocol.

    `terms` holds numerator and denominator of each figure by name, (0, 0) where
    the case does not count. `missed` names the figures where the protocol's
    penalty for a missed structure stands. `crash` says why the official program
    would have stopped at this case; its terms are then all (0, 0). `details`
    are plain values for reports.
    """

    terms: Mapping[str, Term]
    missed: tuple[str, ...] = ()
    crash: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    def value(self, spec: FigureSpec) -> float:
        """The case's own value of a figure; NaN where it does not count."""
        top, bottom = self.terms.get(spec.name, NOTHING)
        return over([top], [bottom], spec.finish)

    def to_json(self) -> dict[str, Any]:
        return {
            "terms": {name: list(term) for name, term in self.terms.items() if tuple(term) != NOTHING},
            "missed": list(self.missed),
            "crash": self.crash,
            "details": dict(self.details),
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> ProtocolScores:
        terms = {name: (float(top), float(bottom)) for name, (top, bottom) in stored["terms"].items()}
        return cls(terms, tuple(stored["missed"]), stored["crash"], stored["details"])


@dataclass(frozen=True, eq=False)
class Figure:
    """A figure over cases: float64 `numerators` and `denominators`, one a case."""

    spec: FigureSpec
    numerators: NDArray[np.float64]
    denominators: NDArray[np.float64]
    missed: int
    scored: int

    @property
    def value(self) -> float:
        """`when_empty` stands only where cases were scored: over none, or crashes alone, there is no figure."""
        found = over(self.numerators, self.denominators, self.spec.finish)
        return self.spec.when_empty if math.isnan(found) and self.scored else found

    @property
    def count(self) -> int:
        """Cases that count."""
        return int(np.count_nonzero(self.denominators))

    @property
    def excluded(self) -> int:
        """Cases where the figure is not defined."""
        return len(self.denominators) - self.count

    @property
    def per_case(self) -> NDArray[np.float64]:
        """Each case's own value; NaN where it does not count."""
        pairs = zip(self.numerators, self.denominators, strict=True)
        return np.array([over([top], [bottom], self.spec.finish) for top, bottom in pairs], dtype=np.float64)


def figure(spec: FigureSpec, cases: Sequence[ProtocolScores]) -> Figure:
    """One figure over scored cases."""
    terms = np.array([case.terms.get(spec.name, NOTHING) for case in cases], dtype=np.float64).reshape(-1, 2)
    missed = sum(spec.name in case.missed for case in cases)
    return Figure(spec, terms[:, 0], terms[:, 1], missed, sum(case.crash is None for case in cases))


def over(
    numerators: Sequence[float] | NDArray[np.float64], denominators: Sequence[float] | NDArray[np.float64], how: Finish
) -> float:
    """The value of sums; NaN where nothing counts."""
    tops, bottoms = np.asarray(numerators, np.float64), np.asarray(denominators, np.float64)
    counts = bottoms != 0
    if not counts.any():
        return math.nan
    if how == "max":
        return float((tops[counts] / bottoms[counts]).max())
    ratio = float(tops.sum() / bottoms.sum())
    return math.sqrt(ratio) if how == "root" else ratio
