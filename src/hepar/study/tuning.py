"""Temperature, smoothing, threshold and cleaning of a trained model, chosen on the run's inner validation patients.

The patients of the fold's test side, and all that trained, take no part.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hepar.cases import Case
from hepar.errors import BadInput
from hepar.files import write_json
from hepar.geometry import Geometry
from hepar.inference import Decision, Pipeline, SlabSegmenter, load_segmenter, open_model, save_model
from hepar.inference.decision import decision_to_json
from hepar.inference.smoothing import REACH, along_z
from hepar.inference.two_pass import SURE
from hepar.metrics.crop import box_of, cropped
from hepar.metrics.overlap import dice
from hepar.postprocess import Clean, DropSmallTumours, FillLiverHoles, KeepLargestLiver
from hepar.volume import LIVER, LabelMap

Say = Callable[[str], None]
# Scores (z, 2, y, x) and labels (z, y, x), every second pixel: what a temperature is fitted to.
Sample = tuple[NDArray[np.float16], NDArray[np.uint8]]
LEAST_SLICES = 20
TUMOUR_BIAS = (-1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0)
MIN_ML = (0.0, 0.05, 0.2)
MIN_CONFIDENCE = (0.0, 0.5, 0.65, 0.8)
# 3 mm and more were tried on inner patients and cost liver Dice.
SMOOTH_MM = (0.0, 2.0)
# What a false lesion costs in Dice: ten of them outweigh a fifth of a patient's overlap.
FALSE_LESION_COST = 0.02
MERIT = f"mean tumour Dice - {FALSE_LESION_COST} x false lesions per scan"
TEMPERATURES = (0.25, 8.0)
PIECE = 16


@dataclass(frozen=True, eq=False)
class Held:
    """One held-back scan, cut to a box around all liver, true or found; `scores` (z, 2, y, x) as in `Decision`."""

    patient: str
    truth: NDArray[np.uint8]
    scores: NDArray[np.float16]
    geometry: Geometry


@dataclass(frozen=True)
class Setting:
    """One way to decide: smoothing along z, and what a lesion needs to be kept."""

    tumour_bias: float = 0.0
    min_ml: float = 0.0
    min_confidence: float = 0.0
    smooth_mm: float = 0.0


@dataclass(frozen=True)
class Trial:
    """One setting and what it gave: means over patients, counts over scans."""

    setting: Setting
    tumour_dice: dict[str, float]
    false_lesions: dict[str, int]
    missed_lesions: dict[str, int]

    @property
    def merit(self) -> float:
        """Mean tumour Dice over tumour patients, less a cost per false lesion and scan."""
        mean = float(np.mean(list(self.tumour_dice.values()))) if self.tumour_dice else 0.0
        return mean - FALSE_LESION_COST * float(np.mean(list(self.false_lesions.values())))

    def to_json(self) -> dict[str, object]:
        facts = {name: value for name, value in asdict(self).items() if name != "setting"}
        return asdict(self.setting) | facts | {"merit": self.merit}


@dataclass(frozen=True)
class Choice:
    """The best of all trials, and with which temperature it was tried."""

    decision: Decision
    trial: Trial
    trials: list[Trial]
    liver_dice: dict[str, float]

    def __str__(self) -> str:
        best = self.trial.setting
        return (
            f"temperature {self.decision.temperature:.2f}, smoothed by {best.smooth_mm} mm, bias {best.tumour_bias}, "
            f"at least {best.min_ml} mL, confidence {best.min_confidence}; merit {self.trials[0].merit:.3f} -> "
            f"{self.trial.merit:.3f}"
        )

    def to_json(self) -> dict[str, object]:
        return {
            "decision": decision_to_json(self.decision),
            "min_ml": self.trial.setting.min_ml,
            "liver_dice": self.liver_dice,
            "merit": MERIT,
            "trials": [trial.to_json() for trial in self.trials],
        }


def tune(run: Path, cases: Sequence[Case], say: Say = lambda _: None) -> Decision:
    """Choose on the run's inner patients, write `tuning.json`, and put decision and cleaning into its model.

    Raises BadInput when the run held nobody back, or `cases` lack them.
    """
    facts = json.loads((run / "run.json").read_text(encoding="utf-8"))
    inner = facts.get("inner_validation_patients") or []
    mine = [case for case in cases if case.patient in inner and case.labels == "full"]
    if not mine:
        raise BadInput(
            f"{run.name} held back {len(inner)} patients and none of them is in the data; train with validation_share "
            "above 0, and give the data it was trained on"
        )
    segmenter = load_segmenter(run / "model")
    held = [one for case in mine for one in held_scan(segmenter, case)]
    if not held:
        raise BadInput(f"no inner patient has a stack of {LEAST_SLICES} slices; single slices cannot tune")
    choice = choose([scan_of(one) for one in held])
    say(f"{len(held)} inner scans: {choice}")
    write_json(run / "tuning.json", {"inner_patients": sorted({one.patient for one in held}), **choice.to_json()})
    into_model(run / "model", choice.decision, choice.trial.setting.min_ml)
    return choice.decision


def choose(scans: Sequence[Scan]) -> Choice:
    """The setting with the most merit on these scans; the plain one wins ties."""
    temperatures = {mm: best_temperature([scan.samples[mm] for scan in scans]) for mm in SMOOTH_MM}
    found = {
        (mm, bias): [scan.found[mm, bias].at(temperatures[mm]) for scan in scans]
        for mm, bias in product(SMOOTH_MM, TUMOUR_BIAS)
    }
    trials = [try_setting(found[setting.smooth_mm, setting.tumour_bias], setting) for setting in settings()]
    best = max(trials, key=lambda trial: trial.merit)
    mm, bias = best.setting.smooth_mm, best.setting.tumour_bias
    decision = Decision("liver_first", temperatures[mm], bias, best.setting.min_confidence, mm)
    return Choice(decision, best, trials, {one.patient: one.liver_dice for one in found[mm, bias]})


def settings() -> list[Setting]:
    """Every trial's; the plain one first, so that it wins ties."""
    tried = [Setting(*values) for values in product(TUMOUR_BIAS, MIN_ML, MIN_CONFIDENCE, SMOOTH_MM)]
    return sorted(tried, key=lambda s: (s.smooth_mm, abs(s.tumour_bias), s.min_ml, s.min_confidence))


