"""Every series of a folder or .zip with what is wrong with it, from headers alone."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hepar.io.series import findings as f
from hepar.io.series.grouping import Group, group, merged, split, without_copies
from hepar.io.series.scanning import Scanned, scan
from hepar.io.series.slices import Series, Slice
from hepar.io.series.stack import OFF_LINE_MM, Stack, stacked

# Neighbours so near are a routine abdominal CT of their own; what lies between may be made from them.
FILLED_GAP_MM = 6.0
# Spacing that varies by so much of itself is resampled however thick the slices are.
UNEVEN_SHARE = 1.25
# With a larger share of gaps that are multiples of the usual one, no single slices are missing.
MOST_HOLES = 0.25
# Tilt is set in steps of half a degree; rounded positions of a straight scan stay far below.
MOST_TILT_DEGREES = 0.5
# Gantries tilt by up to 30 degrees.
LARGEST_TILT_DEGREES = 35.0
# Slices of 1 mm every 10 mm were once usual; contiguous ones lie up to this many thicknesses apart.
CONTIGUOUS = 1.5
# By the syntax's number below 1.2.840.10008.1.2: name, lossy, whether pydicom (RLE) or ITK's GDCM decodes it.
SYNTAXES = {
    "4.50": ("JPEG Baseline", True, True),
    "4.51": ("JPEG Extended", True, True),
    "4.57": ("JPEG Lossless", False, True),
    "4.70": ("JPEG Lossless SV1", False, True),
    "4.80": ("JPEG-LS Lossless", False, True),
    "4.81": ("JPEG-LS Near-lossless", True, True),
    "4.90": ("JPEG 2000 Lossless", False, True),
    "4.91": ("JPEG 2000", True, True),
    "4.201": ("High-Throughput JPEG 2000 Lossless", False, False),
    "4.202": ("High-Throughput JPEG 2000 Lossless RPCL", False, False),
    "4.203": ("High-Throughput JPEG 2000", True, False),
    "5": ("RLE Lossless", False, True),
}
UNKNOWN_SYNTAX = ("a transfer syntax unknown here", True, False)
SYNTAX_ROOT = "1.2.840.10008.1.2."
PLAIN = {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2", ""}


@dataclass(frozen=True, eq=False)
class Diagnosed:
    """A series in order along its normal, and its findings; `study` is equal for series of one patient's study."""

    series: Series
    stack: Stack
    findings: tuple[f.Finding, ...]
    study: Hashable

    @property
    def is_readable(self) -> bool:
        """False where a finding is an error, by the headers; the voxels may hold more."""
        return not self.errors

    @property
    def errors(self) -> tuple[f.Finding, ...]:
        return tuple(one for one in self.findings if one.weight == "error")

    @property
    def first(self) -> Slice:
        return self.stack.slices[0]

    @property
    def words(self) -> frozenset[str]:
        """What the description says, as words of a fixed list."""
        return self.first.tags.words

    def has(self, kind: type[f.Finding]) -> bool:
        return any(isinstance(one, kind) for one in self.findings)


@dataclass(frozen=True, eq=False)
class Examination:
    """All CT series of a path, and how many files of other kinds were passed over."""

    series: tuple[Diagnosed, ...]
    passed: dict[str, int]


def examine(path: str | Path) -> Examination:
    """Every CT stack in a folder (with its subfolders) or a .zip, by folder and series number.

    Pixels are read only where places repeat. Raises BadInput for a .zip that
    is damaged, encrypted or hostile, as `scanning.scan` does.
    """
    found = scan(Path(path))
    diagnosed = [one for whole in merged(group(found.slices)) for one in _diagnosed(whole, found)]
    with_strays = [_with_strays(one, diagnosed) for one in diagnosed]
    with_strays.sort(key=_order)
    return Examination(
        tuple(_named(one, place) for place, one in enumerate(with_strays, start=1)),
        found.passed,
    )


def _order(one: Diagnosed) -> tuple[object, ...]:
    series = one.series
    part = next((p.part for p in one.findings if isinstance(p, f.InterleavedPhases)), 0)
    return (series.folder, series.number is None, series.number or 0, one.first.uid, part, str(one.first.file))


def _diagnosed(whole: Group, found: Scanned) -> Iterator[Diagnosed]:
    placeless, unread = found.lost_from(list(whole.slices))
    for part in split(without_copies(whole, Series("", whole.slices, found.archive))):
        series = Series("", part.slices, found.archive, placeless, unread)
        stack = stacked(part.slices)
        findings = (*part.findings, *_of_place(stack), *_of_headers(stack), *_of_files(series))
        yield Diagnosed(series, stack, findings, _study(series.slices[0]))


def _study(one: Slice) -> Hashable:
    """What series of one study share; without any UID a folder."""
    tags = one.tags
    return ("study", tags.study) if tags.study else ("frame", tags.frame) if tags.frame else (one.uid or one.folder)


def _named(one: Diagnosed, place: int) -> Diagnosed:
    number = one.series.number
    which = f"series {number}" if number is not None else f"series no. {place}"
    part = next((p for p in one.findings if isinstance(p, f.InterleavedPhases)), None)
    of = f", part {part.part} of {part.parts}" if part else ""
    return replace(one, series=replace(one.series, name=f"DICOM {which}{of} (CT, {len(one.stack.slices)} slices)"))


