"""The trainings that a method is made of, however it combines them: what a budget has to be shared among.

A training is any value with a `recipe` of its own. How often it runs, and how
often it labels training cases for the next stage, follows from what holds it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from hepar.preprocess import Window
from hepar.study.reproduce.protocol import usable_window
from hepar.training.by_heart import by_heart
from hepar.training.cascade import CascadeMethod
from hepar.training.classical import TiledMethod
from hepar.training.deep_method import DeepMethod
from hepar.training.object_filter import FilteredMethod
from hepar.training.recipe import Recipe
from hepar.training.staged import StagedMethod
from hepar.training.two_pass import TwoPassMethod

# A scan of the abdomen has 512 pixels of about 0.75 mm.
USUAL_MATRIX, USUAL_PIXEL_MM = 512, 0.75
# Every network here halves its pictures at most five times.
PATCH_STEP = 32
OUT_OF_FOLD = ("out_of_fold", "mixed")


@dataclass(frozen=True)
class Place:
    """Where a value stands in a method.

    It is trained `times` times and labels all training slices `labels` times
    for a later stage; `networks` of its trainings stay in the end (0: it goes
    on with an earlier one's). `box_mm` is the margin where it sees livers' boxes only.
    """

    name: str = ""
    times: int = 1
    labels: int = 0
    networks: int = 1
    box_mm: float | None = None


@dataclass(frozen=True)
class Stage:
    """One training of a method, and its place there."""

    training: Any
    place: Place

    @property
    def name(self) -> str:
        """ "stages.liver", or "joint" where the method is one training."""
        return self.place.name or "joint"


Change = Callable[[Any, Place], Any]


def is_training(value: Any) -> bool:
    """Whether the value holds a recipe itself; one that merely tells a stage's does not."""
    own = {field.name for field in fields(value)} if is_dataclass(value) else set()
    return "recipe" in own and isinstance(value.recipe, Recipe)


def stages_of(method: Any) -> list[Stage]:
    """The method's trainings in order; none for a method without any."""
    found: list[Stage] = []

    def keep(training: Any, place: Place) -> Any:
        found.append(Stage(training, place))
        return training

    rebuilt(method, is_training, keep)
    return found


def with_window(method: Any, there: tuple[float, float] | None) -> tuple[Any, list[dict[str, Any]]]:
    """The method with windows that the data can show, and what was asked of each: see `usable_window`."""
    told: list[dict[str, Any]] = []

    def narrow(asked: Window, _: Place) -> Window:
        used, testable = usable_window(asked, there)
        row = {"asked": [asked.low_hu, asked.high_hu], "used": [used.low_hu, used.high_hu], "testable": testable}
        told.extend([] if row in told else [row])
        # The very same window leaves the method as it is.
        return asked if testable else used

    return rebuilt(method, lambda value: isinstance(value, Window), narrow), told


def with_matrix(method: Any, matrix: int | None) -> Any:
    """The method with slices of at most `matrix` pixels a side, as far as slice networks say their own size.

    Pixels in millimetres and patches follow, so that a network sees as much of the patient as before.
    """
    if matrix is None:
        return method

    def coarser(training: Any, _: Place) -> Any:
        if not isinstance(training, DeepMethod):
            return training
        grid, patch = training.grid, training.recipe.patch
        if grid.matrix is not None:
            share = min(1.0, matrix / grid.matrix)
            new = replace(grid, matrix=min(grid.matrix, matrix))
        else:
            assert grid.pixel_mm is not None  # a grid has one of the two
            pixel_mm = max(grid.pixel_mm, USUAL_PIXEL_MM * USUAL_MATRIX / matrix)
            share, new = grid.pixel_mm / pixel_mm, replace(grid, pixel_mm=pixel_mm)
        if share == 1:
            return training
        smaller = max(PATCH_STEP, round(patch * share / PATCH_STEP) * PATCH_STEP) if patch else None
        return replace(training, grid=new, recipe=replace(training.recipe, patch=smaller))

    return rebuilt(method, is_training, coarser)


def tiny_of(method: Any) -> Any:
    """The method as the contract test shrinks it."""
    if hasattr(method, "tiny"):
        return method.tiny()
    return method.each(tiny_of) if hasattr(method, "each") else by_heart(method)


def rebuilt(value: Any, wanted: Callable[[Any], bool], change: Change, place: Place | None = None) -> Any:
    """The value with everything `wanted` in it changed, and nothing else; dataclasses and tuples are searched."""
    place = place or Place()
    if wanted(value):
        return change(value, place)
    if isinstance(value, tuple):
        parts = [rebuilt(part, wanted, change, _numbered(place, n)) for n, part in enumerate(value, start=1)]
        same = all(new is old for new, old in zip(parts, value, strict=True))
        return value if same else tuple(parts)
    if not is_dataclass(value) or isinstance(value, type):
        return value
    new = {}
    for field in fields(value):
        old = getattr(value, field.name)
        part = rebuilt(old, wanted, change, _inside(value, field.name, place)) if field.init else old
        if part is not old:
            new[field.name] = part
    return replace(value, **new) if new else value


def _numbered(place: Place, number: int) -> Place:
    # Several trainings in a tuple are phases of one network.
    return replace(place, name=f"{place.name}-{number}", networks=place.networks if number == 1 else 0)


def _inside(owner: Any, field: str, place: Place) -> Place:
    """The place of a field, by what its owner does with it."""
    inner = replace(place, name=f"{place.name}.{field}".lstrip("."))
    if isinstance(owner, StagedMethod):
        return _in_staged(owner, field, inner)
    if isinstance(owner, FilteredMethod) and owner.inner_folds:
        # The forest learns from what the inner trainings say of the cases they never saw.
        return replace(inner, times=inner.times * (1 + owner.inner_folds), labels=inner.labels + inner.times)
    if isinstance(owner, CascadeMethod):
        return replace(inner, times=2 * inner.times, networks=2 * inner.networks)
    if isinstance(owner, TiledMethod) and isinstance(owner.liver, DeepMethod):
        return replace(inner, labels=inner.labels + inner.times)
    if isinstance(owner, TwoPassMethod) and field == "fine":
        return replace(inner, box_mm=owner.margin_mm)
    return inner


def _in_staged(owner: StagedMethod, field: str, inner: Place) -> Place:
    if field == "liver":
        times = 1 + owner.inner_folds if owner.liver_seen in OUT_OF_FOLD else 1
        labels = inner.labels + (0 if owner.liver_seen == "truth" else inner.times)
        return replace(inner, times=inner.times * times, labels=labels)
    return replace(inner, box_mm=owner.view.margin_mm) if field == "tumour" and owner.view.cropped else inner
