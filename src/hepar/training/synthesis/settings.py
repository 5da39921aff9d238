"""What is painted, how often, how large and how dark; every default stands on `studies/lesion_realism`."""

from __future__ import annotations

from dataclasses import dataclass

from hepar.errors import BadInput

# HU of one grey level: -40..160 HU span 0..255.
HU_PER_GREY = 200 / 255
WINDOW_FLOOR_HU = -40.0

LESION_KINDS = ("hypodense", "subtle", "hyperdense", "rim", "halo", "necrotic", "cystic")
IMITATION_KINDS = ("cyst", "vessel", "fissure", "focal_fat", "streak", "dome", "outside_mass", "giant_mass")
_FIRST_KINDS = 7


@dataclass(frozen=True)
class LesionSynthesis:
    """Settings of `LesionPainter`; only numbers, so they go into a run's JSON as they are.

    `share` and `imitation_share` are shares of the slices with at least
    `least_liver_cm2` of liver. `counts` weighs 1, 2, 3 ... lesions a slice,
    `kinds` the entries of `LESION_KINDS`, `imitations` those of
    `IMITATION_KINDS` (which never change a label). Diameters are those of a ball of the
    lesion's volume: log-normal around `diameter_mm` with `diameter_spread`
    in natural logarithms, cut to `diameter_range_mm`. Contrasts are HU below
    the liver around, edges 10-90 % widths; pairs are the 10th and 90th
    percentile of a log-normal. `texture` is the spread of a lesion's inside in units of
    its contrast, `grain` the most that its fine grain adds, in units of the liver's noise. A lesion that
    would differ by less than `least_hu`, or `least_to_noise` times the noise (more for
    fewer pixels), is made stronger, or left out. Raises BadInput.
    """

    share: float = 0.5
    imitation_share: float = 0.3
    least_liver_cm2: float = 12.0
    counts: tuple[float, ...] = (0.6, 0.22, 0.12, 0.06)
    diameter_mm: float = 18.0
    diameter_spread: float = 0.8
    diameter_range_mm: tuple[float, float] = (3.0, 90.0)
    # No cysts: references call them liver, so they are among the imitations.
    kinds: tuple[float, ...] = (0.62, 0.08, 0.04, 0.07, 0.04, 0.15, 0.0)
    contrast_hu: tuple[float, float] = (28.0, 80.0)
    subtle_hu: tuple[float, float] = (7.0, 15.0)
    edge_mm: tuple[float, float] = (2.0, 7.0)
    texture: float = 0.2
    grain: float = 0.9
    vessels_kept: float = 0.25
    least_hu: float = 10.0
    least_to_noise: float = 1.0
    # Shares of lesions.
    real_shapes: float = 0.5
    satellites: float = 0.15
    bulging: float = 0.06
    calcified: float = 0.03
    imitations: tuple[float, ...] = (0.2, 0.2, 0.12, 0.12, 0.1, 0.1, 0.16, 0.3)

    def __post_init__(self) -> None:
        for name in ("counts", "kinds", "contrast_hu", "subtle_hu", "edge_mm", "diameter_range_mm", "imitations"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        # Runs that are older than a kind never painted it.
        missing = max(0, len(IMITATION_KINDS) - len(self.imitations)) if len(self.imitations) >= _FIRST_KINDS else 0
        object.__setattr__(self, "imitations", self.imitations + (0.0,) * missing)
        if len(self.kinds) != len(LESION_KINDS) or len(self.imitations) != len(IMITATION_KINDS):
            raise BadInput(
                f"{len(self.kinds)} weights of lesions and {len(self.imitations)} of imitations; "
                f"expected {len(LESION_KINDS)} ({', '.join(LESION_KINDS)}) and {len(IMITATION_KINDS)} "
                f"({', '.join(IMITATION_KINDS)})"
            )
        for name in ("counts", "kinds", "imitations"):
            weights = getattr(self, name)
            if min(weights, default=-1) < 0 or sum(weights) <= 0:
                raise BadInput(f"{name} is {weights}; expected weights from 0 up, not all of them 0")
        for name in ("contrast_hu", "subtle_hu", "edge_mm", "diameter_range_mm"):
            pair = getattr(self, name)
            if len(pair) != 2 or not 0 < pair[0] <= pair[1]:
                raise BadInput(f"{name} is {pair}; expected two ascending numbers above 0")
        for name in ("share", "imitation_share", "real_shapes", "satellites", "bulging", "calcified", "vessels_kept"):
            if not 0 <= getattr(self, name) <= 1:
                raise BadInput(f"{name} is {getattr(self, name)}; expected a share from 0 to 1")
