"""What an examination finds: values that print, compare and can be repaired."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from hepar.doctor.listing import Subject
from hepar.geometry import Geometry

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
Axes = tuple[bool, bool, bool]
NO_AXES: Axes = (False, False, False)


@dataclass(frozen=True, eq=False)
class Remedy:
    """What would repair one finding; remedies of several findings of a case add up.

    `grid`: the image's true grid, which the label takes over. `turn`: array
    axes of the image's grid to reverse, the voxels keep their order.
    `label_takes_grid`: the label's header is replaced by the image's.
    `label_to_image`: the label's voxels are reordered onto the image's axes.
    `label_turn`: array axes along which the label's voxels are reversed.
    `add_hu` is added to every value.
    """

    grid: Geometry | None = None
    turn: Axes = NO_AXES
    label_takes_grid: bool = False
    label_to_image: bool = False
    label_turn: Axes = NO_AXES
    add_hu: int = 0


@dataclass(frozen=True, eq=False)
class Finding:
    """One thing to know about a case, or about the whole set where `case` is empty.

    `message` is the same for all cases with this finding, so that many can be
    told in one line; `detail` is this case's. `repair` says what a repair would
    do, or why there is none.
    """

    case: str
    kind: str
    severity: Severity
    message: str
    detail: str = ""
    repair: str = ""
    remedy: Remedy | None = None

    @property
    def repairable(self) -> bool:
        return self.remedy is not None


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """The findings of a data set. `layout` names its kind; `subjects` are all cases, the bad ones included."""

    root: Path
    layout: str
    subjects: tuple[Subject, ...]
    findings: tuple[Finding, ...]
    patients: int = field(default=0)

    def count(self, severity: Severity) -> int:
        return sum(finding.severity == severity for finding in self.findings)

    def of(self, case: str) -> list[Finding]:
        return [finding for finding in self.findings if finding.case == case]

    @property
    def repairable(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.repairable]


def worst_first(findings: Sequence[Finding]) -> list[Finding]:
    """Errors, then warnings, then notes; within these in the order in which they were found."""
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))
