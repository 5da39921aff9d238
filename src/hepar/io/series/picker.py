"""The series of a study to segment: axial, soft tissue, the whole liver, portal venous, thin enough; and why.

Tumours and liver differ most in the portal venous phase, and the shipped models
learned from it.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from hepar.io.series.diagnosis import Diagnosed
from hepar.io.series.phase import Phase, PhaseGuess, guess_phase
from hepar.io.series.words import kernel_kind

# A liver is 150 to 200 mm high; less than this shows a part of it.
LEAST_HEIGHT_MM = 120.0
# Slices tilted by a gantry are still axial.
MOST_OFF_AXIAL_DEGREES = 35.0
# Thinner is noisier and slower, thicker hides small lesions.
BEST_SPACING_MM = 2.5
WANTED: dict[Phase, int] = {
    "portal venous": 0, "contrast": 1, "delayed": 2, "arterial": 3, "unknown": 3, "native": 4,
}  # fmt: skip
ELSEWHERE = {"head", "chest", "legs"}


@dataclass(frozen=True, eq=False)
class Choice:
    """The chosen series, why, and each other with what spoke against it."""

    series: Diagnosed
    phase: PhaseGuess
    reasons: tuple[str, ...]
    others: tuple[tuple[Diagnosed, str], ...]

    def __str__(self) -> str:
        why = ", ".join(self.reasons)
        if not self.others:
            return f"{self.series.series.name}: {why}"
        passed = "; ".join(f"{short_name(one)}: {against}" for one, against in self.others)
        return f"{self.series.series.name} was chosen of {len(self.others) + 1} series: {why}. Passed over: {passed}"


def choose(series: Sequence[Diagnosed]) -> Choice:
    """Of series of one study, never empty, the one to segment.

    Criteria in order: readable, axial, no projection or bolus monitoring, soft
    kernel, belly rather than elsewhere, high enough, phase, spacing, then the
    most slices and the earliest in the list. A series that only an error keeps
    from being chosen is named with it.
    """
    ranked = sorted(range(len(series)), key=lambda place: (_rank(series[place]), place))
    best = series[ranked[0]]
    others = tuple((series[place], _against(series[place], best)) for place in sorted(ranked[1:]))
    phase = guess_phase(best)
    return Choice(best, phase, _reasons(best, phase), others)


def by_study(series: Sequence[Diagnosed]) -> list[list[Diagnosed]]:
    """Series grouped by study, in the order of their first ones."""
    studies: dict[Hashable, list[Diagnosed]] = {}
    for one in series:
        studies.setdefault(one.study, []).append(one)
    return list(studies.values())


def short_name(one: Diagnosed) -> str:
    return one.series.name.removeprefix("DICOM ").split(" (")[0]


def orientation(one: Diagnosed) -> str:
    """`axial`, `coronal` or `sagittal`, by the axis nearest to the slices' normal; `oblique` where none is near."""
    toward = np.abs(one.stack.normal)
    if math.degrees(math.acos(min(1.0, float(toward.max())))) > MOST_OFF_AXIAL_DEGREES:
        return "oblique"
    return ("sagittal", "coronal", "axial")[int(np.argmax(toward))]


def kernel_of(one: Diagnosed) -> str:
    """`soft`, `sharp` or `unknown`: by the description where it says lung or bone, else by the kernel."""
    if {"lung", "bone"} & one.words:
        return "sharp"
    return kernel_kind(one.first.tags.kernel)


def height_mm(one: Diagnosed) -> float:
    """What the stack covers along its normal, half a gap beyond both ends."""
    return float(one.stack.heights_mm[-1]) + one.stack.usual_gap_mm


def _faults(one: Diagnosed) -> tuple[str, ...]:
    """What speaks against a series, the gravest first; one place of the tuple a criterion, empty where it is met."""
    words, image_type = one.words, {part.upper() for part in one.first.tags.image_type}
    facing = orientation(one)
    projection = "projection" in words or image_type & {"PROJECTION IMAGE", "MIP", "MINIP", "AVERAGE"}
    watching = words & {"monitoring", "scout"}
    kernel = kernel_of(one)
    away = words & ELSEWHERE and "abdomen" not in words
    return (
        f"cannot be read ({one.errors[0]})" if one.errors else "",
        "" if facing == "axial" else facing,
        "a projection or a rendering" if projection else "",
        "for planning or watching the bolus" if watching else "",
        "lung or bone kernel" if kernel == "sharp" else "",
        "of another part of the body" if away else "",
        f"only {height_mm(one):.0f} mm high" if height_mm(one) < LEAST_HEIGHT_MM else "",
    )


def _rank(one: Diagnosed) -> tuple[float, ...]:
    faults = tuple(float(bool(fault)) for fault in _faults(one))
    spacing = abs(math.log2(max(one.stack.usual_gap_mm, 0.1) / BEST_SPACING_MM))
    derived = float("DERIVED" in one.first.tags.image_type)
    phase = float(WANTED[guess_phase(one).phase])
    return (*faults, phase, round(spacing, 1), derived, -float(len(one.stack.slices)))


def _reasons(best: Diagnosed, phase: PhaseGuess) -> tuple[str, ...]:
    faults = [fault for fault in _faults(best) if fault]
    kernel = {"soft": ["soft-tissue kernel"], "sharp": [], "unknown": ["kernel not said"]}[kernel_of(best)]
    known = f"phase: {phase}" if phase.phase != "unknown" else "phase not said"
    axial = ["axial"] if orientation(best) == "axial" else []
    spacing = [f"slices every {best.stack.usual_gap_mm:.3g} mm"]
    return (known, *axial, *kernel, *spacing, *(f"though {fault}" for fault in faults))


def _against(one: Diagnosed, best: Diagnosed) -> str:
    """What decided: the first criterion in which the best is better."""
    for mine, its in zip(_faults(one), _faults(best), strict=True):
        if mine and not its:
            return mine
    phase, wanted = guess_phase(one).phase, guess_phase(best).phase
    if WANTED[phase] != WANTED[wanted]:
        return "phase not said" if phase == "unknown" else phase
    if _rank(one)[:-1] == _rank(best)[:-1] and len(one.stack.slices) == len(best.stack.slices):
        return "nothing known tells it from the chosen one"
    if _rank(one)[:-1] == _rank(best)[:-1]:
        return f"{len(one.stack.slices)} slices"
    return f"slices every {one.stack.usual_gap_mm:.3g} mm"
