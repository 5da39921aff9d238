"""Which left-out patients are looked at: the worst of each kind, and others by chance."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hepar.cases import Case
from hepar.errors import BadInput
from hepar.io import read_labels
from hepar.report.digits import number
from hepar.report.gallery import Shown, largest_view, require_outside_repository, worst_view, write_gallery
from hepar.report.pictures import Slice
from hepar.service.cross_validation import TableOrder, scored_cases
from hepar.service.referee import Listener
from hepar.study.crossval_table import FoldCase
from hepar.study.left_out import VOLUMES, FoldFolder, cases_to_test, fold_of
from hepar.volume import LIVER, TUMOUR, LabelMap

Views = tuple[tuple[Slice, str], ...]
WORST_LIVER, WORST_TUMOUR, FALSE_ALARM = "lowest liver Dice", "lowest tumour Dice", "most false tumour"
CHANCE, WHOLE = "by chance", "whole volume"


@dataclass(frozen=True)
class GalleryOrder:
    """Folder of `hepar study predict`, the data behind it, whose result is shown, and how many of each kind."""

    folder: Path
    data: Path
    folds: Path
    method: str
    each: int = 3
    seed: int = 2018
    groups: tuple[str, ...] = ()


def left_out_gallery(order: GalleryOrder, out: Path, listen: Listener = lambda *_: None) -> list[Path]:
    """Sheets and page. Raises BadInput when the folder lies in a repository or holds nothing of the method."""
    require_outside_repository(out)
    cases = scored_cases(TableOrder(order.folder, (order.method,)), listen)
    wanted = [case for case in cases if not order.groups or case.group in order.groups]
    if not wanted:
        raise BadInput(f"no case of {', '.join(order.groups)} was predicted by {order.method}")
    return write_gallery(
        _items(chosen(wanted, order.each, order.seed), order), out, f"Left-out patients, {order.method}"
    )


def chosen(cases: Sequence[FoldCase], each: int, seed: int) -> list[tuple[FoldCase, str]]:
    """Whole volumes first, then `each` worst by liver, by tumour and by false alarms, then `each` by chance.

    A whole volume that several folds tested is shown by the fold with the lowest
    liver Dice. A patient appears once, for the first reason.
    """
    volumes: dict[str, FoldCase] = {}
    for case in sorted((c for c in cases if c.group == VOLUMES), key=lambda c: _value(c, "liver_dice")):
        volumes.setdefault(case.case, case)
    found = [(case, WHOLE) for _, case in sorted(volumes.items())]
    rest = [case for case in cases if case.group != VOLUMES]
    kinds = (
        (WORST_LIVER, "liver_dice", 1, rest),
        (WORST_TUMOUR, "tumour_dice", 1, [c for c in rest if (c.facts.get("truth_tumour_ml") or 0) > 0]),
        (FALSE_ALARM, "false_alarm_ml", -1, [c for c in rest if _value(c, "false_alarm_ml") > 0]),
    )
    for why, name, sign, own in kinds:
        known = [case for case in own if not math.isnan(_value(case, name))]
        ordered = sorted(known, key=lambda case, name=name, sign=sign: (sign * _value(case, name), case.case))  # type: ignore[misc]
        found += [(case, why) for case in _unseen(ordered, found)[:each]]
    left = _unseen(sorted(rest, key=lambda case: (case.fold, case.case)), found)
    places = np.random.default_rng(seed).permutation(len(left))[:each]
    return found + [(left[place], CHANCE) for place in sorted(places)]


def _unseen(cases: Sequence[FoldCase], found: Sequence[tuple[FoldCase, str]]) -> list[FoldCase]:
    """The first case of each patient who is not shown yet."""
    shown = {case.patient for case, _ in found}
    first: dict[str, FoldCase] = {}
    for case in cases:
        if case.patient not in shown:
            first.setdefault(case.patient, case)
    return list(first.values())


def _value(case: FoldCase, name: str) -> float:
    top, bottom = case.scores.terms.get(name, (0.0, 0.0))
    return top / bottom if bottom else math.nan


def _items(picked: Sequence[tuple[FoldCase, str]], order: GalleryOrder) -> Iterator[Shown]:
    """Read one after the other: a volume takes hundreds of megabytes."""
    known: dict[int, dict[str, Case]] = {}
    for place, (scored, why) in enumerate(picked):
        if scored.fold not in known:
            trials = cases_to_test(order.data, fold_of(order.folds, scored.fold))
            known[scored.fold] = {trial.case.id: trial.case for trial in trials}
        folder, case = FoldFolder(order.folder, scored.fold), known[scored.fold].get(scored.case)
        if case is None:
            raise BadInput(f"case {scored.case} is not in the data of fold {scored.fold}; give the data it came from")
        truth = read_labels(folder.truth(case.labels) / f"{case.id}.nii.gz")
        found = read_labels(folder.found(case.labels, order.method) / f"{case.id}.nii.gz")
        rng = np.random.default_rng([order.seed, place])
        model = json.loads(folder.record(order.method).read_text(encoding="utf-8"))[case.id]["model"]
        views = views_of(truth, found, why, rng)
        yield Shown(case.ct, truth, found, f"{scored.case} ({why})", facts_of(scored, model), views)


def facts_of(case: FoldCase, model: str) -> tuple[str, ...]:
    """Two caption lines: Dice and volumes; fold and model."""
    said = []
    for name in ("liver", "tumour"):
        dice, here, there = (
            _value(case, f"{name}_dice"),
            *(case.facts.get(f"{s}_{name}_ml") for s in ("truth", "found")),
        )
        if here is not None:
            said.append(
                f"{name} Dice {number(dice)}, {number(here, 'mL')} → {number(there, 'mL')} mL".replace("→", "->")
            )
    return "; ".join(said).replace("–", "-"), f"fold {case.fold}, {case.method}, {model}"


def views_of(truth: LabelMap, found: LabelMap, why: str, rng: np.random.Generator) -> Views:
    """Slices that show the reason: where most is wrong; for volumes largest tumour or liver, axial and coronal."""
    if why == WHOLE:
        label, name = (TUMOUR, "tumour") if truth.tumour.any() else (LIVER, "liver")
        wanted = [
            (largest_view(truth, label), f"largest {name} area"),
            (largest_view(truth, label, "coronal"), f"coronal, largest {name} area"),
            (worst_view(truth, found, LIVER), "most liver errors"),
            (worst_view(truth, found, TUMOUR), "most tumour errors"),
        ]
    elif why == CHANCE:
        slices = np.flatnonzero(truth.axial().liver.any(axis=(1, 2)))
        index = int(rng.choice(slices)) if len(slices) else truth.axial().labels.shape[0] // 2
        wanted = [(Slice("axial", index), "a liver slice by chance")]
    elif why == WORST_TUMOUR:
        wanted = [
            (largest_view(truth, TUMOUR), "largest tumour area"),
            (worst_view(truth, found, TUMOUR), "most tumour errors"),
        ]
    else:
        label, name = (LIVER, "liver") if why == WORST_LIVER else (TUMOUR, "tumour")
        wanted = [(worst_view(truth, found, label), f"most {name} errors")]
    unique: dict[Slice, str] = {}
    for view, reason in wanted:
        if view is not None:
            unique.setdefault(view, reason)
    return tuple(unique.items()) or ((Slice("axial", truth.axial().labels.shape[0] // 2), "middle"),)