def held_scan(segmenter: SlabSegmenter, case: Case) -> Iterator[Held]:
    """The case with its scores; nothing for single slices."""
    ct, truth = case.ct.axial(), case.truth.axial()
    if truth.geometry.shape[0] < LEAST_SLICES:
        return
    asked = replace(segmenter, pipeline=replace(segmenter.pipeline, decision=Decision("liver_first")))
    # A segmenter of two passes looks at the liver's slices only; the others are surely background.
    scores = np.full((truth.geometry.shape[0], 2, *truth.geometry.shape[1:]), -SURE, np.float16)
    for start, found in asked.scores(ct):
        scores[start : start + len(found)] = found
    box = box_of((scores[:, 0] > 0) | truth.liver)
    # Slices above and below take part in smoothing.
    more = math.ceil(REACH * max(SMOOTH_MM) / truth.geometry.spacing_mm[0])
    box = (slice(max(0, box[0].start - more), box[0].stop + more), *box[1:])
    part = scores[box[0], :, box[1], box[2]]
    yield Held(case.patient, truth.labels[box].copy(), part.copy(), cropped(truth, box).geometry)


def smoothed(one: Held, smooth_mm: float) -> Held:
    """The scan with its scores smoothed along z, as a segmenter does it."""
    pieces = ((k, one.scores[k : k + PIECE].astype(np.float32)) for k in range(0, len(one.scores), PIECE))
    parts = [part.astype(np.float16) for _, part in along_z(pieces, smooth_mm / one.geometry.spacing_mm[0])]
    return replace(one, scores=np.concatenate(parts))


def best_temperature(samples: Sequence[Sample]) -> float:
    """The one temperature with the least negative log-likelihood over all voxels."""
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(
        lambda log_t: float(np.mean([_cost(scores, truth, np.exp(log_t)) for scores, truth in samples])),
        bounds=tuple(np.log(TEMPERATURES)),
        method="bounded",
        options={"xatol": 0.02},
    )
    return round(float(np.exp(found.x)), 3)


def _cost(scores: NDArray[np.float16], truth: NDArray[np.uint8], temperature: float) -> float:
    inside, tumour = (scores[:, k].astype(np.float32) / temperature for k in (0, 1))
    liver = truth > 0
    cost = np.logaddexp(0, np.where(liver, -inside, inside))
    return float(cost.mean() + (liver * np.logaddexp(0, np.where(truth > 1, -tumour, tumour))).mean())


