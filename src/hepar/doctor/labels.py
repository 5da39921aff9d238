"""Is a label map one of a liver? What can be seen without the image.

Components touch by faces, edges or corners: what a radiologist sees as one.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepar.doctor.findings import Finding, Severity
from hepar.doctor.reading import Reading
from hepar.volume import LIVER, TUMOUR

# Adult livers have 0.8 to 2.5 L; the smallest of cirrhosis have some 500 mL and the largest that are
# reported, polycystic or full of metastases, some 5 L. Outside, voxel size or label is mistaken.
LIVER_ML = (300.0, 5000.0)
# Specks of annotation are below; a second piece of this share is drawn on purpose.
PIECE_SHARE = 0.01
# Liver on the outline of a tumour: LiTS 39's hanging mass has 6 %, all others of the subset at hand more than 20 %.
OUTLINE_SHARE = 0.15
APART_SHARE = 0.1
TOUCH = np.ones((3, 3, 3), bool)
IN_SLICE = np.array([[[0] * 3] * 3, [[0, 1, 0], [1, 1, 1], [0, 1, 0]], [[0] * 3] * 3], bool)
# As listed for LiTS (131 volumes); tests/doctor holds what the labels say of the subset at hand.
TUMOUR_FREE = frozenset(f"lits{n:03d}" for n in (32, 34, 38, 41, 47, 87, 89, 91, 105, 106, 114, 115, 119))
FIX_BY_HAND = "by hand: what a label says is never changed here"


def label_findings(reading: Reading, *, size_known: bool) -> list[Finding]:
    """Findings on the numbers and shapes of a label map; `size_known`: mL can be trusted."""
    labels = reading.labels
    if labels is None or reading.label_grid is None:
        return []
    findings = _numbers(reading.id, labels)
    if findings:
        return findings
    if not (labels > 0).any():
        # A lone slice without liver is common in a folder of slices.
        return [] if reading.subject.slices else [_empty(reading.id)]
    findings += _known_facts(reading, has_tumour=bool((labels == TUMOUR).any()))
    findings += _pieces(reading)
    if size_known and not reading.subject.slices:
        findings += _volume(reading)
    return findings


def valid(labels: NDArray[Any]) -> bool:
    """True when every number is 0, 1 or 2."""
    return not _numbers("", labels)


def _numbers(case: str, labels: NDArray[Any]) -> list[Finding]:
    if labels.dtype.kind in "ui" and labels.min() >= 0 and labels.max() <= TUMOUR:
        return []  # the usual case, without a mask as large as the scan
    odd = np.unique(labels[(labels != 0) & (labels != LIVER) & (labels != TUMOUR)])
    if not odd.size:
        return []
    shown = ", ".join(f"{float(number):g}" for number in odd[:8])
    message = "the label holds numbers other than 0 background, 1 liver, 2 tumour"
    return [Finding(case, "label-numbers", "error", message, f"{shown}", FIX_BY_HAND)]


def _empty(case: str) -> Finding:
    return Finding(case, "empty-label", "error", "the label is empty: no liver, no tumour", repair=FIX_BY_HAND)


def _known_facts(reading: Reading, *, has_tumour: bool) -> list[Finding]:
    patient, subject = reading.subject.patient, reading.subject
    if subject.entry.labels != "full" or not re.fullmatch(r"lits(0\d\d|1[0-2]\d|130)", patient):
        return []
    if patient in TUMOUR_FREE and has_tumour:
        message = "LiTS lists this patient as tumour-free, but the label holds tumour"
        return [Finding(reading.id, "tumour-list", "warning", message, repair=FIX_BY_HAND)]
    # Slices are a part of a scan: no tumour on them says nothing of the scan.
    if patient not in TUMOUR_FREE and not has_tumour and not subject.slices:
        message = "the label holds no tumour, but LiTS lists tumours in this patient"
        return [Finding(reading.id, "tumour-list", "warning", message, repair=FIX_BY_HAND)]
    return []


def _pieces(reading: Reading) -> list[Finding]:
    """A liver in several large pieces, and tumour apart from all liver."""
    from scipy.ndimage import find_objects, label

    labels = reading.labels
    assert labels is not None
    inner = labels[find_objects((labels > 0).view(np.uint8))[0]]
    findings = _tumour_apart(reading, inner) if reading.subject.entry.labels == "full" else []
    # Slices of a folder may lie far apart: their pieces need not meet.
    if reading.subject.slices:
        return findings
    pieces, count = label(inner > 0, structure=TOUCH)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)[1:]
    with_liver = np.bincount(pieces[inner == LIVER], minlength=count + 1)[1:] > 0
    large = sorted(sizes[with_liver & (sizes > PIECE_SHARE * sizes.sum())], reverse=True)
    if len(large) > 1:
        shares = ", ".join(f"{n / sizes.sum():.1%}" for n in large)
        message = "the liver is drawn in several large pieces"
        findings.append(Finding(reading.id, "liver-pieces", "warning", message, shares, FIX_BY_HAND))
    return findings


def _tumour_apart(reading: Reading, inner: NDArray[Any]) -> list[Finding]:
    """Tumours with next to no liver along their outline in the slices: a mass that hangs on the liver, or a slip."""
    from scipy.ndimage import binary_dilation, find_objects, label

    pieces, _ = label(inner == TUMOUR, structure=TOUCH)
    apart, slices, total = 0, 0, np.count_nonzero(pieces)
    for number, box in enumerate(find_objects(pieces), start=1):
        # One pixel more on each side, in plane.
        wide = tuple(slice(max(0, part.start - (axis > 0)), part.stop + (axis > 0)) for axis, part in enumerate(box))
        mine = pieces[wide] == number
        outline = binary_dilation(mine, structure=IN_SLICE) & ~mine
        if not outline.any() or np.mean(inner[wide][outline] == LIVER) < OUTLINE_SHARE:
            apart += int(mine.sum())
            slices = max(slices, len(mine))
    if not apart:
        return []
    detail = f"{apart / total:.0%} of the tumour, on up to {slices} slices"
    message = "tumour is drawn that hardly touches the liver, or not at all"
    severity: Severity = "warning" if apart > APART_SHARE * total else "note"
    return [Finding(reading.id, "tumour-apart", severity, message, detail, FIX_BY_HAND)]


def _volume(reading: Reading) -> list[Finding]:
    grid = reading.grid or reading.label_grid
    assert grid is not None and reading.labels is not None
    liver_ml = float(np.count_nonzero(reading.labels)) * grid.voxel_volume_mm3 / 1000
    if LIVER_ML[0] <= liver_ml <= LIVER_ML[1]:
        return []
    message = f"the liver's volume is outside {LIVER_ML[0]:g}..{LIVER_ML[1]:g} mL: cut off, or voxel size mistaken"
    return [Finding(reading.id, "liver-volume", "warning", message, f"{liver_ml:,.0f} mL", FIX_BY_HAND)]
