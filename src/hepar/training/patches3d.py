"""Training volumes in memory and the blocks that are cut from them. Chance is an argument."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from hepar.cases import Case
from hepar.errors import BadInput
from hepar.inference.blocks import Side, grey_blocks, label_blocks, sides_of, stack_weights
from hepar.preprocess.intensity import Step
from hepar.preprocess.spatial import InPlaneGrid
from hepar.training.augmentation import augment, warp
from hepar.training.recipe import Augmentation
from hepar.volume import LIVER, TUMOUR

Bytes = NDArray[np.uint8]
# Shares of blocks around a tumour voxel, and around a liver voxel; the others lie anywhere in the patient.
TUMOUR_SHARE, LIVER_SHARE = 0.4, 0.3
# Enough places to start from; all of a liver's voxels would take eight bytes each.
PLACES = 4096
# Fewer slices in a row are no volume.
LEAST_RUN = 8


@dataclass(frozen=True, eq=False)
class VolumeStore:
    """Volumes of many patients: uint8 (z, y, x) grey and labels on the network's grid.

    `union` is true where label 1 means liver or tumour. `tumour` and `liver`
    hold flat numbers of some voxels of each volume.
    """

    images: list[Bytes]
    labels: list[Bytes]
    patients: NDArray[np.str_]
    cases: NDArray[np.str_]
    union: NDArray[np.bool_]
    tumour: list[NDArray[np.int64]]
    liver: list[NDArray[np.int64]]

    def __len__(self) -> int:
        return len(self.images)

    def part(self, keep: NDArray[np.bool_]) -> VolumeStore:
        rows = np.flatnonzero(keep).tolist()
        return VolumeStore(
            [self.images[i] for i in rows],
            [self.labels[i] for i in rows],
            self.patients[keep],
            self.cases[keep],
            self.union[keep],
            [self.tumour[i] for i in rows],
            [self.liver[i] for i in rows],
        )

    def burden(self) -> dict[str, float]:
        """Tumour per liver voxel of each patient with full labels."""
        shares = {}
        for patient in np.unique(self.patients[~self.union]):
            mine = [self.labels[i] for i in np.flatnonzero((self.patients == patient) & ~self.union)]
            liver = sum(int((labels >= LIVER).sum()) for labels in mine)
            shares[str(patient)] = sum(int((labels == TUMOUR).sum()) for labels in mine) / max(1, liver)
        return shares


def load_volumes(
    cases: Sequence[Case], prepare: Sequence[Step], grid: InPlaneGrid, slice_mm: float, seed: int
) -> VolumeStore:
    """Every case on the network's grid. Thinned stacks give a volume for each run of even slices.

    Raises BadInput when nothing is left: lone slices make no volume.
    """
    if not cases:
        raise BadInput("no cases to train on; check the data folder and the patients left out")
    rng = np.random.default_rng(seed)
    found: list[tuple[Bytes, Bytes, Case]] = []
    for case in cases:
        ct, truth = case.ct.axial(), case.truth.axial()
        if not ct.geometry.same_grid(truth.geometry):
            raise BadInput(f"case {case.id}: CT and labels lie on different grids; `hepar doctor` says more")
        plan = grid.plan(ct.geometry)
        for start, stop in even_runs(case, len(ct.values)):
            part = ct.slab(start, stop)
            there, _ = stack_weights(stop - start, ct.geometry.spacing_mm[0], slice_mm)
            grey = grey_blocks(part, prepare, plan, there)
            labels = label_blocks(truth.labels[start:stop], plan, there)
            found.append((grey, labels, case))
    if not any((labels >= LIVER).any() for _, labels, _ in found):
        raise BadInput("no training volume shows liver; a 3D method needs whole scans with labels, not lone slices")
    images, maps, owners = (list(column) for column in zip(*found, strict=True))
    places = [[_some(labels, least, rng) for labels in maps] for least in (TUMOUR, LIVER)]
    patients, ids = np.array([case.patient for case in owners]), np.array([case.id for case in owners])
    union = np.array([case.labels == "liver_union" for case in owners], dtype=bool)
    return VolumeStore(images, maps, patients, ids, union, *places)


def even_runs(case: Case, count: int) -> list[tuple[int, int]]:
    """Start and end of the stretches of a case whose slices lie evenly, `LEAST_RUN` or more of them."""
    if case.heights_mm is None:
        return [(0, count)]
    gaps = np.diff(np.asarray(case.heights_mm))
    if np.isnan(gaps).any() or not len(gaps):
        return []
    edges = [0, *(np.flatnonzero(np.abs(gaps - np.median(gaps)) > 0.01 * np.median(gaps)) + 1).tolist(), count]
    return [(a, b) for a, b in pairwise(edges) if b - a >= LEAST_RUN]


def _some(labels: Bytes, least: int, rng: np.random.Generator) -> NDArray[np.int64]:
    places = np.flatnonzero(labels >= least)
    return rng.choice(places, PLACES, replace=False) if len(places) > PLACES else places


def draw_blocks(
    store: VolumeStore,
    count: int,
    side: Side,
    rng: np.random.Generator,
    shares: tuple[float, float] = (TUMOUR_SHARE, LIVER_SHARE),
) -> tuple[Tensor, Tensor, Tensor]:
    """Images float32 (count, z, y, x) in 0..255, labels int64 of that shape, union bool (count,); blocks of `side`.

    A kind of place is drawn first, then a patient that has it, then one of its
    volumes: few patients hold most tumour. `shares` lie around tumour and around
    liver. Outside the scan is 0, which is air.
    """
    sides = sides_of(side)
    images = np.zeros((count, *sides), np.float32)
    labels = np.zeros(images.shape, np.int64)
    chosen = [_place(store, float(wish), shares, rng) for wish in rng.random(count)]
    for row, (i, middle) in enumerate(chosen):
        image = store.images[i]
        fits = zip(sides, image.shape, middle, strict=True)
        put, take = zip(*[_overlap(size, n, m, rng) for size, n, m in fits], strict=True)
        images[row][put], labels[row][put] = image[take], store.labels[i][take]
    union = store.union[[i for i, _ in chosen]]
    return torch.from_numpy(images), torch.from_numpy(labels), torch.from_numpy(union)


def _place(
    store: VolumeStore, wish: float, shares: tuple[float, float], rng: np.random.Generator
) -> tuple[int, tuple[int, ...]]:
    """A volume and the voxel to cut around."""
    places = store.tumour if wish < shares[0] else store.liver if wish < sum(shares) else None
    able = np.array([places is None or len(mine) > 0 for mine in (places or store.images)])
    if not able.any():
        places, able = None, np.ones(len(store), dtype=bool)
    patient = rng.choice(np.unique(store.patients[able]))
    i = int(rng.choice(np.flatnonzero(able & (store.patients == patient))))
    shape = store.images[i].shape
    at = int(rng.integers(store.images[i].size)) if places is None else int(rng.choice(places[i]))
    return i, tuple(int(n) for n in np.unravel_index(at, shape))


def _overlap(side: int, size: int, middle: int, rng: np.random.Generator) -> tuple[slice, slice]:
    """Where an axis lands in the block, and which part of it: `middle` up to a quarter of a block off the centre."""
    if size <= side:
        start = int(rng.integers(0, side - size + 1))
        return slice(start, start + size), slice(0, size)
    start = middle - side // 2 + int(rng.integers(-(side // 4), side // 4 + 1))
    start = min(max(start, 0), size - side)
    return slice(0, side), slice(start, start + side)


def augment_blocks(
    images: Tensor, labels: Tensor, settings: Augmentation, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Blocks changed as slices are: geometry in plane, the same for all slices of a block, then grey values."""
    if settings.moves:
        grid = warp(images.shape, settings, generator)
        images = F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        moved = F.grid_sample(labels.float(), grid, mode="nearest", padding_mode="zeros", align_corners=False)
        labels = moved.long()
    # A block is no stack around one slice: none of its slices stands in for the others.
    thick = replace(settings.thick_slices, alone=0.0) if settings.thick_slices else None
    still = replace(settings, warp_share=0.0, thick_slices=thick)
    return augment(images, labels[:, 0], still, generator)[0], labels
