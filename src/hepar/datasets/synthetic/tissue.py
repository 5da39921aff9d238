"""Densities of tissues by contrast phase, drawn for one patient.

Means follow textbook ranges of abdominal CT at 120 kV (unenhanced liver 50 to
65 HU, spleen about 10 below it, portal venous liver 100 to 120 and vessels 150
to 200 HU, late arterial aorta 250 to 350 HU) and were checked against two real
portal venous scans (3D-IRCADb 1 and 7). They are ranges, not a model of a
contrast bolus: what is correlated is drawn once, as a factor on everything
that contrast medium adds, and fat in the liver lowers the liver alone.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

import numpy as np

Phase = Literal["native", "arterial", "portal", "late"]


@dataclass(frozen=True)
class Tissue:
    """Mean HU of each tissue in one scan."""

    liver: float
    portal: float
    hepatic_vein: float
    cava: float
    artery: float
    spleen: float
    cortex: float
    medulla: float
    pancreas: float
    adrenal: float
    muscle: float
    gut_wall: float
    myocardium: float
    # The same in all phases.
    bile: float = 8.0
    cyst: float = 8.0
    fat: float = -105.0
    lung: float = -865.0
    marrow: float = 170.0
    cortical_bone: float = 560.0


# liver, portal vein, hepatic veins, cava, arteries, spleen, cortex, medulla, pancreas, adrenal, muscle, gut, heart
_MEANS: dict[str, tuple[float, ...]] = {
    "native": (58, 43, 43, 42, 43, 48, 32, 30, 40, 28, 54, 38, 45),
    "arterial": (74, 125, 68, 95, 300, 118, 185, 75, 102, 75, 60, 92, 125),
    "portal": (110, 190, 180, 155, 184, 121, 205, 178, 98, 84, 63, 88, 112),
    "late": (93, 126, 124, 122, 124, 100, 160, 164, 80, 66, 66, 80, 98),
}
_SPREAD = (11, 12, 10, 14, 14, 7, 16, 14, 9, 9, 4, 8, 9)
# About a third of adults have a fatty liver; 40 HU below normal is severe (3D-IRCADb 16
# has 26 HU in the portal phase).
FATTY_SHARE, MOST_FAT_HU = 0.35, 55.0


def draw_tissue(rng: np.random.Generator, phase: Phase) -> Tissue:
    """One patient's densities in this phase."""
    bolus = float(np.clip(rng.normal(1, 0.14), 0.7, 1.35))
    native, enhanced = np.array(_MEANS["native"]), np.array(_MEANS[phase])
    # Without contrast medium only the patients differ, and less than their bolus would make them.
    spread = np.array(_SPREAD) * (0.45 if phase == "native" else 0.8)
    drawn = native + bolus * (enhanced - native) + spread * np.clip(rng.normal(0, 1, len(native)), -2, 2)
    fatty = rng.random() < FATTY_SHARE
    drawn[0] -= rng.uniform(5, MOST_FAT_HU) if fatty else 0
    names = [field.name for field in fields(Tissue)][: len(drawn)]
    changes = {name: float(hu) for name, hu in zip(names, drawn, strict=True)}
    return Tissue(
        **changes,
        bile=float(rng.uniform(0, 18)),
        cyst=float(rng.uniform(0, 20)),
        fat=float(rng.uniform(-108, -88)),
        lung=float(rng.uniform(-895, -820)),
        marrow=float(rng.uniform(110, 230)),
        cortical_bone=float(rng.uniform(480, 720)),
    )
