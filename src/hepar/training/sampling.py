"""Which slices make up an epoch, and how they become a batch. Chance is an argument."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hepar.training.recipe import Recipe
from hepar.training.store import SliceStore
from hepar.training.synthesis import LesionPainter
from hepar.volume import LIVER, TUMOUR

# Shares of a balanced epoch: slices with tumour, slices with liver, any slice of the patient.
TUMOUR_SHARE, LIVER_SHARE = 0.4, 0.4
# nnU-Net: a third of the draws around a label, each label as often as the other; the rest anywhere.
THIRD_LABELLED = (1 / 6, 1 / 6)
# Share of the patches around a labelled pixel that lie around the highest label there.
TUMOUR_CENTRES = 0.5


def epoch_order(store: SliceStore, recipe: Recipe, rng: np.random.Generator) -> NDArray[np.int64]:
    """Slice numbers of one epoch, in order; each batch is the next `recipe.batch` of them."""
    if recipe.sampling == "shuffle":
        order = rng.permutation(len(store)).astype(np.int64)[: recipe.samples_per_epoch]
    else:
        order = _balanced(store, recipe, rng)
    if recipe.drop_last and len(order) >= recipe.batch:
        order = order[: len(order) // recipe.batch * recipe.batch]
    return order


def _balanced(store: SliceStore, recipe: Recipe, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw patients first, then one of the patient's slices.

    A few patients hold most tumour pixels (LiTS 4 alone 70 % of a 26-scan
    subset), so pixels or slices as the unit would train on those few. The
    weight grows with the square root of a patient's slices, since one slice of a
    patient must not be seen as often as eighty of another; "third_labelled" takes all patients alike.
    """
    count, even = recipe.samples_per_epoch or len(store), recipe.sampling == "third_labelled"
    on_tumour, on_liver = THIRD_LABELLED if even else (TUMOUR_SHARE, LIVER_SHARE)
    wishes = rng.random(count)
    tumour, liver = store.has(TUMOUR) & ~store.union, store.has(LIVER)
    kinds = [tumour, liver, np.ones(len(store), dtype=bool)]
    pools = [_by_patient(store, kind if kind.any() else kinds[2], even) for kind in kinds]
    order = np.empty(count, dtype=np.int64)
    for i, wish in enumerate(wishes):
        kind = 0 if wish < on_tumour else 1 if wish < on_tumour + on_liver else 2
        groups, weights = pools[kind]
        order[i] = rng.choice(groups[rng.choice(len(groups), p=weights)])
    return order


def _by_patient(
    store: SliceStore, keep: NDArray[np.bool_], even: bool
) -> tuple[list[NDArray[np.int64]], NDArray[np.float64]]:
    groups = [np.flatnonzero(keep & (store.patients == p)) for p in np.unique(store.patients[keep])]
    weights = np.ones(len(groups)) if even else np.sqrt([len(g) for g in groups])
    return groups, weights / weights.sum()


def gather(
    store: SliceStore,
    chosen: NDArray[np.int64],
    recipe: Recipe,
    rng: np.random.Generator,
    painter: LesionPainter | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Images float32 (batch, slices, y, x) in 0..255, labels int64 (batch, y, x), union bool (batch,).

    With a patch size, each slice is cropped or zero-padded to patch x patch at
    a random offset, some of them around a labelled pixel; without, all slices
    must have one size. Lesions that the `painter` adds lie in the patch.
    """
    size = (recipe.patch, recipe.patch) if recipe.patch else store.images[chosen[0]].shape
    images = np.zeros((len(chosen), len(store.seen(int(chosen[0]))), *size), dtype=np.float32)
    labels = np.zeros((len(chosen), *size), dtype=np.int64)
    for row, i in enumerate(chosen):
        truth = store.labels[i]
        wanted = recipe.patch_on_label > 0 and rng.random() < recipe.patch_on_label
        middle = _labelled_pixel(truth, rng) if wanted else None
        put, take = zip(*[_overlap(size[k], truth.shape[k], middle and middle[k], rng) for k in (0, 1)], strict=True)
        for channel, seen in enumerate(store.seen(i)):
            images[row, channel][put] = seen[take]
        labels[row][put] = truth[take]
        if painter:
            _, pixel_mm, step_mm = store.mm[i]
            images[row], labels[row] = painter(images[row], labels[row].astype(np.uint8), pixel_mm, step_mm, rng)
    return torch.from_numpy(images), torch.from_numpy(labels), torch.from_numpy(store.union[chosen])


def _labelled_pixel(labels: NDArray[np.uint8], rng: np.random.Generator) -> tuple[int, int] | None:
    """(y, x) of a random pixel of the highest label; half the time of any label, so that all of the liver is seen."""
    least = int(labels.max()) if rng.random() < TUMOUR_CENTRES else LIVER
    found = np.flatnonzero(labels >= max(LIVER, least))
    if not len(found):
        return None
    y, x = np.unravel_index(int(rng.choice(found)), labels.shape)
    return int(y), int(x)


def _overlap(canvas: int, image: int, middle: int | None, rng: np.random.Generator) -> tuple[slice, slice]:
    """Where an image's axis lands on the canvas, and which part of it; around `middle` where the image allows."""
    if image < canvas:
        start = int(rng.integers(0, canvas - image + 1))
        return slice(start, start + image), slice(0, image)
    start = int(rng.integers(0, image - canvas + 1))
    if middle is not None:
        # A quarter of the canvas to either side: a network must not learn that livers lie in the middle.
        start = middle - canvas // 2 + int(rng.integers(-canvas // 4, canvas // 4 + 1))
        start = min(max(start, 0), image - canvas)
    return slice(0, canvas), slice(start, start + canvas)
