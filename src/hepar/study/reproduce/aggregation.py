"""The same predictions under every protocol: how far the reading alone moves a figure."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from hepar.metrics.figures import FigureSpec
from hepar.metrics.protocols import PROTOCOLS
from hepar.study.reproduce.arm_results import ArmResult
from hepar.study.reproduce.results import CONDITIONS, Condition

CONDITION_WORDS: dict[Condition, str] = {
    "all_slices": "all slices",
    "liver_slices": "slices that show liver in the truth",
}
# Names of figures that answer to the paper's DSC and ASSD: structure, measure, and how it is taken together.
NAMES = re.compile(
    r"(?P<structure>liver|tumour|lesion)(_union|_exclusive)?_(?P<measure>dice|assd)"
    r"(_mm|_global|_per_case|_(slice|case|pooled)(_mm|_px)?)?"
)


@dataclass(frozen=True)
class Reading:
    """One figure of one arm under one protocol and condition."""

    kind: str
    arm: str
    protocol: str
    figure: str
    condition: str
    value: float
    count: int
    missed: int


@dataclass(frozen=True)
class Spread:
    """How far the readings of one figure lie apart for one arm; `lowest` and `highest` name theirs."""

    kind: str
    arm: str
    lowest: Reading
    highest: Reading

    @property
    def width(self) -> float:
        return self.highest.value - self.lowest.value


@dataclass(frozen=True)
class Aggregation:
    """All readings, arm by arm, and the spread of each figure."""

    readings: tuple[Reading, ...]

    @property
    def spreads(self) -> tuple[Spread, ...]:
        found = []
        for kind, arm in dict.fromkeys((reading.kind, reading.arm) for reading in self.readings):
            mine = [r for r in self.readings if (r.kind, r.arm) == (kind, arm)]
            ordered = sorted(mine, key=lambda r: r.value)
            found.append(Spread(kind, arm, ordered[0], ordered[-1]))
        return tuple(found)

    def to_json(self) -> dict[str, Any]:
        return {
            "readings": [vars(reading) for reading in self.readings],
            "spreads": [
                {"kind": s.kind, "arm": s.arm, "lowest": vars(s.lowest), "highest": vars(s.highest), "width": s.width}
                for s in self.spreads
            ],
        }


def aggregation(arms: list[ArmResult]) -> Aggregation:
    """Every reading of these arms that has a value; arms without a finished fold take no part."""
    readings = []
    for arm in (arm for arm in arms if arm.cells):
        for name, protocol in PROTOCOLS.items():
            for spec in protocol.figures:
                kind = kind_of(spec)
                if kind:
                    readings += [one for one in (_reading(arm, name, (kind, spec), c) for c in CONDITIONS) if one]
    return Aggregation(tuple(readings))


def kind_of(spec: FigureSpec) -> str | None:
    """Which of the paper's figures a protocol's figure answers to, as "liver DSC"; None for others."""
    found = NAMES.fullmatch(spec.name)
    if found is None:
        return None
    structure = "liver" if found["structure"] == "liver" else "tumour"
    return f"{structure} DSC" if found["measure"] == "dice" else f"{structure} ASSD, {spec.unit}"


def _reading(arm: ArmResult, protocol: str, what: tuple[str, FigureSpec], condition: Condition) -> Reading | None:
    kind, spec = what
    found = arm.figure(spec, protocol, condition)
    if math.isnan(found.value) or not found.count:
        return None
    name = f"{arm.title} ({arm.preprocessing})"
    return Reading(kind, name, protocol, spec.title, CONDITION_WORDS[condition], found.value, found.count, found.missed)
