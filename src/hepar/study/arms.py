"""Arms of a comparison: the same patients and budget, one thing changed, scored by the same referee.

Each arm is a run folder that resumes; each arm's scores are kept beside it, so
a study that was stopped goes on where it was. Committed are JSON, CSV and the
table, never weights.
"""

from __future__ import annotations

import csv
import io
import json
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hepar.cases import Case
from hepar.errors import BadInput
from hepar.files import write_json, write_text
from hepar.inference import SlabSegmenter, load_segmenter, open_model
from hepar.io import read, read_labels
from hepar.metrics import EMPTY_RULE, evaluate
from hepar.study.training import TrainingOrder, require_same_order, train_ordered
from hepar.training.loop import Listener
from hepar.training.run_folder import command_line, versions

Say = Callable[[str], None]
SHOWN = (("liver", "dice"), ("liver", "assd_mm"), ("tumour", "dice"), ("tumour", "assd_mm"))


@dataclass(frozen=True)
class Arm:
    """One training of a comparison; `shown` are the words of its table row (network, preprocessing)."""

    name: str
    order: TrainingOrder
    shown: tuple[str, str]


@dataclass(frozen=True)
class Trial:
    """A test case and the group of the table it belongs to."""

    group: str
    case: Case


def volume_trial(group: str, patient: str, ct: Path, label: Path) -> Trial:
    """A whole volume to test on, in any format hepar reads."""
    return Trial(group, Case(patient, patient, partial(read, ct), partial(read_labels, label)))


def run_arms(arms: Sequence[Arm], trials: Sequence[Trial], out: Path, listen: Listener, say: Say) -> None:
    """Train and score every arm that has no scores yet; each ends with `out`/NAME/scores.json.

    Raises BadInput when a finished arm in `out` was trained or tested otherwise than asked now.
    """
    for number, arm in enumerate(arms):
        say(f"arm {number + 1} of {len(arms)}: {arm.name}")
        scores = out / arm.name / "scores.json"
        if scores.exists():
            require_same_order(arm.order)
            _require_same_trials(scores, trials)
            continue
        train_ordered(arm.order, listen)
        write_json(scores, score(load_segmenter(arm.order.out / "model"), trials, say))


def _require_same_trials(scores: Path, trials: Sequence[Trial]) -> None:
    tested = [(row["group"], row["patient"]) for row in json.loads(scores.read_text(encoding="utf-8"))]
    if tested != [(trial.group, trial.case.patient) for trial in trials]:
        raise BadInput(f"{scores.parent.name} was scored on other patients; choose a new study folder")


def write_tables(arms: Sequence[Arm], trials: Sequence[Trial], out: Path) -> list[str]:
    """Write `table.md`, `cases.csv` and `study.json` from the finished arms; gives the names of the others."""
    finished = [arm for arm in arms if (out / arm.name / "scores.json").exists()]
    results = {arm.name: json.loads((out / arm.name / "scores.json").read_text(encoding="utf-8")) for arm in finished}
    facts = {
        "command": command_line(),
        "versions": versions(),
        "arms": [arm.name for arm in finished],
        "test": [{"group": t.group, "patient": t.case.patient} for t in trials],
        "empty_rule": EMPTY_RULE,
    }
    write_json(out / "study.json", facts)
    write_text(out / "cases.csv", cases_csv(results))
    write_text(out / "table.md", table(finished, results, out))
    return [arm.name for arm in arms if arm not in finished]


def score_model(model: Path, trials: Sequence[Trial], out: Path, say: Say) -> None:
    """Score a model folder on `trials`: `scores.json`, `cases.csv` and `study.json` in `out`."""
    opened = open_model(model)
    trained = training_patients(model)
    seen = sorted(trained & {trial.case.patient for trial in trials})
    if seen:
        raise BadInput(f"the model trained on {', '.join(seen)}; score it on the test patients of its own fold")
    rows = score(load_segmenter(opened), trials, say)
    facts = {
        "command": command_line(),
        "versions": versions(),
        "model": opened.id,
        "test_patients_in_training": f"none of {len(trained)} training patients",
        "empty_rule": EMPTY_RULE,
        "means": {group: means([r["structures"] for r in rows if r["group"] == group]) for group in groups_of(rows)},
    }
    write_json(out / "scores.json", rows)
    write_json(out / "study.json", facts)
    write_text(out / "cases.csv", cases_csv({opened.card.name: rows}))


