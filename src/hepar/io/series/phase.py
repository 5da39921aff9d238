"""Which contrast phase a series shows: by its description, the time since injection, or the liver's HU.

A guess always says what it rests on. Contrast reaches the liver's arteries 20
to 40 s after injection, its parenchyma through the portal vein most at 60 to
80 s, and leaves it after minutes (Bae, Intravenous Contrast Medium
Administration and Scan Timing at CT, Radiology 2010).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from hepar.io.series.diagnosis import Diagnosed
from hepar.volume import LIVER, LabelMap, Volume

Phase = Literal["native", "arterial", "portal venous", "delayed", "contrast", "unknown"]
# Seconds after the injection began at which each phase ends; a spiral of the abdomen takes some 10 s.
ARTERIAL_S, PORTAL_S, DELAYED_S = (12, 48), 120, 1200
# Livers without contrast have 45 to 65 HU, fat lowers it; portal venous ones lie at 100 HU and above.
NATIVE_LIVER_HU, PORTAL_LIVER_HU = 70.0, 90.0


@dataclass(frozen=True)
class PhaseGuess:
    """`contrast` is a phase that is not known with contrast that is; `why` says what the guess rests on."""

    phase: Phase
    why: str

    def __str__(self) -> str:
        return f"{self.phase} ({self.why})" if self.why else self.phase


def guess_phase(one: Diagnosed) -> PhaseGuess:
    """By the description's words, then by the time since injection, then by whether contrast was given."""
    said = _by_words(one.words)
    return said or _by_time(one) or _by_agent(one)


def phase_of_liver(ct: Volume, labels: LabelMap) -> PhaseGuess:
    """By the median HU of the liver's labelled voxels (tumours left out); unknown with under 1 mL of them.

    Arterial and late phases enhance the liver too little or unevenly to be told
    apart by it: between native and portal venous it is `contrast`.
    """
    liver = ct.values[labels.labels == LIVER]
    if liver.size * labels.geometry.voxel_volume_mm3 < 1000:
        return PhaseGuess("unknown", "no liver to measure")
    hu = float(np.median(liver))
    why = f"the liver has {hu:.0f} HU"
    if hu < NATIVE_LIVER_HU:
        return PhaseGuess("native", f"{why}, as without contrast or early in the arterial phase")
    return PhaseGuess("portal venous" if hu >= PORTAL_LIVER_HU else "contrast", why)


def _by_words(words: frozenset[str]) -> PhaseGuess | None:
    why = "its description says so"
    if "portal" in words:
        return PhaseGuess("portal venous", why)
    # "venous" alone is the portal venous phase in most hospitals' lists of protocols.
    named: tuple[tuple[str, Phase], ...] = (
        ("arterial", "arterial"),
        ("delayed", "delayed"),
        ("venous", "portal venous"),
        ("native", "native"),
    )
    found = [phase for word, phase in named if word in words]
    if len(found) > 1:
        return PhaseGuess("contrast", f"its description names several: {', '.join(found)}")
    return PhaseGuess(found[0], why) if found else None


def _by_time(one: Diagnosed) -> PhaseGuess | None:
    begun = [s.tags.bolus_s for s in one.stack.slices if s.tags.bolus_s is not None]
    taken = [s.tags.moment_s for s in one.stack.slices if s.tags.moment_s is not None]
    if not (begun and taken):
        return None
    # Past midnight the clock starts again.
    after = (min(taken) - min(begun)) % 86400
    why = f"{after:.0f} s after the injection began"
    if ARTERIAL_S[0] <= after < ARTERIAL_S[1]:
        return PhaseGuess("arterial", why)
    if ARTERIAL_S[1] <= after < PORTAL_S:
        return PhaseGuess("portal venous", why)
    return PhaseGuess("delayed", why) if PORTAL_S <= after < DELAYED_S else None


def _by_agent(one: Diagnosed) -> PhaseGuess:
    agent = one.first.tags.contrast_agent
    if agent or "contrast" in one.words:
        return PhaseGuess("contrast", "contrast was given, when is not said")
    if agent is False:
        return PhaseGuess("native", "the header says that no contrast was given")
    return PhaseGuess("unknown", "")
