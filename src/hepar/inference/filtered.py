"""A segmenter whose lesions are judged one by one before they stay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from hepar.inference.candidates import candidates_of
from hepar.inference.decision import Finding
from hepar.inference.forest import Forest
from hepar.volume import LabelMap, Volume

# A candidate stays where true is at least as likely as false.
LEAST_PROBABILITY = 0.5


class Finder(Protocol):
    """A segmenter that also says how likely each voxel is tumour."""

    @property
    def name(self) -> str: ...

    def find(self, ct: Volume, progress: Any = None) -> Finding: ...


@dataclass(frozen=True, eq=False)
class FilteredSegmenter:
    """`inner` finds; lesions that `forest` takes for false become liver. Without a forest all stay."""

    inner: Finder
    forest: Forest | None

    @property
    def name(self) -> str:
        return f"{self.inner.name}, filtered" if self.forest else self.inner.name

    def segment(self, ct: Volume, progress: Any = None) -> LabelMap:
        """Labels on the exact grid of `ct`."""
        return self.find(ct, progress).labels

    def find(self, ct: Volume, progress: Any = None) -> Finding:
        """What `inner` finds, without the lesions taken for false, on the exact grid of `ct`; probabilities stay."""
        if self.forest is None:
            return self.inner.find(ct, progress)
        axial = ct.axial()
        finding = self.inner.find(axial, progress)
        found = candidates_of(axial, finding)
        labels = finding.labels
        if len(found):
            labels = found.without(labels, self.forest.probability(found.features) < LEAST_PROBABILITY)
        back = ct.geometry.axial()
        turned = [np.ascontiguousarray(back.undo(one)) for one in (labels.labels, finding.tumour_probability)]
        return Finding(LabelMap(turned[0], ct.geometry), turned[1])