def training_patients(model: Path) -> set[str]:
    """Patients that the model has seen, from the run.json in or above its folder.

    Raises BadInput without one: nobody could tell whether a test is fair.
    """
    for path in (model / "run.json", model.parent / "run.json"):
        if path.is_file():
            return set(json.loads(path.read_text(encoding="utf-8"))["training_patients"])
    raise BadInput(f"{model.name} has no run.json that names its training patients; a fair test needs it")


def groups_of(rows: Sequence[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(row["group"] for row in rows))


def means(rows: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Mean and, in brackets, number of cases of each shown measure."""
    return {f"{s} {m}": _mean(rows, s, m) for s, m in SHOWN}


def score(segmenter: SlabSegmenter, trials: Sequence[Trial], say: Say = lambda _: None) -> list[dict[str, Any]]:
    """One row a trial: group, patient, seconds and the numbers of each structure."""
    rows = []
    for trial in trials:
        ct, truth = trial.case.ct, trial.case.truth
        started = time.monotonic()
        found = segmenter.segment(ct)
        seconds = time.monotonic() - started
        scores = evaluate(truth, found, trial.case.labels)
        structures = {name: asdict(row) for name, row in scores.structures.items()}
        rows.append(
            {"group": trial.group, "patient": trial.case.patient, "slices": ct.values.shape[0],
             "seconds": round(seconds, 1), "structures": structures}
        )  # fmt: skip
        say(f"  {trial.group} {trial.case.patient}: liver Dice {scores.liver.dice:.3f}")
    return rows


def cases_csv(results: dict[str, list[dict[str, Any]]]) -> str:
    """Every case of every arm, a line each; an undefined number is an empty field."""
    text = io.StringIO()
    measures = ("dice", "assd_mm", "hausdorff95_mm", "truth_ml", "found_ml")
    columns = [f"{s}_{m}" for s in ("liver", "liver_exclusive", "tumour") for m in measures]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["arm", "group", "patient", "slices", "seconds", *columns])
    for arm, rows in results.items():
        for row in rows:
            numbers = [
                row["structures"].get(s, {}).get(m) for s in ("liver", "liver_exclusive", "tumour") for m in measures
            ]
            facts = [arm, row["group"], row["patient"], row["slices"], row["seconds"]]
            writer.writerow(facts + ["" if n is None or math.isnan(n) else round(n, 4) for n in numbers])
    return text.getvalue()


def table(arms: Sequence[Arm], results: dict[str, list[dict[str, Any]]], out: Path) -> str:
    """Markdown: one line per arm with means, counts and training minutes, one block per group of trials."""
    groups = groups_of([row for rows in results.values() for row in rows])
    lines = [f"Empty rule: {EMPTY_RULE}", ""]
    head = "| network | preprocessing | encoder starts from | updates | minutes "
    head += "| liver Dice | liver ASSD mm | tumour Dice | tumour ASSD mm |"
    for group in groups:
        lines += [f"**{group}**", "", head, "|" + "---|" * 9]
        for arm in arms:
            run = json.loads((out / arm.name / "run.json").read_text(encoding="utf-8"))
            rows = [row["structures"] for row in results[arm.name] if row["group"] == group]
            facts = [*arm.shown, _start(run["encoder"]), str(run["updates"]), f"{run['minutes_training']:.1f}"]
            lines.append("| " + " | ".join([*facts, *means(rows).values()]) + " |")
        lines.append("")
    return "\n".join(lines)


def _start(encoder: dict[str, Any]) -> str:
    """What the encoder started from, fresh layers named."""
    if encoder["source"] == "none":
        return "He initialisation"
    fresh = f", {', '.join(encoder['fresh'])} fresh" if encoder["fresh"] else ""
    return f"ImageNet ({encoder['source']}){fresh}"


def _mean(rows: Sequence[dict[str, Any]], structure: str, metric: str) -> str:
    """Mean over the cases where the number is defined, with their count."""
    values = [row.get(structure, {}).get(metric) for row in rows]
    known = [v for v in values if v is not None and not math.isnan(v)]
    if not known:
        return "n/a (0)"
    return f"{statistics.fmean(known):.{3 if metric == 'dice' else 1}f} ({len(known)})"
