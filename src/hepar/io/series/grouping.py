"""Slices to stacks: by series, matrix, direction and pixel size; copies dropped, interleaved ones split.

What scanners put into one series may be several: phases, kernels, energies,
acquisitions. They are split only where they lie in each other's way, so that
a scan whose slices have an acquisition number each stays whole.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from hepar.errors import BadInput
from hepar.io.series.findings import DuplicateSlices, Finding, InterleavedPhases, OneSeriesPerFile
from hepar.io.series.header import quiet_pydicom
from hepar.io.series.slices import Series, Slice
from hepar.io.series.stack import GAP_TOLERANCE_MM, Stack, stacked

SAME_PIXELS_MM = 1e-4
# Fewer files than this that name a series each are rather several lone slices.
LEAST_MERGED = 4
# More parts than a perfusion or cardiac study has phases are no parts.
MOST_PARTS = 40
LEAST_PART = 3
# Moments of one spiral follow each other within this; phases do not.
PAUSE_S = 8.0


@dataclass(frozen=True, eq=False)
class Group:
    """Slices that are one stack, as far as headers tell, and what was done to find them."""

    slices: tuple[Slice, ...]
    findings: tuple[Finding, ...] = ()


def group(slices: Iterable[Slice]) -> list[list[Slice]]:
    """By series (its folder where the UID is empty, then also its number), matrix, direction and pixel size."""
    groups: list[list[Slice]] = []
    known: dict[Hashable, list[Slice]] = {}
    for one in slices:
        key = _exact(one)
        if key not in known:
            home = next((found for found in groups if _same_grid(one, found[0])), None)
            if home is None:
                home = []
                groups.append(home)
            known[key] = home
        known[key].append(one)
    return groups


def merged(groups: Sequence[list[Slice]]) -> list[Group]:
    """Files that name a series each become one group where together they form an even stack."""
    lone: dict[Hashable, list[Slice]] = {}
    for found in groups:
        if len(found) == 1:
            lone.setdefault(_exact(found[0], series=False), []).append(found[0])
    together = [Group(tuple(some), (OneSeriesPerFile(len(some)),)) for some in lone.values() if _form_one(some)]
    taken = {id(one) for found in together for one in found.slices}
    return [Group(tuple(found)) for found in groups if id(found[0]) not in taken] + together


def without_copies(found: Group, series: Series) -> Group:
    """Each slice once: of files at one place with the same pixels, the first by instance number and name.

    Pixels are read only where a place repeats under the same header, and compared as stored. Raises
    BadInput for files that cannot be read.
    """
    levels = stacked(found.slices).levels()
    if all(len(level) == 1 for level in levels):
        return found
    kept: list[Slice] = []
    with series.opener() as opened:
        for level in levels:
            clues = Counter(_clues(one) for one in level)
            prints: set[Hashable] = set()
            for one in level:
                # What headers tell apart needs no look at its pixels.
                mark = _fingerprint(one, opened) if clues[_clues(one)] > 1 else one.file
                if mark not in prints:
                    kept.append(one)
                prints.add(mark)
    dropped = len(found.slices) - len(kept)
    findings = (*found.findings, DuplicateSlices(dropped)) if dropped else found.findings
    return Group(tuple(kept), findings)


def split(found: Group) -> list[Group]:
    """The stacks that a group holds, in the order of what tells them apart; the group itself where it is one."""
    parts = _split(found.slices)
    if len(parts) == 1:
        return [found]
    return [
        Group(part, (*found.findings, InterleavedPhases(place, len(parts), by)))
        for place, (part, by) in enumerate(parts, start=1)
    ]


def _split(slices: tuple[Slice, ...]) -> list[tuple[tuple[Slice, ...], str]]:
    """Parts and what tells them apart; one part without a name where nothing does."""
    stack = stacked(slices)
    for by, told in CLUES:
        parts = _parted(slices, told)
        if not _may_be_split(stack, parts):
            continue
        # Two clues may be needed: phases, each with two kernels.
        deeper = [(one, f"{by} and {inner}" if inner else by) for part in parts for one, inner in _split(part)]
        if not any(stacked(part).doubled for part, _ in deeper):
            return deeper
    if stack.doubled:
        return [(tuple(part), "instance number") for part in _by_instance(stack)] or [(slices, "")]
    return [(slices, "")]


def _parted(slices: tuple[Slice, ...], told: Callable[[Slice], Any]) -> list[tuple[Slice, ...]]:
    if told is _moment:
        return _by_pauses(slices)
    values: dict[Any, list[Slice]] = {}
    for one in slices:
        values.setdefault(told(one), []).append(one)
    order = sorted(values, key=lambda value: (value is None, "" if value is None else value))
    return [tuple(values[value]) for value in order]


def _may_be_split(whole: Stack, parts: list[tuple[Slice, ...]]) -> bool:
    """Whether these parts lie in each other's way; parts of a slice or two each are no stacks."""
    if not 2 <= len(parts) <= MOST_PARTS or len(whole.slices) < LEAST_PART * len(parts):
        return False
    stacks = [stacked(part) for part in parts]
    if whole.doubled:
        return sum(stack.doubled for stack in stacks) < whole.doubled
    # Nothing repeats, but slices of several stacks may alternate: then they reach over each other, all along.
    return all(len(part) >= LEAST_PART for part in parts) and _crossing(stacks)


