"""The promises Method and Segmenter. What can segment is already trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from hepar.cases import Case
from hepar.volume import LabelMap, Volume


class Segmenter(Protocol):
    """A trained method. The labels lie on the exact grid of the scan."""

    def segment(self, ct: Volume) -> LabelMap: ...


class Method(Protocol):
    """One published method, with all its settings."""

    def train(self, cases: Sequence[Case], folder: Path) -> Segmenter:
        """Train on `cases`, keeping everything needed to repeat it in `folder`; resumes what it finds there."""
        ...

    def load(self, folder: Path) -> Segmenter:
        """The segmenter that an earlier `train` left in `folder`."""
        ...
