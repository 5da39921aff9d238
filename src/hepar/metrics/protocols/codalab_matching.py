"""How the official LiTS scorer matches lesions, step for step, on a table of overlaps.

The official program (P. Christ, lits-challenge-scoring, 2017-09) works on masks;
every decision depends only on how many voxels each pair of components shares,
so the same decisions are taken here from a contingency table. Its defects are
kept, and each one that bites leaves an `Event`, so that a report can say why a
count is what it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["merged", "fragments", "wrong_union", "penalty", "wrapped"]
Table = NDArray[np.int64]


@dataclass(frozen=True)
class Event:
    """A step of the official matching that a corrected one would not take.

    `truths` and `founds` are component numbers. For "wrong_union", `used` is the
    overlap that the official program computed and `right` the true IoU of the
    merged lesions; for "penalty", `used` is what was taken from TP.
    """

    kind: Kind
    truths: tuple[int, ...] = ()
    founds: tuple[int, ...] = ()
    used: float = 0.0
    right: float = 0.0


@dataclass(frozen=True)
class OfficialMatch:
    """What the official `detect_lesions` returns.

    `detected` counts detected lesions (it can be negative). `found_as` gives each
    found component's number in the official detection mask (0: not there),
    `truth_as` each true component's number after merging; both start with the
    background's 0.
    """

    detected: int
    found_as: NDArray[np.int64]
    truth_as: NDArray[np.int64]
    events: tuple[Event, ...]


@dataclass
class _State:
    """The official program's variables, named as what they are."""

    overlaps: Table
    founds: list[int]
    truths: list[int]
    events: list[Event] = field(default_factory=list)


def official_match(table: Table, min_overlap: float) -> OfficialMatch:
    """`table[p, g]`: voxels with found component p and true component g, 0 being background.

    Raises ZeroDivisionError nowhere and never modifies `table`. A table without
    true lesions is the caller's to handle: the official program crashes there.
    """
    found_as = np.zeros(table.shape[0], dtype=np.int64)
    truth_as = np.arange(table.shape[1])
    founds = [p for p in range(1, table.shape[0]) if table[p, 1:].any()]
    state = _State(table[founds, 1:].copy(), founds, list(range(1, table.shape[1])))
    merged_with = _merge_truths(state, truth_as)
    _keep_largest(state)
    groups = _merge_founds(state, found_as)
    detected = _trim(state, table, min_overlap, (found_as, truth_as, merged_with, groups))
    return OfficialMatch(detected, found_as, truth_as, tuple(state.events))


def _merge_truths(state: _State, truth_as: NDArray[np.int64]) -> dict[int, int]:
    """True lesions whose largest overlap is with the same prediction become one; how many went into each."""
    merged_with = dict.fromkeys(state.truths, 1)
    for row, found in enumerate(state.founds):
        # The first row wins a tie, as argmax does.
        columns = [
            c for c in np.flatnonzero(state.overlaps[row]).tolist() if int(np.argmax(state.overlaps[:, c])) == row
        ]
        names = [state.truths[c] for c in columns]
        for name in names:
            merged_with[name] = len(names)
            truth_as[truth_as == name] = names[0]
        if len(columns) > 1:
            state.overlaps = _summed(state.overlaps, columns, axis=1)
            state.truths = [name for c, name in enumerate(state.truths) if c not in columns[1:]]
            state.events.append(Event("merged", tuple(names), (found,)))
    return merged_with


def _keep_largest(state: _State) -> None:
    """Each prediction keeps only the true lesion that it overlaps most."""
    if not state.founds:
        return
    best = state.overlaps.argmax(axis=1)
    kept = np.zeros_like(state.overlaps)
    rows = np.arange(len(state.founds))
    kept[rows, best] = state.overlaps[rows, best]
    state.overlaps = kept


def _merge_founds(state: _State, found_as: NDArray[np.int64]) -> dict[int, list[int]]:
    """Predictions of one true lesion become one, under its number; the members by that number."""
    groups: dict[int, list[int]] = {}
    for column, truth in enumerate(state.truths):
        rows = np.flatnonzero(state.overlaps[:, column]).tolist()
        names = [state.founds[r] for r in rows]
        groups[truth] = names
        # The official detection mask is uint8: the 256th lesion is written as 0.
        found_as[names] = truth % 256
        if names and truth > 255:
            state.events.append(Event("wrapped", (truth,), tuple(names)))
        if len(rows) > 1:
            state.overlaps = _summed(state.overlaps, rows, axis=0)
            state.founds = [name for r, name in enumerate(state.founds) if r not in rows[1:]]
            state.events.append(Event("fragments", (truth,), tuple(names)))
    return groups


Maps = tuple[NDArray[np.int64], NDArray[np.int64], dict[int, int], dict[int, list[int]]]


def _trim(state: _State, table: Table, min_overlap: float, maps: Maps) -> int:
    """Drops matches that overlap too little.

    The official union counts the detection mask where it holds the *found*
    component's number although that mask is numbered by true lesions. Where the
    numbers differ, the union lacks the prediction (or holds another one).
    """
    found_as, truth_as, merged_with, groups = maps
    detected = len(state.founds)
    for row, found in enumerate(state.founds):
        for column, truth in enumerate(state.truths):
            shared = int(state.overlaps[row, column])
            if shared == 0:
                continue
            union = _count(table, found_as == found, truth_as == truth)
            used = shared / union
            members = np.isin(np.arange(len(found_as)), groups[truth])
            right = shared / _count(table, members, truth_as == truth)
            if (used > min_overlap) != (right > min_overlap):
                state.events.append(Event("wrong_union", (truth,), tuple(groups[truth]), used, right))
            if used <= min_overlap:
                if truth < 256:
                    found_as[found_as == truth] = 0
                detected -= merged_with[truth]
                if merged_with[truth] > 1:
                    state.events.append(Event("penalty", (truth,), (found,), used=merged_with[truth]))
    return detected


def _count(table: Table, rows: NDArray[np.bool_], columns: NDArray[np.bool_]) -> int:
    """Voxels in any of the rows (found components) or columns (true components)."""
    return int(table[rows].sum() + table[:, columns].sum() - table[np.ix_(rows, columns)].sum())


def _summed(table: Table, places: Sequence[int], axis: int) -> Table:
    """Rows or columns `places` added into the first of them."""
    total = table.take(places, axis=axis).sum(axis=axis)
    rest = np.delete(table, places[1:], axis=axis)
    if axis == 0:
        rest[places[0]] = total
    else:
        rest[:, places[0]] = total
    return rest
