"""A log of trainings: what each changed, what it gave on its inner patients, why it was kept or dropped.

Figures of inner patients steer; they are no results. A run that was stopped
early stands in the log with what it had reached.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hepar.errors import BadInput
from hepar.files import write_json, write_text
from hepar.training.checkpoint import history_of

KEPT_FILES = ("run.json", "history.json", "tuning.json", "plan.json")
HEAD = (
    "run", "method", "changed", "patients held back", "updates", "min", "liver Dice", "tumour Dice",
    "tuned tumour Dice", "tuned false lesions / scan", "verdict",
)  # fmt: skip


@dataclass(frozen=True)
class Experiment:
    """One run folder; Dice are means over inner patients, on the network's grid, `tuned` ones on the scans' own."""

    name: str
    network: str
    settings: Mapping[str, Any]
    inner_patients: tuple[str, ...]
    updates: int
    minutes: float
    finished: bool
    liver_dice: float | None = None
    tumour_dice: float | None = None
    tuned_tumour_dice: float | None = None
    tuned_false_lesions: float | None = None
    versions: Mapping[str, str] = field(default_factory=dict)


def read_experiment(run: Path) -> Experiment:
    """What a run folder tells, finished or not. Raises BadInput when it is none."""
    facts = _json(run / "run.json")
    if facts is None:
        raise BadInput(f"{run.name} holds no run.json; give run folders of `hepar train`")
    history = _json(run / "history.json") or history_of(run / "checkpoint.safetensors")
    method = facts["method"]
    judged = [row for row in history if "dice_liver" in row]
    last = judged[-1] if judged else {}
    tuned = _chosen(_json(run / "tuning.json"))
    return Experiment(
        name=run.name,
        network=str(method["network"].get("network", "")),
        settings=_flat(method),
        inner_patients=tuple(facts.get("inner_validation_patients") or method["recipe"].get("inner_patients") or ()),
        updates=int(history[-1]["updates"]) if history else 0,
        minutes=round(sum(row["seconds"] for row in history) / 60, 1),
        finished=bool(facts.get("finished")),
        liver_dice=last.get("dice_liver"),
        tumour_dice=last.get("dice_tumour"),
        tuned_tumour_dice=_mean(tuned.get("tumour_dice")),
        tuned_false_lesions=_mean(tuned.get("false_lesions")),
        versions=facts.get("versions", {}),
    )


def write_log(runs: Sequence[Path], out: Path, verdicts: Mapping[str, str]) -> list[Experiment]:
    """`out`/table.md, table.csv and a folder of JSON a run; settings are told against the first run's.

    Raises BadInput for a folder that is no run, or a verdict on a run that is not there.
    """
    found = [read_experiment(run) for run in runs]
    if strange := set(verdicts) - {one.name for one in found}:
        raise BadInput(f"verdicts on {', '.join(sorted(strange))}, which are not among the runs; check the names")
    rows = [_row(one, found[0], verdicts.get(one.name, "")) for one in found]
    for run in runs:
        for name in KEPT_FILES:
            if (facts := _json(run / name)) is not None:
                write_json(out / run.name / name, facts)
        if not (run / "history.json").exists():
            write_json(out / run.name / "history.json", history_of(run / "checkpoint.safetensors"))
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows([HEAD, *rows])
    write_text(out / "table.csv", table.getvalue())
    write_text(out / "table.md", _markdown(rows))
    write_json(out / "experiments.json", [asdict(one) for one in found])
    return found


def read_verdicts(path: Path) -> dict[str, str]:
    """A verdict a run. Raises BadInput when the file is not a JSON object of texts."""
    found = _json(path)
    if not isinstance(found, dict) or not all(isinstance(text, str) for text in found.values()):
        raise BadInput(f'{path.name} is not a JSON object of {{"run": "verdict"}}')
    return found


def _row(one: Experiment, first: Experiment, verdict: str) -> list[str]:
    changed = _changed(one.settings, first.settings, same_network=one.network == first.network)
    state = "" if one.finished else "stopped early; "
    return [
        one.name, one.network, "; ".join(changed) or "(the first run)", ", ".join(one.inner_patients), str(one.updates),
        f"{one.minutes:.0f}", *(_number(v) for v in (one.liver_dice, one.tumour_dice, one.tuned_tumour_dice)),
        _number(one.tuned_false_lesions, 1), state + verdict,
    ]  # fmt: skip


def _changed(settings: Mapping[str, Any], first: Mapping[str, Any], same_network: bool) -> list[str]:
    """What differs, in words; of another network, or of a group that the first run lacks, the name says enough."""
    changed: list[str] = []
    groups = {key.partition(".")[0] for key in first}
    for key, value in settings.items():
        group = key.partition(".")[0]
        if group == "network" and not same_network and not key.endswith(".slices"):
            continue
        if "." in key and group not in groups:
            changed += [group] if group not in changed else []
        elif first.get(key) != value:
            changed.append(f"{key}={_short(value)}")
    gone = {key.partition(".")[0] for key in first} - {key.partition(".")[0] for key in settings}
    return changed + [f"no {name}" for name in sorted(gone)]


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    lines = ["# Trainings tried", "", __doc__.split("\n\n", 1)[1].strip(), "",
             "Dice: means over the patients held back inside training, never the fold's test patients. "
             "A patient without tumour has no tumour Dice. Tuned: after `hepar study tune`, on the same patients.", "",
             "| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]  # fmt: skip
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted name, None left out."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        elif value is not None:
            flat[prefix + key] = value
    return {k.removeprefix("recipe."): v for k, v in flat.items() if not k.endswith("inner_patients")}


def _chosen(tuning: Any) -> dict[str, Any]:
    return max(tuning["trials"], key=lambda trial: trial["merit"]) if tuning else {}


def _mean(by_patient: Mapping[str, float] | None) -> float | None:
    return sum(by_patient.values()) / len(by_patient) if by_patient else None


def _number(value: float | None, digits: int = 3) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _short(value: Any) -> str:
    return json.dumps(value, separators=(",", ":")) if isinstance(value, (list, dict)) else str(value)


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise BadInput(f"{path.parent.name}/{path.name} is not JSON ({error}); train again") from error
