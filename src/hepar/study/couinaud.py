"""Couinaud segments of left-out patients: Dice of each segment, in the true liver and in a found one.

Each run stands for the fold on whose training patients it was trained; its test
patients are scored. Inside the true liver the segments alone are judged; inside
a liver that `hepar study predict` found for the same fold, the liver's errors
count as well. Slices whose segments nobody drew count nowhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hepar.cases import Fold, load_folds
from hepar.datasets.couinaud import SegmentCase, SegmentTruth, segment_cases
from hepar.errors import BadInput
from hepar.inference.couinaud import CouinaudSegmenter, load_couinaud, open_couinaud
from hepar.io import read_labels
from hepar.metrics.couinaud import ROMAN, SEGMENTS, SegmentMap, confusion, lesion_segments, segment_dice, share_in_place
from hepar.study.arms import Say, training_patients
from hepar.study.left_out import FoldFolder
from hepar.study.statistics import bootstrap_interval
from hepar.study.statistics.medians import median, median_interval
from hepar.volume import LIVER, LabelMap

Condition = Literal["true liver", "found liver"]
EMPTY_RULE = "A segment that a patient's reference does not have does not count for that patient."
TITLES = {"true liver": "Inside the true liver", "found liver": "Inside the found liver"}


@dataclass(frozen=True)
class CouinaudOrder:
    """Data set, fold file, and where the found livers of `hepar study predict` lie: its folder and their method."""

    data: Path
    folds: Path
    livers: Path | None = None
    method: str = "ours"


@dataclass(frozen=True, eq=False)
class PatientScore:
    """One patient under one condition: voxels by true and found segment, lesions by whether their segment was met."""

    patient: str
    fold: int
    condition: Condition
    table: NDArray[np.int64]
    lesions: int
    lesions_right: int

    @property
    def figures(self) -> dict[str, float]:
        """Dice by segment name, their mean, and the share of voxels in place; NaN where not defined."""
        dice = segment_dice(self.table)
        own = [value for value in dice.values() if not np.isnan(value)]
        named = {ROMAN[segment]: value for segment, value in dice.items()}
        mean = float(np.mean(own)) if own else float("nan")
        return named | {"mean of segments": mean, "voxels in place": share_in_place(self.table)}


def score_runs(runs: Sequence[Path], order: CouinaudOrder, say: Say = lambda _: None) -> list[PatientScore]:
    """Scores of every run's left-out patients.

    Raises BadInput when a run fits no fold or two runs fit one, when the data
    holds none of the patients, or a found liver is missing; BadModel for a run
    without a Couinaud model.
    """
    folds = load_folds(order.folds)
    numbered: dict[int, Path] = {}
    for run in runs:
        number = fold_left_out(model_folder(run), folds, order.folds.name)
        if number in numbered:
            raise BadInput(f"{numbered[number].name} and {run.name} both leave out fold {number}; give one of them")
        numbered[number] = run
    cases = segment_cases(segments_folder(order.data))
    scores = []
    for number, run in sorted(numbered.items()):
        tested = [one for one in cases if one.case.patient in folds[number].test]
        if not tested:
            raise BadInput(f"{order.data.name} holds no test patient of fold {number}; check data and fold file")
        segmenter = load_couinaud(model_folder(run))
        for one in tested:
            scores += score_case(segmenter, one, number, order)
            say(f"  fold {number}, {one.case.patient}: " + ", ".join(map(_short, scores[-_count(order) :])))
    return scores


def score_case(segmenter: CouinaudSegmenter, one: SegmentCase, fold: int, order: CouinaudOrder) -> list[PatientScore]:
    """The true liver's row, and the found liver's where one is given."""
    truth, labels = one.read_segments(), one.case.truth
    drawn = LabelMap(truth.segments.liver.astype(np.uint8) * np.uint8(LIVER), truth.segments.geometry)
    livers: dict[Condition, LabelMap] = {"true liver": drawn}
    if order.livers is not None:
        livers["found liver"] = _found_liver(one, fold, order)
    rows = []
    ct = one.case.ct
    for condition, liver in livers.items():
        found = segmenter.segment(ct, liver, one.case.heights_mm).segments
        counted = confusion(truth.segments, found, truth.known)
        lesions, right = lesions_met(labels, truth, found)
        rows.append(PatientScore(one.case.patient, fold, condition, counted, lesions, right))
    return rows


def lesions_met(labels: LabelMap, truth: SegmentTruth, found: SegmentMap) -> tuple[int, int]:
    """True lesions that lie in drawn segments, and how many of them have the same main segment in what was found."""
    pairs = zip(lesion_segments(labels, truth.segments), lesion_segments(labels, found), strict=True)
    known = [(true.main, other.main) for true, other in pairs if true.main is not None]
    return len(known), sum(true == other for true, other in known)


def fold_left_out(model: Path, folds: Sequence[Fold], name: str) -> int:
    """The one fold among whose training patients all of the model's are. Raises BadInput when there is no such fold."""
    trained = training_patients(model)
    fits = [number for number, fold in enumerate(folds) if trained <= set(fold.train)]
    if len(fits) != 1:
        raise BadInput(
            f"the training patients of {model.parent.name} fit {len(fits)} folds of {name}; expected one. Train with "
            "`hepar study couinaud-train --folds FILE --fold K`"
        )
    return fits[0]


