"""What is exported: liver and single lesions on the slices of the files, and who made them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from hepar.errors import BadInput
from hepar.io.exports.uids import uid_from

BACKGROUND, LIVER = 0, 1
FIRST_LESION = 2
RESEARCH = "Research use only, not a medical device"
NOT_ASSESSED = "Tumour not assessed"


@dataclass(frozen=True, eq=False)
class Marked:
    """`numbers` uint8 (n, y, x) on the slices of a series: 0 background, 1 liver, 2 the first of `lesions`, and so on.

    `lesions` are their names in a report. `remark` is a sentence that every
    export repeats, such as why tumours were not assessed. Raises BadInput for
    a number without a name.
    """

    numbers: NDArray[np.uint8]
    lesions: tuple[str, ...] = ()
    remark: str = ""

    def __post_init__(self) -> None:
        if self.numbers.dtype != np.uint8 or self.numbers.ndim != 3:
            raise BadInput(f"found numbers {self.numbers.dtype} of {self.numbers.ndim} axes; expected uint8 (n, y, x)")
        if self.numbers.size and int(self.numbers.max()) >= FIRST_LESION + len(self.lesions):
            raise BadInput(f"found structure {self.numbers.max()} but {len(self.lesions)} lesions have a name")

    @property
    def liver(self) -> NDArray[np.bool_]:
        """Lesions included."""
        return np.asarray(self.numbers >= LIVER)

    def lesion(self, place: int) -> NDArray[np.bool_]:
        return np.asarray(self.numbers == FIRST_LESION + place)

    def present(self) -> list[int]:
        """Places in `lesions` of those with at least one voxel."""
        seen = np.bincount(self.numbers.ravel(), minlength=FIRST_LESION + len(self.lesions))
        return [place for place in range(len(self.lesions)) if seen[FIRST_LESION + place]]


@dataclass(frozen=True)
class Maker:
    """The software, the model and the moment of an export: what tells two results on one series apart."""

    version: str
    model: str
    weights_sha256: str
    made: datetime

    def uid(self, kind: str, series: str) -> str:
        """For a new object of a kind (`seg`, `sr`) about a series."""
        return uid_from(kind, series, self.version, self.model, self.weights_sha256, self.made.isoformat())

    def tracking_uid(self, series: str, name: str) -> str:
        """Of one lesion: the same in the segmentation, the report and the contours."""
        return uid_from("finding", self.uid("result", series), name)
