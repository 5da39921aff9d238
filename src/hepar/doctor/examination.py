"""From a folder to a diagnosis, one case at a time.

A case at a time is in memory; of those that are done, only fingerprints are
kept (some 100 kB each). A case that cannot be read is a finding, and the rest
go on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hepar.doctor import anatomy, overlap, place
from hepar.doctor.findings import NO_AXES, Diagnosis, Finding, Remedy, worst_first
from hepar.doctor.fingerprint import fingerprint
from hepar.doctor.intensity import Scale, in_hu, scale_of
from hepar.doctor.known import known_facts
from hepar.doctor.labels import label_findings, valid
from hepar.doctor.listing import Subject, subjects
from hepar.doctor.reading import Reading, read_case
from hepar.volume import TUMOUR

Progress = Callable[[int, int, str], None]
LOST_PLACE = {"identity-affine", "spacing"}


def _silent(done: int, count: int, case: str) -> None:
    del done, count, case


@dataclass(frozen=True)
class Options:
    """What else to look at: a second data set, a file of folds; `progress(done, count, case)` is told of each case."""

    against: Path | None = None
    folds: Path | None = None
    progress: Progress = _silent


def examine(root: Path | str, options: Options | None = None) -> Diagnosis:
    """Everything that the doctor finds in the data set at `root`.

    Raises BadInput when `root` or `options.against` is no data set, or
    `options.folds` no file of folds; never for a bad case.
    """
    options = options or Options()
    root = Path(root)
    layout, listed, unknown = subjects(root)
    other_subjects = subjects(options.against)[1] if options.against else []
    count = len(listed) + len(other_subjects)
    findings: list[Finding] = []
    seen: list[overlap.Seen] = []
    for number, subject in enumerate(listed):
        options.progress(number, count, subject.id)
        found, print = examine_case(subject)
        findings += found
        seen += [print] if print else []
    others = []
    for number, subject in enumerate(other_subjects):
        options.progress(len(listed) + number, count, subject.id)
        others += _seen_only(subject)
    twins = overlap.twins_within(seen)
    findings += overlap.within(twins)
    if options.against:
        met = overlap.twins_between(seen, others)
        findings = overlap.with_place_of_twins(findings, met)
        findings += overlap.against(seen, others, met, options.against.resolve().name)
    findings += _of_the_set(layout, listed, unknown, findings)
    if options.folds:
        findings += overlap.splits(options.folds, listed, twins)
    patients = len({one.patient for one in listed})
    return Diagnosis(root, layout, tuple(listed), tuple(worst_first(findings)), patients)


def _of_the_set(
    layout: str, listed: Sequence[Subject], unknown: Sequence[str], findings: Sequence[Finding]
) -> list[Finding]:
    turned = {finding.case for finding in findings if finding.kind == "orientation"}
    found = known_facts(listed, [one.patient for one in listed if one.id in turned])
    if layout == "collection":
        found += overlap.in_several_folders(listed)
    if unknown:
        message = "folders that are no data set hepar knows were passed over"
        found.append(Finding("", "passed-over", "note", message, ", ".join(unknown)))
    return found


def examine_case(subject: Subject) -> tuple[list[Finding], overlap.Seen | None]:
    """Findings on one case, and what to compare it with others by; None where its image cannot be read."""
    reading, findings = read_case(subject)
    scale, wrong = scale_of(reading)
    placed = place.image_place(reading)
    findings += [*wrong, *placed]
    lost = any(finding.kind in LOST_PLACE for finding in placed)
    if reading.labels is not None and not valid(reading.labels):
        findings += label_findings(reading, size_known=False)
        reading = replace(reading, labels=None)
    findings += _against_image(reading, scale, lost=lost)
    findings += label_findings(reading, size_known=subject.size_known and not lost)
    findings += _union_with_tumour(reading)
    if reading.values is None or reading.grid is None:
        return findings, None
    print = fingerprint(in_hu(reading.values, scale), reading.grid, scale)
    return findings, overlap.Seen(subject, print, place_known=not lost, in_hu=scale.known)


def _against_image(reading: Reading, scale: Scale, *, lost: bool) -> list[Finding]:
    """Findings that need image and label, or the image's anatomy."""
    if reading.values is None or reading.grid is None:
        return []
    hu = in_hu(reading.values, scale)
    grids = place.label_place(reading, label_fits=True)
    remedy = next((finding.remedy for finding in grids if finding.remedy), Remedy())
    if remedy.label_to_image:
        reading = _reordered(reading)
    body = anatomy.body_of(reading, scale, hu)
    if body is None:
        return grids
    misplaced, turn = anatomy.misplaced_label(reading, body)
    if grids and remedy.label_takes_grid and misplaced:
        grids = place.label_place(reading, label_fits=False)
    if turn != NO_AXES:
        body = anatomy.body_of(reading.turned_label(turn), scale, hu) or body
    orientation = [] if lost else anatomy.orientation(reading, body, scale)
    return [*grids, *misplaced, *orientation]


def _reordered(reading: Reading) -> Reading:
    """The label's voxels on the image's axes; both cover one box."""
    assert reading.grid is not None and reading.label_grid is not None and reading.labels is not None
    moved = reading.grid.axial().undo(reading.label_grid.axial().apply(reading.labels))
    return replace(reading, labels=moved, label_grid=reading.grid)


def _union_with_tumour(reading: Reading) -> list[Finding]:
    if reading.labels is None or reading.subject.entry.labels == "full" or not (reading.labels == TUMOUR).any():
        return []
    message = "the set says that its labels do not tell tumour from liver, but this label holds tumour"
    return [Finding(reading.id, "union-label", "warning", message)]


def _seen_only(subject: Subject) -> list[overlap.Seen]:
    """What is compared of a case of the second data set; nothing where its image cannot be read."""
    reading, _ = read_case(subject, with_labels=False)
    if reading.values is None or reading.grid is None:
        return []
    scale, _ = scale_of(reading)
    lost = any(finding.kind in LOST_PLACE for finding in place.image_place(reading))
    print = fingerprint(in_hu(reading.values, scale), reading.grid, scale)
    return [overlap.Seen(subject, print, place_known=not lost and not subject.slices, in_hu=scale.known)]
