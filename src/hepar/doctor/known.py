"""What the field knows of LiTS by its numbers, told where these patients are at hand."""

from __future__ import annotations

from collections.abc import Sequence

from hepar.datasets.layout import lits_patient
from hepar.doctor.findings import Finding
from hepar.doctor.listing import Subject

IRCADB = [lits_patient(number) for number in range(28, 48)]
TURNED_BY_SCRIPTS = [lits_patient(number) for number in range(68, 83)]


def known_facts(subjects: Sequence[Subject], turned: Sequence[str]) -> list[Finding]:
    """Notes on the whole set; `turned`: patients whose anatomy contradicts their header."""
    here = {one.patient for one in subjects}
    whole = {one.patient for one in subjects if not one.slices}
    findings = []
    if overlap := [patient for patient in IRCADB if patient in here]:
        message = "LiTS 28 to 47 are 3D-IRCADb patients 1 to 20: a test on one is no test after training on the other"
        findings.append(Finding("", "ircadb", "note", message, f"{len(overlap)} of them here"))
    if "lits039" in here:
        message = "LiTS 39: its large tumour hangs outside the liver; its label is in doubt"
        findings.append(Finding("", "lits39", "note", message, "report with and without it"))
    if scripted := [patient for patient in TURNED_BY_SCRIPTS if patient in whole]:
        wrong = [patient for patient in scripted if patient in turned]
        message = "LiTS 68 to 82 are flipped by some public scripts before use; here the header is heeded instead"
        findings.append(
            Finding("", "turned", "note", message, f"{len(wrong)} of {len(scripted)} contradict their header")
        )
    return findings