def _with_strays(one: Diagnosed, others: Iterable[Diagnosed]) -> Diagnosed:
    """With a finding for files of the same series that another grid keeps out."""
    if not one.first.uid:
        return one
    strays = sum(
        len(other.stack.slices)
        for other in others
        if other is not one and other.first.uid == one.first.uid and not other.has(f.InterleavedPhases)
    )
    return replace(one, findings=(*one.findings, f.OtherPixelSizes(strays))) if strays else one


def _of_place(stack: Stack) -> Iterator[f.Finding]:
    spacing = stack.slices[0].pixel_spacing_mm
    if not (spacing > 0).all():
        yield f.BadPixelSpacing((round(float(spacing[0]), 6), round(float(spacing[1]), 6)))
    if len(stack.slices) == 1:
        yield f.LoneSlice(stack.slices[0].thickness_mm)
        return
    if stack.doubled:
        yield f.ConflictingSlices(len(stack.slices), len(stack.slices) - stack.doubled)
        return
    yield from _of_gaps(stack)
    yield from _of_tilt(stack)
    thickness, distance = stack.slices[0].thickness_mm, stack.usual_gap_mm
    if 0 < thickness * CONTIGUOUS < distance:
        yield f.GapsBetweenSlices(thickness, round(distance, 3))


def _of_gaps(stack: Stack) -> Iterator[f.Finding]:
    if stack.is_even:
        return
    gaps, usual = stack.gaps_mm, stack.usual_gap_mm
    times = np.rint(gaps / usual)
    holes = np.count_nonzero(times > 1)
    # Many holes are spacing that changes. A hole of many slices carries the rounding of many.
    if (
        holes <= MOST_HOLES * len(gaps)
        and (times >= 1).all()
        and (np.abs(gaps - times * usual) <= stack.tolerance_mm * times).all()
    ):
        yield f.MissingSlices(int(times.sum()) - len(gaps), float(gaps.max()), usual, bool(gaps.max() <= FILLED_GAP_MM))
        return
    repairable = bool(gaps.max() <= max(FILLED_GAP_MM, UNEVEN_SHARE * usual))
    yield f.UnevenSpacing(float(gaps.min()), float(gaps.max()), usual, even_step_mm(stack), repairable)


def even_step_mm(stack: Stack) -> float:
    """The spacing to resample an uneven stack to: fine enough for its finer part, however few odd gaps are smaller."""
    wanted = float(np.quantile(stack.gaps_mm, 0.1, method="lower"))
    height = float(stack.heights_mm[-1])
    return height / max(1, round(height / wanted))


def _of_tilt(stack: Stack) -> Iterator[f.Finding]:
    if stack.off_line_mm > max(stack.tolerance_mm, OFF_LINE_MM):
        yield f.OffLine(stack.off_line_mm)
        return
    named = stack.slices[0].tags.tilt_degrees or 0.0
    if stack.tilt_degrees > MOST_TILT_DEGREES:
        yield f.GantryTilt(stack.tilt_degrees, stack.tilt_degrees <= LARGEST_TILT_DEGREES)
    elif abs(named) > MOST_TILT_DEGREES:
        yield f.TiltOnlyInTag(named)


def _of_headers(stack: Stack) -> Iterator[f.Finding]:
    every = [one.tags for one in stack.slices]
    yield from _of_syntaxes({tags.syntax for tags in every})
    empty = sum(not tags.sop_class for tags in every)
    if empty:
        yield f.EmptySopClass(empty)
    unknown = sum(not tags.modality for tags in every)
    if unknown:
        yield f.ModalityUnknown(unknown)
    lacking = tuple(name for name, told in DE_IDENTIFIED if not all(told(one) for one in stack.slices))
    if lacking:
        yield f.MissingTags(lacking)
    if not all(tags.rescaled for tags in every):
        yield f.RescaleMissing()
    types = {tags.rescale_type.upper() for tags in every} - {"", "HU", "US"}
    if types:
        yield f.NotHounsfield(f"RescaleType is {', '.join(sorted(map(_coded, types)))}")
    announced = max((tags.images or 0 for tags in every), default=0)
    if announced > len(stack.slices) and len({tags.acquisition for tags in every}) == 1:
        yield f.FewerThanAnnounced(len(stack.slices), announced)


# What every CT has by the standard and an export refers to.
DE_IDENTIFIED: tuple[tuple[str, Callable[[Slice], object]], ...] = (
    ("StudyInstanceUID", lambda one: one.tags.study),
    ("SeriesInstanceUID", lambda one: one.uid),
    ("SOPInstanceUID", lambda one: one.tags.instance_uid),
    ("FrameOfReferenceUID", lambda one: one.tags.frame),
)


def _of_syntaxes(uids: set[str]) -> Iterator[f.Compressed]:
    for uid in sorted(uids - PLAIN):
        yield f.Compressed(*SYNTAXES.get(uid.removeprefix(SYNTAX_ROOT), UNKNOWN_SYNTAX))


def _coded(value: str) -> str:
    """A coded string if it is one of the standard's (PS3.3 C.11.1.1.2), else nothing of it."""
    known = {"OD", "HU_MOD", "MGML", "Z_EFF", "ED", "EDW", "PCT", "US"}
    return value if value in known else "of another kind"


def _of_files(series: Series) -> Iterator[f.Finding]:
    if series.placeless:
        yield f.Placeless(series.placeless, len(series.slices))
    if series.unread:
        yield f.Unread(series.unread)
