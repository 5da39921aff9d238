"""Prepared training slices in memory: 8-bit images and labels on the network's grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hepar.cases import Case
from hepar.errors import BadInput
from hepar.inference.neighbours import SINGLE_SLICES, Neighbours
from hepar.preprocess.intensity import Step
from hepar.preprocess.spatial import InPlaneGrid
from hepar.volume import LIVER, TUMOUR

Progress = Callable[[int, int], None]
Slice = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class SliceStore:
    """Slices of many patients.

    `images` and `labels` hold one uint8 (y, x) array a slice, sizes may differ
    between patients. The other arrays have one entry a slice. `around` holds
    for each slice what a 2.5D network sees with it: images of the same stack
    from low to high, itself in the middle (the same arrays, not copies); empty
    for a network of single slices. `mm` (slice, 3) are millimetres between the
    slices of its stack, of a pixel, and between the channels that are seen;
    empty where nobody needs them.
    """

    images: list[Slice]
    labels: list[Slice]
    patients: NDArray[np.str_]
    cases: NDArray[np.str_]
    union: NDArray[np.bool_]
    around: list[tuple[Slice, ...]] = field(default_factory=list)
    mm: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 3)))

    def __len__(self) -> int:
        return len(self.images)

    def seen(self, i: int) -> tuple[Slice, ...]:
        """The network's channels for slice `i`."""
        return self.around[i] if self.around else (self.images[i],)

    def has(self, label: int) -> NDArray[np.bool_]:
        """Slices that show at least one pixel of `label` or above."""
        return np.array([bool((labels >= label).any()) for labels in self.labels], dtype=bool)

    def burden(self, least_slices: int = 1) -> dict[str, float]:
        """Tumour pixels per liver pixel of each patient with at least `least_slices` fully labelled slices."""
        shares = {}
        for patient in np.unique(self.patients):
            mine = np.flatnonzero((self.patients == patient) & ~self.union)
            if len(mine) < least_slices:
                continue
            liver = sum(int((self.labels[i] >= LIVER).sum()) for i in mine)
            tumour = sum(int((self.labels[i] == TUMOUR).sum()) for i in mine)
            shares[str(patient)] = tumour / max(1, liver)
        return shares

    def part(self, keep: NDArray[np.bool_]) -> SliceStore:
        chosen = np.flatnonzero(keep)
        return SliceStore(
            [self.images[i] for i in chosen],
            [self.labels[i] for i in chosen],
            self.patients[chosen],
            self.cases[chosen],
            self.union[chosen],
            [self.around[i] for i in chosen] if self.around else [],
            self.mm[chosen] if len(self.mm) else self.mm,
        )

    def of_patients(self, patients: Sequence[str]) -> SliceStore:
        return self.part(np.isin(self.patients, list(patients)))


def load_slices(
    cases: Sequence[Case],
    prepare: Sequence[Step],
    grid: InPlaneGrid,
    progress: Progress | None = None,
    neighbours: Neighbours = SINGLE_SLICES,
) -> SliceStore:
    """Read, prepare and resample every slice of `cases`, in the axial view, each with its neighbours.

    The grey values are rounded to 8 bits: the paper's preprocessing yields 8 bits anyway.
    """
    if not cases:
        raise BadInput("no cases to train on; check the data folder and the patients left out")
    names = [case.id for case in cases]
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise BadInput(f"cases {', '.join(twice[:5])} occur twice; give every case of every data set its own id")
    images: list[Slice] = []
    labels: list[Slice] = []
    around: list[tuple[Slice, ...]] = []
    owner: list[tuple[str, str, bool]] = []
    mm: list[NDArray[np.float64]] = []
    for done, case in enumerate(cases):
        ct, truth = case.ct.axial(), case.truth.axial()
        if not ct.geometry.same_grid(truth.geometry):
            raise BadInput(f"case {case.id}: CT and labels lie on different grids; see `hepar evaluate --help`")
        for step in prepare:
            ct = step(ct)
        plan = grid.plan(ct.geometry)
        grey = np.clip(np.rint(plan.to_net(ct.values.astype(np.float32))), 0, 255).astype(np.uint8)
        stack = list(grey)
        images.extend(stack)
        if neighbours.slices > 1:
            heights = case.heights_mm or np.arange(len(stack)) * ct.geometry.spacing_mm[0]
            around.extend(tuple(stack[i] for i in row) for row in neighbours.at(np.asarray(heights)))
        labels.extend(plan.labels_to_net(truth.labels))
        z_mm, _, x_mm = ct.geometry.spacing_mm
        row = (z_mm, x_mm * plan.scales[1], max(z_mm, neighbours.step_mm))
        mm.append(np.broadcast_to(row, (len(stack), 3)))
        owner.extend([(case.patient, case.id, case.labels == "liver_union")] * len(stack))
        if progress:
            progress(done + 1, len(cases))
    patients, ids, union = zip(*owner, strict=True)
    flags = np.array(union, dtype=bool)
    return SliceStore(images, labels, np.array(patients), np.array(ids), flags, around, np.concatenate(mm))
