"""Who is held back from a training to judge it, and on which of their cases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from hepar.cases import Case, inner_split
from hepar.errors import BadInput
from hepar.training.patches3d import VolumeStore
from hepar.training.recipe import Recipe
from hepar.training.store import SliceStore

Store = TypeVar("Store", SliceStore, VolumeStore)


def hold_back(
    store: Store, cases: Sequence[Case], recipe: Recipe, burden: Callable[[Store], dict[str, float]]
) -> tuple[tuple[str, ...], Store, Store | None]:
    """The patients held back, what is left to train on, and what judges it: None when nobody is held back.

    `burden` gives the tumour burden of each patient who is fit to judge. A
    synthetic CT of a patient's anatomy neither trains nor judges when the
    patient is held back. Raises BadInput when a patient named in the recipe is
    not there.
    """
    # A synthetic CT would judge a training on what it was not made for.
    judging = store.part(np.isin(store.cases, [case.id for case in cases if case.evidence != "synthetic"]))
    inner = recipe.inner_patients
    if missing := set(inner) - set(store.patients.tolist()):
        raise BadInput(f"inner patients {', '.join(sorted(missing))} are not in the training data; check the names")
    if not inner:
        real = {case.patient for case in cases if case.evidence == "real"}
        judges = {patient: share for patient, share in burden(judging).items() if patient in real}
        inner = inner_split(judges, recipe.validation_share, recipe.seed).test
    rest = store.part(~np.isin(store.patients, inner))
    return inner, rest, judging.part(np.isin(judging.patients, inner)) if inner else None