def model_folder(run: Path) -> Path:
    """The model of a run folder, or the folder itself. Raises BadModel where neither is a model of segments."""
    folder = run / "model" if (run / "model" / "model.json").is_file() else run
    return open_couinaud(folder).folder


def segments_folder(data: Path) -> Path:
    """`data` itself or its `lits512`."""
    below = data / "lits512"
    return below if (below / "couinaud").is_dir() else data


def summary(scores: Sequence[PatientScore]) -> dict[str, Any]:
    """The study as one plain document: by condition and figure patients, mean and median with 95 % intervals."""
    conditions = list(dict.fromkeys(score.condition for score in scores))
    return {
        "empty_rule": EMPTY_RULE,
        "conditions": {condition: _condition([s for s in scores if s.condition == condition])
                       for condition in conditions},
        "patients": [
            {"patient": s.patient, "fold": s.fold, "condition": s.condition, "figures": s.figures,
             "lesions": s.lesions, "lesions_right": s.lesions_right, "voxels": s.table.tolist()}
            for s in scores
        ],
    }  # fmt: skip


def markdown(document: dict[str, Any]) -> str:
    """Tables of a `summary` for people."""
    lines = [
        "# Couinaud segments of left-out patients",
        "",
        "Dice over patients, 95 % bootstrap intervals. " + EMPTY_RULE,
    ]
    for condition, found in document["conditions"].items():
        lines += ["", f"## {TITLES[condition]}", "", "| | patients | mean | 95 % | median | 95 % |",
                  "|---|---|---|---|---|---|"]  # fmt: skip
        lines += [_line(name, row) for name, row in found["figures"].items()]
        lesions = found["lesions"]
        lines += ["", f"Main segment of true lesions met: {lesions['right']} of {lesions['lesions']} lesions; "
                      f"mean over {lesions['patients']} patients {_number(lesions['mean'])} "
                      f"({_number(lesions['low'])} to {_number(lesions['high'])})."]  # fmt: skip
    return "\n".join(lines) + "\n"


def _condition(scores: Sequence[PatientScore]) -> dict[str, Any]:
    names = [ROMAN[s] for s in SEGMENTS] + ["mean of segments", "voxels in place"]
    patients = [score.patient for score in scores]
    tops, bottoms = [float(s.lesions_right) for s in scores], [float(s.lesions) for s in scores]
    shares = [top / bottom if bottom else float("nan") for top, bottom in zip(tops, bottoms, strict=True)]
    lesions = _over_patients(shares, patients)
    return {
        "figures": {name: _over_patients([s.figures[name] for s in scores], patients) for name in names},
        "lesions": lesions | {"lesions": int(sum(bottoms)), "right": int(sum(tops))},
    }


def _over_patients(values: Sequence[float], patients: Sequence[str]) -> dict[str, float]:
    """Mean and median over patients whose value is defined, with their intervals."""
    known = [value for value in values if not np.isnan(value)]
    counts = [float(not np.isnan(value)) for value in values]
    interval = bootstrap_interval(np.nan_to_num(values), counts, patients=patients)
    middle = median_interval(known)
    return {
        "patients": len(known),
        "mean": float(np.mean(known)) if known else float("nan"),
        "low": interval.low,
        "high": interval.high,
        "median": median(known),
        "median_low": middle.low,
        "median_high": middle.high,
    }


def _found_liver(one: SegmentCase, fold: int, order: CouinaudOrder) -> LabelMap:
    assert order.livers is not None
    path = FoldFolder(order.livers, fold).found("full", order.method) / f"{one.case.id}.nii.gz"
    if not path.is_file():
        raise BadInput(
            f"fold {fold} of {order.livers.name} has no liver of {path.name} by '{order.method}'; make it with "
            "`hepar study predict`"
        )
    return read_labels(path)


def _count(order: CouinaudOrder) -> int:
    return 1 if order.livers is None else 2


def _short(score: PatientScore) -> str:
    return f"{score.condition} {_number(score.figures['mean of segments'])}"


def _line(name: str, row: dict[str, Any]) -> str:
    mean = f"{_number(row['mean'])} | {_number(row['low'])} to {_number(row['high'])}"
    middle = f"{_number(row['median'])} | {_number(row['median_low'])} to {_number(row['median_high'])}"
    return f"| {name} | {row['patients']} | {mean} | {middle} |"


def _number(value: float) -> str:
    return "n/a" if np.isnan(value) else f"{value:.3f}"
