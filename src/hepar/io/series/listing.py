"""The series of a path as plain rows, for a table and for JSON. Nothing of a patient is in them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hepar.errors import BadInput
from hepar.io.series.diagnosis import Diagnosed, examine
from hepar.io.series.phase import guess_phase
from hepar.io.series.picker import Choice, by_study, choose, height_mm, kernel_of, orientation


@dataclass(frozen=True)
class Row:
    """One series. `study` counts studies from 1; lengths are mm, `contrast` None where no header says."""

    place: int
    study: int
    name: str
    number: int | None
    slices: int
    rows: int
    columns: int
    pixel_mm: tuple[float, float]
    spacing_mm: float
    thickness_mm: float
    height_mm: float
    orientation: str
    phase: str
    phase_why: str
    contrast: bool | None
    kernel: str
    picked: bool
    readable: bool
    findings: tuple[dict[str, str], ...]


@dataclass(frozen=True)
class Listing:
    """Every series, the choice of each study in words, and how many files of other kinds were passed over."""

    rows: tuple[Row, ...]
    choices: tuple[str, ...]
    passed: dict[str, int]

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "series": [asdict(row) for row in self.rows],
            "choices": list(self.choices),
            "passed_over": dict(self.passed),
        }


def list_series(path: str | Path) -> Listing:
    """Raises BadInput where there is no CT series, naming what was passed over."""
    path = Path(path)
    if not path.exists():
        raise BadInput(f"there is no file or folder '{path.name}'; check the path")
    if path.is_file() and path.suffix.lower() != ".zip":
        raise BadInput(f"'{path.name}' is one file; expected a folder or .zip of DICOM files")
    found = examine(path)
    if not found.series:
        beside = ", ".join(f"{count} {kind}" for kind, count in found.passed.items()) or "nothing"
        raise BadInput(f"no CT series in '{path.name}'; found {beside}. Pass a folder or .zip of DICOM CT slices")
    choices = [choose(study) for study in by_study(found.series)]
    study = {id(one): place for place, some in enumerate(by_study(found.series), start=1) for one in some}
    rows = [_row(place, study[id(one)], one, choices) for place, one in enumerate(found.series, start=1)]
    return Listing(tuple(rows), tuple(str(choice) for choice in choices), found.passed)


def _row(place: int, study: int, one: Diagnosed, choices: list[Choice]) -> Row:
    first, guess = one.first, guess_phase(one)
    return Row(
        place=place,
        study=study,
        name=one.series.name,
        number=one.series.number,
        slices=len(one.stack.slices),
        rows=first.rows,
        columns=first.columns,
        pixel_mm=(round(float(first.pixel_spacing_mm[0]), 4), round(float(first.pixel_spacing_mm[1]), 4)),
        spacing_mm=round(one.stack.usual_gap_mm, 4),
        thickness_mm=round(first.thickness_mm, 4),
        height_mm=round(height_mm(one), 1),
        orientation=orientation(one),
        phase=guess.phase,
        phase_why=guess.why,
        contrast=_contrast(guess.phase),
        kernel=kernel_of(one),
        picked=any(choice.series is one for choice in choices),
        readable=one.is_readable,
        findings=tuple(
            {"name": type(finding).__name__, "weight": finding.weight, "text": str(finding)} for finding in one.findings
        ),
    )


def _contrast(phase: str) -> bool | None:
    return None if phase == "unknown" else phase != "native"