@dataclass(frozen=True, eq=False)
class Candidates:
    """Lesions found in one scan at one tumour bias, before any is dropped: one entry a lesion."""

    patient: str
    ml: NDArray[np.float64]
    confidence: NDArray[np.float64]
    voxels: NDArray[np.int64]
    # (true lesion, found lesion) voxels that they share
    shared: NDArray[np.int64]
    true_voxels: int
    liver_dice: float = math.nan


@dataclass(frozen=True, eq=False)
class Found:
    """Candidates whose confidence waits for a temperature: scores (voxel, 2) and lesion, from 0, of tumour voxels."""

    candidates: Candidates
    scores: NDArray[np.float16]
    lesion: NDArray[np.int32]

    def at(self, temperature: float) -> Candidates:
        decision = Decision("liver_first", temperature)
        probability = decision.tumour_probability(self.scores.astype(np.float32)[:, :, None, None]).ravel() / 255
        sums = np.bincount(self.lesion, probability, minlength=len(self.candidates.voxels))
        return replace(self.candidates, confidence=sums / self.candidates.voxels)


@dataclass(frozen=True, eq=False)
class Scan:
    """All that trials need of a scan, worked out once: samples by `smooth_mm`, lesions by that and tumour bias."""

    patient: str
    samples: dict[float, Sample]
    found: dict[tuple[float, float], Found]


def scan_of(one: Held) -> Scan:
    samples: dict[float, Sample] = {}
    found: dict[tuple[float, float], Found] = {}
    for mm in SMOOTH_MM:
        smooth = smoothed(one, mm)
        samples[mm] = (smooth.scores[:, :, ::2, ::2].copy(), smooth.truth[:, ::2, ::2].copy())
        found |= {(mm, bias): found_with(smooth, bias) for bias in TUMOUR_BIAS}
    return Scan(one.patient, samples, found)


def found_with(one: Held, tumour_bias: float) -> Found:
    """Lesions at a tumour bias, cleaned as a model cleans; their confidence is not known yet."""
    from scipy.ndimage import label

    found = LabelMap(
        Decision("liver_first", tumour_bias=tumour_bias).labels(one.scores.astype(np.float32)), one.geometry
    )
    for clean in cleaning(min_ml=0):
        found = clean(found)
    parts, count = label(found.tumour)
    true_parts, true_count = label(one.truth > LIVER)
    shared = np.zeros((true_count, count), dtype=np.int64)
    both = (parts > 0) & (true_parts > 0)
    np.add.at(shared, (true_parts[both] - 1, parts[both] - 1), 1)
    lesion = parts[found.tumour] - 1
    voxels = np.bincount(lesion, minlength=count)
    liver_dice = dice(one.truth > 0, found.liver)
    ml = voxels * one.geometry.voxel_volume_mm3 / 1000
    unknown = np.full(count, math.nan)
    candidates = Candidates(one.patient, ml, unknown, voxels, shared, int((true_parts > 0).sum()), liver_dice)
    return Found(candidates, one.scores.swapaxes(0, 1)[:, found.tumour].T.copy(), lesion.astype(np.int32))


def try_setting(scans: Sequence[Candidates], setting: Setting) -> Trial:
    """What is left of each scan's candidates under a setting. A patient without tumour has no Dice."""
    overlap: dict[str, float] = {}
    false, missed = {}, {}
    for scan in scans:
        kept = (scan.ml >= setting.min_ml) & (scan.confidence >= setting.min_confidence)
        shared = scan.shared[:, kept]
        if scan.true_voxels:
            overlap[scan.patient] = float(2 * shared.sum() / (scan.true_voxels + scan.voxels[kept].sum()))
        false[scan.patient] = int((shared.sum(axis=0) == 0).sum())
        missed[scan.patient] = int((shared.sum(axis=1) == 0).sum())
    return Trial(setting, overlap, false, missed)


def cleaning(min_ml: float) -> tuple[Clean, ...]:
    """The steps that go with a least lesion volume."""
    steps: tuple[Clean, ...] = (KeepLargestLiver(), FillLiverHoles())
    return (*steps, DropSmallTumours(min_ml)) if min_ml else steps


def into_model(folder: Path, decision: Decision, min_ml: float) -> None:
    """The model decides and cleans so from now on."""
    model = open_model(folder)
    pipeline: Pipeline = replace(model.pipeline, decision=decision, clean=cleaning(min_ml))
    margin_mm = model.first.margin_mm if model.first else None
    save_model(folder, model.card, pipeline, model.weights, model.network, margin_mm)
