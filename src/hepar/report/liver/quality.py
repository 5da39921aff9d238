"""Quality gates: what speaks for or against trusting a result, each with its measured value and reason.

"accept" means that nothing was found against it, "review" that a reader should
look at something by name, "reject" that the result, or its tumour part, should
not be used. Bounds were set by hand from what is usual in abdominal CT; they
were not fitted to outcomes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hepar.io.series.phase import PhaseGuess, phase_of_liver
from hepar.report.measure import Volumes
from hepar.volume import LIVER, LabelMap, Volume

Verdict = Literal["accept", "review", "reject"]
ORDER: tuple[Verdict, ...] = ("accept", "review", "reject")
WRONG_PHASES = ("native", "arterial", "delayed")
# Routine abdominal CT has 8 to 20 HU in the liver; thin sharp slices twice that.
REVIEW_NOISE_HU, REJECT_NOISE_HU = 35.0, 70.0
NOISE_WINDOW_MM = 6.0
# Lesions of 10 mm, the smallest that RECIST measures, need slices up to 5 mm.
REVIEW_SPACING_MM, REJECT_SPACING_MM = 5.5, 12.0
# Share of the largest slice's area from which a liver at the scan's end is cut off rather than ending there.
CUT_SHARE = 0.1
# Adult livers have 0.8 to 2.2 L; large tumour load or fatty disease up to 5.
USUAL_LIVER_ML, POSSIBLE_LIVER_ML = (700.0, 3500.0), (200.0, 8000.0)
MOST_BURDEN_PERCENT, MOST_TUMOURS = 50.0, 20
LIVER_HU = (20.0, 200.0)


@dataclass(frozen=True)
class Gate:
    """One question, its answer, and why."""

    name: str
    verdict: Verdict
    reason: str


@dataclass(frozen=True)
class Quality:
    """`tumour_assessed` is False where the phase forbids it; `cut_at` names the scan's sides that cut the liver."""

    gates: tuple[Gate, ...]
    phase: PhaseGuess
    tumour_assessed: bool
    cut_at: tuple[str, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst of all."""
        return max((gate.verdict for gate in self.gates), key=ORDER.index)

    @property
    def reasons(self) -> tuple[str, ...]:
        return tuple(gate.reason for gate in self.gates if gate.verdict != "accept")

    @property
    def why_not_assessed(self) -> str:
        """Empty where tumours were assessed."""
        return "" if self.tumour_assessed else next(gate.reason for gate in self.gates if gate.name == "Contrast phase")


def quality_of(ct: Volume, labels: LabelMap, volumes: Volumes, tumours: int, header: PhaseGuess | None) -> Quality:
    """The gates of one case. `header` is what the DICOM header says of the phase, None where there was none."""
    ct, labels = ct.axial(), labels.axial()
    phase, gate = phase_gate(header, phase_of_liver(ct, labels))
    cut = cut_sides(labels)
    gates = (
        gate,
        noise_gate(ct, labels),
        *coverage_gates(labels, cut),
        *plausibility_gates(ct, labels, volumes, tumours),
    )
    return Quality(gates, phase, phase.phase not in WRONG_PHASES, cut)


def phase_gate(header: PhaseGuess | None, liver: PhaseGuess) -> tuple[PhaseGuess, Gate]:
    """The phase to go by, and its gate; a header's own phase goes before the liver's brightness."""
    said = header.phase if header else "unknown"
    if header and said == "portal venous" and liver.phase == "native":
        # A fatty liver stays dark with contrast, so the header is believed, but somebody should look.
        why = f"portal venous by the header ({header.why}), but {liver.why}: check for fatty liver or a wrong series"
        return header, Gate("Contrast phase", "review", why)
    best = header if header and said not in ("unknown", "contrast") else liver
    if best.phase in WRONG_PHASES:
        why = f"{best.phase} phase ({best.why}): tumours are not assessed; the models know the portal venous phase only"
        return best, Gate("Contrast phase", "reject", why)
    if best.phase == "portal venous":
        return best, Gate("Contrast phase", "accept", str(best))
    why = f"{best}: the portal venous phase could not be confirmed"
    return best, Gate("Contrast phase", "review", why)


def noise_gate(ct: Volume, labels: LabelMap) -> Gate:
    noise = liver_noise_hu(ct, labels)
    if np.isnan(noise):
        return Gate("Noise", "review", "too little liver to measure noise in")
    verdict: Verdict = "accept"
    if noise > REVIEW_NOISE_HU:
        verdict = "reject" if noise > REJECT_NOISE_HU else "review"
    said = {"accept": "", "review": ", more than usual: small tumours are hard to tell from it", "reject": ", too much"}
    return Gate("Noise", verdict, f"{noise:.0f} HU in the liver{said[verdict]}")


def liver_noise_hu(ct: Volume, labels: LabelMap) -> float:
    """Median of the standard deviations in small windows that lie in the liver as a whole; NaN without any.

    Windows of 6 mm in axial slices; vessels and tumours fill few of them, so the median leaves them out.
    """
    from scipy.ndimage import minimum_filter, uniform_filter

    liver = labels.labels == LIVER
    area = liver.sum(axis=(1, 2))
    slices = np.flatnonzero(area >= 0.5 * area.max()) if area.any() else np.empty(0, np.intp)
    _, y_mm, x_mm = ct.geometry.spacing_mm
    size = tuple(max(3, round(NOISE_WINDOW_MM / mm) | 1) for mm in (y_mm, x_mm))
    found: list[NDArray[np.float64]] = []
    for z in slices[np.linspace(0, len(slices) - 1, min(len(slices), 9)).astype(int)] if len(slices) else ():
        box = tuple(slice(place.min(), place.max() + 1) for place in np.nonzero(liver[z]))
        grey = ct.values[z][box].astype(np.float64)
        inside = minimum_filter(liver[z][box].astype(np.uint8), size) > 0
        mean = uniform_filter(grey, size)
        spread = uniform_filter(np.square(grey), size) - np.square(mean)
        found.append(np.sqrt(np.maximum(spread, 0))[inside])
    every = np.concatenate(found) if found else np.empty(0)
    return float(np.median(every)) if every.size else float("nan")


def cut_sides(labels: LabelMap) -> tuple[str, ...]:
    """Where an axial map's liver runs into the end of the scan rather than ending before it."""
    liver = labels.liver
    area = liver.sum(axis=(1, 2))
    if not area.any():
        return ()
    ends = [name for name, z in (("lower", 0), ("upper", -1)) if area[z] >= CUT_SHARE * area.max()]
    sides = (
        ("front", liver[:, 0]),
        ("back", liver[:, -1]),
        ("right", liver[:, :, 0]),
        ("left", liver[:, :, -1]),
    )
    return (*ends, *(name for name, edge in sides if edge.any()))


def coverage_gates(labels: LabelMap, cut: tuple[str, ...]) -> Iterator[Gate]:
    ends = " and ".join(cut)
    whole = "the liver lies in the scan as a whole"
    part = f"the liver is cut off at the scan's {ends} end: volumes are of the part that is shown"
    yield Gate("Coverage", "review" if cut else "accept", part if cut else whole)
    spacing = labels.geometry.spacing_mm[0]
    verdict: Verdict = "accept"
    if spacing > REVIEW_SPACING_MM:
        verdict = "reject" if spacing > REJECT_SPACING_MM else "review"
    thick = "" if verdict == "accept" else ": small tumours fall between slices, and volumes are coarse"
    yield Gate("Slice distance", verdict, f"{spacing:.1f} mm{thick}")


def plausibility_gates(ct: Volume, labels: LabelMap, volumes: Volumes, tumours: int) -> Iterator[Gate]:
    ml = volumes.liver_ml
    if not ml:
        yield Gate("Liver volume", "reject", "no liver was found")
        return
    low, high = USUAL_LIVER_ML
    least, most = POSSIBLE_LIVER_ML
    verdict: Verdict = "accept" if low <= ml <= high else "review" if least <= ml <= most else "reject"
    usual = "" if verdict == "accept" else f", outside the usual {low:.0f} to {high:.0f} mL of adults"
    yield Gate("Liver volume", verdict, f"{ml:.0f} mL{usual}")
    yield from _liver_gates(ct, labels)
    if volumes.burden_percent > MOST_BURDEN_PERCENT:
        yield Gate("Tumour load", "review", f"{volumes.burden_percent:.0f} % of the liver were marked as tumour")
    elif tumours > MOST_TUMOURS:
        yield Gate("Tumour load", "review", f"{tumours} separate tumours were marked; many may be false")
    else:
        yield Gate("Tumour load", "accept", f"{tumours} marked")


def _liver_gates(ct: Volume, labels: LabelMap) -> Iterator[Gate]:
    healthy = ct.values[labels.labels == LIVER]
    if healthy.size:
        hu = float(np.median(healthy))
        fits = LIVER_HU[0] <= hu <= LIVER_HU[1]
        why = f"median {hu:.0f} HU"
        yield Gate(
            "Liver density",
            "accept" if fits else "review",
            why if fits else f"{why}: no usual liver, or values that are not Hounsfield units",
        )
    body = np.flatnonzero((ct.values[::2, ::4, ::4] > -300).any(axis=(0, 1)))
    middle = 4 * float(body.mean()) if body.size else labels.labels.shape[2] / 2
    columns = labels.liver.sum(axis=(0, 1))
    centre = float((columns * np.arange(len(columns))).sum() / columns.sum())
    right = centre < middle
    why = "the liver lies on the patient's right"
    mirrored = "most of the liver lies on the patient's left: a mirrored scan, situs inversus, or not the liver"
    yield Gate("Side", "accept" if right else "review", why if right else mirrored)
