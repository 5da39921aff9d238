"""The same scan under two names: within a data set, in a second one, and on both sides of a split."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hepar.doctor.findings import Finding, Remedy
from hepar.doctor.fingerprint import SAME, Fingerprint, likeness, same_voxels
from hepar.doctor.listing import Subject, canonical
from hepar.errors import BadInput

CLEAN_SPLIT = "none automatic: deal the folds anew over patients (hepar folds)"
MANY = 6


@dataclass(frozen=True, eq=False)
class Seen:
    """A subject whose image could be read and what is compared of it; `in_hu`: its values are HU."""

    subject: Subject
    print: Fingerprint
    place_known: bool = True
    in_hu: bool = True


@dataclass(frozen=True)
class Twin:
    """Two subjects that hold the same scan."""

    one: Seen
    other: Seen

    @property
    def same_name(self) -> bool:
        return self.one.subject.patient == self.other.subject.patient


def twins_within(seen: Sequence[Seen]) -> list[Twin]:
    alike = likeness([one.print for one in seen], [one.print for one in seen])
    pairs = zip(*np.nonzero(np.triu(alike >= SAME, k=1)), strict=True)
    return [Twin(seen[a], seen[b]) for a, b in pairs]


def twins_between(seen: Sequence[Seen], others: Sequence[Seen]) -> list[Twin]:
    alike = likeness([one.print for one in seen], [one.print for one in others])
    return [Twin(seen[a], others[b]) for a, b in zip(*np.nonzero(alike >= SAME), strict=True)]


def within(twins: Sequence[Twin]) -> list[Finding]:
    """Findings on copies within the set: an error where a split over patients would not see them."""
    findings = []
    for twin in twins:
        one, other = twin.one.subject, twin.other.subject
        if not twin.same_name:
            message = "one scan stands here under two patients: a split would put it on both sides"
            detail = f"the same as {other.id}"
            findings.append(
                Finding(one.id, "two-names", "error", message, detail, "none automatic: give both one patient")
            )
        elif not (one.slices and other.slices):
            message = "one scan stands here twice, under one patient"
            findings.append(Finding(one.id, "copy", "note", message, f"the same as {other.id}"))
    return findings


def in_several_folders(subjects: Sequence[Subject]) -> list[Finding]:
    """For a collection: patients who stand in more than one of its data sets, by name."""
    folders: dict[str, set[str]] = {}
    for one in subjects:
        folders.setdefault(one.patient, set()).add(one.folder)
    shared = {patient: tuple(sorted(names)) for patient, names in folders.items() if len(names) > 1}
    groups: dict[tuple[str, ...], list[str]] = {}
    for patient, names in shared.items():
        groups.setdefault(names, []).append(patient)
    message = "patients stand in more than one folder: deal folds over all folders together"
    return [
        Finding("", "same-patient", "note", message, f"{', '.join(names)}: {_some(sorted(patients))}")
        for names, patients in sorted(groups.items())
    ]


def against(seen: Sequence[Seen], others: Sequence[Seen], twins: Sequence[Twin], name: str) -> list[Finding]:
    """Findings on what a second data set shares with this one."""
    findings = []
    met = {twin.one.subject.id for twin in twins}
    shared = {one.subject.patient for one in seen} & {one.subject.patient for one in others}
    if met or shared:
        message = f"patients of this set are also in {name}: never train on one and test on the other"
        detail = f"{len(met)} of {len(seen)} scans by their content, {len(shared)} patients by name"
        findings.append(Finding("", "overlap", "note", message, detail))
    for twin in twins:
        if not twin.same_name:
            one, other = twin.one.subject, twin.other.subject
            message = f"the scan is in {name} under another patient"
            findings.append(
                Finding(one.id, "two-names", "error", message, f"patient {one.patient} here, {other.patient} there")
            )
    whole = {there.subject.patient for there in others if there.in_hu and not there.subject.slices}
    for mine in (one.subject for one in seen if one.in_hu and not one.subject.slices):
        if mine.id not in met and mine.patient in whole:
            message = f"{name} has a scan of this patient, but another one by its content"
            findings.append(Finding(mine.id, "other-scan", "warning", message, mine.patient))
    return findings


def with_place_of_twins(findings: Sequence[Finding], twins: Sequence[Twin]) -> list[Finding]:
    """Findings of a lost place or size become repairable where the same scan with its place is at hand."""
    known = {twin.one.subject.id: twin for twin in twins if twin.other.place_known}
    return [_with_place(finding, known.get(finding.case)) for finding in findings]


def _with_place(finding: Finding, twin: Twin | None) -> Finding:
    if finding.kind not in ("identity-affine", "spacing") or twin is None:
        return finding
    grid = same_voxels(twin.one.print, twin.other.print)
    if grid is None:
        return finding
    size = " x ".join(f"{s:.4g}" for s in grid.spacing_mm)
    repair = f"take the grid of {twin.other.subject.id}, the same voxels: {size} mm"
    return Finding(
        finding.case, finding.kind, finding.severity, finding.message, finding.detail, repair, Remedy(grid=grid)
    )


def splits(path: Path, subjects: Sequence[Subject], twins: Sequence[Twin]) -> list[Finding]:
    """Findings on a file of folds: [{"train": [...], "test": [...]}], or nnU-Net's "val" for "test".

    Names may be patients, cases or files' names of any of the known data sets.
    Raises BadInput when the file is none of that.
    """
    rows = _rows(path)
    patient_of = {one.id: one.patient for one in subjects} | {one.id.split("/")[-1]: one.patient for one in subjects}
    findings, everyone = [], set()
    for number, (train, test) in enumerate(rows):
        sides = [{patient_of.get(name) or canonical(name): name for name in side} for side in (train, test)]
        everyone |= set(sides[0]) | set(sides[1])
        both = sorted(set(sides[0]) & set(sides[1]))
        if both:
            named = [p if sides[0][p] == sides[1][p] else f"{sides[0][p]} = {sides[1][p]}" for p in both]
            message = "the same patient stands on both sides of a split"
            findings.append(
                Finding("", "split", "error", message, f"fold {number} of {path.name}: {_some(named)}", CLEAN_SPLIT)
            )
        for twin in twins:
            one, other = twin.one.subject.patient, twin.other.subject.patient
            if one != other and ((one in sides[0] and other in sides[1]) or (other in sides[0] and one in sides[1])):
                message = "the same scan, under two patients, stands on both sides of a split"
                detail = f"fold {number} of {path.name}: {one} = {other}"
                findings.append(Finding("", "split", "error", message, detail, CLEAN_SPLIT))
    missing = sorted(everyone - {one.patient for one in subjects})
    if missing:
        message = f"{path.name} names patients that are not in this data set"
        findings.append(Finding("", "split-names", "note", message, _some(missing)))
    return findings


def _rows(path: Path) -> list[tuple[list[str], list[str]]]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"{path.name} cannot be read as a fold file: {error.strerror}") from error
    except ValueError:
        rows = None
    if not isinstance(rows, list) or not rows or not all(_is_row(row) for row in rows):
        raise BadInput(f'{path.name} is not a list of {{"train": [...], "test": [...]}}; give a file of folds')
    return [(row["train"], row.get("test", row.get("val"))) for row in rows]


def _is_row(row: Any) -> bool:
    if not isinstance(row, dict):
        return False
    sides = (row.get("train"), row.get("test", row.get("val")))
    return all(isinstance(side, list) and all(isinstance(name, str) for name in side) for side in sides)


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:MANY])
    return f"{shown} and {len(names) - MANY} more" if len(names) > MANY else shown
