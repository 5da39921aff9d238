"""A look at training data before anything is chosen: some scans are read, the rest is counted."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from hepar.cases import Case
from hepar.errors import BadInput
from hepar.geometry import Geometry
from hepar.volume import LabelMap, Volume

SEED = 2018
# Air in and around a body lies near -1000 HU: a scan without anything this low was windowed.
AIR_HU = -500.0
PERCENT = (0.5, 99.5)


@dataclass(frozen=True)
class ScanFacts:
    """What one scan shows, in the axial view. `liver_hu` are spread-out values of liver and tumours, at most 500."""

    geometry: Geometry
    labels: str
    stacked: bool
    liver_slices: int
    tumour_slices: int
    liver_px: int
    tumour_px: int
    lowest_hu: float
    highest_hu: float
    liver_hu: NDArray[np.float32]
    seconds: float

    @property
    def slices(self) -> int:
        return self.geometry.shape[0]


@dataclass(frozen=True)
class Survey:
    """All cases counted, `scans` of them read. Figures over `scans` speak for the rest."""

    cases: int
    patients: int
    union_cases: int
    real_full_patients: int
    scans: tuple[ScanFacts, ...]

    def median(self, axis: int) -> float:
        """Of the spacing along z, y or x in mm, over slices: a lone slice says less than a scan."""
        spacings = [scan.geometry.spacing_mm[axis] for scan in self.scans]
        return float(np.median(np.repeat(spacings, [scan.slices for scan in self.scans])))

    @property
    def slices(self) -> float:
        """Slices of all cases, estimated."""
        return self.cases * float(np.mean([scan.slices for scan in self.scans]))

    @property
    def reading_seconds(self) -> float:
        """Of all cases once, estimated."""
        return self.cases * float(np.mean([scan.seconds for scan in self.scans]))

    @property
    def stacked_share(self) -> float:
        """Share of the slices whose neighbours in the scan are at hand."""
        return sum(s.slices for s in self.scans if s.stacked) / sum(s.slices for s in self.scans)

    @property
    def windowed_scans(self) -> int:
        return sum(scan.lowest_hu > AIR_HU for scan in self.scans)

    @property
    def tumour_share(self) -> float:
        """Tumour per liver pixel, tumour included, over the scans with full labels; 0 without any."""
        full = [scan for scan in self.scans if scan.labels == "full"]
        return sum(s.tumour_px for s in full) / max(1, sum(s.liver_px for s in full))

    @property
    def liver_hu(self) -> NDArray[np.float32]:
        return np.concatenate([scan.liver_hu for scan in self.scans])


def survey(cases: Sequence[Case], enough: int = 12, seconds: tuple[float, float] = (5.0, 60.0)) -> Survey:
    """Read cases in an order of chance: `enough` of them, and on until the least of `seconds`, or until the most.

    Small cases, lone slices among them, are thus read by the dozen, whole scans by the handful.

    Raises BadInput when there is no case, or no liver on what was read.
    """
    if not cases:
        raise BadInput("no cases to train on; check the data folder and the patients left out")
    order = np.random.default_rng(SEED).permutation(len(cases))
    scans: list[ScanFacts] = []
    started = time.monotonic()
    for i in order:
        scans.append(look_at(cases[int(i)]))
        spent = time.monotonic() - started
        if spent > seconds[1] or (len(scans) >= enough and spent > seconds[0]):
            break
    if not any(scan.liver_px for scan in scans):
        raise BadInput(f"none of {len(scans)} cases that were looked at shows liver (label 1 or 2); check the labels")
    return Survey(
        len(cases),
        len({case.patient for case in cases}),
        sum(case.labels == "liver_union" for case in cases),
        len({case.patient for case in cases if case.labels == "full" and case.evidence == "real"}),
        tuple(scans),
    )


def look_at(case: Case) -> ScanFacts:
    """Reads the case."""
    started = time.monotonic()
    ct, truth = case.ct.axial(), case.truth.axial()
    if not ct.geometry.same_grid(truth.geometry):
        raise BadInput(f"case {case.id}: CT and labels lie on different grids; `hepar doctor` says more")
    liver = np.asarray(ct.values[truth.liver], dtype=np.float32)
    heights = np.asarray(case.heights_mm or (0.0,))
    return ScanFacts(
        ct.geometry,
        case.labels,
        stacked=len(truth.labels) > 1 and not bool(np.isnan(heights).any()),
        liver_slices=int(truth.liver.any(axis=(1, 2)).sum()),
        tumour_slices=int(truth.tumour.any(axis=(1, 2)).sum()),
        liver_px=int(liver.size),
        tumour_px=int(truth.tumour.sum()),
        lowest_hu=float(ct.values.min()),
        highest_hu=float(ct.values.max()),
        liver_hu=liver[:: max(1, -(-liver.size // 500))],
        seconds=time.monotonic() - started,
    )


def thinning(geometry: Geometry, step_mm: float) -> int:
    """Every how many-th slice of an axial scan to keep, so that they lie `step_mm` apart or just closer."""
    # The small share: 2.5 mm asked of 1.25 mm slices means every second whatever the header's rounding.
    return max(1, int(step_mm / geometry.spacing_mm[0] + 1e-3))


def thinned(case: Case, step_mm: float) -> Case:
    """The case with slices no closer than about `step_mm`; at 0, or where its places say of gaps, the case itself.

    Slices thinner than that show nearly the same thing twice.
    """
    if step_mm <= 0 or case.heights_mm is not None or case.read_truth is None:
        return case
    return replace(case, read_ct=partial(_every_ct, case, step_mm), read_truth=partial(_every_truth, case, step_mm))


def _every_ct(case: Case, step_mm: float) -> Volume:
    ct = case.ct.axial()
    every = thinning(ct.geometry, step_mm)
    # A copy: a view would keep the whole scan in memory.
    return replace(ct, values=ct.values[::every].copy(), geometry=_every(ct.geometry, every))


def _every_truth(case: Case, step_mm: float) -> LabelMap:
    truth = case.truth.axial()
    every = thinning(truth.geometry, step_mm)
    return LabelMap(truth.labels[::every].copy(), _every(truth.geometry, every))


def _every(grid: Geometry, every: int) -> Geometry:
    affine = grid.affine.copy()
    affine[:, 0] *= every
    return Geometry((-(-grid.shape[0] // every), *grid.shape[1:]), affine)
