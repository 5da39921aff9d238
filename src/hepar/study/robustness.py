"""How much a model loses on left-out patients when the scan comes otherwise: Dice before, after, and the drop.

Each condition (`hepar.study.conditions`) is compared with the same model on the
unchanged scan, whose labels are carried through the same change, so a drop is
never the price of cutting or averaging alone. Stacks with gaps are tested on
their longest run of evenly spaced slices. A series whose header lies about
where its slices are is out of scope: no program can know.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from hepar.cases import Case
from hepar.errors import BadInput
from hepar.files import write_json, write_text
from hepar.inference import load_segmenter, open_model
from hepar.metrics.crop import cropped
from hepar.metrics.overlap import counts
from hepar.study.arms import Say, Trial, training_patients
from hepar.study.conditions import CONDITIONS, Condition, Scan, noise_hu
from hepar.study.crossval_text import FEWEST_FOR_INTERVAL
from hepar.study.statistics import bootstrap_interval
from hepar.study.statistics.medians import median
from hepar.volume import LIVER, TUMOUR, LabelMap, Volume

Row = dict[str, Any]
Segment = Callable[[Volume], LabelMap]
SEED = 2018
# Slices count as evenly spaced when their gaps differ by less than this share.
_EVEN = 0.01
RULE = "Dice is left out where both maps are empty before or after the change, 0 where one is"
NOTES = (
    "Before: labels found on the unchanged scan, carried through the same change. Drop: before minus after, mean over "
    "patients with 95 % bootstrap interval over patients, shown from 5 patients on; above 0 is a loss.",
    "Labels equal: share of voxels with the label found on the unchanged scan; 1 wherever only the storage changes.",
    "Values at the ends of a scan's range, cut off by an 8-bit window, stay there under noise, shift and contrast.",
    "A series whose header lies is out of scope.",
)


@dataclass(frozen=True)
class RobustnessOrder:
    """What is tested, and by which seed; `conditions` by name, () for all. Folds share one folder and table."""

    trials: tuple[Trial, ...]
    conditions: tuple[str, ...] = ()
    seed: int = SEED
    fold: int = 0

    @property
    def wanted(self) -> list[Condition]:
        """Raises BadInput for an unknown name."""
        known = {condition.name: condition for condition in CONDITIONS}
        if unknown := set(self.conditions) - known.keys():
            raise BadInput(f"no condition is called {', '.join(sorted(unknown))}; there are {', '.join(known)}")
        return [known[name] for name in self.conditions or known]


def run_robustness(model: Path, order: RobustnessOrder, out: Path, say: Say) -> list[Row]:
    """Run the conditions and write `robustness.json`, and `.md`; finished cases are kept.

    Raises BadInput when the model trained on a patient of the trials.
    """
    opened = open_model(model)
    seen = sorted(training_patients(model) & {trial.case.patient for trial in order.trials})
    if seen:
        raise BadInput(f"the model trained on {', '.join(seen)}; test it on the test patients of its own fold")
    loaded = load_segmenter(opened)
    rows = robustness(order, loaded.segment, opened.id, out / "robustness.json", say)
    write_text(out / "robustness.md", robustness_table(rows))
    return [row for row in rows if row["fold"] == order.fold]


def robustness(order: RobustnessOrder, segment: Segment, model: str, kept: Path, say: Say) -> list[Row]:
    """A row a case and condition, in `kept` after those of other folds.

    What this model finished with this seed is not run again; rows that another
    model of the fold left there are dropped.
    """
    conditions = order.wanted
    rows = [row for row in _kept_rows(kept, order.seed) if row["fold"] != order.fold or row["model"] == model]
    for number, trial in enumerate(order.trials):
        done = {row["condition"] for row in rows if (row["fold"], row["case"]) == (order.fold, trial.case.id)}
        todo = [condition for condition in conditions if condition.name not in done]
        if not todo:
            continue
        started = time.monotonic()
        found = _one_case(trial, todo, segment, order.seed)
        rows += [{"fold": order.fold, "model": model, **row} for row in found]
        write_json(kept, {"seed": order.seed, "rule": RULE, "notes": list(NOTES), "rows": rows})
        say(f"  {number + 1} of {len(order.trials)}: {trial.case.id}, {time.monotonic() - started:.0f} s")
    return rows


def _kept_rows(path: Path, seed: int) -> list[Row]:
    if not path.is_file():
        return []
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        rows: list[Row] = stored["rows"] if stored["seed"] == seed else []
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{path.name} is damaged; remove it and run again") from error
    return [{key: math.nan if value is None else value for key, value in row.items()} for row in rows]


def _one_case(trial: Trial, conditions: Sequence[Condition], segment: Segment, seed: int) -> list[Row]:
    ct, truth = longest_run(trial.case)
    unchanged = Scan(ct, truth, segment(ct))
    facts = {"case": trial.case.id, "patient": trial.case.patient, "group": trial.group, "noise_hu": noise_hu(ct)}
    rows = []
    for condition in conditions:
        # By name, so that leaving one out changes no other.
        rng = np.random.default_rng([seed, *trial.case.id.encode(), *condition.name.encode()])
        changed = condition.apply(unchanged, rng)
        shown = {"condition": condition.name, "applies": changed is not None, "same_labels": condition.same_labels}
        rows.append({**facts, **shown, **(compared(changed, segment(changed.ct)) if changed else {})})
    return rows


def compared(changed: Scan, found: LabelMap) -> Row:
    """Dice of liver and tumour before and after, their drops, false tumour in mL, share of equal labels."""
    row: Row = {"equal": float(np.mean(found.labels == changed.found.labels))}
    for name, label in (("liver", LIVER), ("tumour", TUMOUR)):
        true = changed.truth.labels >= label
        before, after = (counts(true, labels.labels >= label).dice for labels in (changed.found, found))
        if name == "tumour" and not true.any():
            # Dice is 0 or not defined there; what counts is how much was found.
            row |= {"false_ml_before": changed.found.volume_ml(TUMOUR), "false_ml_after": found.volume_ml(TUMOUR)}
            before = after = math.nan
        row |= {f"{name}_before": before, f"{name}_after": after, f"{name}_drop": before - after}
    return row


def longest_run(case: Case) -> tuple[Volume, LabelMap]:
    """CT and truth in the axial view; of a stack with gaps its longest evenly spaced run.

    Raises BadInput for slices from anywhere in their scan.
    """
    ct, truth = case.ct.axial(), case.truth.axial()
    if case.heights_mm is None:
        return ct, truth
    heights = np.asarray(case.heights_mm)
    if np.isnan(heights).any():
        raise BadInput(f"case {case.id} holds slices whose places are not known; give stacks or volumes")
    step = ct.geometry.spacing_mm[0]
    breaks = np.flatnonzero(np.abs(np.diff(heights) - step) > _EVEN * step) + 1
    ends = [0, *breaks.tolist(), len(heights)]
    start, stop = max(pairwise(ends), key=lambda run: run[1] - run[0])
    box = (slice(start, stop), slice(0, ct.values.shape[1]), slice(0, ct.values.shape[2]))
    return ct.slab(start, stop), cropped(truth, box)


def summary(rows: Sequence[Row]) -> list[Row]:
    """One row a condition and structure: patients, mean before and after, drop with interval, worst drop."""
    found = []
    for name in dict.fromkeys(row["condition"] for row in rows):
        own = [row for row in rows if row["condition"] == name and row["applies"]]
        for structure in ("liver", "tumour"):
            known = [row for row in own if not math.isnan(row[f"{structure}_drop"])]
            drops = _by_patient(known, f"{structure}_drop")
            both = bootstrap_interval(drops, np.ones(len(drops))) if drops else None
            found.append(
                {
                    "condition": name,
                    "structure": structure,
                    "patients": len(drops),
                    "before": _mean(_by_patient(known, f"{structure}_before")),
                    "after": _mean(_by_patient(known, f"{structure}_after")),
                    "drop": _mean(drops),
                    "low": both.low if both else math.nan,
                    "high": both.high if both else math.nan,
                    "median_drop": median(drops),
                    "worst": max(drops, default=math.nan),
                    "equal": _mean([row["equal"] for row in own]),
                    "same_labels": bool(own and own[0]["same_labels"]),
                }
            )
    return found


def _by_patient(rows: Sequence[Row], name: str) -> list[float]:
    """One value a patient: the mean over those scans and folds."""
    own: dict[str, list[float]] = {}
    for row in rows:
        own.setdefault(row["patient"], []).append(row[name])
    return [_mean(values) for values in own.values()]


def robustness_table(rows: Sequence[Row]) -> str:
    """Markdown: what each condition is, its drop, and the cases where labels did not follow the storage."""
    what = {condition.name: condition.what for condition in CONDITIONS}
    head = ["condition", "what", "structure", "patients", "before", "after", "drop [95 %]", "median", "worst",
            "labels equal"]  # fmt: skip
    lines = [f"{RULE}.", "", *(line for note in NOTES for line in (note, "")), _line(head), "|" + "---|" * len(head)]
    for row in summary(rows):
        interval = "" if row["patients"] < FEWEST_FOR_INTERVAL else f" [{_dice(row['low'])}, {_dice(row['high'])}]"
        cells = [row["condition"], what[row["condition"]], row["structure"], str(row["patients"])]
        cells += [_dice(row["before"]), _dice(row["after"]), f"{_dice(row['drop'])}{interval}"]
        equal = "–" if math.isnan(row["equal"]) else f"{row['equal']:.4f}"
        lines.append(_line([*cells, _dice(row["median_drop"]), _dice(row["worst"]), equal]))
    lines += ["", *_false_tumour(rows), *_not_followed(rows), *_not_applied(rows)]
    return "\n".join(lines) + "\n"


def _false_tumour(rows: Sequence[Row]) -> list[str]:
    """False tumour of tumour-free patients, mL before and after, where there are such patients."""
    free = [row for row in rows if row["applies"] and "false_ml_after" in row]
    if not free:
        return []
    lines = [_line(["tumour-free", "patients", "false tumour mL before", "after"]), "|---|---|---|---|"]
    for name in dict.fromkeys(row["condition"] for row in rows):
        own = [row for row in free if row["condition"] == name]
        if not own:
            continue
        before, after = (_mean(_by_patient(own, f"false_ml_{when}")) for when in ("before", "after"))
        lines.append(_line([name, str(len({row["patient"] for row in own})), f"{before:.1f}", f"{after:.1f}"]))
    return [*lines, ""]


def _not_followed(rows: Sequence[Row]) -> list[str]:
    bad = [row for row in rows if row["applies"] and row["same_labels"] and row["equal"] < 1]
    said = ", ".join(f"{row['case']} ({row['condition']}: {row['equal']:.6f})" for row in bad)
    return [f"**Labels did not follow the storage**: {said}.", ""] if bad else []


def _not_applied(rows: Sequence[Row]) -> list[str]:
    """Conditions that some scans cannot show, with the number of scans."""
    left = [row["condition"] for row in rows if not row["applies"]]
    said = ", ".join(f"{name} {left.count(name)}" for name in dict.fromkeys(left))
    return [f"Scans that cannot show a condition: {said}.", ""] if left else []


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else math.nan


def _dice(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}".replace("-", "−")


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
