"""From a line of settings to one training: data, patients, changed settings."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from hepar import methods
from hepar.cases import Case, load_folds
from hepar.datasets import open_cases
from hepar.datasets.phantom import cases as phantom_cases
from hepar.errors import BadInput
from hepar.inference import SlabSegmenter
from hepar.preprocess import InPlaneGrid, Window
from hepar.training.deep_method import DeepMethod
from hepar.training.loop import Listener
from hepar.training.recipe import RECIPES, Augmentation, Recipe
from hepar.training.run_folder import require_same_training
from hepar.training.synthesis import LesionSynthesis
from hepar.training.two_pass import TwoPassMethod

PHANTOM_SEED = 7


@dataclass(frozen=True)
class TrainingOrder:
    """One training as a user asks for it.

    `settings` are "name=value": any field of the recipe, `window=LOW,HIGH` in HU, `matrix=N` pixels, `pixel_mm=SIZE`.
    """

    method: str
    data: tuple[Path, ...]
    out: Path
    leave_out: tuple[str, ...] = ()
    folds: Path | None = None
    fold: int = 0
    phantoms: int = 0
    encoder_weights: str | None = None
    recipe: str | None = None
    settings: tuple[str, ...] = ()
    device: str = "auto"


def train_ordered(order: TrainingOrder, listen: Listener) -> SlabSegmenter:
    """Raises BadInput for an unknown method, fold, patient or setting."""
    return method_of(order).train(training_cases(order), order.out, listen, order.device)


def require_same_order(order: TrainingOrder) -> None:
    """Raises BadInput when the run folder of the order holds another training."""
    method = method_of(order)
    cases = sorted(case.id for case in training_cases(order))
    facts = {"method": method.to_json(), "training_cases": cases, "seed": method.recipe.seed}
    require_same_training(order.out, facts)


def method_of(order: TrainingOrder) -> DeepMethod | TwoPassMethod:
    """Settings of an order reach both passes of a method of two."""
    method: DeepMethod | TwoPassMethod = methods.get(order.method)
    if order.recipe and order.recipe not in RECIPES:
        raise BadInput(f"no recipe is called {order.recipe}; there are {', '.join(RECIPES)}")
    change = partial(_ordered, order=order)
    return method.each(change) if isinstance(method, TwoPassMethod) else change(method)


def _ordered(method: DeepMethod, order: TrainingOrder) -> DeepMethod:
    """With the order's weights, recipe and settings."""
    if order.encoder_weights:
        method = replace(method, encoder_weights=order.encoder_weights)
    if order.recipe:
        method = replace(method, recipe=RECIPES[order.recipe])
    for text in order.settings:
        method = _changed(method, text)
    return method


def training_cases(order: TrainingOrder) -> list[Case]:
    """Labelled cases of all data sets, without the patients that must not train; phantoms last."""
    cases = [case for root in order.data for case in open_cases(root)]
    there = {case.patient for case in cases}
    banned, known = set(order.leave_out), set(there)
    if order.folds:
        folds = load_folds(order.folds)
        if not 0 <= order.fold < len(folds):
            raise BadInput(f"{order.folds.name} has folds 0 to {len(folds) - 1}, not {order.fold}")
        fold = folds[order.fold]
        if not there & {*fold.train, *fold.test}:
            raise BadInput(f"no patient of {order.folds.name} is in the data; both must use the same names")
        banned |= set(fold.test)
        # Data given here need not hold every patient of the fold file.
        known |= {*fold.train, *fold.test}
    if missing := banned - known:
        # A typing error would train on test patients.
        raise BadInput(f"patients {', '.join(sorted(missing))} are in none of the data sets; check --leave-out")
    kept = [case for case in cases if case.patient not in banned]
    return kept + (phantom_cases(count=order.phantoms, seed=PHANTOM_SEED) if order.phantoms else [])


def _changed(method: DeepMethod, text: str) -> DeepMethod:
    name, _, value = text.partition("=")
    kinds = get_type_hints(Recipe)
    try:
        if name == "window":
            low, high = (float(edge) for edge in value.split(","))
            steps = tuple(Window(low, high) if isinstance(s, Window) else s for s in method.prepare)
            return replace(method, prepare=steps)
        if name == "matrix":
            return replace(method, grid=InPlaneGrid(matrix=int(value)))
        if name == "pixel_mm":
            return replace(method, grid=InPlaneGrid(pixel_mm=float(value)))
        if name in kinds:
            return replace(method, recipe=replace(method.recipe, **{name: _value(value, kinds[name])}))
    except (TypeError, ValueError) as error:
        raise BadInput(f"setting {text} cannot be used ({error}); see `hepar train --help`") from error
    raise BadInput(f"no setting is called {name}; there are window, matrix, pixel_mm, {', '.join(kinds)}")


def _value(text: str, kind: Any) -> Any:
    """The text as a recipe's field wants it. Raises ValueError: a misspelt optimiser must not become another one."""
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    for one in get_args(kind) if isinstance(kind, UnionType) else (kind,):
        if one in (Augmentation, LesionSynthesis) and isinstance(value, dict):
            return one(**value)
        if get_origin(one) is tuple and isinstance(value, (str, list)):
            return tuple(value if isinstance(value, list) else value.replace(",", " ").split())
        if one is float and type(value) is int:
            return float(value)
        if value in get_args(one) if get_origin(one) is Literal else type(value) is one:
            return value
    raise ValueError(f"expected {getattr(kind, '__name__', kind)}")