def _crossing(stacks: list[Stack]) -> bool:
    """True where each stack shares more than half of its range with another."""
    normal = stacks[0].normal
    ranges = [(one.slices[0].position_mm @ normal, one.slices[-1].position_mm @ normal) for one in stacks]
    for here, (low, high) in enumerate(ranges):
        others = [r for there, r in enumerate(ranges) if there != here]
        shared = max(min(high, top) - max(low, bottom) for bottom, top in others)
        if shared <= (high - low) / 2:
            return False
    return True


def _by_pauses(slices: tuple[Slice, ...]) -> list[tuple[Slice, ...]]:
    """Parts between which the scanner paused; one where a moment is missing."""
    if any(one.tags.moment_s is None for one in slices):
        return [slices]
    ordered = sorted(slices, key=_moment)
    moments = np.array([_moment(one) for one in ordered])
    waits = np.diff(moments)
    usual = float(np.median(waits)) if waits.size else 0.0
    starts = [0, *(np.flatnonzero(waits > max(PAUSE_S, 5 * usual)) + 1).tolist(), len(ordered)]
    return [tuple(ordered[a:b]) for a, b in pairwise(starts)]


def _by_instance(stack: Stack) -> list[list[Slice]]:
    """Parts told by instance numbers: one stack after another, or slice by slice in turn; none where neither fits.

    Numbers must run without a break in either: where they jump, parts could change places.
    """
    levels = stack.levels()
    count = len(levels[0])
    numbers = [one.tags.instance for one in stack.slices]
    if len(levels) < LEAST_PART or any(len(level) != count for level in levels):
        return []
    if None in numbers or len(set(numbers)) < len(numbers):
        return []
    # At one height slices stand by instance number: the j-th of each is of part j in both cases.
    table = np.array([[_instance(one) for one in level] for level in levels])
    steps = np.diff(table, axis=0)
    follow = (np.abs(steps) == 1).all() and (steps == steps[0, 0]).all()
    in_turn = (np.abs(steps) == count).all() and (steps == steps[0, 0]).all() and (np.diff(table, axis=1) == 1).all()
    return [[level[part] for level in levels] for part in range(count)] if follow or in_turn else []


def _instance(one: Slice) -> int:
    return one.tags.instance or 0


def _moment(one: Slice) -> float:
    return one.tags.moment_s or 0.0


# What may tell stacks of one series apart, the surest first.
CLUES: tuple[tuple[str, Callable[[Slice], Any]], ...] = (
    ("frame of reference", lambda one: one.tags.frame or None),
    ("series number", lambda one: one.number),
    ("temporal position", lambda one: one.tags.temporal),
    ("acquisition number", lambda one: one.tags.acquisition),
    ("image type", lambda one: "/".join(one.tags.image_type) or None),
    ("kernel", lambda one: one.tags.kernel or None),
    ("tube voltage", lambda one: one.tags.kvp),
    ("slice thickness", lambda one: one.thickness_mm),
    ("acquisition time", _moment),
)


def _clues(one: Slice) -> Hashable:
    return tuple(told(one) for _, told in CLUES)


def _exact(one: Slice, *, series: bool = True) -> Hashable:
    told = (one.uid, () if one.uid else (one.folder, one.number)) if series else (one.folder, one.tags.study)
    grid = (one.rows, one.columns, one.orientation.tobytes(), one.pixel_spacing_mm.tobytes())
    return (*told, *grid)


def _same_grid(one: Slice, other: Slice) -> bool:
    same_number = bool(one.uid) or one.number == other.number
    apart = float(np.abs(one.pixel_spacing_mm - other.pixel_spacing_mm).max())
    return same_number and apart <= SAME_PIXELS_MM and one.belongs_to(other)


def _form_one(slices: list[Slice]) -> bool:
    if len(slices) < LEAST_MERGED:
        return False
    stack = stacked(slices)
    return stack.is_even and stack.off_line_mm <= max(stack.tolerance_mm, GAP_TOLERANCE_MM)


def _fingerprint(one: Slice, opened: Callable[[Slice], Any]) -> Hashable:
    """Of the stored pixels and what they mean."""
    from pydicom import dcmread

    try:
        with quiet_pydicom(), opened(one) as file:
            data = dcmread(file, force=True, specific_tags=["PixelData", "PixelRepresentation", "BitsStored"])
            pixels = hashlib.sha256(data.PixelData).hexdigest()
            kind = (data.get("PixelRepresentation"), data.get("BitsStored"))
    except Exception as error:  # pydicom promises no types for damaged files
        raise BadInput(
            f"a DICOM file of the series is truncated or damaged ({type(error).__name__}); export the series again"
        ) from error
    return (pixels, kind, one.tags.syntax, one.slope, one.intercept)
