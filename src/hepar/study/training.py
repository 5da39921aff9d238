"""From a line of settings to one training: data, patients, changed settings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from hepar import methods
from hepar.cases import Case, load_folds
from hepar.datasets import open_cases
from hepar.datasets.phantom import cases as phantom_cases
from hepar.errors import BadInput
from hepar.inference import SlabSegmenter
from hepar.preprocess import InPlaneGrid, Window
from hepar.training.deep_method import DeepMethod
from hepar.training.loop import Listener
from hepar.training.recipe import RECIPES, Recipe

PHANTOM_SEED = 7


@dataclass(frozen=True)
class TrainingOrder:
    """One training as a user asks for it.

    `settings` are "name=value": any field of the recipe, `window=LOW,HIGH` in HU, `matrix=N` pixels.
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


def train_ordered(order: TrainingOrder, listen: Listener) -> SlabSegmenter:
    """Raises BadInput for an unknown method, fold, patient or setting."""
    return method_of(order).train(training_cases(order), order.out, listen)


def method_of(order: TrainingOrder) -> DeepMethod:
    method: DeepMethod = methods.get(order.method)
    if order.encoder_weights:
        method = replace(method, encoder_weights=order.encoder_weights)
    if order.recipe:
        if order.recipe not in RECIPES:
            raise BadInput(f"no recipe is called {order.recipe}; there are {', '.join(RECIPES)}")
        method = replace(method, recipe=RECIPES[order.recipe])
    for text in order.settings:
        method = _changed(method, text)
    return method


def training_cases(order: TrainingOrder) -> list[Case]:
    """Labelled cases of all data sets, without the patients that must not train; phantoms last."""
    cases = [case for root in order.data for case in open_cases(root)]
    missing = set(order.leave_out) - {case.patient for case in cases}
    banned = set(order.leave_out)
    if order.folds:
        folds = load_folds(order.folds)
        if not 0 <= order.fold < len(folds):
            raise BadInput(f"{order.folds.name} has folds 0 to {len(folds) - 1}, not {order.fold}")
        banned |= set(folds[order.fold].test)
    elif missing:
        # A typing error here would train on test patients; with a fold file other data may hold them.
        raise BadInput(f"patients {', '.join(sorted(missing))} are in none of the data sets; check --leave-out")
    kept = [case for case in cases if case.patient not in banned]
    return kept + (phantom_cases(count=order.phantoms, seed=PHANTOM_SEED) if order.phantoms else [])


def _changed(method: DeepMethod, text: str) -> DeepMethod:
    name, _, value = text.partition("=")
    if name == "window":
        low, high = (float(edge) for edge in value.split(","))
        steps = tuple(Window(low, high) if isinstance(s, Window) else s for s in method.prepare)
        return replace(method, prepare=steps)
    if name == "matrix":
        return replace(method, grid=InPlaneGrid(matrix=int(value)))
    known: Sequence[str] = [field.name for field in fields(Recipe)]
    if name not in known:
        raise BadInput(f"no setting is called {name}; there are window, matrix, {', '.join(known)}")
    return replace(method, recipe=replace(method.recipe, **{name: _value(value)}))


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
