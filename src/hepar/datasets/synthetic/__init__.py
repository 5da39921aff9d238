"""Whole CTs synthesised from real multi-organ label maps (3D-IRCADb experts' anatomy, chance densities).

    cases = synthetic_cases(folder, CtSynthesis(seed=1), per_patient=2)
    cases[0].ct, cases[0].truth

Shapes of liver, its tumours, its drawn vessels, bones and skin are real; all
densities are drawn, and what the maps leave undrawn (fat, muscle, bowel, most
of the other organs) is made up. Results on such cases are synthetic evidence.
A case keeps its patient's LiTS name, so a fold file keeps the anatomy of a
tested patient out of training.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from hepar.cases import Case
from hepar.datasets.synthetic.abdomen import paint_drawn_organs, paint_great_vessels, paint_missing_organs
from hepar.datasets.synthetic.bowel import paint_bowel
from hepar.datasets.synthetic.liver import paint_liver
from hepar.datasets.synthetic.organ_map import OrganMap, organ_files, read_organs
from hepar.datasets.synthetic.scanner import draw_scanner, scan
from hepar.datasets.synthetic.scene import scene_of
from hepar.datasets.synthetic.thorax import paint_thorax
from hepar.datasets.synthetic.tissue import Phase, draw_tissue
from hepar.datasets.synthetic.trunk import paint_trunk
from hepar.errors import BadInput
from hepar.volume import LabelMap, Volume

PHASES: tuple[Phase, ...] = ("native", "arterial", "portal", "late")


@dataclass(frozen=True)
class CtSynthesis:
    """How CTs are made; the same settings give the same voxels.

    `phases`: how often native, arterial, portal venous and late scans are
    drawn. `step` keeps every k-th slice of the map, `halved` every second
    pixel. `below_mm` and `above_mm`: how far the scan reaches beyond the
    liver. `warp_mm` bends the anatomy, `stretch` is the largest change of its
    width. Raises BadInput for numbers that make no scan.
    """

    seed: int = 0
    phases: tuple[float, float, float, float] = (0.08, 0.14, 0.66, 0.12)
    step: int = 1
    halved: bool = True
    below_mm: float = 70.0
    above_mm: float = 50.0
    warp_mm: float = 5.0
    stretch: float = 0.06

    def __post_init__(self) -> None:
        object.__setattr__(self, "phases", tuple(self.phases))
        if len(self.phases) != 4 or min(self.phases) < 0 or sum(self.phases) <= 0:
            raise BadInput(f"phases are {self.phases}; expected four shares of {', '.join(PHASES)}, one above 0")
        if self.step < 1 or min(self.below_mm, self.above_mm, self.warp_mm) < 0 or not 0 <= self.stretch < 0.5:
            raise BadInput(f"{self} makes no scan; step is at least 1, lengths at least 0, stretch below 0.5")


def synthetic_cases(folder: Path, settings: CtSynthesis, per_patient: int = 1) -> list[Case]:
    """`per_patient` cases of every organ map in `folder`; nothing is read or made before it is asked for.

    Raises BadInput when the folder holds no organ maps.
    """
    return [
        _case(patient, path, settings, number)
        for patient, path in organ_files(folder).items()
        for number in range(per_patient)
    ]


def make_ct(organs: OrganMap, settings: CtSynthesis, rng: np.random.Generator) -> Volume:
    """A CT (int16 HU) of this anatomy. Raises BadInput where the map shows no liver."""
    phase = PHASES[int(rng.choice(4, p=np.array(settings.phases) / sum(settings.phases)))]
    tissue = draw_tissue(rng, phase)
    liver = organs.truth().liver
    if not liver.any():
        raise BadInput("the organ map shows no liver (label 12); a CT for liver training cannot be made from it")
    scene = scene_of(organs, tissue, phase, rng)
    paint_trunk(scene)
    paint_drawn_organs(scene)
    paint_liver(scene, liver)
    paint_great_vessels(scene)
    paint_thorax(scene)
    paint_missing_organs(scene)
    paint_bowel(scene)
    scanner = draw_scanner(rng, organs.geometry.spacing_mm[0])
    note = f"synthetic CT made by hepar from a real organ map ({phase} phase)"
    return Volume(scan(scene, scanner), organs.geometry, (note,))


def _case(patient: str, path: Path, settings: CtSynthesis, number: int) -> Case:
    return Case(
        id=f"{patient}_synthetic_seed{settings.seed}_{number:03d}",
        patient=patient,
        read_ct=partial(_ct, path, settings, patient, number),
        read_truth=partial(_truth, path, settings, patient, number),
        evidence="synthetic",
    )


def _ct(path: Path, settings: CtSynthesis, patient: str, number: int) -> Volume:
    # Shape and densities have a stream of chance each: the truth is known without making the CT.
    rng = np.random.default_rng([settings.seed, zlib.crc32(patient.encode()), number, 1])
    return make_ct(_organs(path, settings, patient, number), settings, rng)


def _truth(path: Path, settings: CtSynthesis, patient: str, number: int) -> LabelMap:
    return _organs(path, settings, patient, number).truth()


@lru_cache(maxsize=1)
def _organs(path: Path, settings: CtSynthesis, patient: str, number: int) -> OrganMap:
    rng = np.random.default_rng([settings.seed, zlib.crc32(patient.encode()), number, 0])
    organs = read_organs(path).near_liver(settings.below_mm, settings.above_mm).thinned(settings.step)
    return (organs.halved() if settings.halved else organs).bent(rng, settings.warp_mm, settings.stretch)
