"""What a budget leaves of a method's trainings, decided once for a cell and kept in its `plan.json`.

All trainings of a method shrink by one factor, so each keeps its share of the
work; none grows. Where fewer than eight whole epochs fit, the updates that fit
are dealt into eight pieces instead, each drawn anew the recipe's own way, so
that a loss has a course. What is shrunk is told, in numbers of updates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from hepar.cases import Fold
from hepar.study.bench.pace import StagePace
from hepar.study.bench.stages import Place, Stage, is_training, rebuilt, stages_of
from hepar.study.reproduce.budget import updates_an_epoch
from hepar.study.reproduce.convergence import LEAST_EPOCHS
from hepar.study.reproduce.protocol import CaseSurvey, burden_of
from hepar.training.deep_method3d import Deep3dMethod
from hepar.training.loop3d import SAMPLES_PER_EPOCH
from hepar.training.planned_method import UPDATES_PER_EPOCH, PlannedMethod

# Labelling of training cases for a later stage may take this much of a budget; else fewer patients train.
LABELLING_SHARE = 0.5
# Inner folds and inner validation need some.
LEAST_PATIENTS = 6


@dataclass(frozen=True)
class StagePlan:
    """How one training of a method is run; `samples_per_epoch` None is the recipe's own."""

    name: str
    times: int
    updates_asked: int
    updates: int
    epochs: int
    samples_per_epoch: int | None = None
    warmup_updates: int | None = None

    @property
    def whole(self) -> bool:
        """Whether its epochs are the recipe's."""
        return self.samples_per_epoch is None


@dataclass(frozen=True)
class CellPlan:
    """Patients that train, and the plan of each training; `share` is the factor that all were shrunk by."""

    patients: tuple[str, ...]
    left_out: int
    share: float
    labelling_minutes: float
    stages: tuple[StagePlan, ...]

    @property
    def shrunk(self) -> bool:
        return any(stage.updates < stage.updates_asked for stage in self.stages)

    @property
    def sentences(self) -> tuple[str, ...]:
        """What differs from the method's own recipe, one sentence each."""
        told = []
        for stage in self.stages:
            if stage.updates < stage.updates_asked:
                how = f"{stage.epochs} whole epochs" if stage.whole else "less than eight epochs"
                told.append(f"{stage.name}: {stage.updates} of {stage.updates_asked} updates ({how})")
        if self.left_out:
            count = len(self.patients)
            told.append(f"{count} of {count + self.left_out} patients train: its stages label all that train")
        return tuple(told)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> CellPlan:
        stages = tuple(StagePlan(**stage) for stage in row["stages"])
        return cls(**{**row, "patients": tuple(row["patients"]), "stages": stages})


def plan_cell(
    method: Any, paces: Mapping[str, StagePace], fold: Fold, surveyed: Mapping[str, CaseSurvey], minutes: float
) -> CellPlan:
    """The plan of a method on a fold's training patients under a budget of so many `minutes`."""
    stages, seconds = stages_of(method), 60 * minutes
    known = {row.patient for row in surveyed.values()}
    everybody = tuple(patient for patient in fold.train if patient in known)
    patients = _patients_to_label(everybody, surveyed, _labelling_a_slice(stages, paces), LABELLING_SHARE * seconds)
    labelling = _labelling_a_slice(stages, paces) * slices_of(patients, surveyed)
    # Labelling that takes more than its share, since fewer patients cannot train, is the method's own affair.
    left = max(seconds - labelling, (1 - LABELLING_SHARE) * seconds)
    whole = Fold(everybody, ())
    epochs = {
        stage.name: _updates_an_epoch(stage.training, paces[stage.name].batch, whole, surveyed) for stage in stages
    }
    asked = {stage.name: stage.training.recipe.epochs * epochs[stage.name] for stage in stages}
    wanted = sum(stage.place.times * asked[stage.name] * paces[stage.name].update for stage in stages)
    share = min(1.0, left / wanted) if wanted else 1.0
    plans = tuple(
        _scaled(stage, paces[stage.name].batch, asked[stage.name], epochs[stage.name], share) for stage in stages
    )
    return CellPlan(patients, len(everybody) - len(patients), float(f"{share:.6g}"), round(labelling / 60, 2), plans)


