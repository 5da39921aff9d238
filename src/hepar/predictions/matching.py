"""Which prediction belongs to which truth."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from hepar.errors import BadInput
from hepar.predictions.layouts import find
from hepar.predictions.layouts.tree import Found, tree_of
from hepar.predictions.mapping import LabelMapping
from hepar.predictions.names import ENDINGS, natural_order
from hepar.predictions.source import LabelSource, Layer

MSD_ID = re.compile(r"^liver_([0-9]+)$")
# MSD Task03 holds the 131 training scans of LiTS, 0 to 130; beyond are test scans, numbered otherwise.
LAST_SHARED = 130
# TotalSegmentator's liver_segments are eight files a case.
MOST_SHOWN = 2
Ambiguous = tuple[str, tuple[str, ...]]


@dataclass(frozen=True)
class Predictions:
    """Label maps of one side, predictions or truth: a source a case, and cases with several files.

    `single` says that the path was one file, which matches whatever its name.
    """

    layout: str
    sources: dict[str, LabelSource]
    ambiguous: tuple[Ambiguous, ...] = ()
    notes: tuple[str, ...] = ()
    single: bool = False


@dataclass(frozen=True)
class Matching:
    """Pairs (case, truth, found) in natural order, and what has no partner or several."""

    pairs: tuple[tuple[str, LabelSource, LabelSource], ...]
    truth_only: tuple[LabelSource, ...] = ()
    found_only: tuple[LabelSource, ...] = ()
    ambiguous: tuple[Ambiguous, ...] = ()
    notes: tuple[str, ...] = ()


def open_predictions(path: Path, mapping: LabelMapping | None = None) -> Predictions:
    """Label maps at `path`: a file, a folder or a .zip in any layout that is known.

    No voxel is read. Raises BadInput when the path does not exist or holds no label map.
    """
    path = Path(path)
    tree = tree_of(path, mapping)
    found = find(tree)
    if not found.cases:
        what = f"'{path.name}'" if path.is_file() else f"folder {path.name}"
        raise BadInput(
            f"{what} holds no label map; expected files ending in {', '.join(ENDINGS)}, in it or in one folder a case"
        )
    notes = found.notes + ((f"labels by the mapping {mapping}; all others are background",) if mapping else ())
    names = sorted(found.cases, key=natural_order)
    sources = {c: _source(c, found.cases[c][0], found, mapping) for c in names if len(found.cases[c]) == 1}
    several = tuple((c, tuple(_shown(layers) for layers in found.cases[c])) for c in names if len(found.cases[c]) > 1)
    return Predictions(found.layout, sources, several, notes, tree.is_file)


def open_truth(path: Path, mapping: LabelMapping | None = None) -> Predictions:
    """As `open_predictions`: truth comes in the same layouts."""
    return open_predictions(path, mapping)


def match(truth: Predictions, found: Predictions) -> Matching:
    """Pair both sides by case id.

    Two single files match whatever their names; a single file beside a folder
    asks about that one case. MSD's liver_7 and LiTS's 7 match where neither has
    a partner of its own name, and a note says so.
    """
    if truth.single and found.single:
        ((case, here),), (there,) = truth.sources.items(), found.sources.values()
        return Matching(((case, here, there),))
    partner, notes = _partners(truth, found)
    several = _several(truth, found)
    unclear = {case for case, _ in several}
    pairs = ((case, here, found.sources[partner[case]]) for case, here in truth.sources.items() if case in partner)
    return Matching(
        tuple(sorted(pairs, key=lambda pair: natural_order(pair[0]))),
        () if found.single else _without(truth, unclear | partner.keys()),
        () if truth.single else _without(found, unclear | set(partner.values())),
        several,
        notes,
    )


def _partners(truth: Predictions, found: Predictions) -> tuple[dict[str, str], tuple[str, ...]]:
    """Found case by truth case: equal ids first, then ids that MSD and LiTS give the same scan."""
    unclear = {case for side in (truth, found) for case, _ in side.ambiguous}
    partner = {case: case for case in truth.sources if case in found.sources}
    left = {_shared_id(s): case for case, s in found.sources.items() if case not in partner and case not in unclear}
    renamed = {}
    for case, source in truth.sources.items():
        other = left.get(_shared_id(source))
        if case not in partner and case not in unclear and other is not None and _shared_id(source) is not None:
            renamed[case] = other
    if not renamed:
        return partner, ()
    case, other = next(iter(renamed.items()))
    note = (
        f"{len(renamed)} cases were matched across data sets, such as {case} with {other}: MSD Task03's liver_N was "
        f"taken for LiTS volume N, as both hold the same scans 0 to {LAST_SHARED}"
    )
    return partner | renamed, (note,)


def _shared_id(source: LabelSource) -> int | None:
    """The number of a training scan that LiTS and MSD share; None where the name does not tell."""
    match = MSD_ID.match(source.case)
    number = match[1] if match else source.case
    # A LiTS test scan has the number of another patient.
    if not number.isdecimal() or int(number) > LAST_SHARED or source.file.lower().startswith("test-"):
        return None
    return int(number)


def _several(truth: Predictions, found: Predictions) -> tuple[Ambiguous, ...]:
    """Cases with several files on a side, as far as the other side asks."""
    listed: dict[str, tuple[str, ...]] = {}
    for side, other in ((truth, found), (found, truth)):
        for case, files in side.ambiguous:
            if not other.single or case in other.sources:
                listed[case] = (*listed.get(case, ()), *files)
    return tuple(sorted(listed.items(), key=lambda one: natural_order(one[0])))


def _without(side: Predictions, cases: set[str]) -> tuple[LabelSource, ...]:
    return tuple(source for case, source in side.sources.items() if case not in cases)


def _source(case: str, layers: tuple[Layer, ...], found: Found, mapping: LabelMapping | None) -> LabelSource:
    return LabelSource(case, _shown(layers), layers, mapping, found.names)


def _shown(layers: tuple[Layer, ...]) -> str:
    names = [layer.entry.name for layer in layers]
    return "+".join(names if len(names) <= MOST_SHOWN else [*names[:MOST_SHOWN], f"{len(names) - MOST_SHOWN} more"])
