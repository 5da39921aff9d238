"""An arm's figures over all of its finished folds, with interval, count and whether it converged."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hepar.metrics.figures import Figure, FigureSpec, figure
from hepar.metrics.protocols import PROTOCOLS
from hepar.study.reproduce.plan import GROUPS, Arm
from hepar.study.reproduce.results import CellResult, Condition, StudyResults
from hepar.study.statistics import Interval, PairedTest, bootstrap_interval, paired_test
from hepar.study.statistics.bootstrap import NO_INTERVAL

# As everywhere in hepar: of fewer patients an interval says too little.
LEAST_PATIENTS = 5


@dataclass(frozen=True)
class Measure:
    """A column of Tables 1 and 2, and the figure of a protocol that stands for it."""

    name: str
    title: str
    spec: FigureSpec
    protocol: str = "paper"

    @property
    def better_is_higher(self) -> bool:
        return self.spec.better != "low"


def _measure(name: str, title: str, figure_name: str) -> Measure:
    return Measure(name, title, next(s for s in PROTOCOLS["paper"].figures if s.name == figure_name))


# The headline reading: 3D, mean over cases, liver with its tumours, mm. Others stand in the aggregation table.
MEASURES = (
    _measure("liver_dice", "Liver DSC", "liver_union_dice_case"),
    _measure("liver_assd", "Liver ASSD", "liver_union_assd_case_mm"),
    _measure("tumour_dice", "Tumour DSC", "tumour_dice_case"),
    _measure("tumour_assd", "Tumour ASSD", "tumour_assd_case_mm"),
)


@dataclass(frozen=True)
class Value:
    """A figure with its 95 % interval over patients, the cases it rests on, and how many missed the structure."""

    value: float
    interval: Interval
    count: int
    missed: int

    def to_json(self) -> dict[str, float]:
        return {"value": self.value, "low": self.interval.low, "high": self.interval.high, "n": self.count,
                "missed": self.missed}  # fmt: skip


NO_VALUE = Value(math.nan, NO_INTERVAL, 0, 0)


@dataclass(frozen=True)
class ArmResult:
    """What a study has of one arm; `cells` are its finished folds."""

    arm: str
    preprocessing: str
    title: str
    cells: tuple[CellResult, ...]
    folds: int
    failed: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        return self.arm, self.preprocessing

    @property
    def state(self) -> str:
        """ "finished", "2 of 4 folds", "failed" or "not run", and "not converged" where so."""
        if not self.cells:
            return f"failed: {self.failed[0]}" if self.failed else "not run"
        part = "finished" if len(self.cells) == self.folds else f"{len(self.cells)} of {self.folds} folds"
        return part if self.converged else f"{part}, not converged"

    @property
    def converged(self) -> bool:
        """Whether every fold's loss flattened; False without a fold."""
        return bool(self.cells) and all(cell.facts["converged"] for cell in self.cells)

    @property
    def patients(self) -> int:
        return len({case["patient"] for cell in self.cells for case in cell.cases})

    @property
    def protocol(self) -> str:
        """Epochs, updates, minutes and start, as a table's cell says them."""
        if not self.cells:
            return ""
        first = self.cells[0].facts
        minutes = sum(cell.facts["minutes"] for cell in self.cells) / len(self.cells)
        return (
            f"{first['recipe']}: {first['epochs_used']} of {first['epochs_asked']} epochs, {first['updates']} updates "
            f"of {first['batch']}, {minutes:.1f} min a fold, rate {first['learning_rate']:g}, start: "
            f"{first['encoder']['source']}"
        )

    def figure(self, spec: FigureSpec, protocol: str, condition: Condition = "all_slices") -> Figure:
        scores = [s for cell in self.cells for s in cell.scores(condition, protocol).values()]
        return figure(spec, scores)

    def value(self, measure: Measure, condition: Condition = "all_slices") -> Value:
        found = self.figure(measure.spec, measure.protocol, condition)
        patients = [case["patient"] for cell in self.cells for case in cell.cases]
        if not found.count:
            return NO_VALUE
        counting = {p for p, n in zip(patients, found.denominators, strict=True) if n}
        interval = NO_INTERVAL
        if len(counting) >= LEAST_PATIENTS:
            interval = bootstrap_interval(found.numerators, found.denominators, measure.spec.finish, patients)
        return Value(found.value, interval, found.count, found.missed)


def arm_results(study: StudyResults) -> dict[tuple[str, str], ArmResult]:
    """Every arm of the plan by name and preprocessing, those never run included."""
    folds = len(study.facts["fold_sizes"])
    found = {}
    for arm in _all_arms():
        mine = [c for c in study.cells if (c.facts["arm"], c.facts["preprocessing"]) == arm.key]
        failed = tuple(str(c.facts["error"]) for c in mine if not c.finished)
        done = study.of_arm(*arm.key)
        found[arm.key] = ArmResult(*arm.key, arm.title, done, folds if arm.everywhere else 1, failed)
    return found


def _all_arms() -> Iterable[Arm]:
    """Each arm once; an arm that some group runs on every fold is one of every fold."""
    arms: dict[tuple[str, str], Arm] = {}
    for arm in (arm for group in GROUPS.values() for arm in group):
        if arm.key not in arms or arm.everywhere:
            arms[arm.key] = arm
    return arms.values()


def compared(first: ArmResult, second: ArmResult, measure: Measure) -> PairedTest:
    """First minus second over the cases that both tested."""
    mine, theirs = (_by_case(arm, measure) for arm in (first, second))
    shared = [case for case in mine if case in theirs]
    return paired_test(
        [mine[case][0] for case in shared], [theirs[case][0] for case in shared], [mine[case][1] for case in shared]
    )


def _by_case(arm: ArmResult, measure: Measure) -> dict[str, tuple[float, str]]:
    """Value and patient of each test case."""
    found: dict[str, tuple[float, str]] = {}
    for cell in arm.cells:
        patients: Sequence[str] = [case["patient"] for case in cell.cases]
        for (case, scores), patient in zip(cell.scores("all_slices", measure.protocol).items(), patients, strict=True):
            found[case] = (scores.value(measure.spec), patient)
    return found