def planned_by(method: Any, plan: CellPlan) -> Any:
    """The method with the recipes of its plan."""
    by_name = {stage.name: stage for stage in plan.stages}

    def follow(training: Any, place: Place) -> Any:
        own = by_name[Stage(training, place).name]
        changes: dict[str, Any] = {"epochs": own.epochs}
        if own.updates < own.updates_asked:
            # Judged once, in the end: judging after each small piece would take longer than the piece.
            changes["validate_every"] = own.epochs
        for field in ("samples_per_epoch", "warmup_updates"):
            if getattr(own, field) is not None:
                changes[field] = getattr(own, field)
        return replace(training, recipe=replace(training.recipe, **changes))

    return rebuilt(method, is_training, follow)


def slices_of(patients: Sequence[str], surveyed: Mapping[str, CaseSurvey]) -> int:
    return sum(row.slices for row in surveyed.values() if row.patient in set(patients))


def _scaled(stage: Stage, batch: int, asked: int, an_epoch: int, share: float) -> StagePlan:
    recipe = stage.training.recipe
    if share >= 1:
        return StagePlan(stage.name, stage.place.times, asked, asked, recipe.epochs)
    fits = max(1, int(asked * share))
    warmup = int(recipe.warmup_updates * share) if recipe.warmup_updates else None
    if fits // an_epoch >= LEAST_EPOCHS:
        epochs = fits // an_epoch
        return StagePlan(stage.name, stage.place.times, asked, epochs * an_epoch, epochs, warmup_updates=warmup)
    pieces = min(LEAST_EPOCHS, fits)
    each = fits // pieces
    return StagePlan(stage.name, stage.place.times, asked, pieces * each, pieces, each * batch, warmup)


def _updates_an_epoch(training: Any, batch: int, fold: Fold, surveyed: Mapping[str, CaseSurvey]) -> int:
    recipe = training.recipe
    if isinstance(training, PlannedMethod):
        return max(1, recipe.samples_per_epoch // batch) if recipe.samples_per_epoch else UPDATES_PER_EPOCH
    if isinstance(training, Deep3dMethod):
        return max(1, (recipe.samples_per_epoch or SAMPLES_PER_EPOCH) // batch)
    return max(1, updates_an_epoch(training, fold, dict(surveyed)))


def _labelling_a_slice(stages: Sequence[Stage], paces: Mapping[str, StagePace]) -> float:
    """Seconds that labelling between stages takes for each training slice."""
    return sum(stage.place.labels * paces[stage.name].slice for stage in stages)


def _patients_to_label(
    everybody: tuple[str, ...], surveyed: Mapping[str, CaseSurvey], a_slice: float, seconds: float
) -> tuple[str, ...]:
    """All patients, or as many as can be labelled in `seconds`, evenly over the ranks of tumour burden."""
    if a_slice * slices_of(everybody, surveyed) <= seconds:
        return everybody
    burden = burden_of({case: row for case, row in surveyed.items() if row.patient in set(everybody)})
    ranked = sorted(everybody, key=lambda patient: (burden[patient], patient))
    for count in range(len(ranked) - 1, LEAST_PATIENTS, -1):
        chosen = _evenly(ranked, count)
        if a_slice * slices_of(chosen, surveyed) <= seconds:
            return tuple(sorted(chosen))
    return tuple(sorted(_evenly(ranked, min(LEAST_PATIENTS, len(ranked)))))


def _evenly(ranked: Sequence[str], count: int) -> list[str]:
    """`count` of them, the last one (with the most tumour) among them."""
    step = len(ranked) / count
    return [ranked[len(ranked) - 1 - int(place * step)] for place in range(count)]
