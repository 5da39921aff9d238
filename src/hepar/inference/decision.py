"""From a network's scores to labels, probabilities and the confidence of each lesion."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hepar.errors import BadInput
from hepar.metrics.crop import box_of
from hepar.volume import BACKGROUND, LIVER, TUMOUR, LabelMap

Floats = NDArray[np.float32]
RULES = ("argmax", "liver_first")
# Beyond it whole slices are held in memory for nothing: lesions of that size need no smoothing.
MOST_SMOOTH_MM = 20.0


@dataclass(frozen=True)
class Decision:
    """How scores become labels.

    `rule` "argmax" takes the label with the highest logit. "liver_first" asks
    twice: is liver-or-tumour likelier than background, and if so, is tumour
    likelier than liver? At a tumour's edge argmax leaves background where the
    other two share their probability. `tumour_bias` is added to tumour's logit,
    `temperature` divides logits before they become probabilities (Guo et al.
    2017), and lesions whose mean tumour probability is below `min_confidence`
    become liver. Before all that, scores of slices are averaged along z with a
    Gaussian of standard deviation `smooth_mm`: what a slice network finds in one
    slice and in neither neighbour is rarely a lesion. Raises BadInput.
    """

    rule: Literal["argmax", "liver_first"] = "argmax"
    temperature: float = 1.0
    tumour_bias: float = 0.0
    min_confidence: float = 0.0
    smooth_mm: float = 0.0

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise BadInput(f"decision rule is {self.rule!r}; expected {' or '.join(RULES)}")
        if not (math.isfinite(self.temperature) and self.temperature > 0 and math.isfinite(self.tumour_bias)):
            raise BadInput(
                f"temperature is {self.temperature}, tumour_bias {self.tumour_bias}; expected a temperature above 0 "
                "and a finite bias"
            )
        if not 0 <= self.min_confidence <= 1:
            raise BadInput(f"min_confidence is {self.min_confidence}; expected 0 to 1")
        if not 0 <= self.smooth_mm <= MOST_SMOOTH_MM:
            raise BadInput(f"smooth_mm is {self.smooth_mm}; expected 0 to {MOST_SMOOTH_MM}")

    def scores(self, logits: Floats) -> Floats:
        """Logits (n, 3, y, x) to what is resampled to the scan: (n, 2, y, x) for liver_first, else the logits."""
        if self.rule == "argmax":
            return logits
        none, liver, tumour = (logits[:, c].astype(np.float32, copy=False) for c in (BACKGROUND, LIVER, TUMOUR))
        return np.stack([np.logaddexp(liver, tumour) - none, tumour - liver], axis=1)

    def labels(self, scores: Floats) -> NDArray[np.uint8]:
        """(n, y, x) of scores on any grid."""
        if self.rule == "argmax":
            if self.tumour_bias:
                scores = scores + np.array([0, 0, self.tumour_bias], np.float32)[:, None, None]
            return np.asarray(scores.argmax(axis=1), dtype=np.uint8)
        inside = scores[:, 0] > 0
        tumour = inside & (scores[:, 1] > -self.tumour_bias)
        return np.asarray(inside.astype(np.uint8) + tumour, dtype=np.uint8)

    def tumour_probability(self, scores: Floats) -> NDArray[np.uint8]:
        """(n, y, x) in 255ths: calibrated probability of tumour, whatever the bias."""
        if self.rule == "argmax":
            scores = Decision("liver_first").scores(scores)
        p = _logistic(scores[:, 0] / self.temperature) * _logistic(scores[:, 1] / self.temperature)
        return np.asarray(np.rint(255 * p), dtype=np.uint8)


ARGMAX = Decision()


@dataclass(frozen=True)
class Lesion:
    """One group of face-connected tumour voxels; `confidence` is its mean tumour probability, 0 to 1."""

    number: int
    voxels: int
    confidence: float


@dataclass(frozen=True, eq=False)
class Finding:
    """Labels and tumour probability (255ths) on one grid."""

    labels: LabelMap
    tumour_probability: NDArray[np.uint8]

    def lesions(self) -> list[Lesion]:
        """In the order of the scan; numbers are those of `scipy.ndimage.label` on the tumour mask."""
        return self._lesions()[0]

    def without_doubtful(self, min_confidence: float) -> Finding:
        """Lesions below `min_confidence` become liver."""
        lesions, places, numbers = self._lesions()
        doubtful = [lesion.number for lesion in lesions if lesion.confidence < min_confidence]
        return self._without(places[np.isin(numbers, doubtful)])

    def without_faint(self, least_peak: float) -> Finding:
        """Lesions in which no voxel's tumour probability reaches `least_peak`, 0 to 1, become liver."""
        lesions, places, numbers = self._lesions()
        peaks = np.zeros(len(lesions) + 1)
        np.maximum.at(peaks, numbers, self.tumour_probability.ravel()[places])
        # Probabilities are whole 255ths: a lesion of exactly `least_peak` stays.
        return self._without(places[peaks[numbers] < 255 * least_peak - 1e-6])

    def _without(self, places: NDArray[np.intp]) -> Finding:
        """Liver at these flat indices."""
        if not places.size:
            return self
        labels = self.labels.labels.copy()
        labels.ravel()[places] = LIVER
        return Finding(self.labels.with_labels(labels), self.tumour_probability)

    def _lesions(self) -> tuple[list[Lesion], NDArray[np.intp], NDArray[np.int32]]:
        """The lesions, flat indices of all tumour voxels, and the lesion of each.

        Tumours fill a small part of a scan: only their box is searched, only their voxels are summed.
        """
        from scipy.ndimage import label

        tumour = self.labels.tumour
        box = box_of(tumour)
        parts, count = label(tumour[box])
        numbers = np.asarray(parts[tumour[box]], dtype=np.int32)
        places = np.flatnonzero(tumour)
        sizes = np.bincount(numbers, minlength=count + 1)
        sums = np.bincount(numbers, self.tumour_probability.ravel()[places], minlength=count + 1)
        lesions = [Lesion(k, int(sizes[k]), float(sums[k] / sizes[k] / 255)) for k in range(1, count + 1)]
        return lesions, places, numbers


def decision_to_json(decision: Decision) -> dict[str, Any]:
    """Settings without `smooth_mm` where there is none: models from before it keep their ids."""
    return {name: value for name, value in asdict(decision).items() if name != "smooth_mm" or value}


def decision_from_json(row: Any) -> Decision:
    """Settings as `decision_to_json` gave them; missing ones take their defaults. Raises BadInput, TypeError."""
    return Decision(**row)


def _logistic(x: Floats) -> Floats:
    # Beyond +-30 nothing changes in 255ths, and exp must not overflow.
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -30, 30))))
