"""The painter of synthetic lesions that a recipe asks for, with shapes of the lesions that train."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hepar.errors import BadInput
from hepar.geometry import Geometry
from hepar.training.recipe import Recipe
from hepar.training.store import SliceStore
from hepar.training.synthesis import LesionPainter, shapes_from
from hepar.volume import LabelMap

# Fewer slices than this show no shape.
LEAST_SLICES = 10


def painter_for(store: SliceStore, recipe: Recipe) -> LesionPainter | None:
    """None when the recipe paints nothing. `store` holds training slices only, so no tested lesion lends its shape."""
    if recipe.synthesis is None:
        return None
    if not len(store.mm):
        raise BadInput("lesions cannot be painted into slices whose pixel size is not known; use load_slices")
    return LesionPainter(recipe.synthesis, shapes_from(_stacks(store)))


def _stacks(store: SliceStore) -> Iterator[LabelMap]:
    """Label maps of the cases that are stacks with full labels, on the network's pixels."""
    for case in np.unique(store.cases[~store.union]):
        rows = np.flatnonzero(store.cases == case)
        if len(rows) < LEAST_SLICES:
            continue
        z_mm, pixel_mm, _ = store.mm[rows[0]]
        labels = np.stack([store.labels[i] for i in rows])
        yield LabelMap(labels, Geometry.from_spacing(labels.shape, (z_mm, pixel_mm, pixel_mm)))
