"""One case in memory, as far as it could be read, and the findings on the way there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepar.datasets.layout import meant
from hepar.doctor.findings import Finding
from hepar.doctor.listing import Subject
from hepar.errors import HeparError
from hepar.geometry import Geometry


@dataclass(frozen=True, eq=False)
class Reading:
    """What a case's files hold, unchecked: `values` and `labels` (z, y, x) on their grids, None where unreadable."""

    subject: Subject
    values: NDArray[Any] | None
    grid: Geometry | None
    labels: NDArray[Any] | None
    label_grid: Geometry | None
    notes: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return self.subject.id

    @property
    def in_step(self) -> bool:
        """Image and label are there and have one shape, so voxels can be compared."""
        return self.values is not None and self.labels is not None and self.values.shape == self.labels.shape

    def turned_label(self, axes: tuple[bool, bool, bool]) -> Reading:
        """The same with the label's voxels reversed along these array axes."""
        assert self.labels is not None
        return replace(self, labels=np.flip(self.labels, tuple(axis for axis in range(3) if axes[axis])))


def read_case(subject: Subject, *, with_labels: bool = True) -> tuple[Reading, list[Finding]]:
    """Read what can be read; what cannot is a finding, never an exception."""
    findings: list[Finding] = []
    entry = subject.entry
    values = grid = labels = label_grid = None
    notes: tuple[str, ...] = ()
    if entry.image is None:
        findings.append(
            Finding(subject.id, "no-image", "error", "there is a label, but no image", f"label {_name(entry.label)}")
        )
    else:
        try:
            stored = entry.read_image()
            values, grid, notes = meant(stored), stored.geometry, stored.notes
        except (HeparError, MemoryError, OSError) as error:
            findings.append(_unreadable(subject.id, "image", error))
    if not with_labels:
        return Reading(subject, values, grid, None, None, notes), findings
    if entry.label is None:
        findings.append(
            Finding(subject.id, "no-label", "warning", "there is an image, but no label", f"image {_name(entry.image)}")
        )
    else:
        try:
            stored = entry.read_classes()
            labels, label_grid = meant(stored), stored.geometry
        except (HeparError, MemoryError, OSError) as error:
            findings.append(_unreadable(subject.id, "label", error))
    return Reading(subject, values, grid, labels, label_grid, notes), findings


def _unreadable(case: str, what: str, error: BaseException) -> Finding:
    detail = str(error) or type(error).__name__
    return Finding(case, "unreadable", "error", f"the {what} cannot be read", detail, "get the file again")


def _name(path: Any) -> str:
    return path.name if path else "missing"
